package main

import "fmt"

// Few tokens, two to four with SDOT and four with SMMLA: codes are multiplied as they are unpacked, as in the direct
// way, with each of the tokens, for eight rows at a time. Storing them and loading them again would take a quarter
// of the instructions. All results of eight rows stay in registers.
//
// Vector units bound these loops, not loads: sums of products start with what is loaded, zeros or bias times
// the activations' sum, and activations are put into the order that SMMLA wants by integer instructions, once
// for both halves of the rows. Both are in Scratch.

const (
	fewBlocks = 256 // blocks of 32 that are prepared at a time

	// What is prepared of a block for SMMLA: activations of eight columns of tokens 0 and 1, of 2 and 3, of the next
	// eight columns…; d of tokens 0, 1, 0, 1, 2, 3, 2, 3; s of these; what sums start with.
	fewD     = 128
	fewS     = 160
	fewStart = 192
	fewBytes = 224

	fewActs  = 8 << 10              // of a super-block
	fewZeros = fewBlocks * fewBytes // 64 bytes
)

// fewest returns the least number of tokens that take this way, at most four. The recipes of the other formats
// want too many registers.
func (g *neonProduct) fewest(f *neonFormat) (n int, ok bool) {
	switch {
	case len(f.streams) > 1 || f.planes > 2:
		return 0, false
	case g.tier == "I8MM":
		return 4, true
	}
	return 2, !f.super()
}

// fewName returns the name of the subroutine for n tokens.
func (g *neonProduct) fewName(f *neonFormat, n int) string {
	return fmt.Sprintf("few%d%s%s<>", n, f.name, g.tier)
}

// few writes the subroutine for n tokens.
func (g *neonProduct) few(f *neonFormat, n int) {
	g.begin(g.fewName(f, n), calling, fmt.Sprintf("A panel times %d tokens.", n))
	g.p("CALL clear<>(SB)")
	g.p("MOVD (R0), R7") // pOut
	g.p("MOVD %d(R0), R3", pScratch)
	g.p("MOVD %d(R0), R4", pBlocks)
	g.p("MOVD %d(R0), R8", pAStride)
	g.p("ADD $%d, R3, R15", fewZeros)
	z := g.get()
	g.set(z, 0)
	g.stores([]int{z, z, z, z}, "R15", 0)
	g.put(z)
	switch {
	case f.super():
		g.few256(f)
	case g.tier == "I8MM":
		g.few32(f, g.pairs32, g.fewI8MM)
	default:
		g.few32(f, func(f *neonFormat) { g.starts32(f, n) }, func(f *neonFormat) { g.fewDotProd(f, n) })
	}
	g.end()
}

// few32 takes blocks of 32. prepare prepares a block for the whole panel, half multiplies R24 blocks of eight rows.
func (g *neonProduct) few32(f *neonFormat, prepare, half func(f *neonFormat)) {
	g.place("chunk")
	g.p("MOVD $%d, R24", fewBlocks)
	g.p("CMP R24, R4")
	g.p("CSEL LT, R4, R24, R24")
	prepare(f)
	g.halves(0, func() {
		g.p("ADD R22>>1, R1, R10")
		g.p("ADD R22, R1, R11")
		g.p("MOVD R2, R6")
		g.p("MOVD R3, R19")
		g.p("MOVD R24, R21")
		half(f)
	})
	g.p("MADD R8, R2, R24, R2")
	g.p("MOVD $%d, R26", f.bytes())
	g.p("MADD R26, R1, R24, R1")
	g.p("SUBS R24, R4")
	g.p("BNE chunk")
}

// eachBlock runs body for R24 blocks, with R6 at the activations and R19 in Scratch, where a block has size bytes.
func (g *neonProduct) eachBlock(size int, body func()) {
	g.p("MOVD R2, R6")
	g.p("MOVD R3, R19")
	g.p("MOVD R24, R21")
	g.place("prepare")
	body()
	g.p("ADD R8, R6")
	g.p("ADD $%d, R19", size)
	g.down("R21", "prepare")
}

// starts32 prepares what the sums of n tokens start with, where there is a bias.
func (g *neonProduct) starts32(f *neonFormat, n int) {
	if f.bias == 0 {
		return
	}
	minus := g.bytes(-f.bias)[0]
	g.eachBlock(16*n, func() {
		sums, q := g.gets(4), g.gets(2)
		g.loads(sums[:n], "R15", 0)
		for t, r := range sums[:n] {
			g.loads(q, "R6", a32Bytes*t)
			g.sdot(r, q[0], minus)
			g.sdot(r, q[1], minus)
		}
		all := sums[0]
		g.op("VADDP", "S4", all, sums[0], sums[1])
		if n > 2 {
			g.op("VADDP", "S4", sums[2], sums[2], sums[n-1])
			g.op("VADDP", "S4", all, all, sums[2])
		} else {
			g.op("VADDP", "S4", all, all, all)
		}
		g.neg(all, all)
		g.put(q...)
		start := g.gets(n)
		for t, r := range start {
			g.p("VDUP V%d.S[%d], V%d.S4", all, t, r)
		}
		g.stores(start, "R19", 0)
		g.put(append(start, sums...)...)
	})
	g.put(minus)
}

