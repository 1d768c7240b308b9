package solve

import (
	"math"
	"math/bits"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/quant"
)

// Types whose codes stand for several weights: a point is chosen for Dim columns together, each error being fed back
// into the columns after it, those of the point included.

// eight is how many weights share the rule of an even number of negatives.
const eight = 8

// triedPoints is how many points of a grid are tried for some weights.
const triedPoints = 12

// points is how points are chosen for some columns of a group.
type points struct {
	*quant.Codebook
	g          *group
	w          *vector // the weights
	scale, inv float32
}

// trial is a point on trial: its signs, values and cost.
type trial struct {
	signs  uint8
	levels []uint8
	values [eight]float32
	cost   float32
}

// feedbackPoints is feedback for types with a codebook.
func (g *group) feedbackPoints(
	l *levels, codes *[maxGroup]uint8, w, x *vector, scale, limit float32,
) (cost float32) {
	p := points{l.book, g, w, scale, floats.InverseOrZero(scale)}
	moved, signs := *x, uint8(0)
	var best, next trial
	for at := 0; at < g.n; at += p.Dim {
		if at%eight == 0 {
			signs = 0
		}
		odd := bits.OnesCount8(signs) % 2
		even := p.Even && (at+p.Dim)%eight == 0
		best.cost = noLimit
		for i, point := range p.Near(p.round(&moved, at)) {
			if i == triedPoints {
				break
			}
			next.levels = p.Levels(int(point))
			if !even {
				p.try(&next, &moved, at, -1, best.cost)
			} else if p.try(&next, &moved, at, -1, noLimit); bits.OnesCount8(next.signs)%2 != odd {
				p.try(&next, &moved, at, p.cheapest(&moved, next.levels, at), best.cost)
				if bits.OnesCount8(next.signs)%2 != odd { // what was fed back has changed another sign
					p.try(&next, &moved, at, p.Dim-1, best.cost)
				}
			}
			if next.cost < best.cost {
				best, next = next, best
			}
		}
		for i, level := range best.levels {
			codes[at+i] = p.Code(level, best.signs>>i&1 == 1)
			p.feed(&moved, at+i, best.values[i])
		}
		signs ^= best.signs // of which only the parity counts
		if cost += best.cost; !(cost <= limit) {
			return cost
		}
	}
	return cost
}

// round returns the levels nearest to the weights from column at on, one after the other.
func (p *points) round(moved *vector, at int) []uint8 {
	var levels [eight]uint8
	var x [eight]float32
	n := copy(x[:], moved[at:at+p.Dim])
	for i := range n {
		level := p.Level(abs(float32(x[i] * p.inv)))
		levels[i] = level
		p.within(&x, at, i, p.value(level, x[i] < 0))
	}
	return levels[:n]
}

func (p *points) value(level uint8, negative bool) float32 {
	v := float32(p.scale * p.Magnitude(level))
	if negative {
		return -v
	}
	return v
}

// feed moves the columns after i by the error that column i has with a value.
func (p *points) feed(x *vector, i int, value float32) {
	e, u := p.w[i]-value, &p.g.u[i]
	for k := i + 1; k < p.g.n; k++ {
		x[k&(maxGroup-1)] += float32(e * u[k&(maxGroup-1)])
	}
}

// within is feed for the columns of a point from column at on: x are those, and i is one of them.
func (p *points) within(x *[eight]float32, at, i int, value float32) {
	e, u := p.w[at+i]-value, p.g.u[at+i][at:at+p.Dim]
	for k := i + 1; k < len(u); k++ {
		x[k&(eight-1)] += float32(e * u[k])
	}
}

