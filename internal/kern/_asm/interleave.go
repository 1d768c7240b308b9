package main

import (
	"fmt"
	"math/bits"
)

// interleaves writes the kernels that copy units of 2 or 4 bytes from 16 rows to a
// panel. A step takes 16 bytes of each row, transposes them in registers, and
// writes 256 bytes of the panel. What whole steps leave of a run is copied by one
// that begins earlier: it writes some bytes again, and reads nothing beyond the run.
// Shorter runs, in practice the scales at a block's ends, are copied one by one.
func interleaves(a *isa) []byte {
	for _, size := range []int{2, 4} {
		doc := fmt.Sprintf("interleave%d copies runs of units of %d bytes from 16 rows to a panel.", size, size)
		a.text(doc, fmt.Sprintf("interleave%d", size), 24)
		if a.neon() {
			a.interleaveNEON(size)
		} else {
			a.interleaveAVX2(size)
		}
		a.p("RET")
		fmt.Fprintln(&a.buf)
	}
	return a.buf.Bytes()
}

// SI, R10, R11, R12: rows 0, 4, 8, 12 at the step; DI: the panel there. R8, R9:
// bytes of 1 and 3 rows. BX: units of a run; CX: units left after the step;
// R13: blocks left; R14: scratch. AX, DX: bytes from a run's end to the next run in a row and in
// the panel.
func (a *isa) interleaveAVX2(size int) {
	units := 16 / size // of a step
	advance := func(row, panel string) {
		for _, r := range []string{"SI", "R10", "R11", "R12"} {
			a.p("ADDQ %s, %s", row, r)
		}
		a.p("ADDQ %s, DI", panel)
	}
	a.p("MOVQ panel+0(FP), DI")
	a.p("MOVQ rows+8(FP), SI")
	a.p("MOVQ u+16(FP), DX")
	a.p("MOVQ %d(DX), R8", unitsRowBytes)
	a.p("MOVQ %d(DX), BX", unitsN)
	a.p("MOVQ %d(DX), R13", unitsBlocks)
	a.p("MOVQ %d(DX), AX", unitsBlockBytes)
	a.p("LEAQ (R8)(R8*2), R9")
	a.p("LEAQ (SI)(R8*4), R10")
	a.p("LEAQ (SI)(R8*8), R11")
	a.p("LEAQ (R10)(R8*8), R12")
	a.p("MOVQ BX, DX")
	a.p("SHLQ $%d, DX", bits.TrailingZeros(uint(size)))
	a.p("SUBQ DX, AX")
	a.p("MOVQ AX, DX")
	a.p("SHLQ $4, DX")
	a.place("block")
	a.p("LEAQ -%d(BX), CX", units)
	a.p("CMPQ BX, $%d", units)
	a.p("JLT short")
	a.place("step")
	if size == 2 {
		a.words8x8AVX2()
	} else {
		a.dwords4x4AVX2("SI", "R10", 0)
		a.dwords4x4AVX2("R11", "R12", 32)
	}
	advance("$16", "$256")
	a.p("SUBQ $%d, CX", units)
	a.p("JGE step")
	a.p("CMPQ CX, $-%d", units)
	a.p("JEQ next")
	a.p("SHLQ $%d, CX // back, so that the last step ends with the run", bits.TrailingZeros(uint(size)))
	a.p("MOVQ CX, R14")
	a.p("SHLQ $4, R14")
	advance("CX", "R14")
	a.p("XORL CX, CX")
	a.p("JMP step")
	a.place("short")
	a.p("ADDQ $%d, CX", units)
	a.place("unit")
	load, store := "MOVWLZX", "MOVW"
	if size == 4 {
		load, store = "MOVL", "MOVL"
	}
	for row := range 16 {
		a.p("%s "+rowAVX2[row%4]+", R14", load, []string{"SI", "R10", "R11", "R12"}[row/4])
		a.p("%s R14, %d(DI)", store, size*row)
	}
	advance(fmt.Sprintf("$%d", size), fmt.Sprintf("$%d", 16*size))
	a.p("DECQ CX")
	a.p("JNZ unit")
	a.place("next")
	advance("AX", "DX")
	a.p("DECQ R13")
	a.p("JNZ block")
	a.p("VZEROUPPER")
}

// rowAVX2 are the addresses of four rows, given the first.
var rowAVX2 = [...]string{"(%s)", "(%s)(R8*1)", "(%s)(R8*2)", "(%s)(R9*1)"}

// rowsAVX2 loads row i of those at base into the low half of Yi, and row i of those at
// upper into the high half, i in 0…3; registers begin at first.
func (a *isa) rowsAVX2(first int, base, upper string) {
	for i, at := range rowAVX2 {
		a.p("VMOVDQU "+at+", X%d", base, first+i)
		a.p("VINSERTI128 $1, "+at+", Y%d, Y%d", upper, first+i, first+i)
	}
}

// unpack interleaves the lower and upper halves of the lanes of n and m.
func (a *isa) unpack(kind string, n, m, low, high int) {
	a.p("VPUNPCKL%s Y%d, Y%d, Y%d", kind, m, n, low)
	a.p("VPUNPCKH%s Y%d, Y%d, Y%d", kind, m, n, high)
}

// dwords4x4AVX2 transposes 4 rows at base and 4 at upper, in the halves of registers.
func (a *isa) dwords4x4AVX2(base, upper string, panelAt int) {
	a.rowsAVX2(0, base, upper)
	a.unpack("DQ", 0, 1, 4, 5)
	a.unpack("DQ", 2, 3, 6, 7)
	a.unpack("QDQ", 4, 6, 0, 1)
	a.unpack("QDQ", 5, 7, 2, 3)
	for i := range 4 {
		a.p("VMOVDQU Y%d, %d(DI)", i, 64*i+panelAt)
	}
}

