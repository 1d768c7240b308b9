package main

import "fmt"

// Loops that multiply and add as fast as a core can, into as many sums as hide the latency. n counts turns.

func (a *isa) peak(name string, zero, step func(i int), sums int) {
	a.text(name+" takes n turns of "+fmt.Sprint(sums)+" multiplications.", name, 8)
	if a.neon() {
		a.p("MOVD n+0(FP), R0")
	} else {
		a.p("MOVQ n+0(FP), CX")
	}
	for i := range sums {
		zero(i)
	}
	a.place("loop")
	for i := range sums {
		step(i)
	}
	if a.neon() {
		a.p("SUBS $1, R0, R0")
		a.p("BNE loop")
	} else {
		a.p("DECQ CX")
		a.p("JNZ loop")
		a.p("VZEROUPPER")
	}
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

func peaksAVX2() []byte {
	a := &isa{name: "AVX2", goarch: "amd64", lanes: 8}
	clear := func(i int) { a.p("VPXOR Y%d, Y%d, Y%d", i, i, i) }
	// Y14 and Y15 stay what they are: no value makes these instructions slow but float subnormals.
	a.peak("peakInt", func(i int) { clear(i); clear(7 + i) }, func(i int) {
		a.p("VPMADDUBSW Y14, Y15, Y%d", 7+i)
		a.p("VPADDW Y%d, Y%d, Y%d", 7+i, i, i)
	}, 7)
	a.peak("peakDot", clear, func(i int) { a.dot(dotBytes, 14, 15, i) }, 12)
	a.peak("peakFloat", func(i int) {
		if i == 0 {
			clear(14)
			clear(15)
		}
		clear(i)
	}, func(i int) { a.p("VFMADD231PS Y14, Y15, Y%d", i) }, 12)
	return a.buf.Bytes()
}

func peaksAVX512() []byte {
	a := &isa{name: "AVX512", goarch: "amd64", lanes: 16}
	zero := func(i int) {
		if i == 0 {
			a.zero(16)
			a.zero(17)
		}
		a.zero(i)
	}
	a.peak("peakInt", zero, func(i int) { a.p("VPDPBUSD Z16, Z17, Z%d", i) }, 12)
	a.peak("peakFloat", zero, func(i int) { a.p("VFMADD231PS Z16, Z17, Z%d", i) }, 12)
	dot := floatX86{a, weightsDot}
	a.peak("peakBF16", zero, func(i int) { dot.fma(16, 17, i) }, 12)
	return a.buf.Bytes()
}

func peaksAMX() []byte {
	a := newAMX()
	const sums = 4
	a.begin("·peakAMX", "$0-8", "peakAMX takes n turns of 4 multiplications.")
	a.p("MOVQ n+0(FP), CX")
	a.tileConfig(false)
	for i := range xB + 2 {
		a.tileZero(i)
	}
	a.place("loop")
	for i := range sums {
		a.tileDot(true, xA, xB, i)
	}
	a.p("DECQ CX")
	a.p("JNZ loop")
	a.release()
	a.p("VZEROUPPER")
	a.p("RET")
	return a.file()
}

func peaksNEON() []byte {
	g := &neonProduct{isa: isa{name: "", goarch: "arm64", lanes: 4}}
	g.name = "NEON"
	zero := func(i int) {
		if i == 0 {
			g.set(20, 0)
			g.set(21, 0)
		}
		g.set(i, 0)
	}
	g.isa.peak("peakInt", zero, func(i int) { g.word3(0x0e208000, "smlal", "8h", "8b", "8b", i, 20, 21) }, 16)
	g.isa.peak("peakDot", zero, func(i int) { g.sdot(i, 20, 21) }, 16)
	g.isa.peak("peakMatrix", zero, func(i int) { g.usmmla(i, 20, 21) }, 16)
	g.isa.peak("peakFloat", zero, func(i int) { g.fmla(i, 20, 21) }, 16)
	return g.buf.Bytes()
}
