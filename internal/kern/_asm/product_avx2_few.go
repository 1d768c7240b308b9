package main

import "fmt"

// Few tokens, at most [avx2.fewest], with AVX2: codes are multiplied as they are unpacked, as in the direct way, with
// each of the tokens. Storing them and loading them again would take a sixth to a quarter of the instructions.
//
// Registers: sums of int16 from Y0 on, constants in those of fewConstants. Sums of int32 are in Y4…Y7 with two tokens,
// else in memory; those of blocks of 32 whose codes have one part take the place of the sums of int16. R13 prefetches,
// R11 is at the results, the rest as in the direct way.

var fewConstants = [...]int{8, 9, 11, 10}

// fewAhead is how many bytes ahead weights are prefetched, into the second cache: with two threads PREFETCHT0 made times
// of a model's tokens differ by a fifth (Zen 3).
const fewAhead = 4096

// fewest returns the greatest number of tokens that [avx2.few] takes, or 0. Where runs are short, more tokens' sums of
// int32 would go to memory too often; there are not registers enough for four constants; and formats that keep the bits
// of a code in several places gain nothing.
func (a *avx2) fewest() int {
	switch {
	case a.vnni || a.f.sums != nil || len(a.f.constants) > 3:
		return 0
	case a.f.run < 8:
		return 2
	}
	return 4
}

// few writes the products with n tokens, whose results are 0.
func (a *avx2) few(n int) {
	a.constants = fewConstants
	defer func() { a.constants = avx2Constants }()
	a.place(fmt.Sprintf("few%d", n))
	a.loadConstants()
	a.place(fmt.Sprintf("fewBlock%d", n))
	a.p("MOVQ DI, CX")
	a.p("LEAQ %d(SI), R13", fewAhead)
	a.header()
	a.p("MOVQ R8, DX")
	if a.super() {
		a.clearFew(n)
		a.eachStep(fmt.Sprintf("fewStep%d", n), func() {
			a.multiplyFew(n, a.f.step)
			a.p("ADDQ $%d, CX", a.scaleAt(a.f.step/a.f.group, 0, 0)-a.scaleAt(0, 0, 0))
			a.p("ADDQ $%d, DX", 4*a.f.step)
		})
	} else {
		a.multiplyFew(n, 8)
	}
	a.finishFew(n)
	a.p("ADDQ $%d, SI", a.f.bytes())
	a.p("ADDQ %d(AX), R8", pAStride)
	a.p("DECQ R9")
	a.p("JNZ fewBlock%d", n)
	a.p("VZEROUPPER")
	a.p("RET")
}

// inPlace reports whether the sums of int32 take the place of those of int16.
func (a *avx2) inPlace() bool { return !a.super() && a.f.parts == 1 && a.f.run == a.f.group }

// fewAt returns where the sum of int32 of half i of n tokens is in memory; ok is false if it is in a register.
func (a *avx2) fewAt(n, i int) (addr string, ok bool) {
	return fmt.Sprintf("%d(DI)", 12<<10+32*i), n > 2 && !a.inPlace()
}

// clearFew sets the sums of int32 to 0.
func (a *avx2) clearFew(n int) {
	if n == 2 {
		a.zero(4, 4)
		return
	}
	a.zero(0, 1)
	for i := range 2 * n {
		addr, _ := a.fewAt(n, i)
		a.p("VMOVDQU Y0, %s", addr)
	}
}

// multiplyFew adds quads to the sums of int32.
func (a *avx2) multiplyFew(n, quads int) {
	read := a.f.bytes() * 4 * quads / a.f.cols
	for first := 0; first < quads; first += a.f.run {
		fetched := (read*first/quads + 63) &^ 63
		fetch := func(quad int) {
			for ; fetched < read*(quad+1)/quads; fetched += 64 {
				a.p("PREFETCHT1 %d(R13)", fetched)
			}
		}
		if a.f.parts == 2 {
			a.runParts(n, first, fetch)
		} else {
			a.runFew(n, first, fetch)
		}
	}
	a.p("ADDQ $%d, R13", read)
}

// runFew adds a run of codes of one part.
func (a *avx2) runFew(n, first int, fetch func(quad int)) {
	for quad := first; quad < first+a.f.run; quad++ {
		fetch(quad)
		a.f.codes(a, quad, 1)
		a.p("VMOVDQA Y12, Y13")
		a.f.codes(a, quad, 0)
		for t := range n {
			a.p("VPBROADCASTD %d(DX), Y14", 4*quad+a.record()*t)
			a.madd("VPMADDUBSW", "VPADDW", 2*t, quad == first)
		}
	}
	for i := range 2 * n {
		a.widenFew(n, i, i, first, 0)
	}
}

// runParts adds a run of codes of two parts, first half of the rows, then the others. The sums of a token's parts are
// side by side.
func (a *avx2) runParts(n, first int, fetch func(quad int)) {
	for half := range 2 {
		for quad := first; quad < first+a.f.run; quad++ {
			if half == 0 {
				fetch(quad)
			}
			a.f.codes(a, quad, half)
			for t := range n {
				a.p("VPBROADCASTD %d(DX), Y14", 4*quad+a.record()*t)
				a.madd("VPMADDUBSW", "VPADDW", 2*t, quad == first)
			}
		}
		for t := range n {
			for part := range 2 {
				a.widenFew(n, 2*t+half, 2*t+part, first, part)
			}
		}
	}
}

// widenFew adds the run of a part that begins with quad first, in register run, to the sum of int32 of half i, or sets
// it to that: blocks of 32 have one run or one of each part.
func (a *avx2) widenFew(n, i, run, first, part int) {
	scale := a.constant([]byte{1, 16}[part], 0)
	if a.super() {
		scale = fmt.Sprintf("%d(CX)", a.scaleAt(first/a.f.group, part, i%2))
	}
	addr, memory := a.fewAt(n, i)
	switch {
	case a.inPlace():
		a.p("VPMADDWD %s, Y%d, Y%d", scale, run, run)
		return
	case !a.super() && part == 0:
		a.p("VPMADDWD %s, Y%d, Y12", scale, run)
		if !memory {
			a.p("VMOVDQA Y12, Y%d", 4+i)
			return
		}
	case memory:
		a.p("VPMADDWD %s, Y%d, Y12", scale, run)
		a.p("VPADDD %s, Y12, Y12", addr)
	default:
		a.p("VPMADDWD %s, Y%d, Y12", scale, run)
		a.p("VPADDD Y12, Y%d, Y%d", 4+i, 4+i)
		return
	}
	a.p("VMOVDQU Y12, %s", addr)
}

// finishFew adds a block to the results, two tokens at a time.
func (a *avx2) finishFew(n int) {
	a.p("MOVQ %d(AX), R11", pOut)
	for first := 0; first < n; first += 2 {
		s := avx2Sums{tokens: min(2, n-first), first: first, run: 0, isum: 4}
		if a.inPlace() {
			s.isum = 2 * first
		}
		for i := range 2 * s.tokens {
			if addr, memory := a.fewAt(n, 2*first+i); memory {
				a.load(addr, s.isum+i)
			}
		}
		if a.super() {
			a.finish256(s, "R8")
		} else {
			a.finish32(s, "DI")
		}
		a.p("LEAQ (R11)(R10*2), R11")
	}
}
