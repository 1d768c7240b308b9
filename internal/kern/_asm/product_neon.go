package main

import (
	"fmt"
	"math"
	"math/bits"
)

// The arm64 kernels of the products with quantized weights, in three tiers.
//
// A vector holds one unit of four rows, a quarter of the panel's 16: four columns of
// each row in a dword. DotProd's SDOT multiplies them with four activations, which it
// takes from a lane of another vector, and adds the products to the rows' int32. NEON,
// for CPUs without SDOT, does that with widening multiplications. I8MM's USMMLA
// multiplies two rows with two tokens, eight columns of each.
//
// A single token takes the direct way (rows): codes are unpacked in registers and
// used at once. With more tokens, a super-block, or up to eight blocks of 32, is
// unpacked into Product.Scratch (codes) and multiplied with all of them, a tile of
// tokens at a time (tiles). NEON takes the direct way for one token after the other.
// The scales of a super-block go through Scratch in both (heads). Every way unpacks by
// the same recipe, which a neonFormat gives; tiles serve a whole family of formats.
//
// SDOT and SMULL want signed codes. Those of IQ4 and Q8_0 are taken without the 128
// that the definition adds, those of Q5_0 and Q5_1 less 16; bias times the sum of the
// activations makes up for it. USMMLA takes the codes as they are defined.
//
// Integer registers:
//
//	R0 *Product  R1 panel, at the block  R2 activations, at the block  R3 Scratch
//	R4 blocks left  R5 T  R6 activations of the tile  R7 Out  R8 tokens left  R9 OutStride
//	R10…R15 streams of the block, or tokens  R19 codes  R20 scales  R21 counter
//	R22 offset of a part of the panel's rows in 64 bytes  R23 Scratch + R22
//	R24 blocks of 32 in Scratch  R25, R26 temporary
//
// Vector registers are given out by get.
type neonProduct struct {
	isa
	tier string
	free uint32 // bit i says that Vi is free
}

// neonFormat is the recipe for a format.
//
// The codes of a block come in planes: a step takes one unit of each stream and yields
// four columns of each plane. Planes lie span columns apart; span/4 steps make an iteration.
type neonFormat struct {
	name string
	layout
	planes, span int
	group        int // columns that share a scale
	largest      int // greatest magnitude of a code as it is unpacked
	bias         int // what is to be added to it

	streams []stream
	// setup sets constants and state for a block and returns their registers.
	setup func(g *neonProduct) []int
	step  func(g *neonProduct, s *step)
	// next changes the state for the next iteration, where there is any.
	next func(g *neonProduct, c []int)

	// m is what d is multiplied with to make m; 0 if the block holds m (blocks of
	// 32) or -m, and minima other than the scales, which are then unsigned.
	m float32
	// scales unpacks the scales of eight rows, see heads. Nil for blocks of 32.
	scales func(g *neonProduct)
	table  bool // codes are those of Product.Table, and d is a float32, the first unit
}

// stream is a sequence of units of a block, which begins advance units further in
// every iteration.
type stream struct{ first, advance int }

func (f *neonFormat) super() bool  { return f.scales != nil }
func (f *neonFormat) columns() int { return f.planes * f.span } // in an iteration

// step is a step of unpacking: units k, k+1, … k+units-1 of streams, for some quarters.
type step struct {
	g               *neonProduct
	f               *neonFormat
	k               int
	units, quarters int
	paired          bool // two units become pairs of rows, eight columns of each
	pointers        []string
	offsets         []int
	c               []int // what setup returned
	kept            []int // what the recipe keeps from a step to the next
	start           []int // a register that the sums of the direct way start with, or none; it becomes one of them
	// sink takes the codes of a plane, unit by unit, quarter by quarter. It may change
	// the registers.
	sink func(plane int, codes []int)
}

// load loads the step's units of stream i.
func (s *step) load(i int) []int {
	r := s.g.gets(s.units * s.quarters)
	for u := range s.units {
		s.g.loads(r[u*s.quarters:][:s.quarters], s.pointers[i], s.offsets[i]+64*(s.k+u))
	}
	if s.paired {
		return s.g.pair(r)
	}
	return r
}

// The layout of Scratch. For a super-block: codes (see codes); scales as int32, the 16
// rows of a group side by side; minima, four groups of a row in a dword, as in panels;
// d and m. For blocks of 32: codes, each block's d and m.
const (
	scratchScales = 4096
	scratchMins   = 5120
	scratchD      = 5376 // d and m of 16 rows, 128 bytes for each block
	scratchWaste  = 6400 // takes the results of a token that is there to make a pair
)

func productsNEON() []byte {
	g := &neonProduct{isa: isa{name: "NEON"}}
	g.tables()
	g.clear()
	for _, groups := range []int{8, 16} {
		g.tile256DotProd(groups)
		g.tile256I8MM(groups)
	}
	g.tile32DotProd(false)
	g.tile32DotProd(true)
	g.tile32I8MM()
	for i := range neonFormats {
		f := &neonFormats[i]
		f.layout = layouts[f.name]
		g.heads(f)
		for _, g.tier = range []string{"NEON", "DotProd"} {
			g.rows(f)
		}
		for _, g.tier = range []string{"DotProd", "I8MM"} {
			g.codes(f)
		}
		for _, g.tier = range []string{"NEON", "DotProd", "I8MM"} {
			g.product(f)
		}
	}
	return g.buf.Bytes()
}

func (g *neonProduct) begin(name, frame, doc string) {
	g.free = math.MaxUint32
	fmt.Fprintf(&g.buf, "// %s\nTEXT %s(SB), %s\n", doc, name, frame)
}

func (g *neonProduct) end() {
	g.p("RET")
	fmt.Fprintln(&g.buf)
}

const (
	leaf    = "NOSPLIT|NOFRAME, $0-0"
	calling = "NOSPLIT, $0-0"
)

// get gives out a vector register, gets n of them; put takes them back.
func (g *neonProduct) get() int {
	r := bits.TrailingZeros32(g.free)
	if r == 32 {
		panic("no vector register is free")
	}
	g.free &^= 1 << r
	return r
}

func (g *neonProduct) gets(n int) []int {
	r := make([]int, n)
	for i := range r {
		r[i] = g.get()
	}
	return r
}

func (g *neonProduct) grid(n, m int) [][]int {
	r := make([][]int, n)
	for i := range r {
		r[i] = g.gets(m)
	}
	return r
}

func (g *neonProduct) put(regs ...int) {
	for _, r := range regs {
		if g.free>>r&1 != 0 {
			panic("a register is given back twice")
		}
		g.free |= 1 << r
	}
}

// Instructions, destination first.

func (g *neonProduct) op(name, arrangement string, d, n, m int) {
	g.p("%s V%d.%s, V%d.%s, V%d.%s", name, m, arrangement, n, arrangement, d, arrangement)
}

func (g *neonProduct) and(d, n, m int) { g.op("VAND", "B16", d, n, m) }

// bit copies to d the bits of n that m has set.
func (g *neonProduct) bit(d, n, m int) { g.op("VBIT", "B16", d, n, m) }

// imm is one of the shifts VSHL, VUSHR, VSLI, VSRI.
func (g *neonProduct) imm(name, arrangement string, d, n, by int) {
	g.p("%s $%d, V%d.%s, V%d.%s", name, by, n, arrangement, d, arrangement)
}

func (g *neonProduct) tbl(d, table, index int) {
	g.p("VTBL V%d.B16, [V%d.B16], V%d.B16", index, table, d)
}
func (g *neonProduct) set(d, v int) { g.p("VMOVI $%d, V%d.B16", v&255, d) }

func (g *neonProduct) zeros(rows ...[]int) {
	for _, row := range rows {
		for _, r := range row {
			g.set(r, 0)
		}
	}
}

// set32 sets all lanes to v.
func (g *neonProduct) set32(d int, v uint32) {
	g.p("MOVD $%#x, R26", v)
	g.p("VDUP R26, V%d.S4", d)
}

func (g *neonProduct) word3(op uint32, name, da, na, ma string, d, n, m int) {
	g.word(op|uint32(m)<<16|uint32(n)<<5|uint32(d),
		fmt.Sprintf("%s v%d.%s, v%d.%s, v%d.%s", name, d, da, n, na, m, ma))
}

func (g *neonProduct) word2(op uint32, name, da, na string, d, n int) {
	g.word(op|uint32(n)<<5|uint32(d), fmt.Sprintf("%s v%d.%s, v%d.%s", name, d, da, n, na))
}

// element is an instruction whose last operand is a lane of 32 bits.
func (g *neonProduct) element(op uint32, name, na, ma string, d, n, m, lane int) {
	g.word(op|uint32(lane&1)<<21|uint32(lane>>1)<<11|uint32(m)<<16|uint32(n)<<5|uint32(d),
		fmt.Sprintf("%s v%d.4s, v%d.%s, v%d.%s[%d]", name, d, n, na, m, ma, lane))
}

