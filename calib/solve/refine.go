package solve

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// noLimit is a limit that every cost is below.
const noLimit = math.MaxFloat32

// setting is what a group's codes are multiplied with.
type setting struct {
	scale, min int8
	d, dmin    float32
}

// choose looks for the scale, minimum and codes of the group at a column that leave the
// least cost, from the ones that it has by small steps, and takes them if they cost less than
// limit. It reports whether it did.
func (t *tile) choose(r, at int, g *group, w, x *vector, limit float32) bool {
	i := r*t.Cols + at
	gi, bi := i/t.geo.Group, i/t.block
	now := setting{t.scale[gi], t.min[gi], t.d[bi], t.dmin[bi]}
	var codes, best [maxGroup]uint8
	taken, found := now, false
	try := func(s setting) bool {
		cost := g.feedback(t.levels, &codes, w, x, s.d*float32(s.scale), s.dmin*float32(s.min), limit)
		if cost < limit {
			limit, best, taken, found = cost, codes, s, true
			return true
		}
		return false
	}
	try(now)
	if t.block == t.geo.Group {
		t.climb32(try, &taken)
	} else {
		t.climb(try, &taken)
	}
	if found {
		t.scale[gi], t.min[gi], t.d[bi], t.dmin[bi] = taken.scale, taken.min, taken.d, taken.dmin
		copy(t.codes[i:i+t.geo.Group], best[:])
	}
	return found
}

// climb moves the integer scale and minimum by one step.
func (t *tile) climb(try func(setting) bool, taken *setting) {
	if taken.d == 0 && taken.dmin == 0 {
		return
	}
	step := 1
	if t.geo.OddScale {
		step = 2
	}
	for range climbs {
		from, better := *taken, false
		for ds := -step; ds <= step; ds += step {
			for dm := -1; dm <= 1; dm++ {
				s := from
				scale, min := int(from.scale)+ds, int(from.min)+dm
				if ds == 0 && dm == 0 || scale < t.geo.ScaleLo || scale > t.geo.ScaleHi ||
					min < t.geo.MinLo || min > t.geo.MinHi {
					continue
				}
				s.scale, s.min = int8(scale), int8(min)
				better = try(s) || better
			}
		}
		if !better {
			return
		}
	}
}

// climbs is the most steps of a climb. One takes most of the gain, and two or more differ by less than 1 %: for Q4_K
// random layers keep 0.397 of the encoder's error without, 0.324 with one, 0.322 with two, 0.323 with three.
const climbs = 3

// steps32 are the steps of a search for the float16 scale d of a block of one group, as shares of it. A step of 0.06
// moves the outermost values of a type of 4 bits, outermost times d, by 0.48 d, half the distance of two values; the
// others by a quarter and an eighth of it. With none, one, two and three of them, error feedback and refinement of
// random layers leave 0.338, 0.308, 0.297 and 0.292 of the encoder's error for Q4_0, and 0.473, 0.449, 0.420 and
// 0.389 for Q4_1. The numbers are part of what a method's bytes are.
var steps32 = [...]float32{0.06, 0.03, 0.015}

// outermost is the number of steps of d from the middle of a type of 4 bits to its end. A minimum moves by as
// much as a change of d by the same share moves the outermost value.
const outermost = 8

// climb32 moves the scale and the minimum of a block of one group by smaller and smaller shares.
func (t *tile) climb32(try func(setting) bool, taken *setting) {
	for _, h := range steps32 {
		from := *taken
		for _, ds := range [...]float32{-h, h} {
			s := from
			s.d = quant.RoundF16(from.d + float32(ds*from.d))
			try(s)
		}
		if t.geo.MinHi > 0 {
			from = *taken
			for _, dm := range [...]float32{-h, h} {
				s := from
				s.dmin = quant.RoundF16(from.dmin + float32(outermost*dm*from.d))
				try(s)
			}
		}
	}
}

// refine passes over all blocks once and lowers e·h·eᵀ by changing one thing at a time while all else stays: D and DMin
// of a block, the scale and minimum of a group together with its codes, a single code. It reports whether anything
// changed.
func (t *tile) refine() bool {
	size, changed := t.geo.Group, false
	delta := t.tmp[0]
	for c := 0; c < t.Cols; c += t.block {
		end := c + t.block
		clear(t.x.data)
		t.mul.addProduct(t.x, 0, t.e, t.count, t.h, 0, t.Cols, c, end) // minus half of the gradient by the weights
		if t.block > size {
			changed = t.refit(c) || changed
		}
		for at := c; at < end; at += size {
			g := &t.local[at/size]
			for r := range t.count {
				before := delta.row(r)[:size]
				e := t.e.row(r)[at : at+size]
				copy(before, e)
				if t.refineGroup(r, at, g, t.x.row(r)[at-c:]) {
					changed = true
				}
				for i, v := range e {
					before[i] = v - before[i]
				}
			}
			if at+size < end {
				right := t.h.data[t.h.at(at, at+size):]
				step, count := t.h.n*kern.Rows, (end-at-size)/kern.Rows
				t.mul.addPanels(t.x, at+size-c, delta, 0, t.count, right, step, count, size)
			}
		}
	}
	return changed
}