// try sets what t's levels cost from column at on, with the signs that the weights have there, but the other one for
// weight flip if that is not negative. Once the cost reaches limit the rest is not set.
func (p *points) try(t *trial, moved *vector, at, flip int, limit float32) {
	var x [eight]float32
	copy(x[:], moved[at:at+p.Dim])
	t.signs, t.cost = 0, 0
	for i, level := range t.levels {
		negative := (x[i] < 0) != (i == flip)
		if negative {
			t.signs |= 1 << i
		}
		value := p.value(level, negative)
		r := x[i] - value
		if t.cost += float32(float32(r*r) * p.g.d[at+i]); t.cost >= limit {
			return
		}
		t.values[i] = value
		p.within(&x, at, i, value)
	}
}

// cheapest returns the weight whose other sign costs least.
func (p *points) cheapest(moved *vector, levels []uint8, at int) (flip int) {
	least := float32(noLimit)
	for i, level := range levels {
		cost := float32(float32(abs(moved[at+i])*p.Magnitude(level)) * p.g.d[at+i])
		if cost < least {
			flip, least = i, cost
		}
	}
	return flip
}

// refinePoints chooses single points of a group again, all else being as it is, until none gains. q are the weights'
// values, grads are e·h. It reports whether anything changed.
func (t *tile) refinePoints(g *localGroup, codes []uint8, q, grads *vector, scale float32) (changed bool) {
	book, inv := t.levels.book, floats.InverseOrZero(scale)
	for range codePasses {
		moved := false
		for at := 0; at < g.n; at += book.Dim {
			moved = t.refinePoint(g, codes[at:at+book.Dim], q, grads, scale, inv, at) || moved
		}
		if !moved {
			break
		}
		changed = true
	}
	return changed
}

func (t *tile) refinePoint(g *localGroup, codes []uint8, q, grads *vector, scale, inv float32, at int) bool {
	book := t.levels.book
	var want [eight]float32
	var levels [eight]uint8
	odd := 0
	for i, code := range codes {
		want[i] = q[at+i] + grads[at+i]/g.h[at+i][at+i]
		levels[i] = book.Level(abs(float32(want[i] * inv)))
		if t.levels.values[code] < 0 {
			odd ^= 1
		}
	}
	var best, next [eight]uint8
	var most float32
	for n, point := range book.Near(levels[:book.Dim]) {
		if n == triedPoints {
			break
		}
		signsFor(book, &next, book.Levels(int(point)), &want, odd, at, g)
		var d [eight]float32
		var gain, size float32
		for i, code := range next[:book.Dim] {
			d[i] = float32(scale*t.levels.values[code]) - q[at+i]
		}
		for i, v := range d[:book.Dim] {
			hd := float32(0)
			for k, u := range d[:book.Dim] {
				hd += float32(u * g.h[at+i][at+k])
			}
			gain += float32(v * (float32(2*grads[at+i]) - hd))
			size += float32(float32(v*v) * g.h[at+i][at+i])
		}
		if gain > float32(leastGain*size) && gain > most {
			most, best = gain, next
		}
	}
	if most == 0 {
		return false
	}
	for i, code := range best[:book.Dim] {
		v := float32(scale * t.levels.values[code])
		d := v - q[at+i]
		codes[i], q[at+i] = code, v
		for k := range g.n {
			grads[k] -= float32(d * g.h[at+i][k])
		}
	}
	return true
}

// signsFor sets codes to levels with the signs of want. Where the book wants an even number of negatives, the number
// stays odd or even, as it is; if need be, the sign that costs least to change is changed.
func signsFor(
	book *quant.Codebook, codes *[eight]uint8, levels []uint8, want *[eight]float32, odd, at int, g *localGroup,
) {
	flip, least, parity := 0, float32(noLimit), 0
	for i, level := range levels {
		codes[i] = book.Code(level, want[i] < 0)
		if want[i] < 0 {
			parity ^= 1
		}
		cost := float32(float32(abs(want[i])*book.Magnitude(level)) * g.h[at+i][at+i])
		if cost < least {
			flip, least = i, cost
		}
	}
	if book.Even && parity != odd {
		codes[flip] = book.Code(levels[flip], !(want[flip] < 0))
	}
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }
