package main

import (
	"bytes"
	"fmt"
	"math/bits"
	"strings"
)

// A writer collects the lines of a file.
type writer struct {
	buf    bytes.Buffer
	labels int // of the current function
}

// p writes an instruction.
func (w *writer) p(format string, args ...any) { fmt.Fprintf(&w.buf, "\t"+format+"\n", args...) }

// label returns a new label of the current function, place puts one here.
func (w *writer) label() string {
	w.labels++
	return fmt.Sprintf("l%d", w.labels)
}

func (w *writer) place(l string) { fmt.Fprintf(&w.buf, "%s:\n", l) }

// An isa turns the vector operations below into one instruction set's assembly.
// A vector register holds lanes float32; register numbers 0…14 are free to use,
// 15 belongs to the mask on instruction sets that keep masks in vectors.
//
// Operand order is destination first, as in the manuals; the emitters reverse it
// where Go's assembler has it the other way round.
type isa struct {
	name   string // suffix of file and function names
	goarch string
	lanes  int
	writer
}

const maskReg = 15

// Pointers and counters, by use.
const (
	tile  = iota // the *Tile argument, never changed
	px           // walks over Tile.X, row by row
	pw           // walks over Tile.W
	pl           // walks over Tile.L
	psrc         // walks over Tile.Src
	pdst         // walks over Tile.Codes
	pstep        // walks over Tile.Steps
	cRow         // row counter
	cStep        // candidate counter
	cLane        // lane chunk counter
	lane         // byte offset of the lane chunk
	tmp
)

var (
	amd64Regs = [...]string{"AX", "SI", "DI", "R8", "R9", "R10", "R11", "CX", "DX", "BX", "R12", "R13"}
	arm64Regs = [...]string{"R0", "R1", "R2", "R3", "R4", "R5", "R6", "R7", "R8", "R9", "R10", "R11"}
)

func (a *isa) neon() bool   { return a.name == "NEON" }
func (a *isa) avx512() bool { return a.name == "AVX512" }

func (a *isa) r(i int) string {
	if a.neon() {
		return arm64Regs[i]
	}
	return amd64Regs[i]
}

func (a *isa) v(i int) string {
	switch a.name {
	case "NEON":
		return fmt.Sprintf("V%d", i)
	case "AVX512":
		return fmt.Sprintf("Z%d", i)
	}
	return fmt.Sprintf("Y%d", i)
}

// word emits a NEON instruction that Go's assembler does not know.
func (a *isa) word(op uint32, text string) { a.p("WORD $0x%08x // %s", op, text) }

func (a *isa) neon3(op uint32, name string, d, n, m int) {
	a.word(op|uint32(m)<<16|uint32(n)<<5|uint32(d), fmt.Sprintf("%s v%d.4s, v%d.4s, v%d.4s", name, d, n, m))
}

func (a *isa) neon2(op uint32, name string, d, n int) {
	a.word(op|uint32(n)<<5|uint32(d), fmt.Sprintf("%s v%d.4s, v%d.4s", name, d, n))
}

