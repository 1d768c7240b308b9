package main

import "fmt"

// linear writes the kernels that run over plain slices. Both take lengths that
// are multiples of 16; Go handles the rest.
func (a *isa) linear() {
	if a.neon() {
		a.linearNEON()
	} else {
		a.linearAVX2()
	}
}

func (a *isa) text(doc, name string, args int) {
	fmt.Fprintf(&a.buf, "// %s\n", doc)
	fmt.Fprintf(&a.buf, "TEXT ·%s%s(SB), NOSPLIT, $0-%d\n", name, a.name, args)
}

const (
	expandDoc = "expandBF16 shifts n 16-bit values into the upper halves of float32."
	belowDoc  = "below reports whether |x[i]| < limit for all n values; a NaN is not."
)

func (a *isa) linearAVX2() {
	a.text(expandDoc, "expandBF16", 24)
	a.p("MOVQ dst+0(FP), DI")
	a.p("MOVQ src+8(FP), SI")
	a.p("MOVQ n+16(FP), CX")
	a.place("loop")
	a.p("VPMOVZXWD (SI), Y0")
	a.p("VPMOVZXWD 16(SI), Y1")
	a.p("VPSLLD $16, Y0, Y0")
	a.p("VPSLLD $16, Y1, Y1")
	a.p("VMOVDQU Y0, (DI)")
	a.p("VMOVDQU Y1, 32(DI)")
	a.p("ADDQ $32, SI")
	a.p("ADDQ $64, DI")
	a.p("SUBQ $16, CX")
	a.p("JNZ loop")
	a.p("VZEROUPPER")
	a.p("RET")
	fmt.Fprintln(&a.buf)

	a.text(belowDoc, "below", 25)
	a.p("MOVQ x+0(FP), SI")
	a.p("MOVQ n+8(FP), CX")
	a.p("VBROADCASTSS limit+16(FP), Y2")
	a.p("VPCMPEQD Y3, Y3, Y3")
	a.p("VPSRLD $1, Y3, Y4 // clears the sign")
	a.place("loop")
	a.p("VANDPS (SI), Y4, Y0")
	a.p("VANDPS 32(SI), Y4, Y1")
	a.p("VCMPPS $17, Y2, Y0, Y0")
	a.p("VCMPPS $17, Y2, Y1, Y1")
	a.p("VANDPS Y0, Y3, Y3")
	a.p("VANDPS Y1, Y3, Y3")
	a.p("ADDQ $64, SI")
	a.p("SUBQ $16, CX")
	a.p("JNZ loop")
	a.p("VMOVMSKPS Y3, AX")
	a.p("CMPL AX, $255")
	a.p("SETEQ ret+24(FP)")
	a.p("VZEROUPPER")
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

func (a *isa) linearNEON() {
	a.text(expandDoc, "expandBF16", 24)
	a.p("MOVD dst+0(FP), R0")
	a.p("MOVD src+8(FP), R1")
	a.p("MOVD n+16(FP), R2")
	a.place("loop")
	a.p("VLD1.P 32(R1), [V0.H8, V1.H8]")
	a.word(0x2f10a400|0<<5|2, "uxtl v2.4s, v0.4h")
	a.word(0x6f10a400|0<<5|3, "uxtl2 v3.4s, v0.8h")
	a.word(0x2f10a400|1<<5|4, "uxtl v4.4s, v1.4h")
	a.word(0x6f10a400|1<<5|5, "uxtl2 v5.4s, v1.8h")
	for i := 2; i < 6; i++ {
		a.p("VSHL $16, V%d.S4, V%d.S4", i, i)
	}
	a.p("VST1.P [V2.S4, V3.S4, V4.S4, V5.S4], 64(R0)")
	a.p("SUBS $16, R2, R2")
	a.p("BNE loop")
	a.p("RET")
	fmt.Fprintln(&a.buf)

	a.text(belowDoc, "below", 25)
	a.p("MOVD x+0(FP), R0")
	a.p("MOVD n+8(FP), R1")
	a.p("FMOVS limit+16(FP), F16")
	a.p("VDUP V16.S[0], V16.S4")
	a.p("VCMEQ V17.B16, V17.B16, V17.B16")
	a.place("loop")
	a.p("VLD1.P 64(R0), [V0.S4, V1.S4, V2.S4, V3.S4]")
	for i := range 4 {
		a.neon2(0x4ea0f800, "fabs", i, i)
		a.neon3(0x6ea0e400, "fcmgt", i, 16, i)
		a.p("VAND V%d.B16, V17.B16, V17.B16", i)
	}
	a.p("SUBS $16, R1, R1")
	a.p("BNE loop")
	a.word(0x6eb1a800|17<<5|17, "uminv s17, v17.4s")
	a.p("VMOV V17.S[0], R0")
	a.p("CMP $0, R0")
	a.p("CSET NE, R0")
	a.p("MOVB R0, ret+24(FP)")
	a.p("RET")
	fmt.Fprintln(&a.buf)
}
