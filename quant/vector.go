package quant

import (
	"math/bits"
	"slices"
	"sync"
)

// Vector types: four or eight weights share a code, the number of a point of a grid whose coordinates are levels of
// their magnitudes; signs are apart. Weights are unpacked to codes of their own, see [Geometry].

// vectorLevels returns what the codes of single weights stand for, given the magnitudes: the negatives first.
func vectorLevels(magnitudes ...float32) []float32 {
	levels := make([]float32, 0, 2*len(magnitudes))
	for _, m := range slices.Backward(magnitudes) {
		levels = append(levels, -m)
	}
	return append(levels, magnitudes...)
}

// vectorGeometry describes blocks of odd scales 1 … 31 and points of a codebook.
func vectorGeometry(group int, c *Codebook) Geometry {
	return Geometry{
		Group: group, Levels: vectorLevels(c.magnitude...), ScaleLo: 1, ScaleHi: 31, OddScale: true, Book: c,
	}
}

// evenSigns returns the signs of eight weights, of which 7 bits are stored: an even number is negative.
func evenSigns(stored uint32) uint8 {
	low := uint8(stored & 127)
	return low | uint8(bits.OnesCount8(low)&1)<<7
}

// oddScale is what a stored scale of 4 bits or less stands for, storedScale the inverse.
func oddScale(stored uint32) int8      { return int8(2*stored + 1) }
func storedScale(scale int8) (s uint8) { return uint8(scale-1) / 2 }

// getScales4 sets d and the odd scales of all groups from nibbles.
func (b *Block) getScales4(src, nibbles []byte) {
	b.D, b.DMin = getF16(src), 0
	for g := range b.Scale {
		b.Scale[g], b.Min[g] = oddScale(uint32(nibbles[g/2]>>(g%2*4)&15)), 0
	}
}

// putScales4 is the inverse of getScales4.
func (b *Block) putScales4(dst, nibbles []byte) {
	putF16(dst, b.D)
	for g := 0; g < len(b.Scale); g += 2 {
		nibbles[g/2] = storedScale(b.Scale[g]) | storedScale(b.Scale[g+1])<<4
	}
}

// dequantizeCodes decodes blocks of a type by taking them apart.
func dequantizeCodes(dst []float32, src []byte, c *codes, elems, size int) {
	b := blockPool.Get().(*pooledBlock)
	defer blockPool.Put(b)
	v := b.view(elems, elems/c.Group)
	for ; len(dst) > 0; dst, src = dst[elems:], src[size:] {
		c.unpack(&v, src[:size])
		for g, sc := range v.Scale {
			scale := v.D * float32(sc)
			for i, code := range v.Codes[g*c.Group : (g+1)*c.Group] {
				dst[g*c.Group+i] = scale * c.Levels[code]
			}
		}
	}
}

// pooledBlock is room for a block that is taken apart.
type pooledBlock struct {
	scale, min [16]int8
	codes      [256]uint8
}

func (b *pooledBlock) view(elems, groups int) Block {
	return Block{Scale: b.scale[:groups], Min: b.min[:groups], Codes: b.codes[:elems]}
}

var blockPool = sync.Pool{New: func() any { return new(pooledBlock) }}
