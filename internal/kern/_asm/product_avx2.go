package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"math"
	"slices"
)

// The AVX2 kernels of the products with quantized weights.
//
// A quad is four consecutive columns of 16 rows: two registers, the halves rows 0…7
// and rows 8…15, a dword of four codes for each row. VPMADDUBSW multiplies it with a
// token's four activations, broadcast, and adds neighbours, which gives two int16 for each row.
// The quads of a run are added up in int16; then VPMADDWD with the group's scale, twice in
// each dword, widens, scales and adds the two.
//
// No int16 overflows: a run of n quads of codes 0…c reaches n·2·c·127.
//
//	c    n
//	3    4    3,048
//	7    4    7,112
//	15   8    30,480
//	31   4    31,496
//	63   2    32,004
//
// Codes of 8 bits are taken apart into code = 16·high + low, two parts which have
// scales of their own: four operations for a quad. Widening each product costs no less.
//
// A single token takes the direct way: codes are multiplied as they are unpacked. So do, of some formats, up to four
// tokens, see product_avx2_few.go. More tokens take the way through Product.Scratch: a super-block, or up to 8 blocks of
// 32, is unpacked there and multiplied with three tokens at a time, each quad being loaded once for the three. All ways
// unpack by the same recipe.
//
// What bounds the second way: Zen 4 does two multiplications and four vector operations
// in a cycle in all, but no more than 3.2 where each multiplication is followed by an
// addition that waits for it. A run of 8 quads is 8 multiplications, 7 additions and 2
// for the scale.
//
// General registers: AX the Product, SI the panel's block, DI Scratch, R8 the block's
// activations, R9 blocks left, R10 OutStride.
//   - Unpacking and the direct way: CX the unpacked block, R11 and R12 the arrays of
//     codes, BX counts, DX walks over activations, R13 prefetches. In the direct way R10
//     is at the panel's results and R15 counts panels.
//   - Tiles: R13 tokens left, R12 their records, R11 their results, R15 unpacked blocks
//     of 32; CX walks over codes, BX over scales, DX over activations, R14 counts. R15 with
//     super-blocks, BX with others, walks over prefetched weights.
//
// Vector registers: Y14 is the broadcast value, Y12…Y15 are free after it, see [avx2Sums].
// Unpacking takes Y10, Y12, Y13 and, for constants, Y6, Y7, Y11 and Y3; what
// precedes the codes takes Y0…Y5 and Y12…Y15.
//
// With AVX-VNNI, VPDPBUSD takes codes whole, whatever their size, and adds four products to an
// int32: one instruction for half of a quad. A run of a super-block is scaled by VPMULLD, or by
// VPDPWSSD where it fits an int16. A single token is AVX2's.
type avx2 struct {
	writer
	vnni      bool
	data      map[string][]byte // constants, by name
	constants [4]int            // registers of the format's constants
	f         *avx2Format
	hint      int          // of hints: what the direct way prefetches with
	masks     map[byte]int // registers that hold masks
}

// avx2Format is the recipe for a format.
type avx2Format struct {
	name string
	layout
	cols       int  // in a block
	parts      int  // of codes
	run, group int  // quads
	narrow     bool // a run fits an int16 (AVX-VNNI)
	d, m       int  // offsets of the float16 d and m in a panel's block
	factor     float32
	constants  [][]byte // what the registers of avx2Constants hold, repeated
	table      bool     // the second and third hold the low and the high nibbles of Product.Table, and d is a float32
	// codes sets Y12, and Y13 to the second part, to the codes of half a quad.
	codes func(a *avx2, quad, half int)

	// For super-blocks:

	// step is the number of quads unpacked in an iteration, in which codes finds its
	// arrays at R11 and R12. They start at these offsets and advance by so much.
	step   int
	arrays [][2]int
	// scales unpacks the scales and the minima.
	scales func(a *avx2, half int)

	// sums replaces multiplyUnpacking in the direct way for a format whose scales come after its codes, or whose bits
	// of a code lie in two places: memory must be read in the order of addresses. Three streams that take turns reach 7
	// GB/s of a possible 31 on Zen 4, 18 with prefetches. It adds up the groups' products, see [avx2.sumAt].
	sums func(a *avx2)
	// shifts are those of the scales for the group's sums, one for each of them.
	shifts func(group int) []int
}

// avx2Constants are the registers of constants but in [avx2.few].
var avx2Constants = [...]int{6, 7, 11, 3}

const (
	avx2Tokens = 3 // in a tile
	avx2Blocks = 8 // of 32, unpacked at a time
)

// quantizedAVX2 writes the kernels of all formats.
func quantizedAVX2(vnni bool) []byte {
	a := &avx2{vnni: vnni, data: map[string][]byte{}, constants: avx2Constants}
	for _, f := range avx2Formats {
		f.layout = layouts[f.name]
		if vnni {
			f = f.whole()
		}
		a.f = &f
		a.kernel()
	}
	var out bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(a.data)) {
		for i := 0; i < 32; i += 8 {
			fmt.Fprintf(&out, "DATA %s+%d(SB)/8, $%#016x\n", name, i, binary.LittleEndian.Uint64(a.data[name][i:]))
		}
		fmt.Fprintf(&out, "GLOBL %s(SB), RODATA|NOPTR, $32\n\n", name)
	}
	return append(out.Bytes(), a.buf.Bytes()...)
}

// whole returns the recipe that does not take codes apart.
func (f avx2Format) whole() avx2Format {
	if f.parts == 2 && f.name != "Q8_0" && !f.table {
		f.constants = [][]byte{{0x0f}, iq4Codes}
	}
	f.parts, f.run = 1, f.group
	switch f.name {
	case "Q2_K", "Q3_K", "Q4_K":
		f.run, f.narrow = 4, true
	}
	return f
}

// constant returns the address of 32 bytes that repeat pattern.
func (a *avx2) constant(pattern ...byte) string {
	name := "avx2x" + hex.EncodeToString(pattern) + "<>"
	a.data[name] = bytes.Repeat(pattern, 32/len(pattern))
	return name + "(SB)"
}

func (a *avx2) super() bool { return a.f.cols == 256 }

// record returns the size of a token's record.
func (a *avx2) record() int {
	if a.super() {
		return a256Bytes
	}
	return a32Bytes
}

func (a *avx2) groups() int { return a.f.cols / 4 / a.f.group }

// An unpacked block holds, by group, part, quad and half, the codes; for a super-block,
// by group, part and half, the scales, each twice in int16, then by pair of groups and half
// the minima, two int16; d and m. The following return offsets in it.

