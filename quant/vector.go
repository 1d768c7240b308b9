package quant

import (
	"math/bits"
	"slices"
	"sync"

	"github.com/phi3conv/phi3conv/internal/grid"
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

// setPoint sets the codes of the weights of a point; bit i of signs says that weight i is negative.
func setPoint(codes []uint8, g *grid.Grid, point int, signs uint8) {
	n := uint8(g.Levels)
	for i, level := range g.Point(point) {
		codes[i] = n + level
		if signs>>i&1 == 1 {
			codes[i] = n - 1 - level
		}
	}
}

// evenSigns returns the signs of eight weights, of which 7 bits are stored: an even number is negative.
func evenSigns(stored uint32) uint8 {
	low := uint8(stored & 127)
	return low | uint8(bits.OnesCount8(low)&1)<<7
}

// oddScale is what a stored scale of 4 bits or less stands for.
func oddScale(stored uint32) int8 { return int8(2*stored + 1) }

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
