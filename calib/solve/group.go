package solve

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/quant"
)

// levels finds a type's code for a weight in units of its scale.
type levels struct {
	values []float32
	// For uniform levels the code is the rounded value less lo.
	uniform bool
	lo, hi  float32
	// For others, start[round(x) - lo] is the code of that integer, and mid[c] lies halfway between
	// codes c-1 and c: one step up or down from the start is enough.
	start []uint8
	mid   []float32
	book  *quant.Codebook // nil where each weight has a code of its own
}

func newLevels(values []float32, book *quant.Codebook) *levels {
	n := len(values)
	uniform := values[n-1]-values[0] == float32(n-1)
	l := &levels{values: values, uniform: uniform, lo: values[0], hi: values[n-1], book: book}
	if l.uniform {
		return l
	}
	l.mid = make([]float32, n+1)
	l.mid[0], l.mid[n] = float32(math.Inf(-1)), float32(math.Inf(1))
	for c := 1; c < n; c++ {
		l.mid[c] = (values[c-1] + values[c]) / 2
	}
	c := 0
	for x := l.lo; x <= l.hi; x++ {
		for x > l.mid[c+1] {
			c++
		}
		l.start = append(l.start, uint8(c))
	}
	return l
}

// code returns the code of the level nearest to x, 0 for what is not a number.
func (l *levels) code(x float32) uint8 {
	if !(x > l.lo) {
		return 0
	}
	// Adding 1.5·2²³ leaves no bits below 1 and rounds to even.
	const magic = 3 << 22
	i := float32(min(x, l.hi)+magic) - magic - l.lo
	if l.uniform {
		return uint8(i)
	}
	c := l.start[int(i)]
	switch {
	case x > l.mid[c+1]:
		c++
	case x < l.mid[c]:
		c--
	}
	return c
}

// vector holds a value for each weight of a group, matrix one for each pair.
type (
	vector = [maxGroup]float32
	matrix [maxGroup]vector
)

// maxGroup is the most weights in a group.
const maxGroup = 32

// group is what error feedback within n columns needs: their part of U and D.
type group struct {
	n int
	u matrix
	d vector
}

// group returns the part of f from column at on.
func (f *factor) group(at, n int) group {
	g := group{n: n}
	for i := range n {
		for j := range n {
			g.u[i][j] = f.u.data[f.u.at(at+i, at+j)]
		}
		g.d[i] = f.d[at+i]
	}
	return g
}

// localGroup is a group by itself: a diagonal block of H with its factor and its inverse. It
// decides about the group while all other columns stay as they are.
type localGroup struct {
	group
	h, inverse matrix
}

func newLocalGroup(h *square, at, n int) (localGroup, error) {
	var g localGroup
	part := newSquare(n)
	for i := range n {
		for j := range n {
			g.h[i][j] = h.data[h.at(at+i, at+j)]
			part.data[part.at(i, j)] = g.h[i][j]
		}
	}
	f, err := factorize(part, 1, func(float64) {})
	if err != nil {
		return g, err
	}
	g.group = f.group(0, n)
	for e := range n { // row e of the inverse: U·D·Uᵀ·y = unit vector e
		var y [maxGroup]float64
		y[e] = 1
		for i := n - 1; i >= 0; i-- {
			for k := i + 1; k < n; k++ {
				y[i] -= float64(float64(g.u[i][k]) * y[k])
			}
		}
		for i := range n {
			y[i] /= float64(g.d[i])
			for k := range i {
				y[i] -= float64(float64(g.u[k][i]) * y[k])
			}
			g.inverse[e][i] = float32(y[i])
		}
	}
	return g, nil
}

// times sets dst = x·m, n values.
func (m *matrix) times(dst, x *vector, n int) {
	*dst = vector{}
	for i := range n {
		v, row := x[i], &m[i]
		for j := range row[:n] {
			dst[j] += float32(v * row[j])
		}
	}
}

// feedback chooses codes for a group under a scale and a minimum, column by column, each
// error being fed back into the columns after it. w are the weights, x the same moved by the
// errors of the columns before the group. It returns Σ D·(x - value)², the group's part
// of the error; once that exceeds limit it gives up and returns what it has.
func (g *group) feedback(l *levels, codes *[maxGroup]uint8, w, x *vector, scale, min, limit float32) (cost float32) {
	if l.book != nil {
		return g.feedbackPoints(l, codes, w, x, scale, limit)
	}
	inv := floats.InverseOrZero(scale)
	moved := *x
	for i := range g.n {
		c := l.code(float32((moved[i] + min) * inv))
		codes[i] = c
		value := float32(scale*l.values[c]) - min
		r := moved[i] - value
		cost += float32(float32(r*r) * g.d[i])
		if cost > limit {
			return cost
		}
		e, u := w[i]-value, &g.u[i]
		for k := i + 1; k < g.n; k++ {
			moved[k&(maxGroup-1)] += float32(e * u[k&(maxGroup-1)])
		}
	}
	return cost
}