func (a *avx2) groupBytes() int { return 64 * a.f.group * a.f.parts }

func (a *avx2) codeAt(part, quad, half int) int {
	return quad/a.f.group*a.groupBytes() + 64*(part*a.f.group+quad%a.f.group) + 32*half
}

func (a *avx2) scaleAt(group, part, half int) int {
	return a.groups()*a.groupBytes() + 64*(group*a.f.parts+part) + 32*half
}

func (a *avx2) minAt(pair, half int) int { return a.scaleAt(a.groups(), 0, half) + 64*pair }

func (a *avx2) dAt(half int) int {
	if a.super() {
		return a.minAt(a.groups()/2, half)
	}
	return a.groupBytes() + 32*half
}

func (a *avx2) mAt(half int) int { return a.dAt(half) + 64 }

func (a *avx2) unpackedBytes() int { return a.mAt(0) + 64 }

// kernel writes the kernel of the format.
func (a *avx2) kernel() {
	name := "·product" + a.f.name + "AVX2"
	fmt.Fprintf(&a.buf, "// Products of %s panels.\n", a.f.name)
	if a.vnni {
		single := name
		name = "many" + a.f.name + "<>"
		fmt.Fprintf(&a.buf, "TEXT ·product%sAVXVNNI(SB), NOSPLIT, $0-8\n", a.f.name)
		a.p("MOVQ p+0(FP), AX")
		a.p("CMPQ %d(AX), $1", pT)
		a.p("JEQ single")
		a.p("JMP %s(SB)", name)
		a.place("single")
		a.p("JMP %s(SB)", single)
		fmt.Fprintln(&a.buf)
	}
	fmt.Fprintf(&a.buf, "TEXT %s(SB), NOSPLIT, $8-8\n", name)
	a.p("MOVQ p+0(FP), AX")
	a.p("MOVQ %d(AX), SI", pW)
	a.p("MOVQ %d(AX), R8", pA)
	a.p("MOVQ %d(AX), DI", pScratch)
	a.p("MOVQ %d(AX), R9", pBlocks)
	a.p("MOVQ %d(AX), R10", pOutStride)
	if !a.vnni {
		a.p("CMPQ %d(AX), $1", pT)
		a.p("JEQ direct")
	}
	a.several()
	if a.vnni {
		fmt.Fprintln(&a.buf)
		return
	}
	for n := 2; n <= a.fewest(); n++ {
		a.few(n)
	}
	a.single()
}

// several writes the way of several tokens, but for [avx2.few].
func (a *avx2) several() {
	a.p("MOVQ %d(AX), R11", pOut)
	a.p("MOVQ %d(AX), R13", pT)
	a.p("VPXOR Y0, Y0, Y0")
	a.place("clear")
	a.p("VMOVUPS Y0, (R11)")
	a.p("VMOVUPS Y0, 32(R11)")
	a.p("ADDQ R10, R11")
	a.p("DECQ R13")
	a.p("JNZ clear")

	for n := 2; n <= a.fewest(); n++ {
		a.p("CMPQ %d(AX), $%d", pT, n)
		a.p("JEQ few%d", n)
	}
	a.place("block")
	a.unpack()
	a.prepareFetch()
	a.p("MOVQ %d(AX), R11", pOut)
	a.p("MOVQ R8, R12")
	a.p("MOVQ %d(AX), R13", pT)
	for n := avx2Tokens; n > 0; n-- {
		a.place(fmt.Sprintf("tile%d", n))
		a.p("CMPQ R13, $%d", n)
		a.p("JLT tile%d", n-1)
		a.tile(n)
		a.p("ADDQ $%d, R12", n*a.record())
		for range n {
			a.p("ADDQ R10, R11")
		}
		a.p("SUBQ $%d, R13", n)
		a.p("JMP tile%d", n)
	}
	a.place("tile0")
	a.p("MOVQ %d(AX), DX", pAStride)
	if a.super() {
		a.p("ADDQ DX, R8")
		a.p("DECQ R9")
	} else {
		a.p("IMULQ R15, DX")
		a.p("ADDQ DX, R8")
		a.p("SUBQ R15, R9")
	}
	a.p("JNZ block")
	a.p("VZEROUPPER")
	a.p("RET")
}

// single writes the direct way, with each hint.
func (a *avx2) single() {
	a.place("direct")
	a.p("MOVQ %d(AX), R10", pOut)
	a.p("MOVQ %d(AX), R15", pPanels)
	a.p("MOVQ %d(AX), R13", pAhead)
	a.p("ADDQ SI, R13")
	a.loadConstants()
	for i, h := range hints {
		if i < len(hints)-1 {
			a.p("CMPQ %d(AX), $%d", pHint, i)
			a.p("JNE not%d", i)
		}
		a.hint = i
		a.direct(h.name)
		a.place(fmt.Sprintf("not%d", i))
	}
	fmt.Fprintln(&a.buf)
}

func (a *avx2) loadConstants() {
	for i, c := range a.f.constants {
		a.p("VMOVDQU %s, Y%d", a.constant(c...), a.constants[i])
	}
	if a.f.table {
		a.loadTable()
	}
}

// unpack unpacks a super-block, or R15 blocks of 32, and advances SI past them.
func (a *avx2) unpack() {
	a.loadConstants()
	a.p("MOVQ DI, CX")
	if a.super() {
		a.header()
		a.eachStep("unpack", func() {
			a.store(a.f.step)
			a.p("ADDQ $%d, CX", a.codeAt(0, a.f.step, 0))
		})
		a.p("ADDQ $%d, SI", a.f.bytes())
		return
	}
	a.p("MOVQ $%d, R15", avx2Blocks)
	a.p("CMPQ R9, R15")
	a.p("CMOVQLT R9, R15")
	a.p("MOVQ R15, BX")
	a.place("unpack")
	a.header()
	a.store(8)
	a.p("ADDQ $%d, SI", a.f.bytes())
	a.p("ADDQ $%d, CX", a.unpackedBytes())
	a.p("DECQ BX")
	a.p("JNZ unpack")
}

// eachStep writes the loop over a super-block's steps.
func (a *avx2) eachStep(label string, body func()) {
	for i, array := range a.f.arrays {
		a.p("LEAQ %d(SI), R%d", array[0], 11+i)
	}
	if a.f.step == 64 {
		body()
		return
	}
	a.p("MOVQ $%d, BX", 64/a.f.step)
	a.place(label)
	body()
	for i, array := range a.f.arrays {
		a.p("ADDQ $%d, R%d", array[1], 11+i)
	}
	a.p("DECQ BX")
	a.p("JNZ %s", label)
}

