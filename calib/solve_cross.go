package calib

import (
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/runtime"
)

// crossMoments sums (x'-x)·xᵀ over rows x that a linear layer is given, x' being what the original
// model gives it in x's place: in float32 over momentRows rows at a time, and in float64 over those.
type crossMoments struct {
	cols   int
	sums   []float64 // cols × cols
	diff   rows      // column by column: a chunk's x'-x
	panels []float32 // a chunk's x
}

func newCrossMoments(cols int) *crossMoments {
	return &crossMoments{cols, make([]float64, cols*cols), rows{make([]float32, cols*momentRows), momentRows}, make([]float32, cols*momentRows)}
}

// add adds rows, with a weight for each or nil. original has in.Rows rows of in.Cols values.
func (m *crossMoments) add(in runtime.Inputs, original, weights []float32, threads int) {
	n := m.cols
	for first := 0; first < in.Rows; first += momentRows {
		count := min(momentRows, in.Rows-first)
		for t := range count {
			x, y, w := in.Row(first+t), original[(first+t)*n:(first+t+1)*n], float32(1)
			if weights != nil {
				w = weights[first+t]
			}
			for c, v := range x {
				m.diff.data[c*momentRows+t] = (y[c] - v) * w
			}
			for c := 0; c < n; c += kern.Rows {
				copy(m.panels[c*momentRows+t*kern.Rows:][:kern.Rows], x[c:])
			}
		}
		const span = 32 // rows of a task
		parallel(threads, (n+span-1)/span, func(w *multiplier, task int) {
			i := task * span
			r := min(span, n-i)
			out := newRows(r, n)
			w.addPanels(out, 0, rows{m.diff.data[i*momentRows:], momentRows}, 0, r, m.panels, momentRows*kern.Rows, n/kern.Rows, count)
			for k := range r {
				sums := m.sums[(i+k)*n : (i+k+1)*n]
				for c, v := range out.row(k)[:n] {
					sums[c] += float64(v)
				}
			}
		})
	}
}

// matrix returns the sums.
func (m *crossMoments) matrix() []float32 {
	all := make([]float32, len(m.sums))
	for i, v := range m.sums {
		all[i] = float32(v)
	}
	return all
}
