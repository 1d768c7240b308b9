package kern

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/x448/float16"
)

// productsGeneric is the definition of the products: it takes one row of a panel
// at a time, brings each block back to the file's order of bytes, unpacks it and
// multiplies it with every token.
var productsGeneric = [NumFormats]func(*Product){
	F32: productFloat(F32, func(panel []byte, col, row int) float32 {
		return math.Float32frombits(binary.LittleEndian.Uint32(panel[64*col+4*row:]))
	}),
	F16: productFloat(F16, func(panel []byte, col, row int) float32 {
		return getF16(panel[32*col+2*row:])
	}),
	BF16: productFloat(BF16, func(panel []byte, col, row int) float32 {
		u := binary.LittleEndian.Uint16(panel[64*(col/2)+4*row+2*(col%2):])
		return math.Float32frombits(uint32(u) << 16)
	}),

	Q4_0:   product32(Q4_0, unpackQ4_0),
	Q4_1:   product32(Q4_1, unpackQ4_1),
	Q5_0:   product32(Q5_0, unpackQ5_0),
	Q5_1:   product32(Q5_1, unpackQ5_1),
	Q8_0:   product32(Q8_0, unpackQ8_0),
	IQ4_NL: product32(IQ4_NL, unpackIQ4_NL),

	Q2_K:   product256(Q2_K, 16, unpackQ2_K),
	Q3_K:   product256(Q3_K, 16, unpackQ3_K),
	Q4_K:   product256(Q4_K, 8, unpackQ4_K),
	Q5_K:   product256(Q5_K, 8, unpackQ5_K),
	Q6_K:   product256(Q6_K, 16, unpackQ6_K),
	IQ4_XS: product256(IQ4_XS, 8, unpackIQ4_XS),

	Table32: product256(Table32, 8, unpackTable),
	Table16: product256(Table16, 16, unpackTable),
}

// out returns token t's results for one panel.
func (p *Product) out(t int) *[Rows]float32 {
	return (*[Rows]float32)(unsafe.Add(unsafe.Pointer(p.Out), t*int(p.OutStride)))
}

// clear sets all results to 0.
func (p *Product) clear() {
	for t := range int(p.T) {
		*p.out(t) = [Rows]float32{}
	}
}

// eachBlock calls use for every block of every row, block by block in each row. b
// holds the block's bytes in the file's order.
func (p *Product) eachBlock(f Format, use func(row, block int, b []byte)) {
	var buf [256]byte
	b := buf[:Layouts[f].BlockBytes()]
	panel := unsafe.Slice(p.W, Rows*len(b)*int(p.Blocks))
	for row := range Rows {
		for block := range int(p.Blocks) {
			Layouts[f].gather(b, panel[Rows*len(b)*block:], row)
			use(row, block, b)
		}
	}
}

// gather sets b to a row's block, given the panel from that block on.
func (l Layout) gather(b, panel []byte, row int) {
	at := 0
	for i, n := range [...]int{l.Head, l.Quads, l.Tail} {
		size := [...]int{2, 4, 2}[i]
		for range n {
			copy(b[at:at+size], panel[Rows*at+size*row:])
			at += size
		}
	}
}

// productFloat returns the product of a float format whose weights at reads.
func productFloat(f Format, at func(panel []byte, col, row int) float32) func(*Product) {
	return func(p *Product) {
		for i := range int(p.Panels) {
			one := p.panel(i, int(p.PanelBytes))
			one.floatPanel(f, at)
		}
	}
}

// panel returns the product of panel i alone; the panels lie size bytes apart.
func (p *Product) panel(i, size int) Product {
	one := *p
	one.W = (*byte)(unsafe.Add(unsafe.Pointer(p.W), i*size))
	one.Out = (*float32)(unsafe.Add(unsafe.Pointer(p.Out), i*4*Rows))
	return one
}

// floatPanel is productFloat for one panel.
func (p *Product) floatPanel(f Format, at func(panel []byte, col, row int) float32) {
	cols := int(p.Blocks)
	panel := unsafe.Slice(p.W, PanelBytes(f, cols))
	if p.Add == 0 {
		p.clear()
	}
	var buf [64]float32
	for row := range Rows {
		for first := 0; first < cols; first += len(buf) {
			w := buf[:min(len(buf), cols-first)]
			for i := range w {
				w[i] = at(panel, first+i, row)
			}
			for t := range int(p.T) {
				at, step := t*int(p.AStride), 1 // bytes, values
				if p.Tiled != 0 {
					at, step = t/TileTokens*int(p.AStride)+4*(t%TileTokens), TileTokens
				}
				a := (*float32)(unsafe.Add(unsafe.Pointer(p.A), at+4*first*step))
				values := unsafe.Slice(a, (len(w)-1)*step+1)
				sum := p.out(t)[row]
				for i := range w {
					sum = fma32(w[i], values[i*step], sum)
				}
				p.out(t)[row] = sum
			}
		}
	}
}

