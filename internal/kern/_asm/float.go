package main

import (
	"fmt"
	"strings"
)

// Products of float formats. A tile is the results of some panels for some tokens:
// one register, or several where registers hold less than 16 float32, for each
// panel and token, to which each column adds the product of the panel's vector and the
// token's broadcast value. Each result thus is one chain of fused multiply-adds in
// column order, whatever the tile.
//
// Tokens' rows are often a multiple of 4096 bytes apart, so that the same column of
// each lies in the same set of an 8-way first level cache: no tile takes more than 8.

// Of tiled activations (kern.LayTiles) a kernel reads one stream of bytes, whatever the stride of their rows, and its
// tiles have TileTokens tokens.

// tileTokens is kern.TileTokens.
const tileTokens = 6

// tiledAhead is how many bytes ahead panels are prefetched with tiled activations: they come from the second cache.
const tiledAhead = 1024

// A shape is the greatest tile for a number of panels taken together. It is used
// where that many panels are left and the call has no more than maxT tokens.
type shape struct{ panels, tokens, maxT int }

const anyT = 0

// At least as many chains as cover the latency of a multiply-add are under way where
// panels and tokens allow: 4 cycles times one 512-bit or two narrower ones in a cycle.
// Loads of the same column of several tokens in one cycle collide where the tokens'
// rows are a multiple of 4096 bytes apart. AVX2 needs more than one load in a
// cycle; there 2 panels × 3 tokens lose a sixth by it, 1 × 6 a half (Zen 4).
var (
	shapesAVX2   = []shape{{4, 1, 1}, {2, 3, anyT}, {1, 5, anyT}}
	shapesAVX512 = []shape{{4, 6, anyT}, {2, 8, anyT}, {1, 8, anyT}}
	shapesNEON   = []shape{{4, 1, 1}, {2, 2, 2}, {1, 5, anyT}}

	tiledAVX2   = []shape{{1, tileTokens, anyT}}
	tiledAVX512 = []shape{{4, tileTokens, anyT}, {2, tileTokens, anyT}, {1, tileTokens, anyT}}
	tiledNEON   = []shape{{1, tileTokens, anyT}}
)

// A weights is a format of panels. A step is what one unit of a panel takes: a column
// or a pair of columns.
type weights struct {
	name, doc       string
	panelBytes      int // of a panel for a step
	activationBytes int // of a token for a step
}

var (
	weightsF32 = weights{"floatF32", "Products of F32 panels.", 64, 4}
	// weightsTiled is weightsF32 with tiled activations. Its name is that of its labels: it is a part of floatF32.
	weightsTiled = weights{"tiled", "", 64, 4 * tileTokens}
	weightsF16   = weights{"floatF16", "Products of F16 panels.", 32, 4}
	weightsBF16  = weights{"floatBF16", "Products of BF16 panels.", 64, 8}
	// weightsDot has bfloat16 activations.
	weightsDot = weights{"productBF16", "Products of BF16 panels with bfloat16 activations.", 64, 4}
)

// floatX86 writes the kernel of w.
type floatX86 struct {
	*isa
	w weights
}

// floatsX86 writes floatF32, floatF16, floatBF16 and, with AVX-512, productBF16.
func floatsX86(a *isa) []byte {
	shapes, tiled, all := shapesAVX2, tiledAVX2, []weights{weightsF32, weightsF16, weightsBF16}
	if a.avx512() {
		shapes, tiled, all = shapesAVX512, tiledAVX512, append(all, weightsDot)
	}
	for _, w := range all {
		floatX86{a, w}.function(shapes, tiled)
	}
	return a.buf.Bytes()
}