// store unpacks the codes of quads.
func (a *avx2) store(quads int) {
	for quad := range quads {
		for half := range 2 {
			a.f.codes(a, quad, half)
			for part := range a.f.parts {
				a.p("VMOVDQU Y%d, %d(CX)", 12+part, a.codeAt(part, quad, half))
			}
		}
	}
}

// header unpacks what is not codes.
func (a *avx2) header() {
	for half := range 2 {
		if a.super() {
			a.f.scales(a, half)
		}
		if a.f.table {
			a.p("VMOVUPS %d(SI), Y0", a.f.d+32*half)
		} else {
			a.p("VCVTPH2PS %d(SI), Y0", a.f.d+16*half)
		}
		a.p("VMOVUPS Y0, %d(CX)", a.dAt(half))
		if a.f.m != a.f.d {
			a.p("VCVTPH2PS %d(SI), Y0", a.f.m+16*half)
		}
		if a.f.factor != 1 {
			factor := binary.LittleEndian.AppendUint32(nil, math.Float32bits(a.f.factor))
			a.p("VMULPS %s, Y0, Y0", a.constant(factor...))
		}
		a.p("VMOVUPS Y0, %d(CX)", a.mAt(half))
	}
}

// avx2Sums says which registers hold the sums of a tile, the halves of each token side by side.
type avx2Sums struct {
	tokens int
	first  int // tokens before them, whose records precede theirs
	run    int // int16 of a run, by part with one token; at last the int32 with the minima
	isum   int // int32
	out    int // results; 0 if they stay in memory
}

// tile writes the products of an unpacked super-block, or R15 blocks of 32, with n tokens.
func (a *avx2) tile(n int) {
	s := avx2Sums{tokens: n, run: 0, isum: 6}
	label := fmt.Sprintf("loop%d", n)
	a.p("MOVQ DI, CX")
	a.p("MOVQ R12, DX")
	if a.super() {
		a.zero(s.isum, 2*n)
		a.p("LEAQ %d(DI), BX", a.scaleAt(0, 0, 0))
		a.p("MOVQ $%d, R14", a.groups())
		a.place(label)
		a.fetchAhead(n)
		a.multiplyGroup(s)
		a.p("ADDQ $%d, CX", a.groupBytes())
		a.p("ADDQ $%d, DX", 4*a.f.group)
		a.p("ADDQ $%d, BX", 64*a.f.parts)
		a.p("DECQ R14")
		a.p("JNZ %s", label)
		a.finish256(s, "R12")
		return
	}
	if a.f.parts == 1 && a.f.run == a.f.group { // one run, widened in its place
		s.isum, s.out = s.run, 6
		a.eachResult(s, func(r int, addr string) { a.p("VMOVUPS %s, Y%d", addr, r) })
	}
	a.p("MOVQ R15, R14")
	a.place(label)
	a.fetchAhead(n)
	a.multiplyGroup(s)
	a.finish32(s, "CX")
	a.p("ADDQ $%d, CX", a.unpackedBytes())
	a.p("ADDQ %d(AX), DX", pAStride)
	a.p("DECQ R14")
	a.p("JNZ %s", label)
	if s.out > 0 {
		a.eachResult(s, func(r int, addr string) { a.p("VMOVUPS Y%d, %s", r, addr) })
	}
}

// Weights that come are prefetched while tokens are multiplied, some of them in each turn of the first tile's loop: as
// many as have just been unpacked. A local variable counts the turns.

// fetchRegister walks over them.
func (a *avx2) fetchRegister() string {
	if a.super() {
		return "R15"
	}
	return "BX"
}

// prepareFetch precedes the tiles. SI is after the weights that have been unpacked.
func (a *avx2) prepareFetch() {
	turns, bytes := a.groups(), a.f.bytes()
	if !a.super() {
		turns, bytes = avx2Blocks, avx2Blocks*a.f.bytes()
	}
	a.p("LEAQ %d(SI), %s", (ahead-1)*bytes, a.fetchRegister())
	a.p("MOVQ $%d, turns-8(SP)", turns)
}

// fetchAhead is what a turn of the loop of n tokens does.
func (a *avx2) fetchAhead(n int) {
	bytes := a.f.bytes() / a.groups()
	done := fmt.Sprintf("fetched%d", n)
	a.p("SUBQ $1, turns-8(SP)")
	a.p("JLT %s", done)
	for off := 0; off < bytes; off += 64 {
		a.p("PREFETCHT1 %d(%s)", off, a.fetchRegister())
	}
	a.p("ADDQ $%d, %s", bytes, a.fetchRegister())
	a.place(done)
}

func (a *avx2) zero(first, n int) {
	for r := first; r < first+n; r++ {
		a.p("VPXOR Y%d, Y%d, Y%d", r, r, r)
	}
}

// eachResult calls use with the register and the address of each result.
func (a *avx2) eachResult(s avx2Sums, use func(r int, addr string)) {
	for i := range 2 * s.tokens {
		use(s.out+i, avx2Result(i))
	}
}

// avx2Result returns the address of half i of the results of the tokens at R11.
func avx2Result(i int) string {
	return fmt.Sprintf("%d(R11)%s", i%2*32, []string{"", "(R10*1)", "(R10*2)"}[i/2])
}

// multiplyGroup adds the group at CX to isum.
func (a *avx2) multiplyGroup(s avx2Sums) {
	if a.vnni {
		a.multiplyWhole(s)
		return
	}
	for part := range a.f.parts {
		for quad := range a.f.group {
			for half := range 2 {
				a.p("VMOVDQU %d(CX), Y%d", a.codeAt(part, quad, half), 12+half)
			}
			for t := range s.tokens {
				a.p("VPBROADCASTD %d(DX), Y14", 4*quad+a.record()*t)
				a.madd("VPMADDUBSW", "VPADDW", s.run+2*t, quad%a.f.run == 0)
			}
			if quad%a.f.run == a.f.run-1 {
				scales := [2]string{fmt.Sprintf("%d(BX)", 64*part), fmt.Sprintf("%d(BX)", 64*part+32)}
				a.widen(s, s.run, 2*s.tokens, part, scales, part == 0 && quad < a.f.run)
			}
		}
	}
}

