package stats

import (
	"fmt"
	"sync"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
)

// Moments sums the second moments of the rows that a linear layer is given.
//
// The sums of squares are taken in float64. The matrix Σ x·xᵀ is taken in float32 over at most
// momentRows rows at a time and added up in float64: an element's error is at most
// momentRows·2⁻²⁴·Σ|xᵢ·xⱼ|, a relative 1.5e-5 on the diagonal, and ten times less in practice.
// Each sum has one order: that of the calls of Add and the rows in them.
type Moments struct {
	Cols  int
	Count float64 // Σ of the rows' weights
	sums  []float64
	// matrix holds the lower triangle in stripes of stripeCols columns, each from the
	// stripe's first column down: rows of stripeCols values. Nil if not wanted.
	matrix [][]float64
	low    [][]float32 // a chunk's columns, for each the rows one after the other
	panels []float32   // the same for the other factor: panels of 16 columns
}

const (
	momentRows = 256
	stripeCols = 4 * kern.Rows // as many panels as a kernel takes at once
	taskRows   = 512           // rows of a stripe that are one task
)

// NewMoments makes sums for rows of cols values, with the matrix if full is set.
func NewMoments(cols int, full bool) *Moments {
	m := &Moments{Cols: cols, sums: make([]float64, cols)}
	if full {
		for c := 0; c < cols; c += stripeCols {
			m.matrix = append(m.matrix, make([]float64, (cols-c)*stripeCols))
		}
		m.low = make([][]float32, cols)
		values := make([]float32, cols*momentRows)
		for c := range m.low {
			m.low[c] = values[c*momentRows:][:momentRows]
		}
		m.panels = make([]float32, len(m.matrix)*stripeCols*momentRows)
	}
	return m
}

// MomentBytes returns about how much memory sums with the matrix take, in bytes.
func MomentBytes(cols int) int64 { return 4*int64(cols)*int64(cols) + 8*momentRows*int64(cols) }

// Add adds rows. weights has one for each of them, or is nil for 1 each.
func (m *Moments) Add(in runtime.Inputs, weights []float32, threads int) {
	if in.Cols != m.Cols || weights != nil && len(weights) != in.Rows {
		panic(fmt.Sprintf("stats: rows of %d with %d weights, expected %d and %d",
			in.Cols, len(weights), m.Cols, in.Rows))
	}
	const span = 256 // columns of a task
	work.Each(threads, (m.Cols+span-1)/span, func(i int) {
		m.addSquares(in, weights, i*span, min(m.Cols, (i+1)*span))
	})
	for t := range in.Rows {
		w := 1.0
		if weights != nil {
			w = float64(weights[t])
		}
		m.Count += w
	}
	if m.matrix == nil {
		return
	}
	for first := 0; first < in.Rows; first += momentRows {
		n := min(momentRows, in.Rows-first)
		work.Each(threads, len(m.matrix), func(s int) { m.pack(in, weights, first, n, s) })
		type task struct{ stripe, row int }
		var tasks []task
		for s := range m.matrix {
			for row := s * stripeCols; row < m.Cols; row += taskRows {
				tasks = append(tasks, task{s, row})
			}
		}
		work.Each(threads, len(tasks), func(i int) {
			m.multiply(tasks[i].stripe, tasks[i].row, min(m.Cols, tasks[i].row+taskRows), n)
		})
	}
}

// addSquares adds the squares of columns from to to. The square of a float32 is
// exact in float64, fused or not.
func (m *Moments) addSquares(in runtime.Inputs, weights []float32, from, to int) {
	sums := m.sums[from:to]
	t := 0
	if weights == nil {
		for ; t+2 <= in.Rows; t += 2 {
			a, b := in.Row(t)[from:to], in.Row(t + 1)[from:to]
			for i := range sums {
				sums[i] = sums[i] + float64(a[i])*float64(a[i]) + float64(b[i])*float64(b[i])
			}
		}
	}
	for ; t < in.Rows; t++ {
		w := 1.0
		if weights != nil {
			w = float64(weights[t])
		}
		for i, x := range in.Row(t)[from:to] {
			sums[i] += float64(float64(float64(x)*float64(x)) * w)
		}
	}
}

// pack lays out n rows' columns of a stripe as both factors of a product; one has the weights.
func (m *Moments) pack(in runtime.Inputs, weights []float32, first, n, stripe int) {
	const block = 16 // rows whose columns fill a line of the cache
	from := stripe * stripeCols
	to := min(m.Cols, from+stripeCols)
	for at := 0; at < n; at += block {
		var rows [block][]float32
		var w [block]float32
		some := min(block, n-at)
		for t := range some {
			rows[t], w[t] = in.Row(first + at + t)[from:to], 1
			if weights != nil {
				w[t] = weights[first+at+t]
			}
			m.packRow(rows[t], from, at+t)
		}
		for c := range to - from {
			dst := m.low[from+c][at : at+some]
			for t := range dst {
				dst[t] = float32(rows[t][c] * w[t])
			}
		}
	}
}

// packRow lays out columns of row t, from column from on, in panels.
func (m *Moments) packRow(row []float32, from, t int) {
	for c := 0; c < len(row); c += kern.Rows {
		dst := m.panels[(from+c)*momentRows+t*kern.Rows:][:kern.Rows]
		for i := copy(dst, row[c:]); i < kern.Rows; i++ {
			dst[i] = 0
		}
	}
}

// multiply adds the products of rows from to to of a stripe, n terms each.
func (m *Moments) multiply(stripe, from, to, n int) {
	w := gramPool.Get().(*gramWorker)
	defer gramPool.Put(w)
	at := stripe * stripeCols
	panels := (min(m.Cols, at+stripeCols) - at + kern.Rows - 1) / kern.Rows
	w.call = kern.Product{
		Out: &w.out[0], OutStride: 4 * stripeCols, Scratch: w.scratch,
		W:      (*byte)(unsafe.Pointer(&m.panels[at*momentRows])),
		Panels: int64(panels), PanelBytes: 4 * momentRows * kern.Rows,
		A: (*byte)(unsafe.Pointer(&m.low[from][0])), AStride: 4 * momentRows, T: int64(to - from), Blocks: int64(n),
	}
	kern.Multiply(kern.F32, &w.call)
	dst := m.matrix[stripe][(from-at)*stripeCols:][:(to-from)*stripeCols]
	for i, v := range w.out[:len(dst)] {
		dst[i] += float64(v)
	}
}

// gramWorker is a thread's memory.
type gramWorker struct {
	call    kern.Product
	out     [taskRows * stripeCols]float32
	scratch *byte
}

var gramPool = sync.Pool{New: func() any { return &gramWorker{scratch: kern.NewScratch()} }}

// Append appends Count and Σx² of each column, as [File.Add] takes them.
func (m *Moments) Append(dst []float64) []float64 { return append(append(dst, m.Count), m.sums...) }

// Sums returns Σx² of each column.
func (m *Moments) Sums() []float32 {
	s := make([]float32, m.Cols)
	for i, v := range m.sums {
		s[i] = float32(v)
	}
	return s
}

// Matrix returns Σ x·xᵀ, Cols × Cols values row by row.
func (m *Moments) Matrix() []float32 {
	n := m.Cols
	all := make([]float32, n*n)
	for s, stripe := range m.matrix {
		from := s * stripeCols
		for r := from; r < n; r++ {
			for c := from; c < min(from+stripeCols, r+1); c++ {
				v := float32(stripe[(r-from)*stripeCols+c-from])
				all[r*n+c], all[c*n+r] = v, v
			}
		}
	}
	return all
}
