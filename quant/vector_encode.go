package quant

import (
	"math"
	"math/bits"
)

// The encoder of vector types. For each group it searches a scale, with the codes that are best under it; then scales
// become odd integers under d; then codes and scales are chosen again, among those that blocks can hold, and d is
// fitted to them, in turns.

// vectorScratch is what encoding a block of a vector type needs.
type vectorScratch struct {
	src, w [256]float32
	x      [256]float32 // magnitudes; minus the magnitude where the sign is to be another than the weight's
	signs  [32]uint8    // of every eight weights, as x has them
	codes  [256]uint8
	found  [16]groupScale
}

// groupScale is a group's scale, and the sums that say what another costs: Σ w·x·l and Σ w·l², l being what the codes
// stand for.
type groupScale struct{ scale, xl, l2 float32 }

const (
	searchNeighbours = 4 // of points while scales are searched
	vectorRounds     = 2 // of choosing codes and scales again
	refitVectors     = 2 // more of them for QuantizeRefit
)

// quantizeVectors encodes a row of a type with blocks of 256 weights in size bytes. try says which scales it tries.
func quantizeVectors(dst []byte, src, imp []float32, s *scratch, c *codes, size int, try search) {
	if s.vector == nil {
		s.vector = new(vectorScratch)
	}
	v, rounds := s.vector, vectorRounds
	if s.refits {
		rounds += refitVectors
	}
	for ; len(src) > 0; src, dst = src[256:], dst[size:] {
		copy(v.src[:], src)
		v.load(c.Book, imp)
		if imp != nil {
			imp = imp[256:]
		}
		b := &s.superBlocks(1, 256/c.Group)[0]
		b.Codes = v.codes[:]
		v.encode(&c.Geometry, b, try, rounds)
		c.pack(dst[:size], b)
	}
}

// load sets w, x and signs. Without importance an error weighs as in Q4_K: by the weight's magnitude and the mean one.
func (v *vectorScratch) load(c *Codebook, imp []float32) {
	var squares float32
	for _, x := range v.src {
		squares += float32(x * x)
	}
	rms := float32(math.Sqrt(float64(squares / 256)))
	for i, x := range v.src {
		v.x[i], v.w[i] = abs(x), rms+abs(x)
		if imp != nil {
			v.w[i] = imp[i]
		}
	}
	for j := range v.signs {
		v.signs[j] = signsOf(v.src[8*j:][:8])
		if c.Even && bits.OnesCount8(v.signs[j])%2 == 1 {
			v.flip(8*j, v.cheapest(8*j))
		}
	}
}

// signsOf returns the signs of eight values.
func signsOf(x []float32) (signs uint8) {
	for i, v := range x {
		if v < 0 {
			signs |= 1 << i
		}
	}
	return signs
}

// cheapest returns which of eight weights it costs least to give the other sign.
func (v *vectorScratch) cheapest(at int) int {
	flip, least := 0, inf
	for i, x := range v.x[at : at+8] {
		if cost := float32(float32(v.w[at+i]*x) * x); cost < least {
			flip, least = i, cost
		}
	}
	return flip
}

// flip gives a weight of eight the other sign.
func (v *vectorScratch) flip(at, i int) {
	v.x[at+i] = -v.x[at+i]
	v.signs[at/8] ^= 1 << i
}

// encode sets b to the block.
func (v *vectorScratch) encode(c *Geometry, b *Block, s search, rounds int) {
	var greatest float32
	for g := range b.Scale {
		v.found[g] = v.searchScale(c, g, s)
		greatest = max(greatest, v.found[g].scale)
	}
	b.D, b.DMin = v.factor(b, greatest), 0
	for range rounds {
		for g := range b.Scale {
			v.chooseGroup(c, b, g)
		}
		v.refit(b)
	}
}

// searchScale looks for the scale of a group that leaves the least error if scales can be any numbers.
func (v *vectorScratch) searchScale(c *Geometry, g int, s search) groupScale {
	at, end := g*c.Group, (g+1)*c.Group
	var greatest, gain float32
	for _, x := range v.x[at:end] {
		greatest = max(greatest, abs(x))
	}
	if greatest < tiny {
		return groupScale{}
	}
	best := groupScale{scale: greatest / c.Book.magnitude[c.Book.levels-1]}
	for i := range s.n {
		inv := (s.first + float32(s.delta*float32(i))) / greatest
		found := v.sums(c.Book, at, end, 1/inv, inv)
		if found.l2 > 0 && found.xl > 0 && float32(found.xl*found.xl) > float32(gain*found.l2) {
			found.scale = found.xl / found.l2
			gain = found.scale * found.xl
			best = found
		}
	}
	return best
}

// sums returns the sums of a group for the best codes under a scale.
func (v *vectorScratch) sums(c *Codebook, at, end int, scale, inv float32) (s groupScale) {
	for ; at < end; at += c.Dim {
		x, w := v.x[at:at+c.Dim], v.w[at:at+c.Dim]
		point, _ := c.choose(x, w, scale, inv, searchNeighbours)
		for i, m := range c.values[point*c.Dim:][:c.Dim] {
			wl := float32(w[i] * m)
			s.xl += float32(wl * x[i])
			s.l2 += float32(wl * m)
		}
	}
	return s
}