// multiplyWhole is multiplyGroup with AVX-VNNI.
func (a *avx2) multiplyWhole(s avx2Sums) {
	for quad := range a.f.group {
		if quad%a.f.run == 0 {
			a.zero(s.run, 2*s.tokens)
		}
		for half := range 2 {
			a.p("VMOVDQU %d(CX), Y%d", a.codeAt(0, quad, half), 12+half)
		}
		for t := range s.tokens {
			a.p("VPBROADCASTD %d(DX), Y14", 4*quad+a.record()*t)
			a.dot(dotBytes, 14, 12, s.run+2*t)
			a.dot(dotBytes, 14, 13, s.run+2*t+1)
		}
		if !a.super() || quad%a.f.run < a.f.run-1 {
			continue
		}
		for half := range 2 {
			a.p("VMOVDQU %d(BX), Y%d", 32*half, 12+half)
		}
		for i := range 2 * s.tokens {
			if a.f.narrow {
				a.dot(dotWords, 12+i%2, s.run+i, s.isum+i)
				continue
			}
			a.p("VPMULLD Y%d, Y%d, Y%d", 12+i%2, s.run+i, s.run+i)
			a.p("VPADDD Y%d, Y%d, Y%d", s.run+i, s.isum+i, s.isum+i)
		}
	}
}

// The opcodes of AVX-VNNI.
const (
	dotBytes = 0x50 // VPDPBUSD
	dotWords = 0x52 // VPDPWSSD
)

// dot adds to the int32 of sum the products of y, for dotBytes unsigned, and x. The assembler knows these instructions
// as those of AVX-512 only.
func (w *writer) dot(opcode byte, x, y, sum int) {
	bit3 := func(r int) int { return 1 - r>>3 } // inverted
	w.p("BYTE $0xc4; BYTE $%#02x; BYTE $%#02x; BYTE $%#02x; BYTE $%#02x // Y%d, Y%d, Y%d",
		bit3(sum)<<7|1<<6|bit3(x)<<5|2, (15-y)<<3|5, opcode, 0xc0|sum&7<<3|x&7, x, y, sum)
}

// madd multiplies Y12 and Y13 with Y14, adding the products to the registers sum and
// sum+1, or setting them. It ends the use of Y14. Both products come first, then both
// additions: Zen 4 does 8 % more than in alternation.
func (a *avx2) madd(multiply, add string, sum int, first bool) {
	if first {
		a.p("%s Y14, Y12, Y%d", multiply, sum)
		a.p("%s Y14, Y13, Y%d", multiply, sum+1)
		return
	}
	a.p("%s Y14, Y12, Y15", multiply)
	a.p("%s Y14, Y13, Y14", multiply)
	a.p("%s Y15, Y%d, Y%d", add, sum, sum)
	a.p("%s Y14, Y%d, Y%d", add, sum+1, sum+1)
}

// widen adds n runs from the register run on, halves in turn, to isum. scales are the
// addresses of the halves' scales; blocks of 32 have none, and their first runs begin isum.
func (a *avx2) widen(s avx2Sums, run, n, part int, scales [2]string, first bool) {
	if !a.super() {
		one := a.constant([]byte{1, 16}[part], 0)
		scales = [2]string{one, one}
		if first {
			for i := range n {
				a.p("VPMADDWD %s, Y%d, Y%d", one, run+i, s.isum+i)
			}
			return
		}
	}
	for at := 0; at < n; at += 4 {
		for i := at; i < min(at+4, n); i++ {
			a.p("VPMADDWD %s, Y%d, Y%d", scales[i%2], run+i, 12+i-at)
		}
		for i := at; i < min(at+4, n); i++ {
			a.p("VPADDD Y%d, Y%d, Y%d", 12+i-at, s.isum+i, s.isum+i)
		}
	}
}

// finish256 adds a super-block to the results. record holds the address of the first record.
func (a *avx2) finish256(s avx2Sums, record string) {
	for pair := range a.groups() / 2 {
		for half := range 2 {
			a.p("VMOVDQU %d(DI), Y%d", a.minAt(pair, half), 12+half)
		}
		for t := range s.tokens {
			a.p("VPBROADCASTD %d(%s), Y14", sums(a.groups())+4*pair+a256Bytes*(s.first+t), record)
			a.madd("VPMADDWD", "VPADDD", s.run+2*t, pair == 0)
		}
	}
	for i := range 2 * s.tokens {
		if i%2 == 0 {
			a.p("VBROADCASTSS %d(%s), Y14", a256D+a256Bytes*(s.first+i/2), record)
		}
		out := a.result(s, i)
		for _, term := range [][2]int{{s.isum + i, a.dAt(i % 2)}, {s.run + i, a.mAt(i % 2)}} {
			a.p("VMULPS %d(DI), Y14, Y15", term[1])
			a.p("VCVTDQ2PS Y%d, Y%d", term[0], term[0])
			a.p("VFMADD231PS Y15, Y%d, Y%d", term[0], out)
		}
		a.endResult(s, i)
	}
}

// finish32 adds a block of 32 to the results. block holds the address of the unpacked one.
func (a *avx2) finish32(s avx2Sums, block string) {
	for i := range 2 * s.tokens {
		if i%2 == 0 {
			a.p("VBROADCASTSS %d(DX), Y14", a32D+a32Bytes*(s.first+i/2))
			a.p("VBROADCASTSS %d(DX), Y15", a32S+a32Bytes*(s.first+i/2))
		}
		a.p("VMULPS %d(%s), Y14, Y13", a.dAt(i%2), block)
		a.p("VCVTDQ2PS Y%d, Y%d", s.isum+i, s.isum+i)
		out := a.result(s, i)
		a.p("VFMADD231PS Y13, Y%d, Y%d", s.isum+i, out)
		a.p("VFMADD231PS %d(%s), Y15, Y%d", a.mAt(i%2), block, out)
		a.endResult(s, i)
	}
}

// result returns the register of half i of the results, Y12 if they stay in memory.
// endResult ends its use.
func (a *avx2) result(s avx2Sums, i int) int {
	if s.out > 0 {
		return s.out + i
	}
	a.p("VMOVUPS %s, Y12", avx2Result(i))
	return 12
}

func (a *avx2) endResult(s avx2Sums, i int) {
	if s.out == 0 {
		a.p("VMOVUPS Y12, %s", avx2Result(i))
	}
}

