package quant

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// refitRounds is how often a super-block's scales are chosen again: a third round gains less than
// a thousandth of the error.
const refitRounds = 2

// refit improves scales and minima that were found as if each could be any number. In turns it
// takes the codes nearest under the stored ones, and with these codes fixed the stored ones, of
// those that blocks of geometry c can hold, that leave a lower Σ W·(X - value)².
func (s *scratch) refit(c *Geometry, blocks []Block) {
	for range refitRounds {
		s.useScales(blocks)
		s.CodeSums(&s.Tile)
		at := 0
		for i := range blocks {
			var sums [kern.Groups]groupSums
			n := len(blocks[i].Scale)
			for g := range n {
				sums[g] = s.groupSums(at)
				at++
			}
			blocks[i].refit(c, sums[:n])
		}
	}
}

// groupSums says what a group's error is with any scale a and minimum m, its codes' levels l fixed:
// Σ w·(x - a·l + m)² = Σ w·x² + error(a, m). The fields are Σ w, Σ w·x, Σ w·l, Σ w·x·l, Σ w·l².
type groupSums struct{ w, x, l, xl, l2 float64 }

// groupSums returns what CodeSums found for group g of the tile.
func (s *scratch) groupSums(g int) groupSums {
	return groupSums{
		w: float64(s.SumW[g]), x: float64(s.SumX[g]),
		l: float64(s.SumL[g]), xl: float64(s.SumXL[g]), l2: float64(s.SumL2[g]),
	}
}

func (s *groupSums) error(a, m float64) float64 {
	return float64(a*(float64(a*s.l2)-float64(2*s.xl)-float64(2*m*s.l))) + float64(m*(float64(m*s.w)+float64(2*s.x)))
}

func (b *Block) refit(c *Geometry, sums []groupSums) {
	for g := range sums {
		b.refitGroup(c, g, &sums[g])
	}
	b.refitFactors(sums)
}

// refitGroup takes the best of the group's scales next to its own, each with its best minimum.
func (b *Block) refitGroup(c *Geometry, g int, s *groupSums) {
	d, dmin := float64(b.D), float64(b.DMin)
	if d == 0 || !(s.w > 0) {
		return
	}
	own := int(b.Scale[g])
	least := s.error(d*float64(own), dmin*float64(b.Min[g]))
	for scale := max(c.ScaleLo, own-1); scale <= min(c.ScaleHi, own+1); scale++ {
		a, low := d*float64(scale), b.Min[g]
		if dmin != 0 {
			m := (float64(a*s.l) - s.x) / s.w / dmin
			low = int8(math.RoundToEven(min(max(m, float64(c.MinLo)), float64(c.MinHi))))
		}
		if e := s.error(a, dmin*float64(low)); e < least {
			least, b.Scale[g], b.Min[g] = e, int8(scale), low
		}
	}
}

// refitFactors fits d and dmin to all groups, their scales and minima fixed.
func (b *Block) refitFactors(sums []groupSums) {
	var t groupSums // with scales as a part of the levels, and minima too
	for g := range sums {
		s, a, m := &sums[g], float64(b.Scale[g]), float64(b.Min[g])
		t.w += float64(s.w * m * m)
		t.x += float64(s.x * m)
		t.l += float64(s.l * a * m)
		t.xl += float64(s.xl * a)
		t.l2 += float64(s.l2 * a * a)
	}
	d, dmin := t.xl/t.l2, 0.0
	if t.w > 0 {
		d = (float64(t.xl*t.w) - float64(t.l*t.x)) / (float64(t.l2*t.w) - float64(t.l*t.l))
		dmin = (float64(d*t.l) - t.x) / t.w
	}
	if !(math.Abs(d) < Limit && math.Abs(dmin) < Limit) {
		return // 0/0, where nothing is to be gained
	}
	newD, newMin := RoundF16(float32(d)), RoundF16(float32(dmin))
	if newD != 0 && t.error(float64(newD), float64(newMin)) < t.error(float64(b.D), float64(b.DMin)) {
		b.D, b.DMin = newD, newMin
	}
}