// words8x8AVX2 transposes rows 0…7 and rows 8…15 in the halves of registers.
func (a *isa) words8x8AVX2() {
	a.rowsAVX2(0, "SI", "R11")
	a.rowsAVX2(4, "R10", "R12")
	for i := range 4 {
		a.unpack("WD", 2*i, 2*i+1, 8+2*i, 9+2*i)
	}
	for i := range 2 { // rows 4·i…4·i+3: columns 2·k and 2·k+1 in register 4·i+k
		a.unpack("DQ", 8+4*i, 10+4*i, 4*i, 4*i+1)
		a.unpack("DQ", 9+4*i, 11+4*i, 4*i+2, 4*i+3)
	}
	for k := range 4 {
		a.unpack("QDQ", k, 4+k, 8+2*k, 9+2*k)
	}
	for i := range 8 {
		a.p("VMOVDQU Y%d, %d(DI)", 8+i, 32*i)
	}
}

// R1, R0: row 0 and the panel at the step. R3: bytes of a row. R5: units of a run;
// R6: units left after the step; R7: blocks left. R8, R9: bytes from a run's end to
// the next run in a row and in the panel.
func (a *isa) interleaveNEON(size int) {
	units := 16 / size // of a step
	log := bits.TrailingZeros(uint(size))
	a.p("MOVD panel+0(FP), R0")
	a.p("MOVD rows+8(FP), R1")
	a.p("MOVD u+16(FP), R2")
	a.p("MOVD %d(R2), R3", unitsRowBytes)
	a.p("MOVD %d(R2), R5", unitsN)
	a.p("MOVD %d(R2), R7", unitsBlocks)
	a.p("MOVD %d(R2), R8", unitsBlockBytes)
	a.p("SUB R5<<%d, R8, R8", log)
	a.p("LSL $4, R8, R9")
	a.place("block")
	a.p("SUBS $%d, R5, R6", units)
	a.p("BLT short")
	a.place("step")
	a.p("MOVD R1, R10")
	if size == 2 {
		a.words8x8NEON(0)
		a.words8x8NEON(16)
	} else {
		for i := range 4 {
			a.dwords4x4NEON(16 * i)
		}
	}
	a.p("ADD $16, R1")
	a.p("ADD $256, R0")
	a.p("SUBS $%d, R6, R6", units)
	a.p("BGE step")
	a.p("CMN $%d, R6", units)
	a.p("BEQ next")
	a.p("LSL $%d, R6, R6 // back, so that the last step ends with the run", log)
	a.p("ADD R6, R1")
	a.p("ADD R6<<4, R0, R0")
	a.p("MOVD $0, R6")
	a.p("JMP step")
	a.place("short")
	a.p("ADD $%d, R6", units)
	a.place("unit")
	a.p("MOVD R1, R10")
	load, store := "MOVHU", "MOVH"
	if size == 4 {
		load, store = "MOVWU", "MOVW"
	}
	for row := range 16 {
		a.p("%s (R10), R11", load)
		a.p("%s R11, %d(R0)", store, size*row)
		a.p("ADD R3, R10")
	}
	a.p("ADD $%d, R1", size)
	a.p("ADD $%d, R0", 16*size)
	a.p("SUBS $1, R6, R6")
	a.p("BNE unit")
	a.place("next")
	a.p("ADD R8, R1")
	a.p("ADD R9, R0")
	a.p("SUBS $1, R7, R7")
	a.p("BNE block")
}

// trn sets even to the even elements of n and m in turn, odd to the odd ones.
func (a *isa) trn(kind string, n, m, even, odd int) {
	a.p("VTRN1 V%d.%s, V%d.%s, V%d.%s", m, kind, n, kind, even, kind)
	a.p("VTRN2 V%d.%s, V%d.%s, V%d.%s", m, kind, n, kind, odd, kind)
}

// rowsNEON loads 16 bytes of each of n rows at R10 into V0 and up and moves on.
func (a *isa) rowsNEON(n int) {
	for i := range n {
		a.p("FMOVQ (R10), F%d", i)
		a.p("ADD R3, R10")
	}
}

func (a *isa) dwords4x4NEON(panelAt int) {
	a.rowsNEON(4)
	a.trn("S4", 0, 1, 4, 5)
	a.trn("S4", 2, 3, 6, 7)
	a.trn("D2", 4, 6, 0, 2)
	a.trn("D2", 5, 7, 1, 3)
	for i := range 4 {
		a.p("FMOVQ F%d, %d(R0)", i, 64*i+panelAt)
	}
}

func (a *isa) words8x8NEON(panelAt int) {
	a.rowsNEON(8)
	for i := range 4 { // 8+2·i: even columns of rows 2·i and 2·i+1, 9+2·i: odd ones
		a.trn("H8", 2*i, 2*i+1, 8+2*i, 9+2*i)
	}
	for i := range 2 { // 16+4·i+k: columns k and k+4 of rows 4·i…4·i+3
		a.trn("S4", 8+4*i, 10+4*i, 16+4*i, 18+4*i)
		a.trn("S4", 9+4*i, 11+4*i, 17+4*i, 19+4*i)
	}
	for k := range 4 {
		a.trn("D2", 16+k, 20+k, k, k+4)
	}
	for i := range 8 {
		a.p("FMOVQ F%d, %d(R0)", i, 32*i+panelAt)
	}
}