// direct writes the product with one token. Its labels end in hint.
func (a *avx2) direct(hint string) {
	s := avx2Sums{tokens: 1, run: 0, isum: 4, out: 8}
	a.place("directPanel" + hint)
	a.zero(s.out, 2)
	a.place("directBlock" + hint)
	a.p("MOVQ DI, CX")
	if a.f.d == 0 { // at the block's beginning
		a.header()
	}
	if a.f.sums != nil {
		a.f.sums(a)
	}
	if a.f.d > 0 {
		a.header()
	}
	a.p("MOVQ R8, DX")
	switch {
	case a.f.sums != nil:
		a.scaleSums(s)
		a.finish256(s, "R8")
	case a.super():
		a.zero(s.isum, 2)
		a.eachStep("directStep"+hint, func() {
			a.multiplyUnpacking(s, a.f.step)
			a.p("ADDQ $%d, CX", a.scaleAt(a.f.step/a.f.group, 0, 0)-a.scaleAt(0, 0, 0))
			a.p("ADDQ $%d, DX", 4*a.f.step)
		})
		a.finish256(s, "R8")
	default:
		a.multiplyUnpacking(s, 8)
		a.finish32(s, "DI")
	}
	a.p("ADDQ $%d, SI", a.f.bytes())
	a.p("ADDQ %d(AX), R8", pAStride)
	a.p("DECQ R9")
	a.p("JNZ directBlock%s", hint)
	for half := range 2 {
		a.p("VMOVUPS Y%d, %d(R10)", s.out+half, 32*half)
	}
	a.p("ADDQ $64, R10")
	a.p("MOVQ %d(AX), R8", pA)
	a.p("MOVQ %d(AX), R9", pBlocks)
	a.p("DECQ R15")
	a.p("JNZ directPanel%s", hint)
	a.p("VZEROUPPER")
	a.p("RET")
}

// sumAt returns the address of a group's sums of int16, the part-th ones, between a format's sums and scaleSums.
func (a *avx2) sumAt(part, group, half int) string {
	return fmt.Sprintf("%d(DI)", 8192+64*(16*part+group)+32*half)
}

// scaleSums sets isum to the sums of all groups times their scales.
func (a *avx2) scaleSums(s avx2Sums) {
	a.zero(s.isum, 2)
	for group := range a.groups() {
		for half := range 2 {
			a.load(fmt.Sprintf("%d(CX)", a.scaleAt(group, 0, half)), 12)
			for part, n := range a.f.shifts(group) {
				scale := 12
				if n > 0 {
					scale = 13
					a.p("VPSLLW $%d, Y12, Y13", n)
				}
				a.p("VPMADDWD %s, Y%d, Y14", a.sumAt(part, group, half), scale)
				a.p("VPADDD Y14, Y%d, Y%d", s.isum+half, s.isum+half)
			}
		}
	}
	if a.hint > 0 {
		a.p("ADDQ $%d, R13", a.f.bytes())
	}
}

// unit prefetches, and sets Y10 to the units at off of half of the rows.
func (a *avx2) unit(off, half int) {
	if a.hint > 0 && half == 0 {
		a.p("%s %d(R13)", hints[a.hint].x86, off)
	}
	a.load(a.units(off, "SI", half), 10)
}

// addMasked adds to the int16 of sum, or sets them to, the products of the masked bytes of Y10 with the four columns
// from col on.
func (a *avx2) addMasked(mask byte, col, sum int, first bool) {
	and := a.constant(mask)
	if y, ok := a.masks[mask]; ok {
		and = fmt.Sprintf("Y%d", y)
	}
	a.p("VPAND %s, Y10, Y12", and)
	a.p("VPBROADCASTD %d(R8), Y14", col)
	if first {
		a.p("VPMADDUBSW Y14, Y12, Y%d", sum)
		return
	}
	a.p("VPMADDUBSW Y14, Y12, Y12")
	a.p("VPADDW Y12, Y%d, Y%d", sum, sum)
}

// avx2Free are registers for sums.
var avx2Free = [...]int{0, 1, 2, 3, 4, 5, 7, 11}

// hold loads masks that addMasked uses into other registers.
func (a *avx2) hold(masks ...byte) {
	a.masks = map[byte]int{}
	for i, mask := range masks {
		a.masks[mask] = [...]int{6, 13, 15}[i]
		a.load(a.constant(mask), a.masks[mask])
	}
}

// sumsPairs adds up 16 units of pairs of bits from off on, those of codesQ2K's order, where they stand in their bytes.
// The sums of pairs 1 and 3 are 4 times too large. use gets a group's register.
func (a *avx2) sumsPairs(off int, use func(group, half, sum int)) {
	a.hold(3, 12)
	for u := 0; u < 16; u += 4 {
		for half := range 2 {
			for i := range 4 {
				a.unit(off+64*(u+i), half)
				for j := range 4 {
					if j == 2 {
						a.p("VPSRLW $4, Y10, Y10")
					}
					a.addMasked(3<<(j%2*2), u/8*128+32*j+(u+i)%8*4, avx2Free[j], i == 0)
				}
			}
			for j := range 4 {
				use(u/8*8+2*j+u%8/4, half, avx2Free[j])
			}
		}
	}
}

// sumsQ5K adds up the fifth bits, where they stand in their bytes, then the low four.
func (a *avx2) sumsQ5K() {
	if a.hint > 0 {
		for off := 0; off < 256; off += 64 { // what header reads
			a.p("%s %d(R13)", hints[a.hint].x86, off)
		}
	}
	a.hold(4, 8, 16)
	for half := range 2 {
		for u := range 8 {
			a.unit(256+64*u, half)
			for bit := range 8 {
				if bit == 5 { // an int16 has no room for sixteen products with 32
					a.p("VPSRLW $3, Y10, Y10")
				}
				a.addMasked(1<<(bit-bit/5*3), 32*bit+4*u, avx2Free[bit], u == 0)
			}
		}
		for bit, sum := range avx2Free { // a fifth bit is worth 16
			if n := 4 - (bit - bit/5*3); n > 0 {
				a.p("VPSLLW $%d, Y%d, Y%d", n, sum, sum)
			}
			a.p("VMOVDQU Y%d, %s", sum, a.sumAt(1, bit, half))
		}
	}
	a.hold(15)
	for u := 0; u < 32; u += 8 {
		for half := range 2 {
			for i := range 8 {
				a.unit(768+64*(u+i), half)
				a.addMasked(15, 8*u+4*i, 0, i == 0)
				a.p("VPSRLW $4, Y10, Y10")
				a.addMasked(15, 8*u+4*i+32, 1, i == 0)
			}
			for high := range 2 {
				a.p("VMOVDQU Y%d, %s", high, a.sumAt(0, u/4+high, half))
			}
		}
	}
}