func (g *neonProduct) sdotLane(d, n, m, lane int) {
	g.element(0x4f80e000, "sdot", "16b", "4b", d, n, m, lane)
}
func (g *neonProduct) sdot(d, n, m int) {
	g.word3(0x4e809400, "sdot", "4s", "16b", "16b", d, n, m)
}
func (g *neonProduct) usmmla(d, n, m int) {
	g.word3(0x4e80ac00, "usmmla", "4s", "16b", "16b", d, n, m)
}
func (g *neonProduct) smmla(d, n, m int) {
	g.word3(0x4e80a400, "smmla", "4s", "16b", "16b", d, n, m)
}
func (g *neonProduct) mla(d, n, m int) { g.neon3(0x4ea09400, "mla", d, n, m) }
func (g *neonProduct) fmulLane(d, n, m, lane int) {
	g.element(0x4f809000, "fmul", "4s", "s", d, n, m, lane)
}
func (g *neonProduct) fmlaLane(d, n, m, lane int) {
	g.element(0x4f801000, "fmla", "4s", "s", d, n, m, lane)
}
func (g *neonProduct) fmla(d, n, m int)  { g.op("VFMLA", "S4", d, n, m) }
func (g *neonProduct) fneg(d, n int)     { g.neon2(0x6ea0f800, "fneg", d, n) }
func (g *neonProduct) neg(d, n int)      { g.neon2(0x6ea0b800, "neg", d, n) }
func (g *neonProduct) not(d, n int)      { g.word2(0x6e205800, "mvn", "16b", "16b", d, n) }
func (g *neonProduct) ushl(d, n, by int) { g.word3(0x6e204400, "ushl", "16b", "16b", "16b", d, n, by) }

func (g *neonProduct) toFloat(rows ...[]int) {
	for _, row := range rows {
		for _, r := range row {
			g.neon2(0x4e21d800, "scvtf", r, r)
		}
	}
}

// loads loads consecutive vectors.
func (g *neonProduct) loads(regs []int, base string, off int) {
	for len(regs) > 1 && off <= 1008 {
		g.p("FLDPQ %d(%s), (F%d, F%d)", off, base, regs[0], regs[1])
		regs, off = regs[2:], off+32
	}
	for i, r := range regs {
		g.p("FMOVQ %d(%s), F%d", off+16*i, base, r)
	}
}

// loadNext loads a vector and moves the pointer past it.
func (g *neonProduct) loadNext(reg int, pointer string) { g.p("FMOVQ.P 16(%s), F%d", pointer, reg) }

// stores is the inverse of loads.
func (g *neonProduct) stores(regs []int, base string, off int) {
	for len(regs) > 1 && off <= 1008 {
		g.p("FSTPQ (F%d, F%d), %d(%s)", regs[0], regs[1], off, base)
		regs, off = regs[2:], off+32
	}
	for i, r := range regs {
		g.p("FMOVQ F%d, %d(%s)", r, off+16*i, base)
	}
}

// f16 loads float16 and converts them to float32, four to a register.
func (g *neonProduct) f16(regs []int, base string, off int) {
	t := g.get()
	for i := 0; i < len(regs); i += 2 {
		g.loads([]int{t}, base, off+8*i)
		g.word2(0x0e217800, "fcvtl", "4s", "4h", regs[i], t)
		g.word2(0x4e217800, "fcvtl2", "4s", "8h", regs[i+1], t)
	}
	g.put(t)
}

// down counts r down and branches to l unless it is 0.
func (g *neonProduct) down(r, l string) {
	g.p("SUBS $1, %s, %s", r, r)
	g.p("BNE %s", l)
}

// move sets pointer d to base + off.
func (g *neonProduct) move(d, base string, off int) {
	if off == 0 {
		g.p("MOVD %s, %s", base, d)
	} else {
		g.p("ADD $%d, %s, %s", off, base, d)
	}
}

// sum adds products of codes and activations to the int32 of four rows.
//
// DotProd does that in one register. NEON adds products in 16 bits, in a register for
// each two rows, as long as they fit, limit times; then it adds pairs of them to int32.
type sum struct {
	reg       [2]int // int32; DotProd uses the first
	wide      [2]int // NEON's 16 bits; the same as reg if all products fit
	n, limit  int
	collected bool
}

// newSum returns a sum of n products of each column with a code of at most largest.
func (g *neonProduct) newSum(n, largest int) *sum {
	s := &sum{limit: math.MaxInt16 / (largest * 127)}
	s.reg[0] = g.get()
	if g.tier == "DotProd" {
		g.set(s.reg[0], 0)
		return s
	}
	s.reg[1] = g.get()
	s.wide = s.reg
	if n > s.limit {
		s.wide = [2]int{g.get(), g.get()}
	}
	return s
}

// dot adds the products with four activations. NEON wants them in every lane of act.
func (g *neonProduct) dot(s *sum, codes, act, lane int) {
	if g.tier == "DotProd" {
		g.sdotLane(s.reg[0], codes, act, lane)
		return
	}
	op, name := uint32(0x0e208000), "smlal"
	if s.n == 0 {
		op, name = 0x0e20c000, "smull"
	}
	g.word3(op, name, "8h", "8b", "8b", s.wide[0], codes, act)
	g.word3(op|1<<30, name+"2", "8h", "16b", "16b", s.wide[1], codes, act)
	if s.n++; s.n == s.limit {
		g.collect(s)
	}
}

// collect adds NEON's 16 bits to int32.
func (g *neonProduct) collect(s *sum) {
	if s.n == 0 {
		return
	}
	op, name := uint32(0x4e606800), "sadalp"
	if !s.collected {
		op, name = 0x4e602800, "saddlp"
	}
	for i := range 2 {
		g.word2(op, name, "4s", "8h", s.reg[i], s.wide[i])
	}
	s.n, s.collected = 0, true
}

// timesByte multiplies the sum with 256.
func (g *neonProduct) timesByte(s *sum) {
	regs := s.reg[:1]
	if g.tier != "DotProd" {
		g.collect(s)
		regs = s.reg[:]
	}
	for _, r := range regs {
		g.imm("VSHL", "S4", r, r, 8)
	}
}

// total ends the sum and returns the register that holds it.
func (g *neonProduct) total(s *sum) int {
	if g.tier == "DotProd" {
		return s.reg[0]
	}
	g.collect(s)
	g.op("VADDP", "S4", s.reg[0], s.reg[0], s.reg[1])
	g.put(s.reg[1])
	if s.wide != s.reg {
		g.put(s.wide[:]...)
	}
	return s.reg[0]
}

// lane calls use with what dot wants for a lane of act.
func (g *neonProduct) lane(act, lane int, use func(act, lane int)) {
	if g.tier == "DotProd" {
		use(act, lane)
		return
	}
	t := g.get()
	g.p("VDUP V%d.S[%d], V%d.S4", act, lane, t)
	use(t, 0)
	g.put(t)
}

// quarters returns how many quarters of the panel the direct way takes at a time.
func (g *neonProduct) quarters(f *neonFormat) int {
	n := 4
	if f.planes > 2 {
		n = 2
	}
	if g.tier != "DotProd" {
		n /= 2
	}
	return n
}

func (g *neonProduct) clear() {
	g.begin("clear<>", leaf, "clear sets all results to 0.")
	z := g.get()
	g.set(z, 0)
	g.p("MOVD %d(R0), R9", pOutStride)
	g.p("MOVD R5, R8")
	g.place("token")
	g.stores([]int{z, z, z, z}, "R7", 0)
	g.p("ADD R9, R7")
	g.down("R8", "token")
	g.end()
}

// product writes the kernel of a format.
func (g *neonProduct) product(f *neonFormat) {
	fewest, hasFew := g.fewest(f)
	if g.tier != "NEON" {
		g.many(f)
		for n := fewest; hasFew && n <= 4; n++ {
			g.few(f, n)
		}
	}
	name := "product" + f.name + g.tier
	g.begin("·"+name, "NOSPLIT, $0-8", name+" multiplies a panel with T tokens, or panels with one.")
	g.p("MOVD p+0(FP), R0")
	g.p("MOVD (R0), R7") // pOut
	g.p("MOVD %d(R0), R1", pW)
	g.p("MOVD %d(R0), R2", pA)
	g.p("MOVD %d(R0), R5", pT)
	if g.tier == "I8MM" { // whose pairs do not pay before there are two
		g.p("CMP $4, R5")
		g.p("BGE many")
		g.p("B ·product%sDotProd(SB)", f.name)
		g.place("many")
		if hasFew {
			g.p("BNE more")
			g.p("B %s(SB)", g.fewName(f, 4))
			g.place("more")
		}
		g.p("B many%sI8MM<>(SB)", f.name)
		fmt.Fprintln(&g.buf)
		return
	}
	g.p("CMP $1, R5")
	g.p("BNE many")
	g.p("MOVD %d(R0), R5", pPanels)
	g.place("panel")
	g.p("CALL row%s%s<>(SB)", f.name, g.tier)
	g.p("ADD $64, R7")
	g.down("R5", "panel")
	g.p("RET")
	g.place("many")
	if g.tier == "DotProd" {
		for n := fewest; hasFew && n <= 4; n++ {
			g.p("CMP $%d, R5", n)
			g.p("BNE not%d", n)
			g.p("CALL %s(SB)", g.fewName(f, n))
			g.p("RET")
			g.place(fmt.Sprintf("not%d", n))
		}
		g.p("CALL many%sDotProd<>(SB)", f.name)
		g.end()
		return
	}
	g.p("MOVD %d(R0), R9", pOutStride)
	g.place("token")
	g.p("MOVD %d(R0), R1", pW)
	g.p("CALL row%sNEON<>(SB)", f.name)
	g.p("ADD R9, R7")
	if f.super() {
		g.p("ADD $%d, R2", a256Bytes)
	} else {
		g.p("ADD $%d, R2", a32Bytes)
	}
	g.down("R5", "token")
	g.end()
}

// many writes the subroutine that takes the way through Scratch.
func (g *neonProduct) many(f *neonFormat) {
	g.begin("many"+f.name+g.tier+"<>", calling, "A panel times T tokens.")
	g.p("CALL clear<>(SB)")
	g.p("MOVD %d(R0), R3", pScratch)
	g.p("MOVD %d(R0), R4", pBlocks)
	g.place("block")
	if !f.super() {
		g.p("MOVD $8, R24")
		g.p("CMP R24, R4")
		g.p("CSEL LT, R4, R24, R24")
	}
	g.p("CALL head%s<>(SB)", f.name)
	g.p("CALL codes%s%s<>(SB)", f.name, g.tier)
	tile := "tile32"
	switch {
	case f.super():
		tile = fmt.Sprintf("tile256x%d", 256/f.group)
		if g.tier == "DotProd" {
			g.set32(31, uint32(f.bias))
		}
	case f.bias != 0 && g.tier == "DotProd":
		tile += "Bias"
		g.set(31, -f.bias)
	}
	g.p("CALL %s%s<>(SB)", tile, g.tier)
	g.p("MOVD %d(R0), R26", pAStride)
	if f.super() {
		g.p("ADD R26, R2")
		g.p("ADD $%d, R1", f.bytes())
		g.down("R4", "block")
	} else {
		g.p("MADD R26, R2, R24, R2")
		g.p("MOVD $%d, R26", f.bytes())
		g.p("MADD R26, R1, R24, R1")
		g.p("SUBS R24, R4")
		g.p("BNE block")
	}
	g.end()
}

// heads writes the subroutine that unpacks the scales of a super-block, or d and m of R24
// blocks of 32. It takes two quarters of a super-block's scales at a time: units at
// R10, int32 to R11, minima to R12; R13 is at the second head unit.
func (g *neonProduct) heads(f *neonFormat) {
	g.begin("head"+f.name+"<>", leaf, "head"+f.name+" unpacks scales.")
	at := 0
	if f.super() {
		g.move("R10", "R1", f.at(0))
		g.move("R11", "R3", scratchScales)
		g.move("R12", "R3", scratchMins)
		g.move("R13", "R1", 32)
		g.p("MOVD $2, R21")
		if f.m == 0 {
			g.p("MOVD $spread<>(SB), R26")
			g.p("VLD1 (R26), [V%d.B16, V%d.B16, V%d.B16, V%d.B16]", spreads, spreads+1, spreads+2, spreads+3)
			g.free &^= 15 << spreads
		}
		g.place("rows")
		f.scales(g)
		for _, r := range []string{"R10", "R11", "R12"} {
			g.p("ADD $32, %s", r)
		}
		g.p("ADD $16, R13")
		g.down("R21", "rows")
		if f.head == 0 && !f.table {
			at = f.tailAt(0)
		}
	} else {
		g.p("MOVD R24, R21")
		g.p("MOVD R1, R10")
	}
	g.move("R11", "R3", scratchD)
	if f.super() {
		g.factors(f, "R1", at)
	} else {
		g.place("block")
		g.factors(f, "R10", 0)
		g.p("ADD $%d, R10", f.bytes())
		g.p("ADD $128, R11")
		g.down("R21", "block")
	}
	g.end()
}

// factors stores d and m at R11.
func (g *neonProduct) factors(f *neonFormat, base string, at int) {
	d, m := g.gets(4), g.gets(4)
	if f.table {
		g.loads(d, base, at)
	} else {
		g.f16(d, base, at)
	}
	factor := g.minimaFactor(f)
	g.minima(f, d, m, factor, base, at+32)
	if factor >= 0 {
		g.put(factor)
	}
	g.stores(d, "R11", 0)
	g.stores(m, "R11", 64)
	g.put(append(d, m...)...)
}

// minimaFactor returns a register with what d is multiplied with to make m; -1 if the block holds m.
func (g *neonProduct) minimaFactor(f *neonFormat) int {
	if f.m == 0 {
		return -1
	}
	r := g.get()
	g.set32(r, math.Float32bits(f.m))
	return r
}

// minima sets m, given d and its factor.
func (g *neonProduct) minima(f *neonFormat, d, m []int, factor int, base string, at int) {
	if factor < 0 {
		g.f16(m, base, at)
		for _, r := range m {
			if f.super() {
				g.fneg(r, r)
			}
		}
		return
	}
	for i := range m {
		g.mul(m[i], d[i], factor)
	}
}

// rows writes the subroutine of the direct way: the panel times the activations at R2, to R7. R1 goes
// to the next panel.
func (g *neonProduct) rows(f *neonFormat) {
	name := "row" + f.name + g.tier + "<>"
	const doc = "A panel times one token, R2, to R7."
	if f.super() {
		g.begin(name, calling, doc)
		g.rows256(f)
	} else {
		g.begin(name, leaf, doc)
		g.rows32(f)
	}
	g.end()
}

// parts runs body for each part of the panel's rows that the direct way takes at a time.
func (g *neonProduct) parts(quarters int, body func()) {
	if quarters == 4 {
		body()
		return
	}
	g.p("MOVD ZR, R22")
	g.place("part")
	body()
	g.p("ADD $%d, R22", 16*quarters)
	g.p("CMP $64, R22")
	g.p("BNE part")
}

// part sets pointer d to base, plus the part's offset if there are parts, plus off.
func (g *neonProduct) part(quarters int, d, base string, off int) {
	if quarters == 4 {
		g.move(d, base, off)
		return
	}
	g.p("ADD R22, %s, %s", base, d)
	if off != 0 {
		g.p("ADD $%d, %s", off, d)
	}
}

// prefetch prefetches as many bytes as a block has.
func (g *neonProduct) prefetch(f *neonFormat) {
	g.p("MOVD %d(R0), R25", pHint)
	g.p("CBZ R25, fetched")
	g.p("MOVD %d(R0), R26", pAhead)
	g.p("ADD R1, R26")
	for i, h := range hints[1:] {
		g.p("CMP $%d, R25", i+1)
		g.p("BNE not%s", h.name)
		for off := 0; off < f.bytes(); off += 64 {
			g.p("PRFM %d(R26), %s", off, h.arm64)
		}
		g.place("not" + h.name)
	}
	g.place("fetched")
}

func (g *neonProduct) rows256(f *neonFormat) {
	quarters := g.quarters(f)
	z := g.get()
	g.set(z, 0)
	g.stores([]int{z, z, z, z}, "R7", 0)
	g.put(z)
	g.p("MOVD %d(R0), R3", pScratch)
	g.p("MOVD %d(R0), R4", pBlocks)
	g.p("MOVD R2, R6")
	g.place("block")
	g.prefetch(f)
	g.p("CALL head%s<>(SB)", f.name)
	g.parts(quarters, func() {
		s := &step{g: g, f: f, units: 1, quarters: quarters, c: f.setup(g)}
		s.streams(quarters, "R1")
		g.p("MOVD R6, R19")
		g.part(quarters, "R23", "R3", 0)
		g.move("R20", "R23", scratchScales)
		g.part(quarters, "R14", "R7", 0)
		g.p("MOVD $%d, R21", 256/f.columns())
		isum := g.gets(quarters)
		g.zeros(isum)
		g.place("iteration")
		steps := min(f.span, f.group) / 4 // to the end of the groups
		for first := 0; first < f.span/4; first += steps {
			for i, sums := range g.direct(s, first, steps, "R19") {
				totals := make([]int, quarters)
				for j := range sums {
					totals[j] = g.total(sums[j])
				}
				scales := g.gets(quarters)
				g.loads(scales, "R20", 64*((i*max(f.span, f.group)+4*first)/f.group))
				for j := range totals {
					g.mla(isum[j], totals[j], scales[j])
				}
				g.put(append(scales, totals...)...)
			}
		}
		g.p("ADD $%d, R19", f.columns())
		g.p("ADD $%d, R20", 64*f.columns()/f.group)
		s.advance(0)
		g.down("R21", "iteration")
		g.put(s.c...)
		correction := -1
		if f.bias != 0 {
			correction = g.get()
			g.set32(correction, uint32(f.bias))
		}
		out := func() []string { return []string{"R14"} }
		g.finish256(256/f.group, [][]int{isum}, []string{"R19"}, correction, out)
		if correction >= 0 {
			g.put(correction)
		}
	})
	g.p("MOVD %d(R0), R26", pAStride)
	g.p("ADD R26, R6")
	g.p("ADD $%d, R1", f.bytes())
	g.down("R4", "block")
}

// streams sets the pointers to a block's streams.
func (s *step) streams(quarters int, block string) {
	for i, st := range s.f.streams {
		p := fmt.Sprintf("R%d", 10+i)
		s.pointers = append(s.pointers, p)
		s.offsets = append(s.offsets, 0)
		s.g.part(quarters, p, block, s.f.at(st.first))
	}
}

// advance moves the streams, and the state, to the next iteration; they have passed done units of it already.
func (s *step) advance(done int) {
	for i, st := range s.f.streams {
		switch by := 64 * (st.advance - done); {
		case by > 0:
			s.g.p("ADD $%d, %s", by, s.pointers[i])
		case by < 0:
			s.g.p("SUB $%d, %s", -by, s.pointers[i])
		}
	}
	if s.f.next != nil {
		s.f.next(s.g, s.c)
	}
}

// direct emits steps that multiply what they unpack with the activations at act. It returns
// the sums: for each group, for each quarter.
func (g *neonProduct) direct(s *step, first, steps int, act string) [][]*sum {
	f := s.f
	groups := f.planes * min(f.span, f.group) / f.group
	sums := make([][]*sum, groups)
	for i := range sums {
		for j := range s.quarters {
			switch {
			case len(s.start) == 0:
				sums[i] = append(sums[i], g.newSum(f.group/4, f.largest))
			case j < s.quarters-1:
				r := g.get()
				g.isa.move(r, s.start[0])
				sums[i] = append(sums[i], &sum{reg: [2]int{r}})
			default:
				sums[i] = append(sums[i], &sum{reg: [2]int{s.start[0]}})
			}
		}
	}
	acts := g.gets(f.planes)
	s.sink = func(plane int, codes []int) {
		g.lane(acts[plane], s.k%4, func(act, lane int) {
			for i, c := range codes {
				g.dot(sums[plane*groups/f.planes][i], c, act, lane)
			}
		})
	}
	for s.k = first; s.k < first+steps; s.k++ {
		if s.k%4 == 0 {
			for i, a := range acts {
				g.loads([]int{a}, act, i*f.span+4*s.k)
			}
		}
		f.step(g, s)
	}
	s.k = 0
	g.put(acts...)
	return sums
}

// finish256 adds a super-block's sums to the results.
//
// isum holds those of every token and quarter; its registers are given back. Pointers
// lead to what follows q in the tokens' records, R23 to Scratch. When the former are not
// needed any more, outs returns pointers to the results. isum lacks msum times what
// the register correction holds, unless that is negative.
func (g *neonProduct) finish256(groups int, isum [][]int, pointers []string, correction int, outs func() []string) {
	tokens, quarters := len(pointers), len(isum[0])
	msum := make([][]int, tokens)
	for t, sums := range g.minimaSums(groups, quarters, pointers) {
		for i, s := range sums {
			msum[t] = append(msum[t], g.total(s))
			if correction >= 0 {
				g.mla(isum[t][i], msum[t][i], correction)
			}
		}
	}
	g.toFloat(isum...)
	g.toFloat(msum...)
	d, dOf := g.tokenFactors(pointers)
	to := outs()
	g.p("ADD $%d, R23, R25", scratchD)
	for i := range quarters {
		w, x, product := g.gets(2), g.gets(1), g.get()
		g.loads(w[:1], "R25", 16*i)
		g.loads(w[1:], "R25", 64+16*i)
		for t := range tokens {
			reg, lane := dOf(t)
			g.fmulLane(product, w[0], reg, lane)
			g.loads(x, to[t], 16*i)
			g.fmla(x[0], isum[t][i], product)
			g.fmulLane(product, w[1], reg, lane)
			g.fmla(x[0], msum[t][i], product)
			g.stores(x, to[t], 16*i)
			g.put(isum[t][i], msum[t][i])
		}
		g.put(w[0], w[1], x[0], product)
	}
	g.put(d...)
}

// minimaSums multiplies the minima with the sums of groups, for every token and quarter.
//
// The sums of groups have 13 bits. They are split into signed bytes, sum = 256·high + low, high
// being sum/256 rounded, so that this takes the same instructions as the products of codes.
func (g *neonProduct) minimaSums(groups, quarters int, pointers []string) [][]*sum {
	sums := make([][]*sum, len(pointers))
	bytes := g.gets(len(pointers))
	g.p("ADD $%d, R23, R25", scratchMins)
	for low := range 2 {
		for t, p := range pointers {
			g.sumBytes(bytes[t], p, groups, low == 1)
		}
		if low == 0 {
			for t := range sums {
				for range quarters {
					sums[t] = append(sums[t], g.newSum(math.MaxInt, 256)) // 128·128 fits into 16 bits once
				}
			}
		}
		for unit := range groups / 4 {
			mins := g.gets(quarters)
			g.loads(mins, "R25", 64*unit)
			lane := unit
			if groups == 8 {
				lane += 2 * low
			}
			for t := range sums {
				g.lane(bytes[t], lane, func(act, lane int) {
					for i, m := range mins {
						g.dot(sums[t][i], m, act, lane)
					}
				})
			}
			g.put(mins...)
		}
		if low == 0 {
			for t := range sums {
				for _, s := range sums[t] {
					g.timesByte(s)
				}
			}
		}
	}
	g.put(bytes...)
	return sums
}

// sumBytes sets d to the high or the low bytes of a token's sums of groups. With 8 groups the high bytes stand in the
// lower half and the low ones in the upper half, and the second call has nothing to do.
func (g *neonProduct) sumBytes(d int, record string, groups int, low bool) {
	switch {
	case groups == 8 && !low:
		x := g.get()
		g.loads([]int{d}, record, a256Sum32-a256Sum16)
		g.highs(x, d)
		g.op("VUZP1", "B16", d, x, d)
		g.put(x)
	case groups == 16:
		x := g.gets(2)
		g.loads(x, record, 0)
		if !low {
			g.highs(x[0], x[0])
			g.highs(x[1], x[1])
		}
		g.op("VUZP1", "B16", d, x[0], x[1])
		g.put(x...)
	}
}

// tokenFactors loads the d of the tokens' records, into lanes where registers are scarce. It returns the registers
// and the place of a token's d.
func (g *neonProduct) tokenFactors(pointers []string) (d []int, at func(t int) (reg, lane int)) {
	const off = a256D - a256Sum16
	if len(pointers) <= 3 {
		for t, p := range pointers {
			d = append(d, g.get())
			g.p("FMOVS %d(%s), F%d", off, p, d[t])
		}
		return d, func(t int) (reg, lane int) { return d[t], 0 }
	}
	for t, p := range pointers {
		if t%4 == 0 {
			d = append(d, g.get())
		}
		g.p("ADD $%d, %s", off, p)
		g.p("VLD1 (%s), V%d.S[%d]", p, d[t/4], t%4)
	}
	return d, func(t int) (reg, lane int) { return d[t/4], t % 4 }
}

// highs divides int16 by 256 and rounds.
func (g *neonProduct) highs(d, n int) {
	g.word2(0x4f182400, "srshr", "8h", "8h", d, n)
	g.trim(", #8")
}

// trim adds the rest of the operands to the comment of the last line.
func (g *neonProduct) trim(rest string) {
	g.buf.Truncate(g.buf.Len() - 1)
	g.buf.WriteString(rest + "\n")
}

