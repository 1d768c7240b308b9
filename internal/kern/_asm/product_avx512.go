package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
)

// The AVX-512 VNNI kernels of the products with quantized weights.
//
// A vector holds 16 rows, a dword each. VPDPBUSD multiplies the four codes of every
// row's dword with the four activations of a dword that is broadcast from memory and
// adds the products to the row's int32. Zen 4 starts one of them, or of any other
// multiplication, in a cycle, and their number is what bounds the kernels: 64 codes,
// 8 scales, 4 pairs of minima and 4 float operations for a token and a super-block of
// 8 groups.
//
// A single token takes the direct way: codes are unpacked in registers and used at
// once, and memory is the bound. So do few tokens (product_avx512_few.go). More take the way through Product.Scratch:
// a super-block, or up to 8 blocks of 32, is unpacked there and multiplied with all
// tokens, eight, four, two or one at a time. Results wait in Out from a super-block to
// the next. What follows the unpacking is one subroutine for each family.
//
// All ways unpack by the same recipe, which a vnniFormat gives.
//
// Registers of the direct way, and of unpacking:
//
//	DI weights, at the block  CX blocks left  R8 Scratch  R9, R10 AStride, OutStride
//	BX Out  DX tokens  SI activations, at the record  R13 activations, at the block's first record
//	R12 panels left (the direct way)  R14 the distance of prefetches
//	Z0…Z5 codes  Z6, Z7, Z27 free  Z8…Z15 more bits of codes  Z16…Z19 minima, then sums of groups
//	Z20…Z23 scales, a byte for each group  Z24, Z25 sums of the block, then d and m  Z26 the result
//	Z28…Z30 constants of the format  Z31 15 in every byte
//
// Nothing but a prefetch touches memory outside of the operands.
type vnni struct {
	writer
	constants bytes.Buffer
	offsets   map[string]int
	held      map[string]string // registers that hold constants
	code      int               // the last register for codes that was given out
	given     int               // how many there are, Z0 the first
	hint      int               // of hints: what comes before each load
	fetched   map[int]bool      // the offsets in a block that it was given for
}

// vnniFormat is the recipe for a format. Units are numbered as in kern.Layouts;
// f.at gives their place.
type vnniFormat struct {
	name string
	layout
	groups int  // in a super-block; 0 for blocks of 32
	narrow bool // codes are at most 16, so that the sum of 16 columns fits an int16

	// constants are the patterns that Z28… hold, see [vnni.vector]; with table, Z28 holds Product.Table.
	constants [][]byte
	table     bool
	// direct replaces direct256 for a format whose codes are not in the order of its
	// bytes. Memory must be read in the order of addresses: Zen 4 reads 28 GB/s then, and
	// 10 where three places of a block take turns.
	direct func(a *vnni, f *vnniFormat)

	// codes unpacks a block's codes. It calls emit with the first of four columns
	// and the register that holds their codes, group after group; up to four groups
	// may be begun and not complete. The register is free after that.
	codes func(a *vnni, f *vnniFormat, emit func(col, z int))

	// factors sets Z24 to d and Z25 to m.
	factors func(a *vnni, f *vnniFormat)

	// scales sets Z20… to the scales plus bias, a byte for each group; scale says which
	// register and which byte of it is group g's.
	scales func(a *vnni, f *vnniFormat)
	scale  func(g int) (z, i int)
	bias   int
	// mins sets Z16… to the minima, a byte for each group in order. Where it is nil they
	// are the scales.
	mins func(a *vnni, f *vnniFormat)
}

// Offsets in Scratch. It holds for a super-block the codes of 4 columns in each vector, the scales of a group, the
// minima of two groups as int16, d, m; for 8 blocks of 32 the codes, each d, each m.
const (
	sScales, sMins, sD, sM = 4096, 5120, 5632, 5696
	sD32, sM32             = 4096, 4608
)

// ahead is how far weights are fetched into the second-level cache in advance, in steps of 256 columns.
const ahead = 3

func productsVNNI() []byte {
	a := &vnni{offsets: map[string]int{}, given: 6}
	for _, groups := range []int{8, 16} {
		a.tiles256(groups, false)
		a.tiles256(groups, true)
	}
	a.tiles32(&vnniFormat{})
	a.tiles32(&vnniFormat{layout: layouts["Q8_0"]})
	for i := range vnniFormats {
		f := &vnniFormats[i]
		f.layout = layouts[f.name]
		a.product(f)
		if f.narrow {
			a.wide(f)
		}
		a.few(f)
	}
	return a.file()
}

// file returns the constants and the functions.
func (a *vnni) file() []byte {
	fmt.Fprintf(&a.constants, "GLOBL vnniConstants<>(SB), RODATA|NOPTR, $%d\n\n", 64*len(a.offsets))
	return append(a.constants.Bytes(), a.buf.Bytes()...)
}

func (a *vnni) begin(name, frame, doc string) {
	a.labels = 0
	fmt.Fprintf(&a.buf, "// %s\nTEXT %s(SB), NOSPLIT, %s\n", doc, name, frame)
}

func (a *vnni) zero(z int) { a.p("VPXORD Z%d, Z%d, Z%d", z, z, z) }

// vector returns the operand that holds pattern, of 4 or 16 bytes, repeated.
func (a *vnni) vector(pattern ...byte) string {
	key := string(bytes.Repeat(pattern, 64/len(pattern)))
	if z, ok := a.held[key]; ok {
		return z
	}
	return a.constant(key)
}

