package quant

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/x448/float16"
)

// scratch is what encoding a row needs: a tile of 16 groups, the super-blocks that these
// make up, and the kernels in use.
type scratch struct {
	kern.Tile
	*kern.Set
	refits bool // choose scales again, see refit
	vector *vectorScratch
	blocks [2]Block
	scales [2][2][kern.Groups]int8 // of blocks
}

var scratchPool = sync.Pool{New: func() any {
	s := new(scratch)
	s.Init()
	return s
}}

func getScratch() *scratch {
	s := scratchPool.Get().(*scratch)
	s.Set = kern.Best()
	return s
}

// load lays the first 16 groups of n weights in src side by side; missing ones are zero.
func (s *scratch) load(src []float32, n int) {
	s.SetN(n)
	fill(s.Src[:kern.Groups*n], src)
	s.Transpose(&s.X, &s.Src, n)
}

// loadWeights sets W to imp: the error of a column costs in proportion to the mean square of what it meets.
func (s *scratch) loadWeights(imp []float32) {
	fill(s.L[:kern.Groups*s.N], imp)
	s.Transpose(&s.W, &s.L, int(s.N))
}

// fill copies src to dst and zeroes what src does not reach.
func fill(dst, src []float32) {
	clear(dst[copy(dst, src):])
}

// search says which scales an encoder tries for a group: those that give the greatest weight the codes first,
// first+delta, …, n of them. A scale that
// rounds the greatest weight a little off may fit the others better.
type search struct {
	n            int
	first, delta float32
}

// importanceSearch is the search with importance for codes 0…top: from 0.9 below the top to 0.9 above it, as in ggml's
// make_qkx3_quants, whatever the type.
func importanceSearch(top float32) search { return search{37, top - 0.9, 0.05} }

// candidates sets Steps for a search. The products are rounded before they are added.
func (s *scratch) candidates(c search) {
	s.NSteps = int64(c.n)
	for i := range c.n {
		s.Steps[i] = c.first + float32(c.delta*float32(i))
	}
}

// symmetricCandidates sets Steps to -levels and to 18 values around it, a tenth apart, as in ggml's make_qx_quants,
// and the code limits to -levels … levels-1. The negative sign gives the weight of
// greatest magnitude the code that reaches furthest.
func (s *scratch) symmetricCandidates(levels int) {
	n := float32(levels)
	s.Lo, s.Hi = -n, n-1
	s.Steps[0] = -n
	s.NSteps = 1
	for i := -9; i <= 9; i++ {
		if i != 0 {
			s.Steps[s.NSteps] = -(n + float32(0.1*float32(i)))
			s.NSteps++
		}
	}
}

// superBlocks returns n blocks of as many groups each as the tile has for them, all zero. Their
// codes are in the tile only.
func (s *scratch) superBlocks(n, groups int) []Block {
	for i := range n {
		s.scales[i] = [2][kern.Groups]int8{}
		s.blocks[i] = Block{Scale: s.scales[i][0][:groups], Min: s.scales[i][1][:groups]}
	}
	return s.blocks[:n]
}

// useScales gives the tile's groups the scales and minima that a reader of the blocks will see.
func (s *scratch) useScales(blocks []Block) {
	at := 0
	for i := range blocks {
		b := &blocks[i]
		for g, scale := range b.Scale {
			s.setScale(at, b.D*float32(scale), b.DMin*float32(b.Min[g]))
			at++
		}
	}
}

// inf is above every cost.
var inf = float32(math.Inf(1))

// unused is the scale of a group whose stored scale is 0: it makes every code 0.
var unused = float32(math.Inf(1))

// toF16 rounds to float16; values beyond its range become the largest.
func toF16(x float32) uint16 {
	const largest = 65504
	return float16.Fromfloat32(min(max(x, -largest), largest)).Bits()
}

func fromF16(b uint16) float32 { return float16.Frombits(b).Float32() }

// putF16 stores x as float16 and returns the value that a reader will see.
func putF16(dst []byte, x float32) float32 {
	bits := toF16(x)
	binary.LittleEndian.PutUint16(dst, bits)
	return fromF16(bits)
}

func getF16(src []byte) float32 { return fromF16(binary.LittleEndian.Uint16(src)) }

// nearest rounds to the nearest integer, halves to even.
func nearest(x float32) int { return int(math.RoundToEven(float64(x))) }

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
