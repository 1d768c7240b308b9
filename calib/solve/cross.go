package solve

import (
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/runtime"
)

// CrossMoments sums (x'-x)·xᵀ over the input rows x of a linear layer, x' being its input in the original model in the
// place of x. Sums of crossRows rows are taken in float32, and added up in float64.
type CrossMoments struct {
	cols   int
	sums   []float64 // cols × cols
	diff   rows      // column by column: a chunk's x'-x
	panels []float32 // a chunk's x
}

// crossRows is how many rows are summed in float32.
const crossRows = 256

// NewCrossMoments makes sums for rows of cols values.
func NewCrossMoments(cols int) *CrossMoments {
	return &CrossMoments{
		cols: cols, sums: make([]float64, cols*cols),
		diff:   rows{make([]float32, cols*crossRows), crossRows},
		panels: make([]float32, cols*crossRows),
	}
}

// CrossBytes returns about how much memory sums for rows of cols values take, in bytes.
func CrossBytes(cols int) int64 { return 8*int64(cols)*int64(cols) + 8*crossRows*int64(cols) }

// Add adds rows, with a weight for each or nil. original has in.Rows rows of in.Cols values.
func (m *CrossMoments) Add(in runtime.Inputs, original, weights []float32, threads int) {
	n := m.cols
	for first := 0; first < in.Rows; first += crossRows {
		count := min(crossRows, in.Rows-first)
		for t := range count {
			x, y, w := in.Row(first+t), original[(first+t)*n:(first+t+1)*n], float32(1)
			if weights != nil {
				w = weights[first+t]
			}
			for c, v := range x {
				m.diff.data[c*crossRows+t] = (y[c] - v) * w
			}
			for c := 0; c < n; c += kern.Rows {
				copy(m.panels[c*crossRows+t*kern.Rows:][:kern.Rows], x[c:])
			}
		}
		const span = 32 // rows of a task
		parallel(threads, (n+span-1)/span, func(w *multiplier, task int) {
			i := task * span
			r := min(span, n-i)
			out := newRows(r, n)
			diff := rows{m.diff.data[i*crossRows:], crossRows}
			w.addPanels(out, 0, diff, 0, r, m.panels, crossRows*kern.Rows, n/kern.Rows, count)
			for k := range r {
				sums := m.sums[(i+k)*n : (i+k+1)*n]
				for c, v := range out.row(k)[:n] {
					sums[c] += float64(v)
				}
			}
		})
	}
}

// Matrix returns the sums.
func (m *CrossMoments) Matrix() []float32 {
	all := make([]float32, len(m.sums))
	for i, v := range m.sums {
		all[i] = float32(v)
	}
	return all
}
