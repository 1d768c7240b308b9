package quant

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// refitCase is a tile of random groups with importance and with super-blocks whose scales are
// some way off, for one type of sub-scales.
func refitCase(r *rand.Rand, s *scratch, c *Geometry) []Block {
	src, imp := make([]float32, kern.Groups*c.Group), make([]float32, kern.Groups*c.Group)
	for i := range src {
		src[i] = float32(r.NormFloat64())
		imp[i] = float32(math.Exp(2 * r.NormFloat64()))
	}
	s.load(src, c.Group)
	s.loadWeights(imp)
	last := len(c.Levels) - 1
	s.Lo, s.Hi = c.Levels[0], c.Levels[last]
	groups := 256 / c.Group
	blocks := s.superBlocks(kern.Groups/groups, groups)
	for i := range blocks {
		b := &blocks[i]
		top := float32(max(-c.ScaleLo, c.ScaleHi))
		b.D = RoundF16(5 / float32(last) / top)
		if c.MinHi > 0 {
			b.DMin = RoundF16(2.5 / float32(c.MinHi))
		}
		for g := range b.Scale {
			b.Scale[g] = int8(float32(c.ScaleHi) * (0.5 + 0.5*r.Float32()))
			b.Min[g] = int8(float32(c.MinHi) * (0.5 + 0.5*r.Float32()))
		}
	}
	return blocks
}

// subScaled are the geometries that refit serves.
var subScaled = []Type{Q2_K, Q3_K, Q4_K, Q5_K, Q6_K}

// tileError returns Σ W·(X - value)² of each group, value being scale·l - min with the given codes' levels l.
func tileError(s *scratch, g int, levels []float64, scale, min float64) (e float64) {
	for i, l := range levels {
		d := float64(s.X[kern.Groups*i+g]) - (scale*l - min)
		e += float64(s.W[kern.Groups*i+g]) * d * d
	}
	return e
}

// nearestLevels returns the levels of group g's codes as a reader's scales make them nearest.
func nearestLevels(s *scratch, c *Geometry, g int, scale, min float32) []float64 {
	levels := make([]float64, c.Group)
	for i := range levels {
		if scale != 0 {
			l := math.RoundToEven(float64((s.X[kern.Groups*i+g] + min) / scale))
			levels[i] = max(float64(s.Lo), math.Min(l, float64(s.Hi)))
		}
	}
	return levels
}

// scalesOf returns what a reader computes for group g of the tile.
func scalesOf(blocks []Block, g int) (b *Block, i int, scale, min float32) {
	groups := len(blocks[0].Scale)
	b, i = &blocks[g/groups], g%groups
	return b, i, b.D * float32(b.Scale[i]), b.DMin * float32(b.Min[i])
}

// Refitting never raises the error, and lowers it a lot where the scales were off.
func TestRefitLowersError(t *testing.T) {
	for _, typ := range subScaled {
		c := typ.Geometry()
		r := rand.New(rand.NewPCG(21, uint64(typ)))
		s := getScratch()
		total := func(blocks []Block) (e float64) {
			for g := range kern.Groups {
				_, _, scale, min := scalesOf(blocks, g)
				e += tileError(s, g, nearestLevels(s, &c, g, scale, min), float64(scale), float64(min))
			}
			return e
		}
		for range 200 {
			blocks := refitCase(r, s, &c)
			before := total(blocks)
			s.refit(&c, blocks)
			if after := total(blocks); !(after < 0.99*before) {
				t.Errorf("%s: refitting took the error from %g to %g", typ, before, after)
			}
			for range 20 {
				s.refit(&c, blocks)
			}
			settled := total(blocks)
			s.refit(&c, blocks)
			if again := total(blocks); again > settled*(1+1e-6) {
				t.Errorf("%s: with nothing left to gain, refitting took the error from %g to %g", typ, settled, again)
			}
		}
		scratchPool.Put(s)
	}
}

// With codes fixed, a group's new scale and minimum are the best of all minima and of the three
// scales next to each other: by trial of every pair, the error summed weight by weight.
func TestRefitGroup(t *testing.T) {
	for _, typ := range subScaled {
		c := typ.Geometry()
		r := rand.New(rand.NewPCG(22, uint64(typ)))
		s := getScratch()
		for range 50 {
			blocks := refitCase(r, s, &c)
			s.useScales(blocks)
			s.CodeSums(&s.Tile)
			for g := range kern.Groups {
				b, i, scale, low := scalesOf(blocks, g)
				levels := nearestLevels(s, &c, g, scale, low)
				errorOf := func(scale, low int) float64 {
					return tileError(s, g, levels, float64(b.D)*float64(scale), float64(b.DMin)*float64(low))
				}
				best := math.Inf(1)
				for scale := max(c.ScaleLo, int(b.Scale[i])-1); scale <= min(c.ScaleHi, int(b.Scale[i])+1); scale++ {
					for low := c.MinLo; low <= c.MinHi; low++ {
						best = min(best, errorOf(scale, low))
					}
				}
				sums := s.groupSums(g)
				b.refitGroup(&c, i, &sums)
				if got := errorOf(int(b.Scale[i]), int(b.Min[i])); got > best*(1+1e-4) {
					t.Fatalf("%s: scale %d and minimum %d leave an error of %g, the best %g",
						typ, b.Scale[i], b.Min[i], got, best)
				}
			}
		}
		scratchPool.Put(s)
	}
}

// The factors of a super-block are the best: moving either up or down raises the error, summed weight by weight.
func TestRefitFactors(t *testing.T) {
	for _, typ := range subScaled {
		c := typ.Geometry()
		r := rand.New(rand.NewPCG(23, uint64(typ)))
		s := getScratch()
		for range 200 {
			blocks := refitCase(r, s, &c)
			s.useScales(blocks)
			s.CodeSums(&s.Tile)
			b := &blocks[0]
			sums, levels := make([]groupSums, len(b.Scale)), make([][]float64, len(b.Scale))
			for g := range sums {
				_, _, scale, min := scalesOf(blocks, g)
				sums[g] = s.groupSums(g)
				levels[g] = nearestLevels(s, &c, g, scale, min)
			}
			errorOf := func(d, dmin float32) (e float64) {
				for g := range levels {
					e += tileError(s, g, levels[g], float64(d)*float64(b.Scale[g]), float64(dmin)*float64(b.Min[g]))
				}
				return e
			}
			b.refitFactors(sums)
			got := errorOf(b.D, b.DMin)
			for _, by := range []float32{1 - 1./256, 1 + 1./256} { // further than rounding to float16 moved them
				for _, other := range [][2]float32{{b.D * by, b.DMin}, {b.D, b.DMin * by}} {
					if e := errorOf(other[0], other[1]); e < got*(1-1e-5) {
						t.Fatalf("%s: factors %g and %g leave an error of %g, %g and %g %g",
							typ, b.D, b.DMin, got, other[0], other[1], e)
					}
				}
			}
		}
		scratchPool.Put(s)
	}
}