// sumsQ6K adds up the low four bits, then the upper two.
func (a *avx2) sumsQ6K() {
	a.hold(15)
	for u := 0; u < 32; u += 4 {
		col := u/16*128 + u%16*4
		for half := range 2 {
			for i := range 4 {
				a.unit(64*(u+i), half)
				a.addMasked(15, col+4*i, 0, i == 0)
				a.p("VPSRLW $4, Y10, Y10")
				a.addMasked(15, col+4*i+64, 1, i == 0)
			}
			for high := range 2 {
				a.p("VMOVDQU Y%d, %s", high, a.sumAt(0, col/16+4*high, half))
			}
		}
	}
	a.sumsPairs(2048, func(group, half, sum int) { a.p("VMOVDQU Y%d, %s", sum, a.sumAt(1, group, half)) })
}

// sumsQ3K adds up the third bits, where they stand in their bytes, then the pairs, and makes one sum of them.
func (a *avx2) sumsQ3K() {
	a.hold(16, 32, 8)
	for u := 0; u < 8; u += 4 {
		for half := range 2 {
			for i := range 4 {
				a.unit(64*(u+i), half)
				for bit := range 8 {
					if bit == 6 { // an int16 has no room for eight products with 64
						a.p("VPSRLW $2, Y10, Y10")
					}
					a.addMasked(1<<(bit-bit/6*2), 32*bit+4*(u+i), avx2Free[bit], i == 0)
				}
			}
			for bit, sum := range avx2Free { // a third bit is worth 4
				switch n := 2 - (bit - bit/6*2); {
				case n > 0:
					a.p("VPSLLW $%d, Y%d, Y%d", n, sum, sum)
				case n < 0:
					a.p("VPSRAW $%d, Y%d, Y%d", -n, sum, sum)
				}
				a.p("VMOVDQU Y%d, %s", sum, a.sumAt(0, 2*bit+u/4, half))
			}
		}
	}
	a.sumsPairs(512, func(group, half, sum int) {
		if group%4 > 1 {
			a.p("VPSRAW $2, Y%d, Y%d", sum, sum)
		}
		a.p("VPADDW %s, Y%d, Y%d", a.sumAt(0, group, half), sum, sum)
		a.p("VMOVDQU Y%d, %s", sum, a.sumAt(0, group, half))
	})
}

// multiplyUnpacking adds quads to isum as they are unpacked, for one token.
func (a *avx2) multiplyUnpacking(s avx2Sums, quads int) {
	read := a.f.bytes() * 4 * quads / a.f.cols
	fetched := 0
	for quad := range quads {
		for ; a.hint > 0 && fetched < read*(quad+1)/quads; fetched += 64 {
			a.p("%s %d(R13)", hints[a.hint].x86, fetched)
		}
		a.p("VPBROADCASTD %d(DX), Y14", 4*quad)
		for half := range 2 {
			a.f.codes(a, quad, half)
			for part := range a.f.parts {
				run := s.run + 2*part + half
				if quad%a.f.run == 0 {
					a.p("VPMADDUBSW Y14, Y%d, Y%d", 12+part, run)
				} else {
					a.p("VPMADDUBSW Y14, Y%d, Y15", 12+part)
					a.p("VPADDW Y15, Y%d, Y%d", run, run)
				}
			}
		}
		if quad%a.f.run < a.f.run-1 {
			continue
		}
		for part := range a.f.parts {
			var scales [2]string
			for half := range scales {
				scales[half] = fmt.Sprintf("%d(CX)", a.scaleAt(quad/a.f.group, part, half))
			}
			a.widen(s, s.run+2*part, 2, part, scales, part == 0 && quad < a.f.run)
		}
	}
	if a.hint > 0 {
		a.p("ADDQ $%d, R13", read)
	}
}

// The recipes. Registers are numbers, memory is an address.

// units returns the address of the units at off of half of the rows.
func (a *avx2) units(off int, base string, half int) string {
	return fmt.Sprintf("%d(%s)", off+32*half, base)
}

func (a *avx2) load(addr string, d int)   { a.p("VMOVDQU %s, Y%d", addr, d) }
func (a *avx2) and(addr string, y, d int) { a.p("VPAND %s, Y%d, Y%d", addr, y, d) }
func (a *avx2) or(x, y, d int)            { a.p("VPOR Y%d, Y%d, Y%d", x, y, d) }

// bits sets d to the bytes at addr shifted left by n, or right by -n, and masked.
func (a *avx2) bits(addr string, n, mask, d int) {
	if n == 0 {
		a.and(addr, mask, d)
		return
	}
	a.load(addr, d)
	if n > 0 {
		a.p("VPSLLW $%d, Y%d, Y%d", n, d, d)
	} else {
		a.p("VPSRLW $%d, Y%d, Y%d", -n, d, d)
	}
	a.p("VPAND Y%d, Y%d, Y%d", mask, d, d)
}

// nibbles sets d to the low or the high four bits of the bytes at addr.
func (a *avx2) nibbles(addr string, high, d int) { a.bits(addr, -4*high, a.constants[0], d) }

// avx2Scale says what the bytes of scales or minima are.
type avx2Scale int

const (
	unsigned avx2Scale = iota
	signed
	biased // by 32
)

// words sets d to bytes i and j of each dword of src as int16.
func (a *avx2) words(k avx2Scale, src, i, j, d int) {
	var pattern []byte
	for dword := 0; dword < 16; dword += 4 {
		if k == signed {
			pattern = append(pattern, 0x80, byte(dword+i), 0x80, byte(dword+j))
		} else {
			pattern = append(pattern, byte(dword+i), 0x80, byte(dword+j), 0x80)
		}
	}
	a.p("VPSHUFB %s, Y%d, Y%d", a.constant(pattern...), src, d)
	switch k {
	case signed:
		a.p("VPSRAW $8, Y%d, Y%d", d, d)
	case biased:
		a.p("VPSUBW %s, Y%d, Y%d", a.constant(32, 0), d, d)
	}
}

// dword sets d to byte i of each dword of src as int32, or of a narrow format as an int16 with 0 above it.
func (a *avx2) dword(k avx2Scale, src, i, d int) {
	var pattern []byte
	for dword := 0; dword < 16; dword += 4 {
		if k == signed {
			pattern = append(pattern, 0x80, 0x80, 0x80, byte(dword+i))
		} else {
			pattern = append(pattern, byte(dword+i), 0x80, 0x80, 0x80)
		}
	}
	a.p("VPSHUFB %s, Y%d, Y%d", a.constant(pattern...), src, d)
	switch {
	case k == signed:
		a.p("VPSRAD $24, Y%d, Y%d", d, d)
	case k == biased && a.f.narrow:
		a.p("VPSUBW %s, Y%d, Y%d", a.constant(32, 0, 0, 0), d, d)
	case k == biased:
		a.p("VPSUBD %s, Y%d, Y%d", a.constant(32, 0, 0, 0), d, d)
	}
}

