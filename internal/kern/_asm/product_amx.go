package main

import "fmt"

// The AMX kernels of the products with quantized weights, for at least the 16 tokens of a tile.
//
// A tile register holds 16 rows of 64 bytes. TDPBSUD multiplies a tile of 16 tokens' activations, 64 columns, with one
// of codes, which is 16 vectors as the other kernels unpack them: 4 columns of 16 rows of weights. The result is an
// int32 for each token and row, 16 · 16. It takes 16 cycles and does the work of 256 VPDPBUSD, so that scaling the sums
// of each group would take most of the time. Therefore the codes of a super-block are multiplied by their groups'
// scales as they are unpacked: a product fits an int16, whose lower byte, unsigned, and upper byte, signed, go to two
// tiles. Sums over the 256 columns follow without anything between, and the block's integer is that of the upper bytes
// times 256 plus that of the lower ones.
//
// Blocks of 32 have floats for scales, so each one's sums are scaled by themselves.
//
// Tokens go by 16, and the last tile ends with the last token: what it has in common with the one before is not added
// again. Nothing but a prefetch touches memory outside of the operands.
//
// Registers are those of [vnni] but for what the subroutines say.
type amx struct{ vnni }

// Offsets in Scratch. It holds for a super-block the lower and the upper bytes of codes times scales, 4 columns in each
// vector, a group's scales for even columns and for odd ones, the minima of two groups as int16, d, m. Blocks of 32 lie
// as for [vnni]. The rest is for both.
const (
	xUpper, xScales, xMins, xD, xM = 4096, 8192, 10240, 10752, 10816

	xSums  = 11264        // results of tiles, two times four
	xSaved = xSums + 8192 // R13
	xFetch = xSaved + 8   // where the next prefetch begins
	xTurns = xSaved + 16  // of prefetches, see [vnni.prepareFetch]
)

// The tiles: four sums, activations of twice 16 tokens, codes.
const (
	xA = 4
	xB = 6
)

func newAMX() *amx { return &amx{vnni{offsets: map[string]int{}, given: 6}} }

func productsAMX() []byte {
	a := newAMX()
	for _, groups := range []int{8, 16} {
		a.tiles256(groups, 2)
	}
	a.tiles256(16, 1)
	a.tiles32()
	for i := range vnniFormats {
		f := &vnniFormats[i]
		f.layout = layouts[f.name]
		a.product(f)
	}
	return a.file()
}

// parts returns how many bytes a code times its scale takes.
func (f *vnniFormat) parts() int {
	if f.name == "Q2_K" { // at most 3·15
		return 1
	}
	return 2
}

// The instructions, which Go's assembler does not have.

// x86Regs are the numbers of registers.
var x86Regs = map[string]int{"AX": 0, "CX": 1, "DX": 2, "BX": 3, "SI": 6, "DI": 7, "R8": 8, "R9": 9, "R10": 10,
	"R11": 11, "R12": 12, "R13": 13, "R14": 14, "R15": 15}

// Prefixes of the instructions, as VEX has them. None is 0.
const vexF3, vexF2 = 2, 3

// bytecode writes the bytes of an instruction, and beside them what they say.
func (a *amx) bytecode(comment string, code ...int) {
	text := ""
	for _, b := range code {
		text += fmt.Sprintf("BYTE $%#02x; ", b&0xff)
	}
	a.p("%s// %s", text, comment)
}

// tileMemory writes an instruction between a tile and memory, where rows begin at off(base) and are stride bytes apart.
func (a *amx) tileMemory(name string, prefix, tile, off int, base, stride string) {
	b, x := x86Regs[base], x86Regs[stride]
	const sib, disp32 = 4, 2 << 6
	a.bytecode(fmt.Sprintf("%s %d(%s)(%s*1), T%d", name, off, base, stride, tile),
		0xc4, 1<<7|(1-x>>3)<<6|(1-b>>3)<<5|2, 15<<3|prefix, 0x4b, disp32|tile<<3|sib, x&7<<3|b&7,
		off, off>>8, off>>16, off>>24)
}