// Registers: AX the argument, SI walks over the panels, R8 and R9 one and three times
// PanelBytes, R10 walks over the activations, R11, R12, R13, R15 one, three, five
// and seven times AStride, BX tokens left, DI the tile's results, DX walks over results,
// CX counts columns.
// On the stack: the first panel taken together and its results, panels left and
// the tile's activations.
func (g floatX86) function(shapes, tiled []shape) {
	fmt.Fprintf(&g.buf, "// %s\n", g.w.doc)
	fmt.Fprintf(&g.buf, "TEXT ·%s%s(SB), NOSPLIT, $32-8\n", g.w.name, g.name)
	g.p("MOVQ p+0(FP), AX")
	g.p("MOVQ %d(AX), R8", pPanelBytes)
	g.p("LEAQ (R8)(R8*2), R9")
	g.p("MOVQ %d(AX), R11", pAStride)
	g.p("LEAQ (R11)(R11*2), R12")
	g.p("LEAQ (R11)(R11*4), R13")
	g.p("LEAQ (R12)(R11*4), R15")
	g.p("MOVQ %d(AX), DX", pW)
	g.p("MOVQ DX, w-8(SP)")
	g.p("MOVQ %d(AX), DX", pOut)
	g.p("MOVQ DX, out-16(SP)")
	g.p("MOVQ %d(AX), DX", pPanels)
	g.p("MOVQ DX, left-24(SP)")
	if g.w == weightsBF16 && g.avx512() {
		g.p("VPTERNLOGD $0xff, Z31, Z31, Z31")
		g.p("VPSLLD $16, Z31, Z31 // the odd columns")
	}
	if g.w == weightsF32 {
		g.p("CMPQ %d(AX), $0", pTiled)
		g.p("JNE %s", weightsTiled.name)
	}
	g.panels(shapes)
	if g.w == weightsF32 {
		g.place(weightsTiled.name)
		floatX86{g.isa, weightsTiled}.panels(tiled)
	}
	fmt.Fprintln(&g.buf)
}

// mark returns a label of the kernel's.
func (g floatX86) mark(format string, args ...any) string {
	if g.w == weightsTiled {
		return g.w.name + fmt.Sprintf(format, args...)
	}
	return fmt.Sprintf(format, args...)
}

// panels writes the loops over panels, and returns.
func (g floatX86) panels(shapes []shape) {
	for _, s := range shapes {
		next := g.mark("below%d", s.panels)
		g.place(g.mark("panels%d", s.panels))
		g.p("CMPQ left-24(SP), $%d", s.panels)
		g.p("JLT %s", next)
		if s.maxT != anyT {
			g.p("CMPQ %d(AX), $%d", pT, s.maxT)
			g.p("JGT %s", next)
		}
		g.p("MOVQ %d(AX), BX", pT)
		g.p("MOVQ %d(AX), DX", pA)
		g.p("MOVQ DX, a-32(SP)")
		g.p("MOVQ out-16(SP), DI")
		for n := s.tokens; n > 0; n-- {
			g.tile(s, n)
		}
		g.place(g.mark("done%d", s.panels))
		g.p("MOVQ R8, DX")
		if s.panels > 1 {
			g.p("SHLQ $%d, DX", s.panels/2)
		}
		g.p("ADDQ DX, w-8(SP)")
		g.p("ADDQ $%d, out-16(SP)", 64*s.panels)
		g.p("SUBQ $%d, left-24(SP)", s.panels)
		g.p("JMP %s", g.mark("panels%d", s.panels))
		g.place(next)
	}
	g.p("VZEROUPPER")
	g.p("RET")
}