// storeScales unpacks the scales of groups 4·i…4·i+3, the bytes of src.
func (a *avx2) storeScales(k avx2Scale, i, src, half int) {
	for j := range 4 {
		if a.vnni {
			a.dword(k, src, j, 15)
		} else {
			a.words(k, src, j, j, 15)
		}
		a.p("VMOVDQU Y15, %d(CX)", a.scaleAt(4*i+j, 0, half))
		if a.f.parts == 2 {
			a.p("VPSLLW $4, Y15, Y15")
			a.p("VMOVDQU Y15, %d(CX)", a.scaleAt(4*i+j, 1, half))
		}
	}
}

// storeMins unpacks the minima of groups 4·i…4·i+3, the bytes of src.
func (a *avx2) storeMins(k avx2Scale, i, src, half int) {
	for j := range 2 {
		a.words(k, src, 2*j, 2*j+1, 15)
		a.p("VMOVDQU Y15, %d(CX)", a.minAt(2*i+j, half))
	}
}

// scales6 takes the 12 bytes of Q4_K and Q5_K: the low six bits of bytes g and g+4 are the
// scale and the minimum of group g, byte g+8 holds the low four bits of group g+4's, and
// their upper two are those of bytes g and g+4.
func (a *avx2) scales6(half int) {
	a.load(a.constant(0x0f), 0)
	a.load(a.constant(0x30), 1)
	a.load(a.constant(0x3f), 2)
	for i, store := range []func(k avx2Scale, i, src, half int){a.storeScales, a.storeMins} {
		a.and(a.units(64+64*i, "SI", half), 2, 3)
		store(unsigned, 0, 3, half)
		a.bits(a.units(64+64*i, "SI", half), -2, 1, 3)
		a.bits(a.units(192, "SI", half), -4*i, 0, 4)
		a.or(4, 3, 3)
		store(unsigned, 1, 3, half)
	}
}

func (a *avx2) scalesQ2K(half int) {
	a.load(a.constant(0x0f), 0)
	for i := range 4 {
		units := a.units(64*i, "SI", half)
		a.and(units, 0, 1)
		a.storeScales(unsigned, i, 1, half)
		a.bits(units, -4, 0, 1)
		a.storeMins(unsigned, i, 1, half)
	}
}

// scalesQ3K: of 12 bytes, byte g%8 has the low four bits of groups g and g+8, byte 8 + g%4
// the upper two of groups g, g+4, g+8 and g+12.
func (a *avx2) scalesQ3K(half int) {
	a.load(a.constant(0x0f), 0)
	a.load(a.constant(0x30), 1)
	for i := range 4 {
		a.bits(a.units(1536+64*(i%2), "SI", half), -4*(i/2), 0, 2)
		a.bits(a.units(1536+128, "SI", half), 4-2*i, 1, 3)
		a.or(3, 2, 2)
		a.storeScales(biased, i, 2, half)
		a.storeMins(biased, i, 2, half)
	}
}

func (a *avx2) scalesQ6K(half int) {
	for i := range 4 {
		a.load(a.units(3072+64*i, "SI", half), 0)
		a.storeScales(signed, i, 0, half)
		a.storeMins(signed, i, 0, half)
	}
}

// scalesIQ4XS: four bytes hold the low four bits of the scales, two bytes the upper two.
func (a *avx2) scalesIQ4XS(half int) {
	// The upper bits of groups 2i and 2i+1 in the low half of byte i.
	a.p("VPMOVZXWD %d(SI), Y0", 32+16*half)
	a.p("VPSLLD $8, Y0, Y1")
	a.or(1, 0, 0)
	a.and(a.constant(0xff, 0, 0xff, 0), 0, 0)
	a.p("VPSLLW $4, Y0, Y1")
	a.or(1, 0, 0)
	// Y4 the even groups' scales, Y5 the odd ones'.
	a.load(a.constant(0x30), 1)
	a.load(a.constant(0x0f), 2)
	for i := range 2 {
		a.p("VPSLLW $%d, Y0, Y%d", 4-2*i, 4+i)
		a.p("VPAND Y1, Y%d, Y%d", 4+i, 4+i)
		a.bits(a.units(64, "SI", half), -4*i, 2, 3)
		a.or(3, 4+i, 4+i)
	}
	// Groups in order, four in a dword.
	for i := range 2 {
		a.words(unsigned, 4, 2*i, 2*i+1, 0)
		a.words(unsigned, 5, 2*i, 2*i+1, 1)
		a.p("VPSLLW $8, Y1, Y1")
		a.or(1, 0, 0)
		a.storeScales(biased, i, 0, half)
		a.storeMins(biased, i, 0, half)
	}
}

// avx2Nibbles returns the recipe for blocks of 32 with codes at off, those of
// columns 0…15 in the low halves of bytes.
func avx2Nibbles(off int) func(a *avx2, quad, half int) {
	return func(a *avx2, quad, half int) { a.nibbles(a.units(off+64*(quad%4), "SI", half), quad/4, 12) }
}

// avx2Fifth adds to avx2Nibbles the fifth bits, a dword at off.
func avx2Fifth(off int) func(a *avx2, quad, half int) {
	return func(a *avx2, quad, half int) {
		avx2Nibbles(off+64)(a, quad, half)
		var spread []byte // byte quad/2 of each dword, four times
		for dword := range 4 {
			spread = append(spread, bytes4(byte(4*dword+quad/2))...)
		}
		bit := a.constants[1+quad%2]
		a.load(a.units(off, "SI", half), 10)
		a.p("VPSHUFB %s, Y10, Y10", a.constant(spread...))
		a.p("VPAND Y%d, Y10, Y10", bit)
		a.p("VPCMPEQB Y%d, Y10, Y10", bit)
		a.p("VPAND Y%d, Y10, Y10", a.constants[3])
		a.or(10, 12, 12)
	}
}

var avx2FifthConstants = [][]byte{{0x0f}, {1, 2, 4, 8}, {16, 32, 64, 128}, {0x10}}

