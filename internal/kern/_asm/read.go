package main

// reads writes the kernel that reads memory as fast as a core can: eight vectors
// on AVX2, sixteen on NEON, into as many sums, so that nothing but memory limits it.
// n is a multiple of 256, at least 256.
func reads(a *isa) []byte {
	a.text("xor sets sum to the exclusive or of n bytes.", "xor", 24)
	if a.neon() {
		a.p("MOVD b+0(FP), R0")
		a.p("MOVD n+8(FP), R1")
		a.p("MOVD sum+16(FP), R2")
		for i := range 16 {
			a.p("VEOR V%d.B16, V%d.B16, V%d.B16", 16+i, 16+i, 16+i)
		}
		a.place("loop")
		for i := 0; i < 16; i += 4 {
			a.p("VLD1.P 64(R0), [V%d.B16, V%d.B16, V%d.B16, V%d.B16]", i, i+1, i+2, i+3)
		}
		for i := range 16 {
			a.p("VEOR V%d.B16, V%d.B16, V%d.B16", i, 16+i, 16+i)
		}
		a.p("SUBS $256, R1, R1")
		a.p("BNE loop")
		for half := 8; half > 1; half /= 2 {
			for i := range half {
				a.p("VEOR V%d.B16, V%d.B16, V%d.B16", 16+half+i, 16+i, 16+i)
			}
		}
		a.p("VST1 [V16.B16, V17.B16], (R2)")
		a.p("RET")
		return a.buf.Bytes()
	}
	a.p("MOVQ b+0(FP), SI")
	a.p("MOVQ n+8(FP), CX")
	a.p("MOVQ sum+16(FP), DI")
	for i := range 8 {
		a.p("VPXOR Y%d, Y%d, Y%d", i, i, i)
	}
	a.place("loop")
	for i := range 8 {
		a.p("VPXOR %d(SI), Y%d, Y%d", 32*i, i, i)
	}
	a.p("ADDQ $256, SI")
	a.p("SUBQ $256, CX")
	a.p("JNZ loop")
	for half := 4; half > 0; half /= 2 {
		for i := range half {
			a.p("VPXOR Y%d, Y%d, Y%d", half+i, i, i)
		}
	}
	a.p("VMOVDQU Y0, (DI)")
	a.p("VZEROUPPER")
	a.p("RET")
	return a.buf.Bytes()
}

// cpuid writes the function that asks an x86 CPU what it is.
func cpuid() []byte {
	a := &isa{name: "", goarch: "amd64"}
	a.text("cpuid is the instruction of that name.", "cpuid", 24)
	a.p("MOVL leaf+0(FP), AX")
	a.p("XORL CX, CX")
	a.p("CPUID")
	a.p("MOVL AX, a+8(FP)")
	a.p("MOVL BX, b+12(FP)")
	a.p("MOVL CX, c+16(FP)")
	a.p("MOVL DX, d+20(FP)")
	a.p("RET")
	return a.buf.Bytes()
}