func (a *amx) tileLoad(off int, base, stride string, tile int) {
	a.tileMemory("TILELOADD", vexF2, tile, off, base, stride)
}

func (a *amx) tileStore(tile, off int, base, stride string) {
	a.tileMemory("TILESTORED", vexF3, tile, off, base, stride)
}

func (a *amx) tileZero(tile int) {
	a.bytecode(fmt.Sprintf("TILEZERO T%d", tile), 0xc4, 0xe2, 15<<3|vexF2, 0x49, 0xc0|tile<<3)
}

// tileDot adds to the int32 of sum the products of x's signed bytes and y's, which are signed or not.
func (a *amx) tileDot(signed bool, x, y, sum int) {
	name, prefix := "TDPBSUD", vexF3
	if signed {
		name, prefix = "TDPBSSD", vexF2
	}
	a.bytecode(fmt.Sprintf("%s T%d, T%d, T%d", name, y, x, sum), 0xc4, 0xe2, (15-y)<<3|prefix, 0x5e, 0xc0|sum<<3|x)
}

// tileConfig sets the shapes of tiles: all have 16 rows of 64 bytes, but for blocks of 32. It uses R11.
func (a *amx) tileConfig(blocks32 bool) {
	var c [64]byte
	c[0] = 1 // the palette
	for t := range 8 {
		c[16+2*t], c[48+t] = 64, 16
	}
	if blocks32 {
		c[16+2*xA] = 32 // columns
		c[48+xB] = 8    // vectors of codes
	}
	a.p("LEAQ %s, R11", a.constant(string(c[:])))
	a.bytecode("LDTILECFG (R11)", 0xc4, 0xc2, 15<<3, 0x49, 0x03)
}

// release gives the tiles back, so that the system need not save them.
func (a *amx) release() { a.bytecode("TILERELEASE", 0xc4, 0xe2, 15<<3, 0x49, 0xc0) }