// refineGroup chooses the scale, minimum and codes of a group again. grad is e·h in its columns.
func (t *tile) refineGroup(r, at int, g *localGroup, grad []float32) bool {
	n := g.n
	i := r*t.Cols + at
	var grads, move, q, want vector
	copy(grads[:], grad[:n])
	// If all else stays, the best weights for the group are its values plus move, and
	// values v cost (want-v)·h·(want-v)ᵀ.
	g.inverse.times(&move, &grads, n)
	scale, min := t.params(r, at)
	var cost float32
	for j, c := range t.codes[i : i+n] {
		q[j] = float32(scale*t.levels.values[c]) - min
		want[j] = q[j] + move[j]
		cost += float32(grads[j] * move[j])
	}
	if !(cost > 0) {
		return false
	}
	changed := t.choose(r, at, &g.group, &want, &want, cost-float32(leastGain*cost))
	if changed {
		scale, min = t.params(r, at)
		for j, c := range t.codes[i : i+n] {
			q[j] = float32(scale*t.levels.values[c]) - min
			move[j] = want[j] - q[j]
		}
		g.h.times(&grads, &move, n)
	}
	if t.levels.book != nil {
		changed = t.refinePoints(g, t.codes[i:i+n], &q, &grads, scale) || changed
	} else {
		changed = t.refineCodes(g, t.codes[i:i+n], &q, &grads, scale, min) || changed
	}
	if changed {
		t.errors(r, at, n)
	}
	return changed
}

// refineCodes chooses single codes of a group again. q are the weights' values, grads are e·h.
func (t *tile) refineCodes(g *localGroup, codes []uint8, q, grads *vector, scale, min float32) (changed bool) {
	n := g.n
	// Single codes, until none gains, which is mostly so after the first pass.
	inv := floats.InverseOrZero(scale)
	for range codePasses {
		moved := false
		for j := range n {
			h := g.h[j][j]
			c := t.levels.code(float32((q[j] + grads[j]/h + min) * inv))
			if c == codes[j] {
				continue
			}
			v := float32(scale*t.levels.values[c]) - min
			d := v - q[j]
			gain := float32(d * (float32(2*grads[j]) - float32(d*h)))
			if !(gain > float32(leastGain*float32(float32(d*d)*h))) {
				continue
			}
			codes[j], q[j], moved, changed = c, v, true, true
			for k := range n {
				grads[k] -= float32(d * g.h[j][k])
			}
		}
		if !moved {
			break
		}
	}
	return changed
}

// codePasses bounds the passes over a group's single codes. Two are as good as eight (Q4_0: 0.307 of the encoder's
// error without, 0.293 with one, 0.292 with two and with eight): the bound is against codes that change back and
// forth.
const codePasses = 4

// leastGain is the share of the error that a change must save: less may be rounding error.
const leastGain = 1e-4

// refit chooses D and DMin of a block anew for each row, codes and integer scales being what they
// are: the least squares fit under h, rounded. It keeps x, the gradients, up to date.
func (t *tile) refit(c int) bool {
	size, b, changed := t.geo.Group, c/t.block, false
	// The block's weights are D·us + DMin·um.
	us, um, hs, hm := t.tmp[0], t.tmp[1], t.tmp[2], t.tmp[3]
	for r := range t.count {
		v := t.view(r, b)
		s, m := us.row(r), um.row(r)
		for j, code := range v.Codes {
			s[j], m[j] = float32(v.Scale[j/size])*t.levels.values[code], -float32(v.Min[j/size])
		}
	}
	clear(hs.data)
	clear(hm.data)
	square := t.h.data[t.h.at(c, c):]
	t.mul.addPanels(hs, 0, us, 0, t.count, square, t.h.n*kern.Rows, t.block/kern.Rows, t.block)
	if t.geo.MinHi > 0 {
		t.mul.addPanels(hm, 0, um, 0, t.count, square, t.h.n*kern.Rows, t.block/kern.Rows, t.block)
	}
	for r := range t.count {
		grad, s, m := t.x.row(r), us.row(r), um.row(r)
		gs, gm := dot(grad, s), dot(grad, m)
		ss, sm, mm := dot(s, hs.row(r)), dot(s, hm.row(r)), dot(m, hm.row(r))
		if !(ss > 0) {
			continue
		}
		ds, dm := gs/ss, 0.0
		if det := float64(ss*mm) - float64(sm*sm); det > 1e-4*float64(ss*mm) {
			ds, dm = (float64(gs*mm)-float64(gm*sm))/det, (float64(gm*ss)-float64(gs*sm))/det
		}
		i := r*(t.Cols/t.block) + b
		d, dmin := quant.RoundF16(t.d[i]+float32(ds)), quant.RoundF16(t.dmin[i]+float32(dm))
		ds, dm = float64(d)-float64(t.d[i]), float64(dmin)-float64(t.dmin[i])
		cost := float64(float64(ds*ds)*ss) + float64(float64(2*float64(ds*dm))*sm) + float64(float64(dm*dm)*mm)
		if gain := 2*(float64(ds*gs)+float64(dm*gm)) - cost; !(gain > leastGain*cost) {
			continue
		}
		t.d[i], t.dmin[i], changed = d, dmin, true
		for j := range grad {
			grad[j] -= float32(float32(ds)*hs.row(r)[j]) + float32(float32(dm)*hm.row(r)[j])
		}
		t.errors(r, c, t.block)
	}
	return changed
}