// rows32 keeps the results in registers if it takes all rows at a time.
func (g *neonProduct) rows32(f *neonFormat) {
	quarters := g.quarters(f)
	out := g.gets(quarters)
	g.zeros(out)
	if quarters < 4 {
		for i := 0; i < 4; i += quarters {
			g.stores(out, "R7", 16*i)
		}
	}
	g.p("MOVD %d(R0), R4", pBlocks)
	g.p("MOVD %d(R0), R8", pAStride)
	g.p("MOVD R2, R6")
	c := f.setup(g)
	// Constants stay in registers where the recipe leaves some.
	factor, one := -1, -1
	keep := g.tier == "DotProd" && len(f.streams) == 1
	if keep {
		factor = g.minimaFactor(f)
		if f.bias != 0 {
			one = g.bytes(1)[0]
		}
	}
	g.place("block")
	g.prefetch(f)
	g.parts(quarters, func() {
		heads, units := "R1", "R1"
		if quarters < 4 {
			heads, units = "R10", "R11"
			g.p("ADD R22>>1, R1, R10")
			g.p("ADD R22, R1, R11")
			g.p("ADD R22, R7, R14")
			g.loads(out, "R14", 0)
		}
		s := &step{g: g, f: f, units: 1, quarters: quarters, c: c}
		for _, st := range f.streams {
			s.pointers = append(s.pointers, units)
			s.offsets = append(s.offsets, f.at(st.first))
		}
		if one >= 0 {
			s.start = []int{g.biasTimes(f.bias, "R6", one)}
		}
		sums := g.direct(s, 0, f.span/4, "R6")[0]
		isum := make([]int, quarters)
		for i := range sums {
			isum[i] = g.total(sums[i])
		}
		if f.bias != 0 && one < 0 {
			t := g.biasTimes(f.bias, "R6", -1)
			for _, r := range isum {
				g.op("VADD", "S4", r, r, t)
			}
			g.put(t)
		}
		g.toFloat(isum)
		d, m := g.gets(quarters), g.gets(quarters)
		g.f16(d, heads, 0)
		by := factor
		if !keep {
			by = g.minimaFactor(f)
		}
		g.minima(f, d, m, by, heads, 32)
		if !keep && by >= 0 {
			g.put(by)
		}
		ds := g.get()
		g.p("FMOVD %d(R6), F%d", a32D, ds)
		for i := range out {
			g.fmulLane(d[i], d[i], ds, 0)
			g.fmla(out[i], isum[i], d[i])
			g.fmlaLane(out[i], m[i], ds, 1)
		}
		g.put(ds)
		g.put(isum...)
		g.put(append(d, m...)...)
		if quarters < 4 {
			g.stores(out, "R14", 0)
		}
	})
	g.p("ADD R8, R6")
	g.p("ADD $%d, R1", f.bytes())
	g.down("R4", "block")
	if quarters == 4 {
		g.stores(out, "R7", 0)
	}
}

// biasTimes returns a register with the sum of 32 activations times bias, a power of two, in every lane.
// one is a register with 1 in every byte, or -1.
func (g *neonProduct) biasTimes(bias int, base string, one int) int {
	q, t := g.gets(2), g.get()
	g.loads(q, base, 0)
	if g.tier == "DotProd" {
		kept := one >= 0
		if !kept {
			one = g.bytes(1)[0]
		}
		g.set(t, 0)
		g.sdot(t, q[0], one)
		g.sdot(t, q[1], one)
		if !kept {
			g.put(one)
		}
	} else {
		g.word2(0x4e202800, "saddlp", "8h", "16b", t, q[0])
		g.word2(0x4e206800, "sadalp", "8h", "16b", t, q[1])
		g.word2(0x4e602800, "saddlp", "4s", "8h", t, t)
	}
	g.put(q...)
	g.op("VADDP", "S4", t, t, t)
	g.op("VADDP", "S4", t, t, t)
	g.imm("VSHL", "S4", t, t, bits.TrailingZeros(uint(bias)))
	return t
}

// codes writes the subroutine that unpacks the codes of a super-block, or of R24 blocks of 32.
//
// DotProd has them as they are unpacked: 16 rows' units of the first four columns, of the next
// four, and so on. I8MM has for eight rows, then for the other eight, 64 bytes for
// each eight columns: those of rows 0 and 1, of rows 2 and 3….
func (g *neonProduct) codes(f *neonFormat) {
	g.begin("codes"+f.name+g.tier+"<>", leaf, "codes"+f.name+g.tier+" unpacks codes.")
	mm := g.tier == "I8MM"
	s := &step{g: g, f: f, units: 1, quarters: 4}
	columns := 4 // of a step
	body := func() {}
	if mm {
		s.units, s.quarters, columns = 2, 2, 8
	}
	at := func(plane int) int { return 64 * (plane*f.span + 4*s.k) / columns }
	bias := -1
	s.sink = func(plane int, codes []int) {
		if !mm {
			base, off := "R19", at(plane)
			if off >= 1024 {
				base, off = "R20", off-1024
			}
			g.stores(codes, base, off)
			return
		}
		if bias >= 0 {
			for _, c := range codes {
				g.op("VADD", "B16", c, c, bias)
			}
		}
		t := g.gets(2)
		for i := range t {
			g.op("VZIP1", "S4", t[i], codes[i], codes[2+i])
			g.op("VZIP2", "S4", codes[2+i], codes[i], codes[2+i])
		}
		g.stores([]int{t[0], codes[2], t[1], codes[3]}, "R19", at(plane))
		g.put(t...)
	}
	whole := func() {
		s.c = f.setup(g)
		if mm && f.bias != 0 {
			bias = g.get()
			g.set(bias, f.bias)
		}
		g.part(s.quarters, "R10", "R1", 0)
		if mm {
			g.p("ADD R22<<6, R3, R19")
		} else {
			g.p("MOVD R3, R19")
			g.p("ADD $1024, R3, R20")
		}
		body()
		g.put(s.c...)
		if bias >= 0 {
			g.put(bias)
		}
	}
	add := func(by int) {
		g.p("ADD $%d, R19", by)
		if !mm && f.columns() > 64 {
			g.p("ADD $%d, R20", by)
		}
	}
	if f.super() {
		body = func() {
			s.pointers, s.offsets = nil, nil
			s.streams(s.quarters, "R1")
			g.p("MOVD $%d, R21", 256/f.columns())
			g.place("iteration")
			g.p("MOVD $%d, R25", f.span/columns)
			g.place("step")
			f.step(g, s)
			for _, p := range s.pointers {
				g.p("ADD $%d, %s", 64*s.units, p)
			}
			add(64)
			g.down("R25", "step")
			add(64 * (f.planes - 1) * f.span / columns)
			s.advance(f.span / 4)
			g.down("R21", "iteration")
		}
	} else {
		for _, st := range f.streams {
			s.pointers = append(s.pointers, "R10")
			s.offsets = append(s.offsets, f.at(st.first))
		}
		body = func() {
			g.p("MOVD R24, R21")
			g.place("block")
			for s.k = 0; s.k < f.span/4; s.k += s.units {
				f.step(g, s)
			}
			g.p("ADD $%d, R10", f.bytes())
			g.p("ADD $%d, R19", 64*32/columns)
			g.down("R21", "block")
		}
	}
	g.parts(s.quarters, whole)
	g.end()
}

// Tiles. They take a super-block, or R24 blocks of 32, with all tokens.

// tiles takes tiles of the given sizes until no token is left in R8. choose branches
// to the next one's label, or not if that is the first. The last tile of pairs may be
// one token short.
func (g *neonProduct) tiles(record int, sizes []int, choose func(), tile func(n int)) {
	g.p("MOVD (R0), R7") // pOut
	g.p("MOVD %d(R0), R9", pOutStride)
	g.p("MOVD R2, R6")
	g.p("MOVD R5, R8")
	g.place("next")
	choose()
	for _, n := range sizes {
		g.place(fmt.Sprintf("tile%d", n))
		tile(n)
		g.p("ADD $%d, R6", record*n)
		g.p("MOVD $%d, R26", n)
		g.p("MADD R26, R7, R9, R7")
		g.p("SUBS $%d, R8", n)
		g.p("BGT next")
		if n != sizes[len(sizes)-1] {
			g.p("RET")
		}
	}
	g.end()
}

// threes chooses tiles of three or two tokens, never one alone.
func (g *neonProduct) threes() {
	g.p("CMP $2, R8")
	g.p("BEQ tile2")
	g.p("CMP $4, R8")
	g.p("BEQ tile2")
}

// pairs chooses tiles of three, two or one pair of tokens, one alone for the last two only.
func (g *neonProduct) pairs() {
	for _, c := range [][2]int{{2, 2}, {4, 4}, {6, 6}, {8, 4}} {
		g.p("CMP $%d, R8", c[0])
		g.p("BLE tile%d", c[1])
	}
}

// tokens sets R10… to the tokens' activations.
func (g *neonProduct) tokens(n, record int) []string {
	p := make([]string, n)
	for t := range p {
		p[t] = fmt.Sprintf("R%d", 10+t)
		g.move(p[t], "R6", record*t)
	}
	return p
}

// ifMissing sets r to instead if the tile's last of n tokens does not exist.
func (g *neonProduct) ifMissing(n int, r, instead string) {
	g.p("CMP $%d, R8", n)
	g.p("CSEL LT, %s, %s, %s", instead, r, r)
}

// outs sets the pointers to the tokens' results, plus the offset in R22 if there are parts.
func (g *neonProduct) outs(p []string, pairs bool) {
	for t := range p {
		switch {
		case t > 0:
			g.p("ADD R9, %s, %s", p[t-1], p[t])
		case pairs:
			g.p("ADD R22, R7, %s", p[t])
		default:
			g.p("MOVD R7, %s", p[t])
		}
	}
	if pairs {
		g.p("ADD $%d, R3, R25", scratchWaste)
		g.ifMissing(len(p), p[len(p)-1], "R25")
	}
}