// product writes a format's kernel.
func (a *amx) product(f *vnniFormat) {
	a.begin("·product"+f.name+"AMX", "$0-8", "See Product: many tokens.")
	a.operands(f)
	a.tileConfig(f.groups == 0)
	a.clear()
	if f.groups > 0 {
		a.many256(f)
	} else {
		a.many32(f, "amxTiles32<>", a.prepareFetch)
	}
	a.release()
	a.p("VZEROUPPER")
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

// fetchLines is how many lines of weights that come are prefetched in a turn.
const fetchLines = 8

// prepareFetch is [vnni.prepareFetch] with its counts in Scratch.
func (a *amx) prepareFetch(bytes int) {
	a.p("LEAQ %d(DI), R14", ahead*bytes)
	a.p("MOVQ R14, %d(R8)", xFetch)
	a.p("MOVQ $%d, %d(R8)", (bytes+64*fetchLines-1)/(64*fetchLines), xTurns)
}

// fetchAhead is what a turn does. R14 is free.
func (a *amx) fetchAhead() {
	done := a.label()
	a.p("SUBQ $1, %d(R8)", xTurns)
	a.p("JLT %s", done)
	a.p("MOVQ %d(R8), R14", xFetch)
	for i := range fetchLines {
		a.p("PREFETCHT1 %d(R14)", 64*i)
	}
	a.p("ADDQ $%d, %d(R8)", 64*fetchLines, xFetch)
	a.place(done)
}

// many256 multiplies with all tokens: R13 goes from a block's records to the next's.
func (a *amx) many256(f *vnniFormat) {
	block := a.label()
	a.p("MOVQ $0x5555555555555555, R11") // the lower bytes of words
	a.p("KMOVQ R11, K2")
	a.p("KNOTQ K2, K3")
	a.place(block)
	f.scales(&a.vnni, f)
	a.eachMins(f, func(i, z int) { a.p("VMOVDQU64 Z%d, %d(R8)", z, xMins+64*i) })
	for g := range f.groups {
		z, i := f.scale(g)
		a.p("VPSHUFB %s, Z%d, Z6", a.pick(i, -1, i, -1), z)
		if f.bias != 0 {
			a.p("VPSUBB %s, Z6, Z6", a.vector(byte(f.bias), 0, byte(f.bias), 0))
		}
		a.p("VPSLLW $8, Z6, Z7")
		a.p("VMOVDQU64 Z6, %d(R8)", xScales+128*g)
		a.p("VMOVDQU64 Z7, %d(R8)", xScales+128*g+64)
	}
	f.codes(&a.vnni, f, func(col, z int) { a.scaleCodes(f, col, z) })
	f.factors(&a.vnni, f)
	a.p("VMOVUPS Z24, %d(R8)", xD)
	a.p("VMOVUPS Z25, %d(R8)", xM)
	a.reload()
	a.prepareFetch(f.bytes())
	a.p("CALL amxTiles256x%dx%d<>(SB)", f.groups, f.parts())
	a.p("ADDQ $%d, DI", f.bytes())
	a.p("ADDQ R9, R13")
	a.p("DECQ CX")
	a.p("JNZ %s", block)
}

// scaleCodes puts the codes of 4 columns, in z, times their scale into Scratch. VPMADDUBSW's other scale of two is 0.
func (a *amx) scaleCodes(f *vnniFormat, col, z int) {
	const even, odd, lower = 16, 17, 18
	scale := xScales + 128*(col*f.groups/256)
	a.p("VPMADDUBSW %d(R8), Z%d, Z%d", scale, z, even)
	a.p("VPMADDUBSW %d(R8), Z%d, Z%d", scale+64, z, odd)
	a.p("VPSLLW $8, Z%d, Z%d", odd, lower)
	a.p("VMOVDQU8 Z%d, K2, Z%d", even, lower)
	a.p("VMOVDQU64 Z%d, %d(R8)", lower, 16*col)
	if f.parts() == 1 {
		return
	}
	a.p("VPSRLW $8, Z%d, Z%d", even, even)
	a.p("VMOVDQU8 Z%d, K3, Z%d", odd, even)
	a.p("VMOVDQU64 Z%d, %d(R8)", even, xUpper+16*col)
}

// tiles256 writes the subroutine that multiplies an unpacked super-block in R8 with DX tokens, at least 16, records
// from SI on, and adds to the results from BX on. A round multiplies 32 tokens, and meanwhile scales the sums of those
// before. CX, DI, R8, R9, R10, R13 and Z28…Z31 stay as they are.
//
//	AX, R13 the distances of tokens and of codes  R11, R12 sums of this round and of the one before
//	Z8…Z15 minima  Z24, Z25 d and m
func (a *amx) tiles256(groups, parts int) {
	a.begin(fmt.Sprintf("amxTiles256x%dx%d<>", groups, parts), "$0-0",
		fmt.Sprintf("Multiplies an unpacked super-block of %d groups with all tokens.", groups))
	a.p("MOVQ R13, %d(R8)", xSaved)
	a.p("MOVQ $%d, AX", a256Bytes)
	a.p("MOVQ $64, R13")
	a.p("LEAQ %d(R8), R11", xSums)
	a.p("LEAQ %d(R8), R12", xSums+4096)
	for i := range groups / 2 {
		a.p("VMOVDQU64 %d(R8), Z%d", xMins+64*i, 8+i)
	}
	a.p("VMOVUPS %d(R8), Z24", xD)
	a.p("VMOVUPS %d(R8), Z25", xM)

	// scale adds the sums of a token to its result, n numbers it for the registers. R12+off has its sums.
	scale := func(n, off, record int) {
		z := n % 2 * 4
		a.p("VMOVDQU32 %d(R12), Z%d", off, z)
		if parts > 1 {
			a.p("VPSLLD $8, %d(R12), Z%d", off+1024, z+1)
			a.p("VPADDD Z%d, Z%d, Z%d", z+1, z, z)
		}
		a.zero(z + 1)
		for i := range groups / 2 {
			a.p("VPDPWSSD.BCST %d(SI), Z%d, Z%d", record+sums(groups)+4*i, 8+i, z+1)
		}
		a.p("VCVTDQ2PS Z%d, Z%d", z, z)
		a.p("VCVTDQ2PS Z%d, Z%d", z+1, z+1)
		a.p("VMULPS.BCST %d(SI), Z24, Z%d", record+a256D, z+2)
		a.p("VMULPS.BCST %d(SI), Z25, Z%d", record+a256D, z+3)
		a.p("VFMADD213PS (BX), Z%d, Z%d", z+2, z)
		a.p("VFMADD231PS Z%d, Z%d, Z%d", z+1, z+3, z)
		a.p("VMOVUPS Z%d, (BX)", z)
		a.p("ADDQ R10, BX")
	}
	// before scales the part i of n of the 32 tokens before SI.
	before := func(i, n int) {
		for t := 32 * i / n; t < 32*(i+1)/n; t++ {
			scale(t, t/16*2048+t%16*64, (t-32)*a256Bytes)
		}
	}
	again, first, rest, some, all, loop, done := a.label(), a.label(), a.label(), a.label(), a.label(), a.label(), a.label()
	a.p("SUBQ $32, DX")
	a.p("JLT %s", rest)
	a.multiply256(2, parts, func(int, int) {})
	a.p("JMP %s", first)
	a.place(again)
	a.multiply256(2, parts, before)
	a.place(first)
	a.p("ADDQ $%d, SI", 32*a256Bytes)
	a.p("XCHGQ R11, R12")
	a.fetchAhead()
	a.p("SUBQ $32, DX")
	a.p("JGE %s", again)
	before(0, 1)
	a.place(rest)
	a.p("ADDQ $32, DX")
	a.p("JZ %s", done)

	a.place(some) // fewer than 32 tokens: R15 of them, and those before in the tile
	a.p("MOVQ $16, R15")
	a.p("CMPQ DX, R15")
	a.p("JGE %s", all)
	a.p("MOVQ DX, R15")
	a.place(all)
	a.p("MOVQ $16, R14")
	a.p("SUBQ R15, R14")
	a.p("LEAQ %d(R8), R12", xSums)
	a.p("MOVQ R12, R11")
	a.p("IMUL3Q $%d, R14, R14", a256Bytes)
	a.p("SUBQ R14, SI")
	a.multiply256(1, parts, func(int, int) {})
	a.p("ADDQ R14, SI")
	a.p("MOVQ $16, R14")
	a.p("SUBQ R15, R14")
	a.p("SHLQ $6, R14")
	a.p("ADDQ R14, R12")
	a.fetchAhead()
	a.p("SUBQ R15, DX")
	a.place(loop)
	scale(0, 0, 0)
	a.p("ADDQ $64, R12")
	a.p("ADDQ $%d, SI", a256Bytes)
	a.p("DECQ R15")
	a.p("JNZ %s", loop)
	a.p("TESTQ DX, DX")
	a.p("JNZ %s", some)
	a.place(done)
	a.p("MOVQ %d(R8), R13", xSaved)
	a.p("VZEROUPPER") // of Z0…Z15
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

// multiply256 sets the sums from R11 on to those of n times 16 tokens: for each 16 tokens those of lower bytes, then
// those of upper ones. between is called after each of so many multiplications: they take 16 cycles each, and what is
// to be done meanwhile should be near them, since the CPU looks ahead half as far where another thread shares the core.
func (a *amx) multiply256(n, parts int, between func(i, of int)) {
	for t := range n {
		for i := range parts {
			a.tileZero(2*t + i)
		}
	}
	for k := range 4 {
		for t := range n {
			a.tileLoad(16*a256Bytes*t+64*k, "SI", "AX", xA+t)
		}
		for i := range parts {
			a.tileLoad(xUpper*i+1024*k, "R8", "R13", xB+i)
			for t := range n {
				a.tileDot(i == 1, xA+t, xB+i, 2*t+i)
				between((k*parts+i)*n+t, 4*parts*n)
			}
		}
	}
	for t := range n {
		for i := range parts {
			a.tileStore(2*t+i, 2048*t+1024*i, "R11", "R13")
		}
	}
}

// tiles32 does the same for R12/64 blocks of 32. R12 stays as it is too. A block is multiplied with 16 tokens while the
// sums of the one before are scaled.
//
//	AX 64·block  R11 its records  R13, R15 the distances of tokens and of codes
//	Z12…Z27 results  Z10, Z11 d and m
func (a *amx) tiles32() {
	a.begin("amxTiles32<>", "$0-0", "Multiplies unpacked blocks of 32 with all tokens.")
	const buffer = xSums
	a.p("MOVQ R13, %d(R8)", xSaved)
	a.p("MOVQ $%d, R13", a32Bytes)
	a.p("MOVQ $64, R15")

	// multiply sets buffer i to the sums of the block whose records R14 points to and whose number AX is less by next.
	multiply := func(i, next int) {
		a.tileZero(i)
		a.tileLoad(0, "R14", "R13", xA)
		a.p("LEAQ %d(R8)(AX*8), R14", 512*next)
		a.tileLoad(0, "R14", "R15", xB)
		a.tileDot(false, xA, xB, i)
		a.tileStore(i, buffer+1024*i, "R8", "R15")
		a.fetchAhead()
	}
	scale := func(i int) {
		a.p("VMOVUPS %d(R8)(AX*1), Z10", sD32)
		a.p("VMOVUPS %d(R8)(AX*1), Z11", sM32)
		for t := range 16 {
			z := t % 4 * 2
			a.p("VCVTDQ2PS %d(R8), Z%d", buffer+1024*i+64*t, z)
			a.p("VMULPS.BCST %d(R11), Z10, Z%d", a32Bytes*t+a32D, z+1)
			a.p("VFMADD231PS Z%d, Z%d, Z%d", z, z+1, 12+t)
			a.p("VFMADD231PS.BCST %d(R11), Z11, Z%d", a32Bytes*t+a32S, 12+t)
		}
	}
	tile, whole, block, end, some, done := a.label(), a.label(), a.label(), a.label(), a.label(), a.label()
	a.place(tile)
	a.p("CMPQ DX, $16")
	a.p("JGE %s", whole)
	a.p("MOVQ $16, R14") // tokens before, which are in the tile too
	a.p("SUBQ DX, R14")
	a.p("IMUL3Q $%d, R14, R11", a32Bytes)
	a.p("SUBQ R11, SI")
	a.p("IMULQ R10, R14")
	a.p("SUBQ R14, BX")
	a.place(whole)
	a.p("MOVQ BX, R14")
	for t := range 16 {
		a.p("VMOVUPS (R14), Z%d", 12+t)
		a.p("ADDQ R10, R14")
	}
	a.p("MOVQ SI, R11")
	a.p("XORL AX, AX")
	a.p("MOVQ SI, R14")
	multiply(0, 0)
	a.place(block)
	for i := range 2 {
		next := a.label()
		a.p("LEAQ 64(AX), R14")
		a.p("CMPQ R14, R12")
		a.p("JGE %s", next)
		a.p("LEAQ (R11)(R9*1), R14")
		multiply(1-i, 1)
		a.place(next)
		scale(i)
		a.p("ADDQ R9, R11")
		a.p("ADDQ $64, AX")
		a.p("CMPQ AX, R12")
		if i == 0 {
			a.p("JGE %s", end)
		} else {
			a.p("JLT %s", block)
		}
	}
	a.place(end)
	a.p("CMPQ DX, $16")
	a.p("JLT %s", some)
	for t := range 16 {
		a.p("VMOVUPS Z%d, (BX)", 12+t)
		a.p("ADDQ R10, BX")
	}
	a.p("ADDQ $%d, SI", 16*a32Bytes)
	a.p("SUBQ $16, DX")
	a.p("JNZ %s", tile)
	a.p("JMP %s", done)
	a.place(some) // the last DX of them
	for t := range 16 {
		skip := a.label()
		a.p("CMPQ DX, $%d", 16-t)
		a.p("JLT %s", skip)
		a.p("VMOVUPS Z%d, (BX)", 12+t)
		a.place(skip)
		a.p("ADDQ R10, BX")
	}
	a.place(done)
	a.p("MOVQ %d(R8), R13", xSaved)
	a.p("VZEROUPPER") // of Z0…Z15
	a.p("RET")
	fmt.Fprintln(&a.buf)
}
