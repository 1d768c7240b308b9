package solve

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

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
			for r := range t.count {
				copy(delta.row(r), t.e.row(r)[at:at+size])
			}
			changed = t.refineGroups(at, c) || changed
			for r := range t.count {
				before := delta.row(r)[:size]
				for i, v := range t.e.row(r)[at : at+size] {
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

// refineGroups chooses the scales, minimums and codes of the rows' groups at a column again. x is e·h from column c on.
func (t *tile) refineGroups(at, c int) (changed bool) {
	g, ch := &t.local[at/t.geo.Group], &t.chooser
	for rows := range slices.Chunk(t.rows, kern.Groups) {
		refined := ch.list[:0]
		for _, r := range rows {
			if i := len(refined); t.wanted(r, at, g, t.x.row(r)[at-c:], &ch.x[i], &ch.limit[i]) {
				ch.w[i] = ch.x[i]
				refined = append(refined, r)
			}
		}
		if len(refined) == 0 {
			continue
		}
		ch.choose(&g.group, at, refined)
		for i, r := range refined {
			changed = t.refineGroup(r, at, g, t.x.row(r)[at-c:], &ch.x[i], ch.found[i]) || changed
		}
	}
	return changed
}

// wanted sets want to the best weights for a group if all else stays, grad being e·h in its columns: values v cost
// (want-v)·h·(want-v)ᵀ. limit is what they may cost to be taken. It reports whether there is anything to gain.
func (t *tile) wanted(r, at int, g *localGroup, grad []float32, want *vector, limit *float32) bool {
	n, i := g.n, r*t.Cols+at
	var grads, move vector
	copy(grads[:], grad[:n])
	g.inverse.times(&move, &grads, n)
	scale, min := t.params(r, at)
	var cost float32
	for j, c := range t.codes[i : i+n] {
		want[j] = (float32(scale*t.levels.values[c]) - min) + move[j]
		cost += float32(grads[j] * move[j])
	}
	*limit = cost - float32(leastGain*cost)
	return cost > 0
}

// refineGroup changes single codes of a group. chosen says that others were chosen for it, grad is e·h before that.
func (t *tile) refineGroup(r, at int, g *localGroup, grad []float32, want *vector, chosen bool) bool {
	n, i := g.n, r*t.Cols+at
	var grads, move, q vector
	copy(grads[:], grad[:n])
	scale, min := t.params(r, at)
	for j, c := range t.codes[i : i+n] {
		q[j] = float32(scale*t.levels.values[c]) - min
		move[j] = want[j] - q[j]
	}
	changed := chosen
	if chosen {
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