// fewDotProd multiplies R24 blocks of eight rows, whose d are at R10 and units at R11.
func (g *neonProduct) fewDotProd(f *neonFormat, n int) {
	const quarters = 2
	out := g.grid(n, quarters)
	eachOut := func(use func(regs []int, base string, off int)) {
		g.p("ADD R22, R7, R25")
		for t := range out {
			use(out[t], "R25", 0)
			g.p("ADD R9, R25")
		}
	}
	eachOut(g.loads)
	s := &step{g: g, f: f, units: 1, quarters: quarters, c: f.setup(g),
		pointers: []string{"R11"}, offsets: []int{f.at(f.streams[0].first)}}
	factor := g.minimaFactor(f)
	g.place("block")
	sums := g.grid(n, quarters)
	from := "R15"
	if f.bias != 0 {
		from = "R19"
	}
	for i := range quarters {
		var column []int
		for t := range sums {
			column = append(column, sums[t][i])
		}
		g.loads(column, from, 0)
	}
	acts := g.grid(f.planes, n)
	s.sink = func(plane int, codes []int) {
		for t, a := range acts[plane] {
			for i, c := range codes {
				g.sdotLane(sums[t][i], c, a, s.k%4)
			}
		}
	}
	for s.k = 0; s.k < f.span/4; s.k++ {
		for plane := range acts {
			for t, a := range acts[plane] {
				if s.k%4 == 0 {
					g.loads([]int{a}, "R6", a32Bytes*t+plane*f.span+4*s.k)
				}
			}
		}
		f.step(g, s)
	}
	for _, a := range acts {
		g.put(a...)
	}
	g.toFloat(sums...)
	d, m, ds, product := g.gets(quarters), g.gets(quarters), g.gets(n), g.get()
	g.f16(d, "R10", 0)
	g.minima(f, d, m, factor, "R10", 32)
	for t, r := range ds {
		g.p("FMOVD %d(R6), F%d", a32Bytes*t+a32D, r)
	}
	for i := range quarters {
		for t := range out {
			g.fmulLane(product, d[i], ds[t], 0)
			g.fmla(out[t][i], sums[t][i], product)
		}
		for t := range out {
			g.fmlaLane(out[t][i], m[i], ds[t], 1)
		}
	}
	g.put(product)
	g.put(append(append(d, m...), ds...)...)
	for _, r := range sums {
		g.put(r...)
	}
	g.nextFew(f, 16*n)
	eachOut(g.stores)
	g.putFew(out, s.c, factor)
}

// nextFew goes to the next block, of which size bytes are prepared, as long as there is one.
func (g *neonProduct) nextFew(f *neonFormat, size int) {
	g.p("ADD $%d, R10", f.bytes())
	g.p("ADD $%d, R11", f.bytes())
	g.p("ADD R8, R6")
	g.p("ADD $%d, R19", size)
	g.down("R21", "block")
}

func (g *neonProduct) putFew(out [][]int, c []int, factor int) {
	for _, r := range out {
		g.put(r...)
	}
	g.put(c...)
	if factor >= 0 {
		g.put(factor)
	}
}

// pairUp puts the activations of 32 columns of four tokens at R6, whose records have the given size, to R19.
func (g *neonProduct) pairUp(record int) {
	for pair := range 2 {
		for half := range 2 {
			for t := range 2 {
				g.p("LDP %d(R6), (R%d, R%d)", record*(2*pair+t)+16*half, 10+2*t, 11+2*t)
			}
			g.p("STP (R10, R12), %d(R19)", 64*half+16*pair)
			g.p("STP (R11, R13), %d(R19)", 64*half+32+16*pair)
		}
	}
}

