package main

import "fmt"

// transpose writes func transpose(dst, src *[512]float32, n int): 16 groups of n
// elements become n rows of 16 lanes, in square blocks.
func (a *isa) transpose() {
	fmt.Fprintf(&a.buf, "// transpose turns 16 groups of n (16 or 32) elements into n rows of 16 lanes.\n")
	fmt.Fprintf(&a.buf, "TEXT ·transpose%s(SB), NOSPLIT, $0-24\n", a.name)
	if a.neon() {
		a.transposeNEON()
	} else {
		a.transposeAVX2()
	}
}

// 8×8 blocks. DI dst, SI src, R8 bytes of a group, R9 column block counter, R10 counter of 8 groups.
func (a *isa) transposeAVX2() {
	a.p("MOVQ dst+0(FP), DI")
	a.p("MOVQ src+8(FP), SI")
	a.p("MOVQ n+16(FP), R8")
	a.p("SHLQ $2, R8")
	a.p("LEAQ (R8)(R8*2), R12 // 3 groups")
	a.p("MOVQ $2, R10")
	a.place("groups")
	a.p("MOVQ n+16(FP), R9")
	a.p("SHRQ $3, R9")
	a.p("MOVQ SI, R11")
	a.p("MOVQ DI, BX")
	a.place("block")
	a.p("LEAQ (R11)(R8*4), R13")
	for i := range 8 {
		base := []string{"R11", "R13"}[i/4]
		a.p("VMOVUPS %s, Y%d", "("+base+")"+[]string{"", "(R8*1)", "(R8*2)", "(R12*1)"}[i%4], i)
	}
	for i := 0; i < 8; i += 2 {
		a.p("VUNPCKLPS Y%d, Y%d, Y%d", i+1, i, 8+i)
		a.p("VUNPCKHPS Y%d, Y%d, Y%d", i+1, i, 9+i)
	}
	for i := 0; i < 8; i += 4 {
		a.p("VSHUFPS $0x44, Y%d, Y%d, Y%d", 10+i, 8+i, i)
		a.p("VSHUFPS $0xEE, Y%d, Y%d, Y%d", 10+i, 8+i, i+1)
		a.p("VSHUFPS $0x44, Y%d, Y%d, Y%d", 11+i, 9+i, i+2)
		a.p("VSHUFPS $0xEE, Y%d, Y%d, Y%d", 11+i, 9+i, i+3)
	}
	for i := range 8 {
		a.p("VPERM2F128 $0x%02x, Y%d, Y%d, Y8", []int{0x20, 0x31}[i/4], 4+i%4, i%4)
		a.p("VMOVUPS Y8, %d(BX)", 64*i)
	}
	a.p("ADDQ $32, R11")
	a.p("ADDQ $512, BX")
	a.p("DECQ R9")
	a.p("JNZ block")
	a.p("LEAQ (SI)(R8*8), SI")
	a.p("ADDQ $32, DI")
	a.p("DECQ R10")
	a.p("JNZ groups")
	a.p("VZEROUPPER")
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

// 4×4 blocks. R0 dst, R1 src, R3 bytes of a group, R4 column block counter, R5 counter of 4 groups.
func (a *isa) transposeNEON() {
	trn := func(op uint32, name string, d, n, m int) {
		a.word(op|uint32(m)<<16|uint32(n)<<5|uint32(d), fmt.Sprintf("%s v%d, v%d, v%d", name, d, n, m))
	}
	a.p("MOVD dst+0(FP), R0")
	a.p("MOVD src+8(FP), R1")
	a.p("MOVD n+16(FP), R2")
	a.p("LSL $2, R2, R3")
	a.p("MOVD $4, R5")
	a.place("groups")
	a.p("LSR $2, R2, R4")
	a.p("MOVD R1, R6")
	a.p("MOVD R0, R7")
	a.place("block")
	a.p("MOVD R6, R8")
	for i := range 4 {
		a.p("FMOVQ (R8), F%d", i)
		a.p("ADD R3, R8")
	}
	trn(0x4e802800, "trn1.4s", 4, 0, 1)
	trn(0x4e806800, "trn2.4s", 5, 0, 1)
	trn(0x4e802800, "trn1.4s", 6, 2, 3)
	trn(0x4e806800, "trn2.4s", 7, 2, 3)
	trn(0x4ec02800, "trn1.2d", 0, 4, 6)
	trn(0x4ec02800, "trn1.2d", 1, 5, 7)
	trn(0x4ec06800, "trn2.2d", 2, 4, 6)
	trn(0x4ec06800, "trn2.2d", 3, 5, 7)
	for i := range 4 {
		a.p("FMOVQ F%d, %d(R7)", i, 64*i)
	}
	a.p("ADD $16, R6")
	a.p("ADD $256, R7")
	a.p("SUBS $1, R4, R4")
	a.p("BNE block")
	a.p("ADD R3<<2, R1, R1")
	a.p("ADD $16, R0")
	a.p("SUBS $1, R5, R5")
	a.p("BNE groups")
	a.p("RET")
	fmt.Fprintln(&a.buf)
}