// factor chooses d, and each group's scale 1, 3 … 31, so that Σ l2·(scale - d·sc)² is small: so much the error grows if
// codes stay.
func (v *vectorScratch) factor(b *Block, greatest float32) float32 {
	if greatest < tiny {
		for g := range b.Scale {
			b.Scale[g] = 1
		}
		return 0
	}
	least, best := inf, greatest/31
	for i := range 41 {
		d := greatest / (21 + float32(0.35*float32(i))) // the greatest scale becomes 21 … 31, or 15 % less than it is
		if cost := v.factorCost(b, d); cost < least {
			least, best = cost, d
		}
	}
	best = RoundF16(best)
	v.factorCost(b, best)
	return best
}

// factorCost sets the scales that are nearest under d and returns their cost.
func (v *vectorScratch) factorCost(b *Block, d float32) (cost float32) {
	for g := range b.Scale {
		f := &v.found[g]
		b.Scale[g] = nearestOdd(f.scale, d)
		e := f.scale - float32(d*float32(b.Scale[g]))
		cost += float32(float32(f.l2*e) * e)
	}
	return cost
}

// nearestOdd returns the odd number from 1 to 31 that is nearest to scale/d.
func nearestOdd(scale, d float32) int8 {
	if !(d > 0) {
		return 1
	}
	return int8(2*max(0, nearest(min((scale/d-1)/2, 15))) + 1)
}

// chooseGroup chooses the codes and the scale of a group: of its scale and the two next to it the one with the least
// error.
func (v *vectorScratch) chooseGroup(c *Geometry, b *Block, g int) {
	at, end := g*c.Group, (g+1)*c.Group
	own, least := b.Scale[g], inf
	var codes [32]uint8
	for _, sc := range [...]int8{own, own - 2, own + 2} {
		if sc < 1 || sc > 31 {
			continue
		}
		scale := b.D * float32(sc)
		var cost float32
		for o := at; o < end && cost < least; o += 8 {
			cost += v.encodeEight(c.Book, codes[o-at:][:8], o, scale)
		}
		if cost < least || sc == own {
			least, b.Scale[g] = cost, sc
			copy(b.Codes[at:end], codes[:])
		}
	}
	f := groupScale{scale: float32(b.Scale[g])}
	for i, code := range b.Codes[at:end] {
		wl := float32(v.w[at+i] * c.Levels[code])
		f.xl += float32(wl * v.src[at+i])
		f.l2 += float32(wl * c.Levels[code])
	}
	v.found[g] = f
}

// encodeEight chooses the codes of eight weights and returns their error. Where a sign must be another than the
// weight's, it tries the two for which that seems to cost least.
func (v *vectorScratch) encodeEight(c *Codebook, codes []uint8, at int, scale float32) float32 {
	inv := float32(0)
	if scale > 0 {
		inv = 1 / scale
	}
	least := v.pointsOfEight(c, codes, at, scale, inv)
	if !c.Even || v.signs[at/8] == signsOf(v.src[at:at+8]) {
		return least
	}
	set := bits.TrailingZeros8(v.signs[at/8] ^ signsOf(v.src[at:at+8]))
	v.flip(at, set)
	second, cheap := -1, inf
	for i, x := range v.x[at : at+8] {
		if cost := float32(float32(v.w[at+i]*x) * x); i != set && cost < cheap {
			second, cheap = i, cost
		}
	}
	if second < 0 {
		second = set
	}
	v.flip(at, second)
	var other [8]uint8
	if cost := v.pointsOfEight(c, other[:], at, scale, inv); cost < least {
		copy(codes, other[:])
		return cost
	}
	v.flip(at, second)
	v.flip(at, set)
	return least
}

// pointsOfEight chooses the codes of eight weights with the signs that x has.
func (v *vectorScratch) pointsOfEight(c *Codebook, codes []uint8, at int, scale, inv float32) (cost float32) {
	for i := 0; i < 8; i += c.Dim {
		x, w := v.x[at+i:at+i+c.Dim], v.w[at+i:at+i+c.Dim]
		point, sum := c.choose(x, w, scale, inv, nearestPoints)
		cost += sum
		c.setCodes(codes[i:i+c.Dim], c.grid.Point(point), v.signs[at/8]>>i)
	}
	return cost
}

// refit fits d to all groups, codes and scales being what they are.
func (v *vectorScratch) refit(b *Block) {
	var xl, l2 float64
	for g := range b.Scale {
		f := &v.found[g]
		xl += float64(float64(f.xl) * float64(f.scale))
		l2 += float64(float64(f.l2) * float64(float64(f.scale)*float64(f.scale)))
	}
	if d := xl / l2; d > 0 && d < Limit {
		b.D = RoundF16(float32(d))
	}
}