// pairs32 prepares blocks of 32.
func (g *neonProduct) pairs32(f *neonFormat) {
	bias := -1
	if f.bias != 0 {
		bias = g.bytes(f.bias)[0]
	}
	g.eachBlock(fewBytes, func() {
		g.pairUp(a32Bytes)
		for pair := range 2 {
			g.p("MOVD %d(R6), R10", a32Bytes*2*pair+a32D) // d and s
			g.p("MOVD %d(R6), R11", a32Bytes*(2*pair+1)+a32D)
			g.p("MOVD R11, R12")
			g.p("BFXIL $32, R10, $32, R12")
			g.p("BFI $32, R11, $32, R10")
			g.p("STP (R10, R10), %d(R19)", fewD+16*pair)
			g.p("STP (R12, R12), %d(R19)", fewS+16*pair)
		}
		if bias < 0 {
			return
		}
		start, acts := g.gets(2), g.gets(2)
		g.loads(start, "R15", 0)
		for columns := range 4 {
			g.loads(acts, "R19", 32*columns)
			for p, a := range acts {
				g.usmmla(start[p], bias, a)
			}
		}
		g.stores(start, "R19", fewStart)
		g.put(append(start, acts...)...)
	})
	if bias >= 0 {
		g.put(bias)
	}
}

// fewI8MM multiplies R24 blocks of eight rows. Sums and results are those of two rows and two tokens, as SMMLA has them.
func (g *neonProduct) fewI8MM(f *neonFormat) {
	out := g.grid(4, 2) // pairs of rows and of tokens
	eachOut := func(use func(regs []int, base string, off int), before, after func(a, b, x, y int)) {
		x := g.gets(4)
		for pair := range 2 {
			g.p("ADD R22, R7, R25")
			if pair == 1 {
				g.p("ADD R9<<1, R25")
			}
			g.p("ADD R9, R25, R26")
			for i := range 2 {
				before(x[i], x[2+i], out[2*i][pair], out[2*i+1][pair])
			}
			use(x[:2], "R25", 0)
			use(x[2:], "R26", 0)
			for i := range 2 {
				after(x[i], x[2+i], out[2*i][pair], out[2*i+1][pair])
			}
		}
		g.put(x...)
	}
	nothing := func(_, _, _, _ int) {}
	eachOut(g.loads, nothing, func(x, y, a, b int) {
		g.op("VZIP1", "S4", a, x, y)
		g.op("VZIP2", "S4", b, x, y)
	})
	s := g.pairedStep(f, 2)
	s.pointers, s.offsets = []string{"R11"}, []int{f.at(f.streams[0].first)}
	factor := g.minimaFactor(f)
	g.place("block")
	sums := g.grid(4, 2)
	for _, r := range sums {
		if f.bias != 0 {
			g.loads(r, "R19", fewStart)
		} else {
			g.loads(r, "R15", 0)
		}
	}
	s.sink = func(plane int, codes []int) { g.productsOf(sums, codes, "R19", 4*(plane*f.span+4*s.k)) }
	for s.k = 0; s.k < f.span/4; s.k += s.units {
		f.step(g, s)
	}
	g.toFloat(sums...)
	d, m := g.gets(4), g.gets(4)
	g.twice16(d, "R10", 0)
	if factor >= 0 {
		g.minima(f, d, m, factor, "", 0)
	} else {
		g.twice16(m, "R10", 32)
	}
	ds, ss, product := g.gets(2), g.gets(2), g.get()
	g.loads(append(ds, ss...), "R19", fewD)
	for i := range out {
		for pair, o := range out[i] {
			g.mul(product, d[i], ds[pair])
			g.fmla(o, sums[i][pair], product)
			g.fmla(o, m[i], ss[pair])
		}
		g.put(sums[i]...)
	}
	g.put(product)
	g.put(append(append(d, m...), append(ds, ss...)...)...)
	g.nextFew(f, fewBytes)
	eachOut(g.stores, func(x, y, a, b int) {
		g.op("VUZP1", "S4", x, a, b)
		g.op("VUZP2", "S4", y, a, b)
	}, nothing)
	g.putFew(out, s.c, factor)
}

// pairedStep returns a step that unpacks eight columns of quarters, two rows in each register.
func (g *neonProduct) pairedStep(f *neonFormat, quarters int) *step {
	return &step{g: g, f: f, units: 2, quarters: quarters, paired: true, c: f.setup(g)}
}

// pair turns units of quarters and the next ones into pairs of rows of eight columns.
func (g *neonProduct) pair(x []int) []int {
	var pairs []int
	quarters := len(x) / 2
	for i := range quarters {
		a, b, t := x[i], x[quarters+i], g.get()
		g.op("VZIP1", "S4", t, a, b)
		g.op("VZIP2", "S4", b, a, b)
		g.put(a)
		pairs = append(pairs, t, b)
	}
	return pairs
}