// tile writes the tile of n tokens: a loop over tiles if n is the shape's, else what
// takes the last n tokens.
func (g floatX86) tile(s shape, n int) {
	parts, width := 16/g.lanes, 4*g.lanes // registers of a panel's column, bytes of a register
	vectors := s.panels * parts
	label := g.mark("p%dt%d", s.panels, n)

	g.place(label)
	g.p("CMPQ BX, $%d", n)
	other := g.mark("p%dt%d", s.panels, n-1)
	if n == 1 {
		other = g.mark("done%d", s.panels)
	}
	g.p("JLT %s", other)
	g.p("MOVQ w-8(SP), SI")
	g.p("MOVQ a-32(SP), R10")
	g.p("CMPQ %d(AX), $0", pAdd)
	g.p("JEQ %szero", label)
	g.p("MOVQ DI, DX")
	for t := range n {
		for v := range vectors {
			g.p("VMOVUPS %d(DX), %s", width*v, g.v(v*n+t))
		}
		if t < n-1 {
			g.p("ADDQ %d(AX), DX", pOutStride)
		}
	}
	g.p("JMP %sstart", label)
	g.place(label + "zero")
	for t := range n {
		for v := range vectors {
			g.zero(v*n + t)
		}
	}
	g.place(label + "start")
	g.p("MOVQ %d(AX), CX", pBlocks)
	if g.w == weightsBF16 || g.w == weightsDot {
		g.p("SHRQ $1, CX")
	}
	if n == 1 && g.w != weightsTiled {
		g.prefetching(s.panels, label)
	}
	if g.w == weightsTiled {
		g.p("PCALIGN $64")
	}
	g.place(label + "loop")
	if g.w == weightsTiled {
		g.stepTiled(s.panels, parts, n)
	} else {
		g.step(s.panels, parts, n)
	}
	g.p("ADDQ $%d, SI", g.w.panelBytes)
	g.p("ADDQ $%d, R10", g.w.activationBytes)
	g.p("DECQ CX")
	g.p("JNZ %sloop", label)
	g.place(label + "store")
	for t := range n {
		for v := range vectors {
			g.p("VMOVUPS %s, %d(DI)", g.v(v*n+t), width*v)
		}
		g.p("ADDQ %d(AX), DI", pOutStride)
	}
	if g.w == weightsTiled {
		g.p("ADDQ R11, a-32(SP)")
	} else {
		g.p("IMUL3Q $%d, R11, DX", n)
		g.p("ADDQ DX, a-32(SP)")
	}
	g.p("SUBQ $%d, BX", n)
	g.p("JMP %s", label)
}

// prefetching writes the loops of one token's tile that prefetch; R14 walks ahead of SI.
func (g floatX86) prefetching(panels int, label string) {
	for i, h := range hints[1:] {
		g.p("CMPQ %d(AX), $%d", pHint, i+1)
		g.p("JNE %snot%s", label, h.name)
		g.p("MOVQ %d(AX), R14", pAhead)
		g.p("ADDQ SI, R14")
		g.place(label + h.name)
		for p := range panels {
			g.p("%s %s", h.x86, strings.Replace(g.panel(p, 0), "SI", "R14", 1))
		}
		g.step(panels, 16/g.lanes, 1)
		g.p("ADDQ $%d, SI", g.w.panelBytes)
		g.p("ADDQ $%d, R14", g.w.panelBytes)
		g.p("ADDQ $%d, R10", g.w.activationBytes)
		g.p("DECQ CX")
		g.p("JNZ %s%s", label, h.name)
		g.p("JMP %sstore", label)
		g.place(label + "not" + h.name)
	}
}

// token returns the address of token t's value at off.
func (g floatX86) token(t, off int) string {
	index := []string{"", "(R11*1)", "(R11*2)", "(R12*1)", "(R11*4)", "(R13*1)", "(R12*2)", "(R15*1)"}
	return fmt.Sprintf("%d(R10)%s", off, index[t])
}

// panel returns the address of panel p's bytes at off.
func (g floatX86) panel(p, off int) string {
	return fmt.Sprintf("%d(SI)%s", off, []string{"", "(R8*1)", "(R8*2)", "(R9*1)"}[p])
}

// step adds the products of one step to the n tokens' results. Registers hold these
// first, then the tokens' values, then one panel's vector.
func (g floatX86) step(panels, parts, n int) {
	value := panels * parts * n
	vector := value + n
	columns := 1
	if g.w == weightsBF16 {
		columns = 2
	}
	for c := range columns {
		for t := range n {
			g.p("VBROADCASTSS %s, %s", g.token(t, 4*c), g.v(value+t))
		}
		for v := range panels * parts {
			g.load(g.panel(v/parts, v%parts*g.w.panelBytes/parts), c, g.v(vector))
			for t := range n {
				g.fma(value+t, vector, v*n+t)
			}
		}
	}
}

// stepTiled is step for tiled activations, which is also for as many vectors and tokens as leave few registers: these
// hold the results first, then all vectors, then a few tokens' values in turns.
func (g floatX86) stepTiled(panels, parts, n int) {
	vectors := panels * parts
	vector, value := vectors*n, vectors*(n+1)
	for v := range vectors {
		g.load(g.panel(v/parts, v%parts*g.w.panelBytes/parts), 0, g.v(vector+v))
	}
	values := min(n, g.registers()-value)
	g.p("PREFETCHT0 (R10)(R11*1) // the next tile")
	for p := range panels {
		g.p("PREFETCHT0 %s", g.panel(p, tiledAhead))
	}
	for t := range n {
		g.p("VBROADCASTSS %d(R10), %s", 4*t, g.v(value+t%values))
		for v := range vectors {
			g.fma(value+t%values, vector+v, v*n+t)
		}
	}
}