func (g *neonProduct) tile256DotProd(groups int) {
	g.tier = "DotProd"
	g.begin(fmt.Sprintf("tile256x%dDotProd<>", groups), leaf,
		fmt.Sprintf("A super-block of %d groups times T tokens; V31 holds what codes lack.", groups))
	const correction = 31
	g.free &^= 1 << correction
	g.tiles(a256Bytes, []int{3, 2}, g.threes, func(n int) {
		isum := g.grid(n, 4)
		g.zeros(isum...)
		p := g.tokens(n, a256Bytes)
		g.p("MOVD R3, R19")
		g.move("R20", "R3", scratchScales)
		g.p("MOVD R3, R23")
		g.p("MOVD $%d, R21", groups)
		g.place(fmt.Sprintf("group%d", n))
		sums := g.grid(n, 4)
		g.zeros(sums...)
		g.dots(sums, p, "R19", 16/groups)
		g.p("ADD $%d, R19", 256*16/groups)
		scales := g.gets(4)
		g.loads(scales, "R20", 0)
		g.p("ADD $64, R20")
		for t := range sums {
			for i, s := range scales {
				g.mla(isum[t][i], sums[t][i], s)
			}
			g.put(sums[t]...)
		}
		g.put(scales...)
		g.down("R21", fmt.Sprintf("group%d", n))
		g.finish256(groups, isum, p, correction, func() []string { g.outs(p, false); return p })
	})
}

// dots adds the products of n times 16 columns to sums of tokens and quarters. It moves
// the tokens' pointers.
func (g *neonProduct) dots(sums [][]int, tokens []string, codes string, n int) {
	acts, w := g.gets(len(tokens)), g.gets(4)
	for i := range n {
		for t, a := range acts {
			g.loadNext(a, tokens[t])
		}
		for lane := range 4 {
			g.loads(w, codes, 256*i+64*lane)
			for t, a := range acts {
				for j := range w {
					g.sdotLane(sums[t][j], w[j], a, lane)
				}
			}
		}
	}
	g.put(acts...)
	g.put(w...)
}

func (g *neonProduct) tile32DotProd(bias bool) {
	g.tier = "DotProd"
	name, doc := "tile32DotProd<>", "R24 blocks times T tokens."
	const minus = 31
	if bias {
		name, doc = "tile32BiasDotProd<>", "R24 blocks times T tokens; V31 holds minus what codes lack, in bytes."
	}
	g.begin(name, leaf, doc)
	g.free &^= 1 << minus
	g.tiles(a32Bytes, []int{3, 2}, g.threes, func(n int) {
		out := g.grid(n, 4)
		g.p("MOVD R7, R25")
		for t := range out {
			g.loads(out[t], "R25", 0)
			g.p("ADD R9, R25")
		}
		p := g.tokens(n, a32Bytes)
		g.p("MOVD R3, R19")
		g.move("R20", "R3", scratchD)
		g.p("MOVD %d(R0), R26", pAStride)
		g.p("SUB $32, R26")
		g.p("MOVD R24, R21")
		g.place(fmt.Sprintf("block%d", n))
		sums := g.grid(n, 4)
		for t := range sums {
			g.set(sums[t][0], 0)
			if bias {
				q := g.gets(2)
				g.loads(q, p[t], 0)
				g.sdot(sums[t][0], q[0], minus)
				g.sdot(sums[t][0], q[1], minus)
				g.op("VADDP", "S4", sums[t][0], sums[t][0], sums[t][0])
				g.op("VADDP", "S4", sums[t][0], sums[t][0], sums[t][0])
				g.neg(sums[t][0], sums[t][0])
				g.put(q...)
			}
			for _, r := range sums[t][1:] {
				if bias {
					g.isa.move(r, sums[t][0])
				} else {
					g.set(r, 0)
				}
			}
		}
		g.dots(sums, p, "R19", 2)
		g.p("ADD $512, R19")
		g.finish32(out, sums, p)
		g.down("R21", fmt.Sprintf("block%d", n))
		g.p("MOVD R7, R25")
		for t := range out {
			g.stores(out[t], "R25", 0)
			g.p("ADD R9, R25")
			g.put(out[t]...)
		}
	})
}

// finish32 adds the sums of a block to the results and gives their registers back. R20
// leads to d and m, p to what follows q in the tokens' records; both are moved to the
// next block, the latter by R26.
func (g *neonProduct) finish32(out, sums [][]int, p []string) {
	g.toFloat(sums...)
	ds := g.gets(len(p))
	for t, r := range p {
		g.p("FMOVD (%s), F%d", r, ds[t])
		g.p("ADD R26, %s", r)
	}
	w := g.gets(2)
	for i := range out[0] {
		g.loads(w[:1], "R20", 16*i)
		for t := range p {
			g.fmulLane(w[1], w[0], ds[t], 0)
			g.fmla(out[t][i], sums[t][i], w[1])
		}
		g.loads(w[:1], "R20", 64+16*i)
		for t := range p {
			g.fmlaLane(out[t][i], w[0], ds[t], 1)
			g.put(sums[t][i])
		}
	}
	g.p("ADD $128, R20")
	g.put(w...)
	g.put(ds...)
}

// halves runs body for the first eight rows and the other eight.
func (g *neonProduct) halves(n int, body func()) {
	g.p("MOVD ZR, R22")
	g.place(fmt.Sprintf("half%d", n))
	body()
	g.p("ADD $32, R22")
	g.p("CMP $64, R22")
	g.p("BNE half%d", n)
}

// products adds the products of n times 16 columns to sums of pairs of rows and pairs
// of tokens: both tokens of the first row, then of the second. It moves the tokens' pointers.
func (g *neonProduct) products(sums [][]int, tokens []string, codes string, n int) {
	acts, w := g.gets(len(tokens)), g.gets(2)
	for i := range n {
		for t := 0; t < len(acts); t += 2 {
			g.loadNext(w[0], tokens[t])
			g.loadNext(w[1], tokens[t+1])
			g.op("VZIP1", "D2", acts[t], w[0], w[1])
			g.op("VZIP2", "D2", acts[t+1], w[0], w[1])
		}
		for eight := range 2 {
			for row := 0; row < 4; row += 2 {
				g.loads(w, codes, 128*i+64*eight+16*row)
				for j := range w {
					for t := range sums[row] {
						g.usmmla(sums[row+j][t], w[j], acts[2*t+eight])
					}
				}
			}
		}
	}
	g.put(acts...)
	g.put(w...)
}

// quartersOf turns sums of pairs into sums of tokens and quarters.
func (g *neonProduct) quartersOf(sums [][]int) [][]int {
	q := make([][]int, 2*len(sums[0]))
	for row := 0; row < 4; row += 2 {
		for t := range sums[row] {
			a, b, x := sums[row][t], sums[row+1][t], g.get()
			g.op("VUZP1", "S4", x, a, b)
			g.op("VUZP2", "S4", b, a, b)
			q[2*t], q[2*t+1] = append(q[2*t], x), append(q[2*t+1], b)
			g.put(a)
		}
	}
	return q
}

func (g *neonProduct) tile256I8MM(groups int) {
	g.tier = "DotProd" // finish256 takes SDOT
	g.begin(fmt.Sprintf("tile256x%dI8MM<>", groups), leaf,
		fmt.Sprintf("A super-block of %d groups times T tokens.", groups))
	g.tiles(a256Bytes, []int{6, 4, 2}, g.pairs, func(n int) {
		g.halves(n, func() {
			isum := g.grid(4, n/2)
			g.zeros(isum...)
			p := g.tokens(n, a256Bytes)
			g.ifMissing(n, p[n-1], p[n-2])
			g.p("ADD R22<<6, R3, R19")
			g.p("ADD R22, R3, R23")
			g.move("R20", "R23", scratchScales)
			g.p("MOVD $%d, R21", groups)
			g.place(fmt.Sprintf("group%d", n))
			sums := g.grid(4, n/2)
			g.zeros(sums...)
			g.products(sums, p, "R19", 16/groups)
			g.p("ADD $%d, R19", 128*16/groups)
			scales, twice := g.gets(2), g.gets(2)
			g.loads(scales, "R20", 0)
			g.p("ADD $64, R20")
			for i, s := range scales {
				g.op("VZIP1", "S4", twice[0], s, s)
				g.op("VZIP2", "S4", twice[1], s, s)
				for j := range twice {
					for t := range isum[2*i+j] {
						g.mla(isum[2*i+j][t], sums[2*i+j][t], twice[j])
					}
				}
			}
			g.put(append(scales, twice...)...)
			for _, s := range sums {
				g.put(s...)
			}
			g.down("R21", fmt.Sprintf("group%d", n))
			g.finish256(groups, g.quartersOf(isum), p, -1, func() []string { g.outs(p, true); return p })
		})
	})
}