// productsOf adds the products of pairs of rows with the prepared activations to sums of these and pairs of tokens.
func (g *neonProduct) productsOf(sums [][]int, codes []int, base string, off int) {
	acts := g.gets(2)
	g.loads(acts, base, off)
	for i, c := range codes {
		for pair, a := range acts {
			g.smmla(sums[i][pair], c, a)
		}
	}
	g.put(acts...)
}

// twice16 loads eight float16 and converts them to float32, each twice.
func (g *neonProduct) twice16(regs []int, base string, off int) {
	x := g.gets(2)
	g.loads(x[:1], base, off)
	g.op("VZIP2", "H8", x[1], x[0], x[0])
	g.op("VZIP1", "H8", x[0], x[0], x[0])
	for i, r := range x {
		g.word2(0x0e217800, "fcvtl", "4s", "4h", regs[2*i], r)
		g.word2(0x4e217800, "fcvtl2", "4s", "8h", regs[2*i+1], r)
	}
	g.put(x...)
}

// few256 takes super-blocks, with SMMLA.
func (g *neonProduct) few256(f *neonFormat) {
	groups := 256 / f.group
	tier := g.tier
	g.place("block")
	g.p("CALL head%s<>(SB)", f.name)
	g.p("MOVD R2, R6")
	g.p("ADD $%d, R3, R19", fewActs)
	g.p("MOVD $8, R21")
	g.place("prepare")
	g.pairUp(a256Bytes)
	g.p("ADD $32, R6")
	g.p("ADD $128, R19")
	g.down("R21", "prepare")
	g.halves(0, func() {
		s := g.pairedStep(f, 1)
		s.streams(2, "R1")
		g.p("ADD $%d, R3, R19", fewActs)
		g.p("ADD R22, R3, R23")
		g.move("R20", "R23", scratchScales)
		g.p("MOVD $%d, R21", 256/f.columns())
		isum := g.grid(4, 2)
		for _, r := range isum {
			g.loads(r, "R15", 0)
		}
		g.place("iteration")
		g.fewGroups(s, isum)
		g.p("ADD $%d, R19", 4*f.columns())
		g.p("ADD $%d, R20", 64*f.columns()/f.group)
		s.advance(0)
		g.down("R21", "iteration")
		g.put(s.c...)
		p := make([]string, 4)
		for t := range p {
			p[t] = fmt.Sprintf("R%d", 10+t)
			g.move(p[t], "R2", a256Bytes*t+a256Sum16)
		}
		correction := -1
		if f.bias != 0 {
			correction = g.get()
			g.set32(correction, uint32(f.bias))
		}
		g.tier = "DotProd" // finish256 takes SDOT
		g.finish256(groups, g.quartersOf(isum), p, correction, func() []string {
			for t := range p {
				if t == 0 {
					g.p("ADD R22, R7, R10")
				} else {
					g.p("ADD R9, %s, %s", p[t-1], p[t])
				}
			}
			return p
		})
		g.tier = tier
		if correction >= 0 {
			g.put(correction)
		}
	})
	g.p("ADD R8, R2")
	g.p("ADD $%d, R1", f.bytes())
	g.down("R4", "block")
}

// fewGroups adds an iteration's columns to the sums of a super-block, group by group.
func (g *neonProduct) fewGroups(s *step, isum [][]int) {
	f := s.f
	steps := min(f.span, f.group) / 4 // to the end of the groups
	groups := f.planes * min(f.span, f.group) / f.group
	for first := 0; first < f.span/4; first += steps {
		sums := make([][][]int, groups)
		for i := range sums {
			sums[i] = g.grid(4, 2)
			for _, r := range sums[i] {
				g.loads(r, "R15", 0)
			}
		}
		for s.k = first; s.k < first+steps; s.k += s.units {
			for quarter := range 2 { // of which registers allow one at a time
				s.sink = func(plane int, codes []int) {
					g.productsOf(sums[plane*groups/f.planes][2*quarter:], codes, "R19", 4*(plane*f.span+4*s.k))
				}
				f.step(g, s)
				s.offsets[0] += 16 * (1 - 2*quarter)
			}
		}
		for i := range sums {
			scales, twice := g.gets(2), g.gets(2)
			g.loads(scales, "R20", 64*((i*max(f.span, f.group)+4*first)/f.group))
			for q, r := range scales {
				g.op("VZIP1", "S4", twice[0], r, r)
				g.op("VZIP2", "S4", twice[1], r, r)
				for j, by := range twice {
					for pair, sum := range sums[i][2*q+j] {
						g.mla(isum[2*q+j][pair], sum, by)
					}
				}
			}
			g.put(append(scales, twice...)...)
			for _, r := range sums[i] {
				g.put(r...)
			}
		}
	}
	s.k = 0
}