// registers returns the number of vector registers.
func (g floatX86) registers() int {
	if g.avx512() {
		return 32
	}
	return 16
}

// load loads a register with column c of a step.
func (g floatX86) load(addr string, c int, d string) {
	switch {
	case g.w == weightsF16:
		g.p("VCVTPH2PS %s, %s", addr, d)
	case g.w == weightsBF16 && g.avx512() && c == 0:
		g.p("VPSLLD $16, %s, %s", addr, d)
	case g.w == weightsBF16 && g.avx512():
		g.p("VPANDD %s, Z31, %s", addr, d)
	default:
		g.p("VMOVUPS %s, %s", addr, d)
		if g.w == weightsBF16 {
			if c == 1 {
				g.p("VPSRLD $16, %s, %s", d, d)
			}
			g.p("VPSLLD $16, %s, %s", d, d)
		}
	}
}

// fma adds a·b to d.
func (g floatX86) fma(a, b, d int) {
	if g.w != weightsDot {
		g.p("VFMADD231PS %s, %s, %s", g.v(a), g.v(b), g.v(d))
		return
	}
	// EVEX.512.F3.0F38.W0 52 /r: inverted high bits of the register numbers d, b and a.
	not := func(r, bit int) int { return ^r >> bit & 1 }
	p0 := not(d, 3)<<7 | not(a, 4)<<6 | not(a, 3)<<5 | not(d, 4)<<4 | 2
	p1 := (^b&15)<<3 | 4 | 2
	p2 := 2<<5 | not(b, 4)<<3
	modrm := 3<<6 | d&7<<3 | a&7
	g.p("BYTE $0x62; BYTE $0x%02x; BYTE $0x%02x; BYTE $0x%02x; BYTE $0x52; BYTE $0x%02x "+
		"// vdpbf16ps zmm%d, zmm%d, zmm%d", p0, p1, p2, modrm, d, b, a)
}

// floatsNEON writes floatF32, floatF16 and floatBF16.
//
// Registers: R0 the argument, R1 the first panel taken together, R2 its results, R3 panels
// left, R4 PanelBytes, R5 tokens left, R6 the tile's activations, R7 AStride, R8
// OutStride, R9 Blocks, R10 the tile's results, R11 counts columns, R12… walk over
// the panels, R19… over the tokens' activations, R24 and R25 over results.
// V0… are the results, V20… the tokens' values, V25… the panel's vectors, V31 selects
// the odd columns of BF16.
func floatsNEON() []byte {
	a := &isa{name: "NEON", goarch: "arm64", lanes: 4}
	for _, w := range []weights{weightsF32, weightsF16, weightsBF16} {
		g := floatNEON{a, w}
		g.text(w.doc, w.name, 8)
		g.p("MOVD p+0(FP), R0")
		g.p("MOVD %d(R0), R1", pW)
		g.p("MOVD %d(R0), R2", pOut)
		g.p("MOVD %d(R0), R3", pPanels)
		g.p("MOVD %d(R0), R4", pPanelBytes)
		g.p("MOVD %d(R0), R7", pAStride)
		g.p("MOVD %d(R0), R8", pOutStride)
		g.p("MOVD %d(R0), R9", pBlocks)
		if g.w == weightsBF16 {
			g.p("VMOVI $255, V31.B16")
			g.p("VSHL $16, V31.S4, V31.S4")
		}
		if g.w == weightsF32 {
			g.p("MOVD %d(R0), R11", pTiled)
			g.p("CBNZ R11, %s", weightsTiled.name)
		}
		g.panels(shapesNEON)
		if g.w == weightsF32 {
			g.place(weightsTiled.name)
			floatNEON{a, weightsTiled}.panels(tiledNEON)
		}
		fmt.Fprintln(&g.buf)
	}
	return a.buf.Bytes()
}

// floatNEON writes the kernel of w.
type floatNEON struct {
	*isa
	w weights
}