// block32 is an unpacked block of 32: weight i is d·code[i] + m.
type block32 struct {
	code [32]uint8
	d, m float32
}

// product32 returns the product of a format with blocks of 32.
func product32(f Format, unpack func(w *block32, b []byte)) func(*Product) {
	return func(p *Product) {
		for i := range int(p.Panels) {
			one := p.panel(i, PanelBytes(f, 32*int(p.Blocks)))
			one.panel32(f, unpack)
		}
	}
}

// panel32 is product32 for one panel.
func (p *Product) panel32(f Format, unpack func(w *block32, b []byte)) {
	p.clear()
	var w block32
	p.eachBlock(f, func(row, block int, b []byte) {
		unpack(&w, b)
		for t := range int(p.T) {
			a := (*A32)(unsafe.Add(unsafe.Pointer(p.A), block*int(p.AStride)+t*A32Bytes))
			var sum int32
			for i, q := range a.Q {
				sum += int32(w.code[i]) * int32(q)
			}
			out := &p.out(t)[row]
			*out = fma32(float32(sum), w.d*a.D, *out)
			*out = fma32(a.S, w.m, *out)
		}
	})
}

// block256 is an unpacked super-block: weight i of group g is
// d·scale[g]·code[i] + m·min[g].
type block256 struct {
	code       [256]uint8
	scale, min [16]int32
	d, m       float32
	table      *[16]uint8 // Product.Table
}

// product256 returns the product of a format with super-blocks of 8 or 16 groups.
func product256(f Format, groups int, unpack func(w *block256, b []byte)) func(*Product) {
	return func(p *Product) {
		for i := range int(p.Panels) {
			one := p.panel(i, PanelBytes(f, 256*int(p.Blocks)))
			one.panel256(f, groups, unpack)
		}
	}
}

// panel256 is product256 for one panel.
func (p *Product) panel256(f Format, groups int, unpack func(w *block256, b []byte)) {
	size := 256 / groups
	p.clear()
	w := block256{table: p.Table}
	p.eachBlock(f, func(row, block int, b []byte) {
		unpack(&w, b)
		for t := range int(p.T) {
			a := (*A256)(unsafe.Add(unsafe.Pointer(p.A), block*int(p.AStride)+t*A256Bytes))
			sums := a.Sum16[:]
			if groups == 8 {
				sums = a.Sum32[:]
			}
			var isum, msum int32
			for g := range groups {
				codes := w.code[size*g : size*g+size]
				var sum int32
				for i, q := range a.Q[size*g : size*g+size] {
					sum += int32(codes[i]) * int32(q)
				}
				isum += w.scale[g] * sum
				msum += w.min[g] * int32(sums[g])
			}
			out := &p.out(t)[row]
			*out = fma32(float32(isum), w.d*a.D, *out)
			*out = fma32(float32(msum), w.m*a.D, *out)
		}
	})
}

func getF16(b []byte) float32 {
	return float16.Frombits(binary.LittleEndian.Uint16(b)).Float32()
}

// nibbles stores 32 codes: code i is in the low nibble of byte i, code i+16 in the high one.
func (w *block32) nibbles(b []byte) {
	for i, v := range b[:16] {
		w.code[i], w.code[i+16] = v&15, v>>4
	}
}

// fifthBits adds bit i of b to code i as its bit 4.
func (w *block32) fifthBits(b []byte) {
	for i := range w.code {
		w.code[i] |= b[i/8] >> (i % 8) & 1 << 4
	}
}

func unpackQ4_0(w *block32, b []byte) {
	w.d = getF16(b)
	w.m = -8 * w.d
	w.nibbles(b[2:])
}

func unpackQ4_1(w *block32, b []byte) {
	w.d, w.m = getF16(b), getF16(b[2:])
	w.nibbles(b[4:])
}

func unpackQ5_0(w *block32, b []byte) {
	w.d = getF16(b)
	w.m = -16 * w.d
	w.nibbles(b[6:])
	w.fifthBits(b[2:])
}

func unpackQ5_1(w *block32, b []byte) {
	w.d, w.m = getF16(b), getF16(b[2:])
	w.nibbles(b[8:])
	w.fifthBits(b[4:])
}

func unpackQ8_0(w *block32, b []byte) {
	w.d = getF16(b)
	w.m = -128 * w.d
	for i := range w.code {
		w.code[i] = b[2+i] ^ 128 // int8 + 128
	}
}

