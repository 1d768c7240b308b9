package quant

import "fmt"

// Geometry says what the weights of a quantized type's blocks can be. A block is
// cut into groups of Group weights, and weight i of group g with code c is
//
//	(D·Scale[g])·Levels[c] - DMin·Min[g]
//
// where every product is rounded to float32. Levels are those of one weight. Where one code of the type stands for
// several, Book says which codes of single weights can stand together.
type Geometry struct {
	Group  int       // weights that share a scale and a minimum: 16 or 32
	Levels []float32 // what the codes 0…len(Levels)-1 stand for, in ascending order
	// Scale and Min have these ranges, limits included. Where a block has no scales but D, for one group or several,
	// Scale is 1 always, and so is Min where DMin is its only minimum. A type without minima has Min 0 always.
	ScaleLo, ScaleHi int
	MinLo, MinHi     int
	OddScale         bool      // Scale is odd
	Book             *Codebook // nil where each weight has a code of its own
}

// Block is an unpacked block: scales and codes instead of bits. Its slices are the caller's.
type Block struct {
	D, DMin    float32 // values that float16 can hold; DMin is 0 for types without minima
	Scale, Min []int8  // one for each group
	Codes      []uint8 // one for each weight
}

// codes is the column of the table of types that knows where a block keeps what.
// It is empty for types without a geometry, see [Type.Geometry]. pack is nil for a type that is only read.
type codes struct {
	Geometry
	unpack func(b *Block, src []byte)
	pack   func(dst []byte, b *Block)
}

// HasGeometry reports whether the type's blocks can be taken apart and put together: whether [Type.Geometry],
// [Type.Unpack] and [Type.Pack] are all there for it. Methods that choose scales and codes themselves need that. A type
// that is only read has no Pack.
func (t Type) HasGeometry() bool { return types[t].codes.pack != nil }

// CheckGeometry returns an error that names the type unless [Type.HasGeometry].
func (t Type) CheckGeometry() error {
	if !t.HasGeometry() {
		return fmt.Errorf("no method can choose scales and codes of %s: only its own encoder makes it", t)
	}
	return nil
}

// Geometry returns what the type's blocks can hold. It is empty for float types, MXFP4 and NVFP4, whose blocks cannot
// be taken apart.
func (t Type) Geometry() Geometry { return types[t].codes.Geometry }

// Unpack takes one block apart. The slices of b must have the lengths of the type, which has a geometry.
func (t Type) Unpack(b *Block, src []byte) {
	t.checkBlock(b, src)
	types[t].codes.unpack(b, src)
}

// Pack writes one block, where [Type.HasGeometry]. It is the inverse of [Type.Unpack]: D and DMin are rounded to
// float16, scales, minima and codes must be in their ranges.
func (t Type) Pack(dst []byte, b *Block) {
	t.checkBlock(b, dst)
	types[t].codes.pack(dst, b)
}

func (t Type) checkBlock(b *Block, bytes []byte) {
	s := &types[t]
	if groups := s.elems / max(1, s.codes.Group); s.codes.Group == 0 || len(bytes) != s.bytes ||
		len(b.Codes) != s.elems || len(b.Scale) != groups || len(b.Min) != groups {
		panic(fmt.Sprintf("quant: %s: a block of %d codes, %d scales, %d minima in %d bytes",
			s.name, len(b.Codes), len(b.Scale), len(b.Min), len(bytes)))
	}
}

// RoundF16 returns the value nearest to x that a float16 scale can have; values beyond
// the range of float16 become the largest.
func RoundF16(x float32) float32 { return fromF16(toF16(x)) }

// uniform returns n levels one apart, from lo on.
func uniform(lo, n int) []float32 {
	levels := make([]float32, n)
	for i := range levels {
		levels[i] = float32(lo + i)
	}
	return levels
}

// symmetric32 describes a block of 32 with a scale, and affine32 one with a scale
// and a minimum.
func symmetric32(levels []float32) Geometry {
	return Geometry{Group: 32, Levels: levels, ScaleLo: 1, ScaleHi: 1}
}

func affine32(levels []float32) Geometry {
	return Geometry{Group: 32, Levels: levels, ScaleLo: 1, ScaleHi: 1, MinLo: 1, MinHi: 1}
}

// nibbles32 are the codes of a block of a float16 scale and 32 codes of 4 bits.
func nibbles32(levels []float32) codes {
	return codes{
		Geometry: symmetric32(levels),
		unpack: func(b *Block, src []byte) {
			b.setScale32(src, false)
			getNibbles(b.Codes, src[2:18])
		},
		pack: func(dst []byte, b *Block) {
			b.putScale32(dst, false)
			packNibbles(dst[2:18], b.Codes)
		},
	}
}

// setScale32 sets what a block of one group has beside its codes, and the float16 minimum m if
// it has one: value = D·code + m.
func (b *Block) setScale32(src []byte, hasMin bool) {
	b.D, b.DMin, b.Scale[0], b.Min[0] = getF16(src), 0, 1, 0
	if hasMin {
		b.DMin, b.Min[0] = -getF16(src[2:]), 1
	}
}

// putScale32 is the inverse of setScale32.
func (b *Block) putScale32(dst []byte, hasMin bool) {
	putF16(dst, b.D)
	if hasMin {
		putF16(dst[2:], -b.DMin)
	}
}

// getNibbles is the inverse of packNibbles.
func getNibbles(codes []uint8, src []byte) {
	for i, b := range src[:16] {
		codes[i], codes[i+16] = b&15, b>>4
	}
}

// getPairs is the inverse of packPairs.
func getPairs(codes []uint8, src []byte) {
	for i := range codes {
		codes[i] = getPair(src, i)
	}
}