// mark returns a label of the kernel's.
func (g floatNEON) mark(format string, args ...any) string { return floatX86(g).mark(format, args...) }

// panels writes the loops over panels, and returns.
func (g floatNEON) panels(shapes []shape) {
	for _, s := range shapes {
		next := g.mark("below%d", s.panels)
		g.place(g.mark("panels%d", s.panels))
		g.p("CMP $%d, R3", s.panels)
		g.p("BLT %s", next)
		g.p("MOVD %d(R0), R5", pT)
		if s.maxT != anyT {
			g.p("CMP $%d, R5", s.maxT)
			g.p("BGT %s", next)
		}
		g.p("MOVD %d(R0), R6", pA)
		g.p("MOVD R2, R10")
		for n := s.tokens; n > 0; n-- {
			g.tile(s, n)
		}
		g.place(g.mark("done%d", s.panels))
		for range s.panels {
			g.p("ADD R4, R1")
		}
		g.p("ADD $%d, R2", 64*s.panels)
		g.p("SUB $%d, R3", s.panels)
		g.p("B %s", g.mark("panels%d", s.panels))
		g.place(next)
	}
	g.p("RET")
}

// four names four registers from r on.
func four(r int) string { return fmt.Sprintf("[V%d.S4, V%d.S4, V%d.S4, V%d.S4]", r, r+1, r+2, r+3) }

// tile writes the tile of n tokens: a loop over tiles if n is the shape's, else what
// takes the last n tokens.
func (g floatNEON) tile(s shape, n int) {
	acc := func(panel, t int) int { return 4 * (n*panel + t) } // the first of 4
	label := g.mark("p%dt%d", s.panels, n)
	g.place(label)
	g.p("CMP $%d, R5", n)
	other := g.mark("p%dt%d", s.panels, n-1)
	if n == 1 {
		other = g.mark("done%d", s.panels)
	}
	g.p("BLT %s", other)
	g.p("MOVD R1, R12")
	for i := 1; i < s.panels; i++ {
		g.p("ADD R4, R%d, R%d", 11+i, 12+i)
	}
	if g.w == weightsTiled {
		g.p("MOVD R6, R19")
		g.p("ADD R7, R6")
	} else {
		for t := range n {
			g.p("MOVD R6, R%d", 19+t)
			g.p("ADD R7, R6")
		}
	}
	for r := range acc(s.panels, 0) {
		g.p("VEOR V%d.B16, V%d.B16, V%d.B16", r, r, r)
	}
	g.p("MOVD %d(R0), R11", pAdd)
	g.p("CBZ R11, %sstart", label)
	g.p("MOVD R10, R25")
	for t := range n {
		g.p("MOVD R25, R24")
		for panel := range s.panels {
			g.p("VLD1.P 64(R24), %s", four(acc(panel, t)))
		}
		g.p("ADD R8, R25")
	}

	g.place(label + "start")
	if g.w == weightsTiled {
		g.tiledLoop(n, label)
	} else {
		g.loop(s, n, label)
	}

	g.place(label + "store")
	for t := range n {
		g.p("MOVD R10, R24")
		for panel := range s.panels {
			g.p("VST1.P %s, 64(R24)", four(acc(panel, t)))
		}
		g.p("ADD R8, R10")
	}
	g.p("SUB $%d, R5", n)
	g.p("B %s", label)
}

// tiledLoop writes the loop over the columns of a panel and of a tile of n tokens. V24… are the panel's vector, V28 and
// V29 the tokens' values.
func (g floatNEON) tiledLoop(n int, label string) {
	const vectors, values = 24, 28
	g.p("MOVD R9, R11")
	g.place(label + "loop")
	g.p("VLD1.P 64(R12), %s", four(vectors))
	g.p("VLD1.P 16(R19), [V%d.S4]", values)
	g.p("VLD1.P 8(R19), [V%d.S2]", values+1)
	for q := range 4 {
		for t := range n {
			g.fmla(4*t+q, vectors+q, values+t/4, t%4)
		}
	}
	g.p("SUBS $1, R11, R11")
	g.p("BNE %sloop", label)
}