func (g *neonProduct) tile32I8MM() {
	g.begin("tile32I8MM<>", leaf, "R24 blocks times T tokens.")
	g.tiles(a32Bytes, []int{6, 4, 2}, g.pairs, func(n int) {
		g.halves(n, func() {
			out := g.grid(n, 2)
			eachOut := func(use func(t int)) {
				g.p("ADD R22, R7, R25")
				for t := range out {
					if t == n-1 {
						g.p("ADD $%d, R3, R26", scratchWaste)
						g.ifMissing(n, "R25", "R26")
					}
					use(t)
					g.p("ADD R9, R25")
				}
			}
			eachOut(func(t int) { g.loads(out[t], "R25", 0) })
			p := g.tokens(n, a32Bytes)
			g.ifMissing(n, p[n-1], p[n-2])
			g.p("ADD R22<<6, R3, R19")
			g.p("ADD R22, R3, R20")
			g.p("ADD $%d, R20", scratchD)
			g.p("MOVD %d(R0), R26", pAStride)
			g.p("SUB $32, R26")
			g.p("MOVD R24, R21")
			g.place(fmt.Sprintf("block%d", n))
			sums := g.grid(4, n/2)
			g.zeros(sums...)
			g.products(sums, p, "R19", 2)
			g.p("ADD $256, R19")
			g.finish32(out, g.quartersOf(sums), p)
			g.down("R21", fmt.Sprintf("block%d", n))
			eachOut(func(t int) { g.stores(out[t], "R25", 0) })
			for t := range out {
				g.put(out[t]...)
			}
		})
	})
}

// spreads is the first of four registers that TBL takes to widen the bytes 0, 1, 2, 3 of dwords.
const spreads = 28

// tables writes the constants.
func (g *neonProduct) tables() {
	table := func(name string, values []byte) {
		for i := 0; i < len(values); i += 8 {
			var v uint64
			for j, b := range values[i : i+8] {
				v |= uint64(b) << (8 * j)
			}
			fmt.Fprintf(&g.buf, "DATA %s<>+%d(SB)/8, $%#016x\n", name, i, v)
		}
		fmt.Fprintf(&g.buf, "GLOBL %s<>(SB), RODATA|NOPTR, $%d\n\n", name, len(values))
	}
	var spread, repeat, thirds, iq4 []byte
	for k := range byte(4) {
		for lane := range byte(4) {
			spread = append(spread, 4*lane+k, 255, 255, 255)
			repeat = append(repeat, 4*lane+k, 4*lane+k, 4*lane+k, 4*lane+k)
		}
	}
	for _, v := range iq4Values {
		iq4 = append(iq4, byte(v))
	}
	for i := range byte(32) {
		bits := i >> (i / 16)
		thirds = append(thirds, bits&1<<2|bits>>2&1<<6)
	}
	table("spread", spread)
	table("repeat", repeat)
	table("thirds", thirds)
	table("iq4", iq4)
}

// bytes returns registers with v in every byte.
func (g *neonProduct) bytes(v ...int) []int {
	r := g.gets(len(v))
	for i := range r {
		g.set(r[i], v[i])
	}
	return r
}

// rodata loads n vectors of a table.
func (g *neonProduct) rodata(name string, n int) []int {
	r := g.gets(n)
	g.p("MOVD $%s<>(SB), R26", name)
	g.loads(r, "R26", 0)
	return r
}

var neonFormats = []neonFormat{
	{name: "Q4_0", planes: 2, span: 16, group: 32, largest: 15, m: -8,
		streams: []stream{{0, 0}}, setup: (*neonProduct).setupNibbles, step: (*neonProduct).nibbles},
	{name: "Q4_1", planes: 2, span: 16, group: 32, largest: 15,
		streams: []stream{{0, 0}}, setup: (*neonProduct).setupNibbles, step: (*neonProduct).nibbles},
	{name: "Q5_0", planes: 2, span: 16, group: 32, largest: 16, bias: 16, m: -16,
		streams: []stream{{1, 0}, {0, 0}}, setup: (*neonProduct).setupFive, step: (*neonProduct).five},
	{name: "Q5_1", planes: 2, span: 16, group: 32, largest: 16, bias: 16,
		streams: []stream{{1, 0}, {0, 0}}, setup: (*neonProduct).setupFive, step: (*neonProduct).five},
	{name: "Q8_0", planes: 1, span: 32, group: 32, largest: 128, bias: 128, m: -128,
		streams: []stream{{0, 0}},
		setup:   func(*neonProduct) []int { return nil },
		step: func(g *neonProduct, s *step) {
			x := s.load(0)
			s.sink(0, x)
			g.put(x...)
		}},
	{name: "IQ4_NL", planes: 2, span: 16, group: 32, largest: 127, bias: 128, m: -128,
		streams: []stream{{0, 0}}, setup: (*neonProduct).setupTable, step: (*neonProduct).nibbles},
	{name: "Q2_K", planes: 4, span: 32, group: 16, largest: 3,
		streams: []stream{{4, 8}},
		setup:   func(g *neonProduct) []int { return g.bytes(3) }, step: (*neonProduct).two,
		scales: (*neonProduct).scalesQ2_K},
	{name: "Q3_K", planes: 4, span: 32, group: 16, largest: 7, m: -4,
		streams: []stream{{8, 8}, {0, 0}},
		setup: func(g *neonProduct) []int {
			return append(g.bytes(0x0f, 0x33, 7, 0), g.rodata("thirds", 2)...)
		},
		step:   (*neonProduct).three,
		next:   func(g *neonProduct, c []int) { g.set(c[3], -4) },
		scales: (*neonProduct).scalesQ3_K},
	{name: "Q4_K", planes: 2, span: 32, group: 32, largest: 15,
		streams: []stream{{3, 8}}, setup: (*neonProduct).setupNibbles, step: (*neonProduct).nibbles,
		scales: (*neonProduct).scalesQ4_K},
	{name: "Q5_K", planes: 2, span: 32, group: 32, largest: 31,
		streams: []stream{{11, 8}, {3, 0}},
		setup:   func(g *neonProduct) []int { return g.bytes(15, 31, 4, 3) }, step: (*neonProduct).fiveK,
		next: func(g *neonProduct, c []int) {
			t := g.bytes(2)
			g.op("VSUB", "B16", c[2], c[2], t[0])
			g.op("VSUB", "B16", c[3], c[3], t[0])
			g.put(t...)
		},
		scales: (*neonProduct).scalesQ4_K},
	{name: "Q6_K", planes: 4, span: 32, group: 16, largest: 63, m: -32,
		streams: []stream{{0, 16}, {8, 16}, {32, 8}}, setup: (*neonProduct).setupSix,
		step: func(g *neonProduct, s *step) {
			g.six(s.load(0), s.load(1), s.load(2), s.c, s.sink)
		},
		scales: func(g *neonProduct) {
			for u := range 4 {
				g.groups(g.unit(48+u), u, true)
			}
		}},
	{name: "IQ4_XS", planes: 2, span: 16, group: 32, largest: 127, bias: 128, m: -128,
		streams: []stream{{1, 4}}, setup: (*neonProduct).setupTable, step: (*neonProduct).nibbles,
		scales: (*neonProduct).scalesIQ4_XS},
}

// nibbles yields the low nibbles, then the high ones, looked up in a table if there is one.
func (g *neonProduct) nibbles(s *step) {
	x := s.load(0)
	lookUp := func(r int) {
		if len(s.c) > 1 {
			g.tbl(r, s.c[1], r)
		}
	}
	t := g.gets(len(x))
	for i := range x {
		g.and(t[i], x[i], s.c[0])
	}
	for _, r := range t {
		lookUp(r)
	}
	s.sink(0, t)
	g.put(t...)
	for _, r := range x {
		g.imm("VUSHR", "B16", r, r, 4)
	}
	for _, r := range x {
		lookUp(r)
	}
	s.sink(1, x)
	g.put(x...)
}

func (g *neonProduct) setupNibbles() []int { return g.bytes(15) }
func (g *neonProduct) setupTable() []int   { return append(g.bytes(15), g.rodata("iq4", 1)...) }

// setupFive returns a mask, the bits of columns 0…3 and 4…7 in the bytes of dwords, and
// what repeats byte 0, 1, 2, 3 of dwords.
func (g *neonProduct) setupFive() []int {
	c := append(g.bytes(15), g.gets(2)...)
	g.set32(c[1], 0x08040201)
	g.set32(c[2], 0x80402010)
	return append(c, g.rodata("repeat", 4)...)
}

// five yields codes less 16: where the fifth bit is clear, the four high bits are set.
func (g *neonProduct) five(s *step) {
	if s.k == 0 { // bits that are clear
		s.kept = g.gets(s.quarters)
		g.loads(s.kept, s.pointers[1], s.offsets[1])
		for _, r := range s.kept {
			g.not(r, r)
		}
	}
	fifth := func(plane int, codes []int) {
		t := g.gets(2)
		for i := 0; i < len(codes); i += 2 {
			for j, r := range t {
				g.tbl(r, s.kept[(i+j)%s.quarters], s.c[3+2*plane+s.k/2])
			}
			for _, r := range t {
				g.op("VCMTST", "B16", r, r, s.c[1+(s.k+i/s.quarters)%2])
			}
			for j, r := range t {
				g.imm("VSLI", "B16", codes[i+j], r, 4)
			}
		}
		g.put(t...)
		s.sink(plane, codes)
	}
	x := s.load(0)
	low := g.gets(len(x))
	for i := range x {
		g.and(low[i], x[i], s.c[0])
	}
	fifth(0, low)
	g.put(low...)
	for _, r := range x {
		g.imm("VUSHR", "B16", r, r, 4)
	}
	fifth(1, x)
	g.put(x...)
	if s.k+s.units == s.f.span/4 {
		g.put(s.kept...)
	}
}