// iq4Code returns the code of the value that index i stands for.
func iq4Code(i uint8) uint8 { return uint8(128 + int(IQ4Values[i])) }

func unpackIQ4_NL(w *block32, b []byte) {
	w.d = getF16(b)
	w.m = -128 * w.d
	w.nibbles(b[2:])
	for i, c := range w.code {
		w.code[i] = iq4Code(c)
	}
}

// pairs stores the low two bits of 256 codes: those of code 128·h + 32·j + i are
// bits 2j and 2j+1 of byte 32·h + i.
func (w *block256) pairs(b []byte) {
	for i := range w.code {
		w.code[i] = b[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3
	}
}

// nibbles stores the low four bits of 8 groups of 32: 32 bytes for each pair of
// groups, the even group in the low nibbles.
func (w *block256) nibbles(b []byte) {
	for i := range w.code {
		w.code[i] = b[i/64*32+i%32] >> (i % 64 / 32 * 4) & 15
	}
}

// scalesAndMinima reads the 12 bytes of Q4_K and Q5_K: groups 0…3 have theirs in
// the low six bits of bytes g and g+4; groups 4…7 have the low four bits in the
// nibbles of byte g+4, the high two in the top of bytes g-4 and g.
func (w *block256) scalesAndMinima(b []byte) {
	for g := range 4 {
		w.scale[g], w.min[g] = int32(b[g]&63), int32(b[g+4]&63)
		w.scale[g+4] = int32(b[g+8]&15 | b[g]>>6<<4)
		w.min[g+4] = int32(b[g+8]>>4 | b[g+4]>>6<<4)
	}
}

func unpackQ2_K(w *block256, b []byte) {
	w.d, w.m = getF16(b[80:]), -getF16(b[82:])
	for g, v := range b[:16] {
		w.scale[g], w.min[g] = int32(v&15), int32(v>>4)
	}
	w.pairs(b[16:])
}

func unpackQ3_K(w *block256, b []byte) {
	w.d = getF16(b[108:])
	w.m = -4 * w.d
	w.pairs(b[32:])
	for i := range w.code {
		w.code[i] |= b[i%32] >> (i / 32) & 1 << 2
	}
	// Of the scales' 12 bytes, byte g%8 has the low four bits of groups g and g+8
	// in its nibbles, byte 8 + g%4 the high two of groups g, g+4, g+8, g+12.
	for g := range 16 {
		low, high := b[96+g%8]>>(g/8*4)&15, b[104+g%4]>>(g/4*2)&3
		w.scale[g] = int32(low|high<<4) - 32
	}
	w.min = w.scale
}

func unpackQ4_K(w *block256, b []byte) {
	w.d, w.m = getF16(b), -getF16(b[2:])
	w.scalesAndMinima(b[4:])
	w.nibbles(b[16:])
}

func unpackQ5_K(w *block256, b []byte) {
	w.d, w.m = getF16(b), -getF16(b[2:])
	w.scalesAndMinima(b[4:])
	w.nibbles(b[48:])
	for i := range w.code {
		w.code[i] |= b[16+i%32] >> (i / 32) & 1 << 4
	}
}

func unpackQ6_K(w *block256, b []byte) {
	w.d = getF16(b[208:])
	w.m = -32 * w.d
	w.pairs(b[128:])
	for i := range w.code {
		w.code[i] = w.code[i]<<4 | b[i/128*64+i%64]>>(i%128/64*4)&15
	}
	for g, v := range b[192:208] {
		w.scale[g] = int32(int8(v))
	}
	w.min = w.scale
}

func unpackIQ4_XS(w *block256, b []byte) {
	w.d = getF16(b)
	w.m = -128 * w.d
	high := binary.LittleEndian.Uint16(b[2:])
	for g := range 8 {
		low := int32(b[4+g/2] >> (g % 2 * 4) & 15)
		w.scale[g] = (low | int32(high>>(2*g)&3)<<4) - 32
		for i, v := range b[8+16*g : 24+16*g] {
			w.code[32*g+i], w.code[32*g+i+16] = iq4Code(v&15), iq4Code(v>>4)
		}
	}
	w.min = w.scale
}

func unpackTable(w *block256, b []byte) {
	w.d = math.Float32frombits(binary.LittleEndian.Uint32(b))
	w.m = -128 * w.d
	scales := b[4 : len(b)-128]
	for g, v := range scales {
		w.scale[g] = int32(int8(v))
		w.min[g] = w.scale[g]
	}
	for i, v := range b[len(b)-128:] {
		at := i/16*32 + i%16
		w.code[at], w.code[at+16] = w.table[v&15], w.table[v>>4]
	}
}