// loop writes the loops over the columns of some panels and n tokens, four at a time and the last ones.
func (g floatNEON) loop(s shape, n int, label string) {
	g.p("LSR $2, R9, R11")
	g.p("CBZ R11, %srest", label)
	g.place(label + "loop")
	if n == 1 {
		g.prefetch(s.panels, label)
	}
	for t := range n {
		g.p("VLD1.P 16(R%d), [V%d.S4]", 19+t, 20+t)
	}
	for c := 0; c < 4; c += g.columns() {
		g.step(s.panels, n, c)
	}
	g.p("SUBS $1, R11, R11")
	g.p("BNE %sloop", label)

	g.place(label + "rest") // 1 to 3 columns
	g.p("ANDS $3, R9, R11")
	g.p("BEQ %sstore", label)
	g.place(label + "last")
	for t := range n {
		if g.columns() == 1 {
			g.p("FMOVS.P 4(R%d), F%d", 19+t, 20+t)
		} else {
			g.p("FMOVD.P 8(R%d), F%d", 19+t, 20+t)
		}
	}
	g.step(s.panels, n, 0)
	g.p("SUBS $%d, R11, R11", g.columns())
	g.p("BNE %slast", label)
}

// prefetch prefetches as much as a turn of the loop for one token reads of each panel.
func (g floatNEON) prefetch(panels int, label string) {
	g.p("MOVD %d(R0), R24", pHint)
	g.p("CBZ R24, %sfetched", label)
	g.p("MOVD %d(R0), R25", pAhead)
	for i, h := range hints[1:] {
		g.p("CMP $%d, R24", i+1)
		g.p("BNE %snot%s", label, h.name)
		for p := range panels {
			g.p("ADD R25, R%d, R26", 12+p)
			for off := 0; off < g.w.panelBytes*4/g.columns(); off += 64 {
				g.p("PRFM %d(R26), %s", off, h.arm64)
			}
		}
		g.place(label + "not" + h.name)
	}
	g.place(label + "fetched")
}

// columns returns the number of columns in a step.
func (g floatNEON) columns() int { return g.w.activationBytes / 4 }

// step adds the products of one step; the tokens' values are in lane c, of BF16's odd
// column in the next.
func (g floatNEON) step(panels, n, c int) {
	const values, vectors, spare, odd = 20, 25, 29, 31
	for panel := range panels {
		multiply := func(quarter, vector, lane int) {
			for t := range n {
				g.fmla(4*(n*panel+t)+quarter, vector, values+t, lane)
			}
		}
		switch g.w {
		case weightsF32:
			g.p("VLD1.P 64(R%d), %s", 12+panel, four(vectors))
			for q := range 4 {
				multiply(q, vectors+q, c)
			}
		case weightsF16:
			g.p("VLD1.P 32(R%d), [V%d.H8, V%d.H8]", 12+panel, vectors, vectors+1)
			for q := range 4 {
				from, to := vectors+q/2, vectors+2+q
				if q%2 == 0 {
					g.word(0x0e217800|uint32(from)<<5|uint32(to), fmt.Sprintf("fcvtl v%d.4s, v%d.4h", to, from))
				} else {
					g.word(0x4e217800|uint32(from)<<5|uint32(to), fmt.Sprintf("fcvtl2 v%d.4s, v%d.8h", to, from))
				}
			}
			for q := range 4 {
				multiply(q, vectors+2+q, c)
			}
		case weightsBF16:
			g.p("VLD1.P 64(R%d), %s", 12+panel, four(vectors))
			for q := range 4 {
				g.p("VSHL $16, V%d.S4, V%d.S4", vectors+q, spare+q%2)
				multiply(q, spare+q%2, c)
			}
			for q := range 4 {
				g.p("VAND V%d.B16, V%d.B16, V%d.B16", odd, vectors+q, vectors+q)
				multiply(q, vectors+q, c+1)
			}
		}
	}
}

// fmla adds n·m[lane] to d.
func (g floatNEON) fmla(d, n, m, lane int) {
	g.word(0x4f801000|uint32(lane&1)<<21|uint32(m)<<16|uint32(lane>>1)<<11|uint32(n)<<5|uint32(d),
		fmt.Sprintf("fmla v%d.4s, v%d.4s, v%d.s[%d]", d, n, m, lane))
}