func (a *avx2) codesQ80(quad, half int) {
	if a.vnni {
		a.p("VPXOR %s, Y%d, Y12", a.units(32+64*quad, "SI", half), a.constants[1])
		return
	}
	a.p("VPXOR %s, Y%d, Y10", a.units(32+64*quad, "SI", half), a.constants[1])
	a.p("VPAND Y10, Y%d, Y12", a.constants[0])
	a.p("VPSRLW $4, Y10, Y10")
	a.p("VPAND Y10, Y%d, Y13", a.constants[0])
}

// avx2LookUp returns the recipe for IQ4's codes, which are indices into the constants.
func avx2LookUp(off int, base string) func(a *avx2, quad, half int) {
	return func(a *avx2, quad, half int) {
		a.nibbles(a.units(off+64*(quad%4), base, half), quad/4, 10)
		a.p("VPSHUFB Y10, Y%d, Y12", a.constants[1])
		if !a.vnni {
			a.p("VPSHUFB Y10, Y%d, Y13", a.constants[2])
		}
	}
}

var avx2LookUpConstants = func() [][]byte {
	var low, high []byte
	for _, c := range iq4Codes {
		low, high = append(low, c&15), append(high, c>>4)
	}
	return [][]byte{{0x0f}, low, high}
}()

// codesQ2K unpacks 128 columns, four codes from a byte.
func (a *avx2) codesQ2K(quad, half int) {
	a.bits(a.units(64*(quad%8), "R11", half), -2*(quad/8), a.constants[0], 12)
}

// codesQ3K unpacks 256 columns, of which R12 has bit 2: that of column 32·j + i is bit j
// of byte i.
func (a *avx2) codesQ3K(quad, half int) {
	a.bits(a.units(64*(quad/32*8+quad%8), "R11", half), -2*(quad%32/8), a.constants[0], 12)
	a.bits(a.units(64*(quad%8), "R12", half), 2-quad/8, a.constants[1], 10)
	a.or(10, 12, 12)
}

// codesQ4K unpacks 64 columns.
func (a *avx2) codesQ4K(quad, half int) {
	a.nibbles(a.units(64*(quad%8), "R11", half), quad/8, 12)
}

// codesQ5K unpacks 256 columns, of which R12 has bit 4: that of column 32·j + i is bit j
// of byte i.
func (a *avx2) codesQ5K(quad, half int) {
	a.nibbles(a.units(64*(quad/16*8+quad%8), "R11", half), quad/8%2, 12)
	a.bits(a.units(64*(quad%8), "R12", half), 4-quad/8, a.constants[1], 10)
	a.or(10, 12, 12)
}

// codesQ6K unpacks 128 columns, of which R11 has the low four bits and R12 the upper two.
func (a *avx2) codesQ6K(quad, half int) {
	j := quad / 8
	a.nibbles(a.units(64*(quad%8+j%2*8), "R11", half), j/2, 12)
	a.bits(a.units(64*(quad%8), "R12", half), 4-2*j, a.constants[1], 10)
	a.or(10, 12, 12)
}

// Offsets are those in a row's block times 16; see package quant for the blocks.
var avx2Formats = []avx2Format{
	{name: "Q4_0", cols: 32, parts: 1, run: 8, group: 8, d: 0, m: 0, factor: -8,
		codes: avx2Nibbles(32), constants: [][]byte{{0x0f}}},
	{name: "Q4_1", cols: 32, parts: 1, run: 8, group: 8, d: 0, m: 32, factor: 1,
		codes: avx2Nibbles(64), constants: [][]byte{{0x0f}}},
	{name: "Q5_0", cols: 32, parts: 1, run: 4, group: 8, d: 0, m: 0, factor: -16,
		codes: avx2Fifth(32), constants: avx2FifthConstants},
	{name: "Q5_1", cols: 32, parts: 1, run: 4, group: 8, d: 0, m: 32, factor: 1,
		codes: avx2Fifth(64), constants: avx2FifthConstants},
	{name: "Q8_0", cols: 32, parts: 2, run: 8, group: 8, d: 0, m: 0, factor: -128,
		codes: (*avx2).codesQ80, constants: [][]byte{{0x0f}, {0x80}}},
	{name: "IQ4_NL", cols: 32, parts: 2, run: 8, group: 8, d: 0, m: 0, factor: -128,
		codes: avx2LookUp(32, "SI"), constants: avx2LookUpConstants},
	{name: "Q2_K", cols: 256, parts: 1, run: 4, group: 4, d: 1280, m: 1312, factor: -1,
		codes: (*avx2).codesQ2K, constants: [][]byte{{0x03}},
		step: 32, arrays: [][2]int{{256, 512}}, scales: (*avx2).scalesQ2K},
	{name: "Q3_K", cols: 256, parts: 1, run: 4, group: 4, d: 1728, m: 1728, factor: -4,
		codes: (*avx2).codesQ3K, constants: [][]byte{{0x03}, {0x04}},
		step: 64, arrays: [][2]int{{512}, {0}}, scales: (*avx2).scalesQ3K,
		sums: (*avx2).sumsQ3K, shifts: func(int) []int { return []int{0} }},
	{name: "Q4_K", cols: 256, parts: 1, run: 8, group: 8, d: 0, m: 32, factor: -1,
		codes: (*avx2).codesQ4K, constants: [][]byte{{0x0f}},
		step: 16, arrays: [][2]int{{256, 512}}, scales: (*avx2).scales6},
	{name: "Q5_K", cols: 256, parts: 1, run: 4, group: 8, d: 0, m: 32, factor: -1,
		codes: (*avx2).codesQ5K, constants: [][]byte{{0x0f}, {0x10}},
		step: 64, arrays: [][2]int{{768}, {256}}, scales: (*avx2).scales6,
		sums: (*avx2).sumsQ5K, shifts: func(int) []int { return []int{0, 0} }},
	{name: "Q6_K", cols: 256, parts: 1, run: 2, group: 4, d: 3328, m: 3328, factor: -32,
		codes: (*avx2).codesQ6K, constants: [][]byte{{0x0f}, {0x30}},
		step: 32, arrays: [][2]int{{0, 1024}, {2048, 512}}, scales: (*avx2).scalesQ6K,
		sums: (*avx2).sumsQ6K, shifts: func(group int) []int { return []int{0, 4 - group%4/2*2} }},
	{name: "IQ4_XS", cols: 256, parts: 2, run: 8, group: 8, d: 0, m: 0, factor: -128,
		codes: avx2LookUp(0, "R11"), constants: avx2LookUpConstants,
		step: 8, arrays: [][2]int{{128, 256}}, scales: (*avx2).scalesIQ4XS},
}