// constant returns the operand that holds 64 bytes.
func (a *vnni) constant(key string) string {
	at, ok := a.offsets[key]
	if !ok {
		at = 64 * len(a.offsets)
		a.offsets[key] = at
		for i := 0; i < 64; i += 8 {
			fmt.Fprintf(&a.constants, "DATA vnniConstants<>+%d(SB)/8, $%#016x\n", at+i,
				binary.LittleEndian.Uint64([]byte(key[i:i+8])))
		}
	}
	return fmt.Sprintf("vnniConstants<>+%d(SB)", at)
}

// bytes returns the operand with every byte v.
func (a *vnni) bytes(v byte) string { return a.vector(v, v, v, v) }

// dwords returns an operand with every dword v, and the suffix that it asks of an instruction.
func (a *vnni) dwords(v uint32) (suffix, operand string) {
	operand = a.vector(byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	if operand[0] != 'Z' {
		suffix = ".BCST"
	}
	return suffix, operand
}

// and sets d to z & mask, byte by byte.
func (a *vnni) and(mask byte, z, d int) {
	suffix, operand := a.dwords(uint32(mask) * 0x01010101)
	a.p("VPANDD%s %s, Z%d, Z%d", suffix, operand, z, d)
}

// xor sets d to z ^ v.
func (a *vnni) xor(v uint32, z, d int) {
	suffix, operand := a.dwords(v)
	a.p("VPXORD%s %s, Z%d, Z%d", suffix, operand, z, d)
}

// pick returns the operand by which VPSHUFB makes the four bytes of every dword from
// the bytes i of the same dword; -1 gives 0.
func (a *vnni) pick(i0, i1, i2, i3 int) string {
	var pattern []byte
	for lane := 0; lane < 16; lane += 4 {
		for _, i := range []int{i0, i1, i2, i3} {
			if i < 0 {
				pattern = append(pattern, 0x80)
			} else {
				pattern = append(pattern, byte(lane+i))
			}
		}
	}
	return a.vector(pattern...)
}

// next returns a register for codes.
func (a *vnni) next() int {
	a.code = (a.code + 1) % a.given
	return a.code
}

// load brings a vector from DI.
func (a *vnni) load(off, z int) {
	a.fetch(off)
	a.p("VMOVDQU32 %d(DI), Z%d", off, z)
}

// fetch prefetches what is as far from off in a block that comes.
func (a *vnni) fetch(off int) {
	if a.hint > 0 && !a.fetched[off] {
		a.fetched[off] = true
		a.p("%s %d(DI)(R14*1)", hints[a.hint].x86, off)
	}
}

// nibbles returns registers with the low and the high nibbles of a unit's bytes.
func (a *vnni) nibbles(off int) (lo, hi int) {
	a.load(off, 7)
	return a.split(7)
}

// split returns registers with the low and the high nibbles of z's bytes.
func (a *vnni) split(z int) (lo, hi int) {
	lo, hi = a.next(), a.next()
	a.and(15, z, lo)
	a.high(z, hi)
	return lo, hi
}

// high sets d to the high nibbles of z's bytes.
func (a *vnni) high(z, d int) {
	a.shift(-4, z, d)
	a.and(15, d, d)
}

// shift sets d to the dwords of z shifted left by n bits, right where n < 0.
func (a *vnni) shift(n, z, d int) {
	switch {
	case n > 0:
		a.p("VPSLLD $%d, Z%d, Z%d", n, z, d)
	case n < 0:
		a.p("VPSRLD $%d, Z%d, Z%d", -n, z, d)
	}
}

// insert sets d |= (z shifted by n as in shift) & mask; t is free.
func (a *vnni) insert(d, n, z int, mask byte, t int) {
	if n != 0 {
		a.shift(n, z, t)
		z = t
	}
	const orAnd = 0xf8 // the truth table of d | z&mask
	suffix, operand := a.dwords(uint32(mask) * 0x01010101)
	a.p("VPTERNLOGD%s $%#x, %s, Z%d, Z%d", suffix, orAnd, operand, z, d)
}

// f16 sets z to the 16 float16 at DI+off.
func (a *vnni) f16(off, z int) { a.p("VCVTPH2PS %d(DI), Z%d", off, z) }

// product writes a format's kernel.
func (a *vnni) product(f *vnniFormat) {
	a.begin("·product"+f.name+"AVX512", "$0-8", "See Product.")
	a.operands(f)
	many := a.label()
	a.p("CMPQ DX, $1")
	a.p("JNE %s", many)
	a.p("MOVQ %d(AX), R12", pPanels)
	a.p("MOVQ %d(AX), R14", pAhead)
	for i := range hints {
		next := a.label()
		if i < len(hints)-1 {
			a.p("CMPQ %d(AX), $%d", pHint, i)
			a.p("JNE %s", next)
		}
		a.hint = i
		a.single(f)
		a.place(next)
	}
	a.hint = 0

	a.place(many)
	more := a.label()
	a.p("CMPQ DX, %d(AX)", pFew)
	a.p("JGT %s", more)
	a.p("CALL vnniFew%s<>(SB)", f.name)
	a.p("VZEROUPPER")
	a.p("RET")
	a.place(more)
	a.several(f)
}

// wide writes the kernel of a narrow format for several tokens that scales sums of 32 columns, or of 16, by VPMULLD. It
// has fewer multiplications where VPMULLD is one, as on AMD's CPUs.
func (a *vnni) wide(f *vnniFormat) {
	wide := *f
	wide.narrow = false
	a.begin("·product"+f.name+"WideAVX512", "$0-8", "See Product: several tokens.")
	a.operands(&wide)
	a.several(&wide)
}

// operands loads registers from the Product, to which AX points then, and the format's constants.
func (a *vnni) operands(f *vnniFormat) {
	a.p("MOVQ p+0(FP), AX")
	a.p("MOVQ %d(AX), BX", pOut)
	a.p("MOVQ %d(AX), DI", pW)
	a.p("MOVQ %d(AX), SI", pA)
	a.p("MOVQ %d(AX), DX", pT)
	a.p("MOVQ %d(AX), CX", pBlocks)
	a.p("MOVQ %d(AX), R8", pScratch)
	a.p("MOVQ %d(AX), R9", pAStride)
	a.p("MOVQ %d(AX), R10", pOutStride)
	a.held = map[string]string{}
	for i, c := range append([][]byte{bytes4(15)}, f.constants...) {
		z := []string{"Z31", "Z28", "Z29", "Z30"}[i]
		a.p("VMOVDQU32 %s, %s", a.vector(c...), z)
		a.held[string(bytes.Repeat(c, 64/len(c)))] = z
	}
	if f.table {
		a.loadTable()
	}
}

// clear sets all results to 0, and R13 to the first block's records.
func (a *vnni) clear() {
	clear := a.label()
	a.p("MOVQ SI, R13")
	a.zero(0)
	a.place(clear)
	a.p("VMOVUPS Z0, (BX)")
	a.p("ADDQ R10, BX")
	a.p("DECQ DX")
	a.p("JNZ %s", clear)
}

// several writes the way through Scratch, and returns.
func (a *vnni) several(f *vnniFormat) {
	a.clear()
	if f.groups > 0 {
		a.many256(f)
	} else {
		name, lines := f.tiles()
		a.many32(f, name, func(bytes int) { a.prepareFetch(bytes, lines) })
	}
	a.p("VZEROUPPER")
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

// single writes the direct way for all panels.
func (a *vnni) single(f *vnniFormat) {
	panel, block := a.label(), a.label()
	a.place(panel)
	a.zero(26)
	a.place(block)
	a.fetched = map[int]bool{}
	if f.head > 0 {
		a.fetch(0)
	}
	switch {
	case f.direct != nil:
		f.direct(a, f)
	case f.groups > 0:
		a.direct256(f)
	default:
		a.direct32(f)
	}
	if f.tail > 0 {
		a.fetch(f.tailAt(0))
	}
	a.p("ADDQ $%d, DI", f.bytes())
	a.p("ADDQ R9, SI")
	a.p("DECQ CX")
	a.p("JNZ %s", block)
	a.p("VMOVUPS Z26, (BX)")
	a.p("ADDQ $64, BX")
	a.p("MOVQ %d(AX), SI", pA)
	a.p("MOVQ %d(AX), CX", pBlocks)
	a.p("DECQ R12")
	a.p("JNZ %s", panel)
	a.p("VZEROUPPER")
	a.p("RET")
}

// scaleOf sets z to group g's scale in every row.
func (a *vnni) scaleOf(f *vnniFormat, g, z int) {
	from, i := f.scale(g)
	a.p("VPSHUFB %s, Z%d, Z%d", a.pick(i, -1, -1, -1), from, z)
	if f.bias != 0 {
		suffix, operand := a.dwords(uint32(f.bias))
		a.p("VPSUBD%s %s, Z%d, Z%d", suffix, operand, z, z)
	}
}

// eachMins calls emit with the registers that hold, as int16, the minima of the
// groups 2i and 2i+1 in every row.
func (a *vnni) eachMins(f *vnniFormat, emit func(i, z int)) {
	if f.mins != nil {
		f.mins(a, f)
		for i := range f.groups / 2 {
			k := i % 2 * 2
			a.p("VPSHUFB %s, Z%d, Z27", a.pick(k, -1, k+1, -1), 16+i/2)
			emit(i, 27)
		}
		return
	}
	for i := range f.groups / 2 {
		z0, k0 := f.scale(2 * i)
		z1, k1 := f.scale(2*i + 1)
		if z0 == z1 {
			a.p("VPSHUFB %s, Z%d, Z27", a.pick(k0, -1, k1, -1), z0)
		} else {
			a.p("VPSHUFB %s, Z%d, Z27", a.pick(k0, -1, -1, -1), z0)
			a.p("VPSHUFB %s, Z%d, Z6", a.pick(-1, -1, k1, -1), z1)
			a.p("VPORD Z6, Z27, Z27")
		}
		a.p("VPSUBW %s, Z27, Z27", a.vector(byte(f.bias), 0, byte(f.bias), 0))
		emit(i, 27)
	}
}

// direct256 adds a super-block's product with one token to Z26.
func (a *vnni) direct256(f *vnniFormat) {
	const isum, msum = 24, 25
	a.zero(msum)
	f.scales(a, f)
	a.eachMins(f, func(i, z int) {
		a.p("VPDPWSSD.BCST %d(SI), Z%d, Z%d", sums(f.groups)+4*i, z, msum)
	})
	a.zero(isum)
	size := 256 / f.groups
	done, sumOf := map[int]int{}, map[int]int{} // of a group: columns so far, register
	free := []int{16, 17, 18, 19}
	f.codes(a, f, func(col, z int) {
		g := col / size
		if done[g] == 0 {
			sumOf[g], free = free[0], free[1:]
			a.zero(sumOf[g])
		}
		s := sumOf[g]
		a.p("VPDPBUSD.BCST %d(SI), Z%d, Z%d", col, z, s)
		if done[g] += 4; done[g] == size {
			a.scaleOf(f, g, 6)
			a.p("VPMULLD Z6, Z%d, Z%d", s, s)
			a.p("VPADDD Z%d, Z%d, Z%d", s, isum, isum)
			free = append(free, s)
		}
	})
	a.finish256(f)
}

// finish256 adds the sums in Z24 and Z25, times their factors, to Z26.
func (a *vnni) finish256(f *vnniFormat) {
	a.p("VCVTDQ2PS Z24, Z6")
	a.p("VCVTDQ2PS Z25, Z7")
	f.factors(a, f)
	a.p("VMULPS.BCST %d(SI), Z24, Z24", a256D)
	a.p("VMULPS.BCST %d(SI), Z25, Z25", a256D)
	a.p("VFMADD231PS Z6, Z24, Z26")
	a.p("VFMADD231PS Z7, Z25, Z26")
}

// direct32 adds a block's product with one token to Z26.
func (a *vnni) direct32(f *vnniFormat) {
	a.zero(16)
	a.zero(17)
	n := 0
	f.codes(a, f, func(col, z int) {
		a.p("VPDPBUSD.BCST %d(SI), Z%d, Z%d", col, z, 16+n%2)
		n++
	})
	a.p("VPADDD Z16, Z17, Z16")
	a.p("VCVTDQ2PS Z16, Z16")
	f.factors(a, f)
	a.p("VMULPS.BCST %d(SI), Z24, Z24", a32D)
	a.p("VFMADD231PS Z16, Z24, Z26")
	a.p("VFMADD231PS.BCST %d(SI), Z25, Z26", a32S)
}

// many256 multiplies with all tokens: R13 goes from a block's records to the next's.
func (a *vnni) many256(f *vnniFormat) {
	block := a.label()
	a.place(block)
	f.scales(a, f)
	a.eachMins(f, func(i, z int) { a.p("VMOVDQU64 Z%d, %d(R8)", z, sMins+64*i) })
	a.storeScales(f, f.narrow)
	f.codes(a, f, func(col, z int) { a.p("VMOVDQU64 Z%d, %d(R8)", z, 16*col) })
	f.factors(a, f)
	a.p("VMOVUPS Z24, %d(R8)", sD)
	a.p("VMOVUPS Z25, %d(R8)", sM)
	a.reload()
	name, lines := f.tiles()
	a.prepareFetch(f.bytes(), lines)
	a.p("CALL %s(SB)", name)
	a.p("ADDQ $%d, DI", f.bytes())
	a.p("ADDQ R9, R13")
	a.p("DECQ CX")
	a.p("JNZ %s", block)
}

// storeScales puts the scales of groups into Scratch.
func (a *vnni) storeScales(f *vnniFormat, narrow bool) {
	for g := range f.groups {
		a.scaleOf(f, g, 6)
		if narrow && f.bias != 0 { // the upper int16 meets those of the sums
			suffix, operand := a.dwords(0xffff)
			a.p("VPANDD%s %s, Z6, Z6", suffix, operand)
		}
		a.p("VMOVDQU64 Z6, %d(R8)", sScales+64*g)
	}
}

// addScaled adds sum s times a scale to acc.
func (a *vnni) addScaled(narrow bool, scale, s, acc int) {
	if narrow {
		a.p("VPDPWSSD Z%d, Z%d, Z%d", scale, s, acc)
		return
	}
	a.p("VPMULLD Z%d, Z%d, Z%d", scale, s, s)
	a.p("VPADDD Z%d, Z%d, Z%d", s, acc, acc)
}

// reload sets SI, BX and DX for a round over all tokens.
func (a *vnni) reload() {
	a.p("MOVQ p+0(FP), AX")
	a.p("MOVQ %d(AX), BX", pOut)
	a.p("MOVQ %d(AX), DX", pT)
	a.p("MOVQ R13, SI")
}

// many32 does the same with up to 8 blocks of 32 at a time, by a subroutine. prepareFetch comes before it.
func (a *vnni) many32(f *vnniFormat, tiles string, prepareFetch func(bytes int)) {
	chunk, block, full := a.label(), a.label(), a.label()
	a.place(chunk)
	a.p("MOVQ $8, R11") // blocks to unpack
	a.p("CMPQ CX, $8")
	a.p("JGE %s", full)
	a.p("MOVQ CX, R11")
	a.place(full)
	a.p("SUBQ R11, CX")
	a.p("XORL R12, R12") // 64 times the number of unpacked blocks
	a.place(block)
	f.codes(a, f, func(col, z int) { a.p("VMOVDQU64 Z%d, %d(R8)(R12*8)", z, 16*col) })
	f.factors(a, f)
	a.p("VMOVUPS Z24, %d(R8)(R12*1)", sD32)
	a.p("VMOVUPS Z25, %d(R8)(R12*1)", sM32)
	a.p("ADDQ $%d, DI", f.bytes())
	a.p("ADDQ $64, R12")
	a.p("DECQ R11")
	a.p("JNZ %s", block)
	a.reload()
	prepareFetch(8 * f.bytes())
	a.p("CALL %s(SB)", tiles)
	a.p("MOVQ R12, R11") // 64·blocks
	a.p("SHRQ $6, R11")
	a.p("IMULQ R9, R11")
	a.p("ADDQ R11, R13")
	a.p("TESTQ CX, CX")
	a.p("JNZ %s", chunk)
}

// rounds writes the loop over DX tokens: tile for eight of them, then for four, two
// and one.
func (a *vnni) rounds(record int, tile func(n int)) {
	again, rest := a.label(), a.label()
	a.p("SUBQ $8, DX")
	a.p("JLT %s", rest)
	a.place(again)
	tile(8)
	a.p("ADDQ $%d, SI", 8*record)
	a.p("LEAQ (BX)(R10*8), BX")
	a.p("SUBQ $8, DX")
	a.p("JGE %s", again)
	a.place(rest) // the low bits of DX are right
	for n := 4; n > 0; n /= 2 {
		skip := a.label()
		a.p("TESTQ $%d, DX", n)
		a.p("JZ %s", skip)
		tile(n)
		a.p("ADDQ $%d, SI", n*record)
		a.p("LEAQ (BX)(R10*%d), BX", n)
		a.place(skip)
	}
	a.p("VZEROUPPER") // of Z0…Z15
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

// out sets AX and R11 so that outAt(t) addresses the results of the tile's token t.
func (a *vnni) out(n int) {
	if n > 2 {
		a.p("LEAQ (R10)(R10*2), AX")
		a.p("LEAQ (BX)(R10*4), R11")
	}
}

func outAt(t int) string {
	base := "BX"
	if t >= 4 {
		base = "R11"
	}
	return []string{"(" + base + ")", "(" + base + ")(R10*1)", "(" + base + ")(R10*2)", "(" + base + ")(AX*1)"}[t%4]
}

// tiles256 writes the subroutine that multiplies an unpacked super-block in R8 with DX
// tokens, records from SI on, and adds to the results from BX on. The tokens of a tile
// take turns, so that no sum waits for its last addition. CX, DI, R8, R9, R10, R13 and
// Z28…Z31 stay as they are.
//
// Sums of 16 columns of a narrow format are int16, which VPDPWSSD scales and adds at once; VPMULLD is two
// multiplications on Intel's CPUs, and an addition comes after it. On AMD's it is one, for twice as many columns.
func (a *vnni) tiles256(groups int, narrow bool) {
	name, lines := (&vnniFormat{groups: groups, narrow: narrow}).tiles()
	a.begin(name, "$0-0", fmt.Sprintf("Multiplies an unpacked super-block of %d groups with all tokens.", groups))
	per := groups / 8 // groups in 32 columns
	run := 8 / per    // steps of 4 columns before a sum is scaled
	if narrow {
		run = 4
	}
	const s, acc = 8, 16
	a.rounds(a256Bytes, func(n int) {
		chains := 1 // of additions for a token
		if narrow && n == 1 {
			chains = 2
		}
		for t := range n * chains {
			a.zero(acc + t)
		}
		loop := a.label()
		a.p("MOVQ SI, R11")
		a.p("XORL R12, R12") // 64·(columns/32)
		a.place(loop)
		for i := range 8 {
			a.p("VMOVDQU64 %d(R8)(R12*8), Z%d", 64*i, i)
		}
		for i := range per {
			a.p("VMOVDQU64 %d(R8)(R12*%d), Z%d", sScales+64*i, per, 24+i)
		}
		a.fetchAhead(lines)
		for i := range 8 {
			for t := range n {
				if i%run == 0 {
					a.zero(s + t)
				}
				a.p("VPDPBUSD.BCST %d(R11), Z%d, Z%d", a256Bytes*t+4*i, i, s+t)
			}
			if (i+1)%run > 0 {
				continue
			}
			scale := 24 + i*per/8
			for t := range n {
				a.addScaled(narrow, scale, s+t, acc+t+i/run%chains)
			}
		}
		a.p("ADDQ $32, R11")
		a.p("ADDQ $64, R12")
		a.p("CMPQ R12, $512")
		a.p("JLT %s", loop)

		for i := range groups / 2 {
			a.p("VMOVDQU64 %d(R8), Z%d", sMins+64*i, i)
		}
		a.p("VMOVUPS %d(R8), Z24", sD)
		a.p("VMOVUPS %d(R8), Z25", sM)
		a.out(n)
		if chains > 1 {
			a.p("VPADDD Z%d, Z%d, Z%d", acc+1, acc, acc)
		}
		for t := range n {
			a.zero(s + t)
			for i := range groups / 2 {
				a.p("VPDPWSSD.BCST %d(SI), Z%d, Z%d", a256Bytes*t+sums(groups)+4*i, i, s+t)
			}
			a.p("VCVTDQ2PS Z%d, Z%d", acc+t, acc+t)
			a.p("VCVTDQ2PS Z%d, Z%d", s+t, s+t)
			a.p("VMULPS.BCST %d(SI), Z24, Z26", a256Bytes*t+a256D)
			a.p("VMULPS.BCST %d(SI), Z25, Z27", a256Bytes*t+a256D)
			a.p("VFMADD213PS %s, Z26, Z%d", outAt(t), acc+t)
			a.p("VFMADD231PS Z%d, Z27, Z%d", s+t, acc+t)
			a.p("VMOVUPS Z%d, %s", acc+t, outAt(t))
		}
	})
}

// tiles returns the subroutine for a format, and how many lines it prefetches in each of the eight turns that its loop
// has for a tile: enough for every format that it serves.
func (f *vnniFormat) tiles() (name string, lines int) {
	switch {
	case f.groups == 0 && f.quads > 5:
		return "vnniTiles32long<>", 9 // Q8_0 has 68 in 8 blocks
	case f.groups == 0:
		return "vnniTiles32<>", 6 // Q5_1 has 48
	case f.narrow:
		return fmt.Sprintf("vnniTiles256x%dnarrow<>", f.groups), 5 // Q4_K has 36
	}
	return fmt.Sprintf("vnniTiles256x%d<>", f.groups), 3 + f.groups/4 // Q5_K has 44, Q6_K 53
}

// Weights that come are prefetched while tokens are multiplied: some lines in each of the first turns of a subroutine's
// loop, until they are as many as the weights just unpacked have. A burst of them would fill the buffers for misses,
// and everything else wait.

// prepareFetch sets R14 to weights that come, and R15 to the turns of fetchAhead for so many bytes.
func (a *vnni) prepareFetch(bytes, lines int) {
	a.p("LEAQ %d(DI), R14", ahead*bytes)
	a.p("MOVQ $%d, R15", (bytes+64*lines-1)/(64*lines))
}

// fetchAhead is what a turn does.
func (a *vnni) fetchAhead(lines int) {
	done := a.label()
	a.p("SUBQ $1, R15")
	a.p("JLT %s", done)
	for i := range lines {
		a.p("PREFETCHT1 %d(R14)", 64*i)
	}
	a.p("ADDQ $%d, R14", 64*lines)
	a.place(done)
}

// tiles32 does the same for R12/64 blocks of 32. R12 stays as it is too.
func (a *vnni) tiles32(f *vnniFormat) {
	name, lines := f.tiles()
	a.begin(name, "$0-0", "Multiplies unpacked blocks of 32 with all tokens.")
	const s, acc = 8, 16
	a.rounds(a32Bytes, func(n int) {
		a.out(n)
		for t := range n {
			a.p("VMOVUPS %s, Z%d", outAt(t), acc+t)
		}
		loop := a.label()
		a.p("MOVQ SI, R11")
		a.p("XORL AX, AX") // 64·blocks
		a.place(loop)
		for i := range 8 {
			a.p("VMOVDQU64 %d(R8)(AX*8), Z%d", 64*i, i)
		}
		a.p("VMOVUPS %d(R8)(AX*1), Z24", sD32)
		a.p("VMOVUPS %d(R8)(AX*1), Z25", sM32)
		a.fetchAhead(lines)
		for t := range n {
			a.zero(s + t)
		}
		for i := range 8 {
			for t := range n {
				a.p("VPDPBUSD.BCST %d(R11), Z%d, Z%d", a32Bytes*t+4*i, i, s+t)
			}
		}
		for t := range n {
			a.p("VMULPS.BCST %d(R11), Z24, Z26", a32Bytes*t+a32D)
			a.p("VCVTDQ2PS Z%d, Z%d", s+t, s+t)
			a.p("VFMADD231PS Z%d, Z26, Z%d", s+t, acc+t)
			a.p("VFMADD231PS.BCST %d(R11), Z25, Z%d", a32Bytes*t+a32S, acc+t)
		}
		a.p("ADDQ R9, R11")
		a.p("ADDQ $64, AX")
		a.p("CMPQ AX, R12")
		a.p("JLT %s", loop)
		a.out(n)
		for t := range n {
			a.p("VMOVUPS Z%d, %s", acc+t, outAt(t))
		}
	})
}

func bytes4(v byte) []byte { return []byte{v, v, v, v} }

var vnniFormats = []vnniFormat{
	{name: "Q4_0", factors: offset32(-8), codes: codes32(0, nil)},
	{name: "Q4_1", factors: minimum32, codes: codes32(0, nil)},
	{name: "Q5_0", factors: offset32(-16), codes: codes32(1, fifthBit), constants: fifthBitConstants},
	{name: "Q5_1", factors: minimum32, codes: codes32(1, fifthBit), constants: fifthBitConstants},
	{name: "Q8_0", factors: offset32(-128), codes: codesQ8_0, constants: [][]byte{bytes4(128)}},
	{name: "IQ4_NL", factors: offset32(-128), codes: codes32(0, lookUp), constants: [][]byte{iq4Codes}},

	{name: "Q2_K", groups: 16, narrow: true, codes: codesQ2_K, constants: [][]byte{bytes4(3)},
		factors: func(a *vnni, f *vnniFormat) { a.minimum(f.tailAt(0), f.tailAt(1)) },
		scales: func(a *vnni, f *vnniFormat) {
			for j := range 4 {
				a.load(f.at(j), 20+j)
				a.and(15, 20+j, 20+j)
			}
		},
		scale: inOrder,
		mins: func(a *vnni, f *vnniFormat) {
			for j := range 4 {
				a.load(f.at(j), 16+j)
				a.high(16+j, 16+j)
			}
		}},
	{name: "Q3_K", groups: 16, narrow: true, codes: codesQ3_K, factors: offsetTail(-4), direct: directQ3_K,
		scales: scalesQ3_K, scale: inOrder, bias: 32, constants: [][]byte{bytes4(3), bytes4(4)}},
	{name: "Q4_K", groups: 8, narrow: true, factors: minimumHead,
		codes: func(a *vnni, f *vnniFormat, emit func(col, z int)) {
			for u := range 32 {
				if u%8 == 0 { // 3 % faster from memory than one by one; other formats did not gain
					for i := range 8 {
						a.load(f.at(3+u+i), 8+i)
					}
				}
				lo, hi := a.split(8 + u%8)
				col := u/8*64 + u%8*4
				emit(col, lo)
				emit(col+32, hi)
			}
		},
		scales: scalesQ4_K, scale: inOrder, mins: minsQ4_K},
	{name: "Q5_K", groups: 8, codes: codesQ5_K, factors: minimumHead, constants: [][]byte{bytes4(16)},
		scales: scalesQ4_K, scale: inOrder, mins: minsQ4_K},
	{name: "Q6_K", groups: 16, codes: codesQ6_K, factors: offsetTail(-32),
		constants: [][]byte{bytes4(0x30)}, direct: directQ6_K,
		scales: func(a *vnni, f *vnniFormat) {
			for j := range 4 {
				a.load(f.at(48+j), 20+j)
				a.xor(0x80808080, 20+j, 20+j)
			}
		},
		scale: inOrder, bias: 128},
	{name: "IQ4_XS", groups: 8, constants: [][]byte{iq4Codes},
		factors: func(a *vnni, f *vnniFormat) { a.offset(0, -128) },
		codes: func(a *vnni, f *vnniFormat, emit func(col, z int)) {
			for g := range 8 {
				a.codes16(f.at(1+4*g), lookUp, func(col, z int) { emit(32*g+col, z) })
			}
		},
		scales: scalesIQ4_XS, scale: func(g int) (z, i int) { return 20 + g%2, g / 2 }, bias: 32},
}

// inOrder is the place of a scale where four groups follow each other in a register.
func inOrder(g int) (z, i int) { return 20 + g/4, g % 4 }

// minimum sets d and m to the float16 at offsets d and m, m negated.
func (a *vnni) minimum(d, m int) {
	a.f16(d, 24)
	a.f16(m, 25)
	a.xor(1<<31, 25, 25)
}

// offset sets d to the float16 at off and m to factor·d.
func (a *vnni) offset(off int, factor float32) {
	a.f16(off, 24)
	suffix, operand := a.dwords(math.Float32bits(factor))
	a.p("VMULPS%s %s, Z24, Z25", suffix, operand)
}

func minimumHead(a *vnni, _ *vnniFormat) { a.minimum(0, 32) }

func offsetTail(factor float32) func(*vnni, *vnniFormat) {
	return func(a *vnni, f *vnniFormat) { a.offset(f.tailAt(0), factor) }
}

func offset32(factor float32) func(*vnni, *vnniFormat) {
	return func(a *vnni, _ *vnniFormat) { a.offset(0, factor) }
}

func minimum32(a *vnni, _ *vnniFormat) {
	a.f16(0, 24)
	a.f16(32, 25)
}

// codes16 unpacks 32 codes from the 16 bytes of four units: code i is the low nibble of
// byte i, code i+16 the high one. more, if not nil, adds to a register of nibbles.
func (a *vnni) codes16(off int, more func(a *vnni, col, z int), emit func(col, z int)) {
	for u := range 4 {
		lo, hi := a.nibbles(off + 64*u)
		for half, z := range []int{lo, hi} {
			col := 16*half + 4*u
			if more != nil {
				more(a, col, z)
			}
			emit(col, z)
		}
	}
}

// codes32 is codes16 for blocks of 32 that begin with units other than codes.
func codes32(first int, more func(a *vnni, col, z int)) func(*vnni, *vnniFormat, func(col, z int)) {
	return func(a *vnni, f *vnniFormat, emit func(col, z int)) {
		if first > 0 {
			a.spreadFifthBits(f.at(0))
		}
		a.codes16(f.at(first), more, emit)
	}
}

// lookUp turns indices into the values of IQ4 plus 128; Z28 is the table.
func lookUp(a *vnni, _, z int) { a.p("VPSHUFB Z%d, Z28, Z%d", z, z) }

// spreadFifthBits sets Z8…Z11 to the bytes of the unit at off, each four times.
func (a *vnni) spreadFifthBits(off int) {
	a.load(off, 12)
	for i := range 4 {
		a.p("VPSHUFB %s, Z12, Z%d", a.pick(i, i, i, i), 8+i)
	}
}

// fifthBit adds 16 to the codes whose bit is set.
func fifthBit(a *vnni, col, z int) {
	bits := fifthBitConstants[col%8/4]
	a.p("VPTESTMB %s, Z%d, K1", a.vector(bits...), 8+col/8)
	a.p("VPADDB %s, Z%d, K1, Z%d", a.bytes(16), z, z)
}

var fifthBitConstants = [][]byte{{1, 2, 4, 8}, {16, 32, 64, 128}, bytes4(16)}

func codesQ8_0(a *vnni, f *vnniFormat, emit func(col, z int)) {
	for u := range 8 {
		z := a.next()
		a.load(f.at(u), z)
		a.xor(0x80808080, z, z)
		emit(4*u, z)
	}
}

// scalesQ4_K: groups 0…3 have the low six bits of the first unit, groups 4…7 the low
// nibbles of the third and the top bits of the first.
func scalesQ4_K(a *vnni, f *vnniFormat) {
	a.load(f.at(0), 6)
	a.load(f.at(2), 7)
	a.and(0x3f, 6, 20)
	a.and(15, 7, 21)
	a.insert(21, -2, 6, 0x30, 6)
}

// minsQ4_K: the same with the second unit and the high nibbles.
func minsQ4_K(a *vnni, f *vnniFormat) {
	a.load(f.at(1), 6)
	a.load(f.at(2), 7)
	a.and(0x3f, 6, 16)
	a.high(7, 17)
	a.insert(17, -2, 6, 0x30, 6)
}

// codesQ5_K: the fifth bit of group g's column i is bit g of byte i of the units 3…10.
func codesQ5_K(a *vnni, f *vnniFormat, emit func(col, z int)) {
	for u := range 8 {
		a.load(f.at(3+u), 8+u)
	}
	for u := range 32 {
		lo, hi := a.nibbles(f.at(11 + u))
		for half, z := range []int{lo, hi} {
			g := u/8*2 + half
			a.insert(z, 4-g, 8+u%8, 0x10, 7)
			emit(32*g+u%8*4, z)
		}
	}
}

// Q2_K, Q3_K and Q6_K have two halves of 128 columns. Byte i of a half's 32 bytes of
// pairs has the bits of its columns i, i+32, i+64 and i+96, of four groups.

func codesQ2_K(a *vnni, f *vnniFormat, emit func(col, z int)) {
	for u := range 16 {
		a.load(f.at(4+u), 7)
		for j := range 4 {
			z := a.next()
			a.pairs(-2*j, 7, z)
			emit(u/8*128+32*j+u%8*4, z)
		}
	}
}

// pairs sets z to the low two bits of each byte of v shifted by n.
func (a *vnni) pairs(n, v, z int) {
	if n != 0 {
		a.shift(n, v, z)
		v = z
	}
	a.and(3, v, z)
}

// codesQ3_K: the third bit of column i is bit i/32 of byte i%32 of the first 8 units.
func codesQ3_K(a *vnni, f *vnniFormat, emit func(col, z int)) {
	for u := range 8 {
		a.load(f.at(u), 8+u)
	}
	for u := range 16 {
		a.load(f.at(8+u), 7)
		for j := range 4 {
			z := a.next()
			a.pairs(-2*j, 7, z)
			a.insert(z, 2-(u/8*4+j), 8+u%8, 4, 27)
			emit(u/8*128+32*j+u%8*4, z)
		}
	}
}

// scalesQ3_K: the low four bits are the nibbles of two units, low ones first; the high
// two are pairs of the third.
func scalesQ3_K(a *vnni, f *vnniFormat) {
	a.load(f.at(26), 18)
	for j := range 4 {
		a.load(f.at(24+j%2), 20+j)
		if j < 2 {
			a.and(15, 20+j, 20+j)
		} else {
			a.high(20+j, 20+j)
		}
		a.insert(20+j, 4-2*j, 18, 0x30, 19)
	}
}

// codesQ6_K: byte i of a half's 64 bytes has the low bits of columns i and i+64.
func codesQ6_K(a *vnni, f *vnniFormat, emit func(col, z int)) {
	for u := range 32 {
		if u%16 == 0 {
			for v := range 8 {
				a.load(f.at(32+u/2+v), 8+v)
			}
		}
		lo, hi := a.nibbles(f.at(u))
		for half, z := range []int{lo, hi} {
			j := 2*half + u%16/8
			a.insert(z, 4-2*j, 8+u%8, 0x30, 27)
			emit(u/16*128+32*j+4*(u%8), z)
		}
	}
}

// directQ6_K multiplies the low four bits of all codes, then the upper two, times 16, and
// scales the sums of the 16 groups, Z0…Z15, when the scales come at the block's end.
func directQ6_K(a *vnni, f *vnniFormat) {
	for g := range 16 {
		a.zero(g)
	}
	dot := func(col, z int) { a.p("VPDPBUSD.BCST %d(SI), Z%d, Z%d", col, z, col/16) }
	for u := range 32 {
		lo, hi := 16+u%2*2, 17+u%2*2
		a.load(f.at(u), hi)
		a.and(15, hi, lo)
		a.high(hi, hi)
		col := u/16*128 + u%16/8*32 + u%8*4
		dot(col, lo)
		dot(col+64, hi)
	}
	for u := range 16 {
		bits := 20 + u%2
		a.load(f.at(32+u), bits)
		for j := range 4 {
			z := 16 + j
			from := bits
			if n := 4 - 2*j; n != 0 {
				a.shift(n, bits, z)
				from = z
			}
			a.and(0x30, from, z)
			dot(u/8*128+32*j+u%8*4, z)
		}
	}
	a.scaleSums(f)
}

// directQ3_K multiplies the third bits of all codes, then the lower two, where they stand in their
// bytes: the sum of group g, Zg, of half h and pair j, is 2^(4h+j) times too large, then 4^j times.
func directQ3_K(a *vnni, f *vnniFormat) {
	for g := range 16 {
		a.zero(g)
	}
	n := 0
	dot := func(mask byte, from, col int) {
		z := 20 + n%4
		n++
		a.and(mask, from, z)
		a.p("VPDPBUSD.BCST %d(SI), Z%d, Z%d", col, z, col/16)
	}
	for u := range 8 {
		from := 16 + u%4
		a.load(f.at(u), from)
		for i := range 8 {
			dot(1<<i, from, 32*i+4*u)
		}
	}
	for g := range 16 { // 4·4^j / 2^(4h+j)
		h, j := g/8, g%8/2
		switch n := 2 + j - 4*h; {
		case n < 0:
			a.p("VPSRAD $%d, Z%d, Z%d", -n, g, g)
		case n > 0:
			a.shift(n, g, g)
		}
	}
	for u := range 16 {
		from := 16 + u%4
		a.load(f.at(8+u), from)
		for j := range 4 {
			dot(3<<(2*j), from, u/8*128+32*j+u%8*4)
		}
	}
	for g := range 16 {
		if j := g % 8 / 2; j > 0 {
			a.p("VPSRAD $%d, Z%d, Z%d", 2*j, g, g)
		}
	}
	a.scaleSums(f)
}

// scaleSums ends the direct way of a format whose scales come after its codes: Z0…Z15 are the
// sums of its groups.
func (a *vnni) scaleSums(f *vnniFormat) {
	f.scales(a, f)
	a.zero(24)
	a.zero(25)
	for g := range 16 {
		a.scaleOf(f, g, 27)
		a.p("VPMULLD Z27, Z%d, Z%d", g, g)
		a.p("VPADDD Z%d, Z24, Z24", g)
	}
	a.eachMins(f, func(i, z int) {
		a.p("VPDPWSSD.BCST %d(SI), Z%d, Z25", sums(f.groups)+4*i, z)
	})
	a.finish256(f)
}

// scalesIQ4_XS: Z20 has the even groups, Z21 the odd ones: nibbles of the first unit, and
// pairs of the 16 bits of the second head unit, four bits of which go to each byte.
func scalesIQ4_XS(a *vnni, f *vnniFormat) {
	a.load(f.at(0), 21)
	a.and(15, 21, 20)
	a.high(21, 21)
	a.p("VPMOVZXWD 32(DI), Z6")
	a.shift(8, 6, 7)
	a.p("VPORD Z6, Z7, Z6")
	suffix, operand := a.dwords(0x00ff00ff)
	a.p("VPANDD%s %s, Z6, Z6", suffix, operand)
	a.shift(4, 6, 7)
	a.p("VPORD Z6, Z7, Z6")
	a.and(15, 6, 6)
	a.insert(20, 4, 6, 0x30, 7)
	a.insert(21, 2, 6, 0x30, 7)
}