// function writes the Go function name(t *Tile), whose argument is in the first pointer register while body runs.
func (a *isa) function(name, doc string, body func()) {
	a.labels = 0
	for _, line := range strings.Split(doc, "\n") {
		fmt.Fprintf(&a.buf, "// %s\n", line)
	}
	fmt.Fprintf(&a.buf, "TEXT ·%s%s(SB), NOSPLIT, $0-8\n", name, a.name)
	if a.neon() {
		a.p("MOVD t+0(FP), R0")
	} else {
		a.p("MOVQ t+0(FP), AX")
	}
	body()
	if !a.neon() {
		a.p("VZEROUPPER")
	}
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

// Integer side.

func (a *isa) loadInt(r, off int) {
	if a.neon() {
		a.p("MOVD %d(R0), %s", off, a.r(r))
	} else {
		a.p("MOVQ %d(AX), %s", off, a.r(r))
	}
}

func (a *isa) setInt(r, v int) {
	if a.neon() {
		a.p("MOVD $%d, %s", v, a.r(r))
	} else {
		a.p("MOVQ $%d, %s", v, a.r(r))
	}
}

func (a *isa) addImm(r, v int) {
	if a.neon() {
		a.p("ADD $%d, %s", v, a.r(r))
	} else {
		a.p("ADDQ $%d, %s", v, a.r(r))
	}
}

func (a *isa) copyInt(r, from int) {
	if a.neon() {
		a.p("MOVD %s, %s", a.r(from), a.r(r))
	} else {
		a.p("MOVQ %s, %s", a.r(from), a.r(r))
	}
}

// unlessZero runs body unless r is 0.
func (a *isa) unlessZero(r int, body func()) {
	l := a.label()
	if a.neon() {
		a.p("CBZ %s, %s", a.r(r), l)
	} else {
		a.p("TESTQ %s, %s", a.r(r), a.r(r))
		a.p("JZ %s", l)
	}
	body()
	a.place(l)
}

// shiftRight divides r by the power of two by.
func (a *isa) shiftRight(r, by int) {
	n := bits.TrailingZeros(uint(by))
	if a.neon() {
		a.p("LSR $%d, %s, %s", n, a.r(r), a.r(r))
	} else {
		a.p("SHRQ $%d, %s", n, a.r(r))
	}
}

// point sets r to Tile + off + the lane chunk's offset.
func (a *isa) point(r, off int) {
	if a.neon() {
		a.p("ADD $%d, R0, %s", off, a.r(r))
		a.p("ADD %s, %s", a.r(lane), a.r(r))
	} else {
		a.p("LEAQ %d(AX)(%s*1), %s", off, a.r(lane), a.r(r))
	}
}

// pointAt sets r to Tile + off.
func (a *isa) pointAt(r, off int) {
	if a.neon() {
		a.p("ADD $%d, R0, %s", off, a.r(r))
	} else {
		a.p("LEAQ %d(AX), %s", off, a.r(r))
	}
}

// loop runs body while counting r down to zero; r must be at least 1.
func (a *isa) loop(r int, body func()) {
	l := a.label()
	a.place(l)
	body()
	if a.neon() {
		a.p("SUBS $1, %s, %s", a.r(r), a.r(r))
		a.p("BNE %s", l)
	} else {
		a.p("DECQ %s", a.r(r))
		a.p("JNZ %s", l)
	}
}

// eachChunk runs body for each chunk of a tile's 16 lanes.
func (a *isa) eachChunk(body func()) {
	a.setInt(lane, 0)
	a.setInt(cLane, Groups/a.lanes)
	a.loop(cLane, func() {
		body()
		a.addImm(lane, 4*a.lanes)
	})
}

// eachRow runs body for each of the tile's N rows and then moves the pointers to the next row.
func (a *isa) eachRow(pointers []int, body func()) {
	a.loadInt(cRow, offN)
	a.loop(cRow, func() {
		body()
		for _, r := range pointers {
			a.addImm(r, 4*Groups)
		}
	})
}

// Vector side.

func (a *isa) load(d, base, off int) {
	if a.neon() {
		a.p("FMOVQ %d(%s), F%d", off, a.r(base), d)
	} else {
		a.p("VMOVUPS %d(%s), %s", off, a.r(base), a.v(d))
	}
}

func (a *isa) store(s, base, off int) {
	if a.neon() {
		a.p("FMOVQ F%d, %d(%s)", s, off, a.r(base))
	} else {
		a.p("VMOVUPS %s, %d(%s)", a.v(s), off, a.r(base))
	}
}

// bcast loads one float32 into every lane.
func (a *isa) bcast(d, base, off int) {
	if a.neon() {
		a.p("FMOVS %d(%s), F%d", off, a.r(base), d)
		a.p("VDUP V%d.S[0], V%d.S4", d, d)
	} else {
		a.p("VBROADCASTSS %d(%s), %s", off, a.r(base), a.v(d))
	}
}

func (a *isa) zero(d int) {
	switch {
	case a.neon():
		a.p("VEOR V%d.B16, V%d.B16, V%d.B16", d, d, d)
	case a.avx512():
		a.p("VPXORD Z%d, Z%d, Z%d", d, d, d)
	default:
		a.p("VXORPS Y%d, Y%d, Y%d", d, d, d)
	}
}

func (a *isa) move(d, s int) {
	if a.neon() {
		a.p("VORR V%d.B16, V%d.B16, V%d.B16", s, s, d)
	} else {
		a.p("VMOVAPS %s, %s", a.v(s), a.v(d))
	}
}

func (a *isa) bin(neonOp uint32, neonName, x86 string, d, n, m int) {
	if a.neon() {
		a.neon3(neonOp, neonName, d, n, m)
	} else {
		a.p("%s %s, %s, %s", x86, a.v(m), a.v(n), a.v(d))
	}
}

func (a *isa) add(d, n, m int) { a.bin(0x4e20d400, "fadd", "VADDPS", d, n, m) }
func (a *isa) sub(d, n, m int) { a.bin(0x4ea0d400, "fsub", "VSUBPS", d, n, m) } // d = n - m
func (a *isa) mul(d, n, m int) { a.bin(0x6e20dc00, "fmul", "VMULPS", d, n, m) }
func (a *isa) div(d, n, m int) { a.bin(0x6e20fc00, "fdiv", "VDIVPS", d, n, m) } // d = n / m
func (a *isa) max(d, n, m int) { a.bin(0x4e20f400, "fmax", "VMAXPS", d, n, m) }
func (a *isa) min(d, n, m int) { a.bin(0x4ea0f400, "fmin", "VMINPS", d, n, m) }

// addMem adds the vector at base+off to d, through register t where loads are separate.
func (a *isa) addMem(d, base, off, t int) { a.binMem(a.add, "VADDPS", d, base, off, t) }

// mulMem multiplies d by the vector at base+off.
func (a *isa) mulMem(d, base, off, t int) { a.binMem(a.mul, "VMULPS", d, base, off, t) }

// mulBcast sets d to n times one float32 in memory. Where d is n, register 14 is scratch space.
func (a *isa) mulBcast(d, n, base, off int) {
	if a.avx512() {
		a.p("VMULPS.BCST %d(%s), %s, %s", off, a.r(base), a.v(n), a.v(d))
		return
	}
	t := d
	if d == n {
		t = 14
	}
	a.bcast(t, base, off)
	a.mul(d, n, t)
}

// subMem subtracts the vector at base+off from d.
func (a *isa) subMem(d, base, off, t int) { a.binMem(a.sub, "VSUBPS", d, base, off, t) }

func (a *isa) binMem(op func(d, n, m int), x86 string, d, base, off, t int) {
	if a.neon() {
		a.load(t, base, off)
		op(d, d, t)
	} else {
		a.p("%s %d(%s), %s, %s", x86, off, a.r(base), a.v(d), a.v(d))
	}
}

func (a *isa) sqrt(d, n int) {
	if a.neon() {
		a.neon2(0x6ea1f800, "fsqrt", d, n)
	} else {
		a.p("VSQRTPS %s, %s", a.v(n), a.v(d))
	}
}

// round rounds to the nearest integer, halves to even.
func (a *isa) round(d, n int) { a.roundMode(d, n, 0x4e218800, "frintn", 0) }

// floor rounds towards minus infinity.
func (a *isa) floor(d, n int) { a.roundMode(d, n, 0x4e219800, "frintm", 1) }

func (a *isa) roundMode(d, n int, neonOp uint32, neonName string, imm int) {
	switch {
	case a.neon():
		a.neon2(neonOp, neonName, d, n)
	case a.avx512():
		a.p("VRNDSCALEPS $%d, %s, %s", imm, a.v(n), a.v(d))
	default:
		a.p("VROUNDPS $%d, %s, %s", imm, a.v(n), a.v(d))
	}
}

// abs clears the sign; the register signs holds -0 in every lane (unused on NEON).
func (a *isa) abs(d, n, signs int) {
	switch {
	case a.neon():
		a.neon2(0x4ea0f800, "fabs", d, n)
	case a.avx512():
		a.p("VPANDND %s, %s, %s", a.v(n), a.v(signs), a.v(d))
	default:
		a.p("VANDNPS %s, %s, %s", a.v(n), a.v(signs), a.v(d))
	}
}

// less sets the mask to n < m, lane by lane. A NaN on either side gives false.
func (a *isa) less(n, m int) {
	switch {
	case a.neon():
		a.neon3(0x6ea0e400, "fcmgt", maskReg, m, n)
	case a.avx512():
		a.p("VCMPPS $17, %s, %s, K1", a.v(m), a.v(n))
	default:
		a.p("VCMPPS $17, %s, %s, Y15", a.v(m), a.v(n))
	}
}

// andLess narrows the mask to lanes where n < m too; t is scratch space.
func (a *isa) andLess(n, m, t int) {
	switch {
	case a.neon():
		a.neon3(0x6ea0e400, "fcmgt", t, m, n)
		a.p("VAND V%d.B16, V15.B16, V15.B16", t)
	case a.avx512():
		a.p("VCMPPS $17, %s, %s, K1, K1", a.v(m), a.v(n))
	default:
		a.p("VCMPPS $17, %s, %s, %s", a.v(m), a.v(n), a.v(t))
		a.p("VANDPS %s, Y15, Y15", a.v(t))
	}
}

// blend copies s to d where the mask is set.
func (a *isa) blend(d, s int) {
	switch {
	case a.neon():
		a.word(0x6ea01c00|uint32(maskReg)<<16|uint32(s)<<5|uint32(d),
			fmt.Sprintf("bit v%d.16b, v%d.16b, v15.16b", d, s))
	case a.avx512():
		a.p("VMOVAPS %s, K1, %s", a.v(s), a.v(d))
	default:
		a.p("VBLENDVPS Y15, %s, %s, %s", a.v(s), a.v(d), a.v(d))
	}
}

// addWhereLessEq adds s to d in the lanes where n <= m; t is scratch space.
func (a *isa) addWhereLessEq(d, s, n, m, t int) {
	switch {
	case a.neon():
		a.neon3(0x6e20e400, "fcmge", t, m, n)
		a.p("VAND V%d.B16, V%d.B16, V%d.B16", s, t, t)
		a.add(d, d, t)
	case a.avx512():
		a.p("VCMPPS $18, %s, %s, K1", a.v(m), a.v(n))
		a.p("VADDPS %s, %s, K1, %s", a.v(s), a.v(d), a.v(d))
	default:
		a.p("VCMPPS $18, %s, %s, %s", a.v(m), a.v(n), a.v(t))
		a.p("VANDPS %s, %s, %s", a.v(s), a.v(t), a.v(t))
		a.add(d, d, t)
	}
}

// toInt converts to int32; the values must be integers.
func (a *isa) toInt(d, n int) {
	if a.neon() {
		a.neon2(0x4e21a800, "fcvtns", d, n)
	} else {
		a.p("VCVTPS2DQ %s, %s", a.v(n), a.v(d))
	}
}