// two yields the pairs of bits.
func (g *neonProduct) two(s *step) {
	x := s.load(0)
	t := g.gets(len(x))
	for plane := range 4 {
		for i, r := range x {
			switch plane {
			case 0:
				g.and(t[i], r, s.c[0])
			default:
				g.imm("VUSHR", "B16", t[i], r, 2*plane)
			}
		}
		if plane == 1 || plane == 2 {
			for _, r := range t {
				g.and(r, r, s.c[0])
			}
		}
		s.sink(plane, t)
	}
	g.put(append(x, t...)...)
}

// three yields the pairs of bits with the third ones. c[3] shifts the third bits of a
// byte's four codes to the low nibble. Tables turn that into a nibble with the third
// bit in its place for planes 0 and 2, or 1 and 3.
func (g *neonProduct) three(s *step) {
	x, h := s.load(0), s.load(1)
	t, low := g.gets(len(x)), g.gets(len(x))
	for _, r := range h {
		g.ushl(r, r, s.c[3])
	}
	for _, r := range h {
		g.and(r, r, s.c[0])
	}
	for odd := range 2 {
		for i, r := range h {
			g.tbl(t[i], s.c[4+odd], r)
		}
		if odd == 1 {
			for _, r := range x {
				g.imm("VUSHR", "B16", r, r, 2)
			}
		}
		for i, r := range t {
			g.bit(r, x[i], s.c[1])
		}
		for i, r := range t {
			g.and(low[i], r, s.c[2])
		}
		s.sink(odd, low)
		for _, r := range t {
			g.imm("VUSHR", "B16", r, r, 4)
		}
		s.sink(2+odd, t)
	}
	g.put(append(append(x, h...), append(t, low...)...)...)
}

// fiveK yields nibbles with the fifth bits, which c[2] and c[3] shift to bit 4.
func (g *neonProduct) fiveK(s *step) {
	x, h := s.load(0), s.load(1)
	t := g.gets(len(x))
	for i := range x {
		g.ushl(t[i], h[i], s.c[2])
	}
	for i := range x {
		g.bit(t[i], x[i], s.c[0])
	}
	for _, r := range t {
		g.and(r, r, s.c[1])
	}
	s.sink(0, t)
	g.put(t...)
	for _, r := range h {
		g.ushl(r, r, s.c[3])
	}
	for i := range x {
		g.imm("VSRI", "B16", h[i], x[i], 4)
	}
	for _, r := range h {
		g.and(r, r, s.c[1])
	}
	s.sink(1, h)
	g.put(append(x, h...)...)
}

func (g *neonProduct) setupSix() []int { return g.bytes(0x0f, 0x3f, 0x30) }

// six makes codes of the low nibbles of a and b, then of the high ones, with pairs of
// upper bits. It gives the registers back.
func (g *neonProduct) six(a, b, upper, c []int, sink func(plane int, codes []int)) {
	t := g.gets(len(a))
	for plane, low := range [][]int{a, b} {
		for i, r := range upper {
			g.imm("VSHL", "B16", t[i], r, 4-2*plane)
		}
		for i, r := range low {
			g.bit(t[i], r, c[0])
		}
		for _, r := range t {
			g.and(r, r, c[1])
		}
		sink(plane, t)
	}
	for i, r := range upper {
		g.and(t[i], r, c[2])
	}
	for i, r := range a {
		g.imm("VSRI", "B16", t[i], r, 4)
	}
	sink(2, t)
	g.put(append(a, t...)...)
	for _, r := range upper {
		g.imm("VUSHR", "B16", r, r, 2)
	}
	for i, r := range b {
		g.imm("VSRI", "B16", upper[i], r, 4)
	}
	for _, r := range upper {
		g.and(r, r, c[1])
	}
	sink(3, upper)
	g.put(append(b, upper...)...)
}

// unit loads a unit of eight rows in heads.
func (g *neonProduct) unit(u int) []int {
	r := g.gets(2)
	g.loads(r, "R10", 64*u)
	return r
}

// groups stores the scales of four groups of eight rows as int32, and as minima if they
// are these too, which only signed ones are. It gives the registers back.
func (g *neonProduct) groups(scales []int, unit int, minima bool) {
	t := g.gets(2)
	for k := range 4 {
		for i, r := range scales {
			if !minima {
				g.tbl(t[i], r, spreads+k)
				continue
			}
			x := r
			if k < 3 {
				g.imm("VSHL", "S4", t[i], r, 24-8*k)
				x = t[i]
			}
			g.word2(0x4f280400, "sshr", "4s", "4s", t[i], x)
			g.trim(", #24")
		}
		g.stores(t, "R11", 64*(4*unit+k))
	}
	g.put(t...)
	if minima {
		g.minimums(scales, unit)
	} else {
		g.put(scales...)
	}
}

// minimums stores the minima of four groups of eight rows and gives the registers back.
func (g *neonProduct) minimums(mins []int, unit int) {
	g.stores(mins, "R12", 64*unit)
	g.put(mins...)
}

func (g *neonProduct) scalesQ2_K() {
	mask := g.bytes(15)
	for u := range 4 {
		x, t := g.unit(u), g.gets(2)
		for i, r := range x {
			g.and(t[i], r, mask[0])
			g.imm("VUSHR", "B16", r, r, 4)
		}
		g.groups(t, u, false)
		g.minimums(x, u)
	}
	g.put(mask...)
}

// scalesQ3_K: the scales are packed as the codes of Q6_K are.
func (g *neonProduct) scalesQ3_K() {
	c, middle := g.setupSix(), g.bytes(32)
	g.six(g.unit(24), g.unit(25), g.unit(26), c, func(plane int, codes []int) {
		x := g.gets(len(codes))
		for i, r := range codes {
			g.op("VSUB", "B16", x[i], r, middle[0])
		}
		g.groups(x, plane, true)
	})
	g.put(append(c, middle...)...)
}

// scalesQ4_K: the low six bits of units 0 and 1 are scales and minima of groups 0…3;
// those of the other groups have their low four bits in unit 2, the upper two in the top
// of units 0 and 1.
func (g *neonProduct) scalesQ4_K() {
	c := g.bytes(0x3f, 0x0f)
	low, high, upper := g.unit(0), g.unit(1), g.unit(2)
	t := g.gets(2)
	for i := range t {
		g.and(t[i], upper[i], c[1])
		g.imm("VUSHR", "B16", upper[i], upper[i], 4)
	}
	top := g.gets(2)
	for _, p := range [][2][]int{{low, t}, {high, upper}} {
		for i, r := range p[0] {
			g.imm("VUSHR", "B16", top[i], r, 6)
			g.and(r, r, c[0])
			g.imm("VSLI", "B16", p[1][i], top[i], 4)
		}
	}
	g.put(append(top, c...)...)
	g.groups(low, 0, false)
	g.groups(t, 1, false)
	g.minimums(high, 0)
	g.minimums(upper, 1)
}

// scalesIQ4_XS: unit 0 has the even groups in the low nibbles, the odd ones in the high
// ones. The upper bits, 16 for each row, are doubled to dwords whose bytes are those
// of groups 0…3, 0…3, 4…7, 4…7; then every byte is shifted so that what the even groups,
// or the odd ones, want is in bits 4 and 5.
func (g *neonProduct) scalesIQ4_XS() {
	c := append(g.bytes(0x0f, 0x30, 32), g.gets(2)...)
	g.set32(c[3], 0x00040004)
	g.set32(c[4], 0xfe02fe02)
	x := g.unit(0)
	bits := g.gets(2)
	g.loads(bits[:1], "R13", 0)
	g.op("VZIP2", "B16", bits[1], bits[0], bits[0])
	g.op("VZIP1", "B16", bits[0], bits[0], bits[0])
	var first, second [2]int
	for i, r := range x {
		even, t := g.get(), g.get()
		g.and(even, r, c[0])
		g.imm("VUSHR", "B16", r, r, 4)
		for j, codes := range []int{even, r} {
			g.ushl(t, bits[i], c[3+j])
			g.and(t, t, c[1])
			g.op("VORR", "B16", codes, codes, t)
			g.op("VSUB", "B16", codes, codes, c[2])
		}
		// Rows 0 and 1, then 2 and 3, with their groups in order; then groups 0…3 and 4…7.
		g.op("VZIP1", "B16", t, even, r)
		g.op("VZIP2", "B16", r, even, r)
		g.op("VUZP1", "S4", even, t, r)
		g.op("VUZP2", "S4", r, t, r)
		first[i], second[i] = even, r
		g.put(t)
	}
	g.put(append(bits, c...)...)
	g.groups(first[:], 0, true)
	g.groups(second[:], 1, true)
}
