package solve

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/work"
)

// square is an n×n matrix in panels of 16 columns, the layout of float32 weights that
// kernels multiply with: element (i, j) is data[(j/16·n + i)·16 + j%16]. n is a
// multiple of 16.
type square struct {
	n    int
	data []float32
}

func newSquare(n int) *square { return &square{n, make([]float32, n*n)} }

// at returns the index of element (i, j).
func (m *square) at(i, j int) int { return (j/kern.Rows*m.n+i)*kern.Rows + j%kern.Rows }

// fill lays out the rows of src, times scale.
func (m *square) fill(src []float32, scale float32) {
	for i := range m.n {
		row := src[i*m.n : (i+1)*m.n]
		for j := 0; j < m.n; j += kern.Rows {
			dst := m.data[m.at(i, j):][:kern.Rows]
			for k := range dst {
				dst[k] = row[j+k] * scale
			}
		}
	}
}

// rows is a matrix stored row by row.
type rows struct {
	data   []float32
	stride int // values from a row to the next
}

func newRows(n, cols int) rows {
	stride := cols
	if stride%1024 == 0 {
		stride += 16 // rows whole pages apart would share lines of a core's first cache
	}
	return rows{make([]float32, n*stride), stride}
}

func (r rows) row(i int) []float32 { return r.data[i*r.stride:][:r.stride] }

// multiplier is a thread's memory for calling a product kernel.
type multiplier struct {
	call    kern.Product
	scratch *byte
}

func newMultiplier() *multiplier { return &multiplier{scratch: kern.NewScratch()} }

// addProduct adds x[:, k0:k1]·m[k0:k1, c0:c1] to out[:, at:at+c1-c0] for n rows, where
// c0 and c1 are multiples of 16. Each sum is a chain of fused multiply-adds in the order of k.
func (w *multiplier) addProduct(out rows, at int, x rows, n int, m *square, k0, k1, c0, c1 int) {
	w.addPanels(out, at, x, k0, n, m.data[m.at(k0, c0):], m.n*kern.Rows, (c1-c0)/kern.Rows, k1-k0)
}

// addPanels adds x[:, x0:x0+k]·P to out[:, at:…] for n rows, P being count panels of k
// rows of 16 values that begin step values apart.
func (w *multiplier) addPanels(out rows, at int, x rows, x0, n int, p []float32, step, count, k int) {
	// 4 panels of 256 rows stay in a core's second cache while all rows pass by.
	const panels, block = 4, 256
	if n == 0 {
		return
	}
	for i := 0; i < count; i += panels {
		for k0 := 0; k0 < k; k0 += block {
			w.call = kern.Product{
				Out: &out.data[at+kern.Rows*i], OutStride: int64(4 * out.stride),
				W:      (*byte)(unsafe.Pointer(&p[i*step+k0*kern.Rows])),
				Panels: int64(min(panels, count-i)), PanelBytes: int64(4 * step),
				A: (*byte)(unsafe.Pointer(&x.data[x0+k0])), AStride: int64(4 * x.stride),
				T: int64(n), Blocks: int64(min(block, k-k0)), Add: 1, Scratch: w.scratch,
			}
			kern.Multiply(kern.F32, &w.call)
		}
	}
}

// parallel calls do for tasks 0 to n-1, on so many threads.
func parallel(threads, n int, do func(w *multiplier, task int)) {
	work.EachWith(threads, n, newMultiplier, do)
}

// quadratic returns tr(e·h·eᵀ) of the first count rows of e.
func (m *multiplier) quadratic(e rows, count int, h *square) (sum float64) {
	g := newRows(count, h.n)
	m.addProduct(g, 0, e, count, h, 0, h.n, 0, h.n)
	for r := range count {
		sum += dot(g.row(r)[:h.n], e.row(r)[:h.n])
	}
	return sum
}

// total adds values up in their order.
func total(values []float64) (sum float64) {
	for _, v := range values {
		sum += v
	}
	return sum
}

// dot returns Σ x·y, taken in float64 in the order of the values.
func dot(x, y []float32) (sum float64) {
	for i, v := range x {
		sum += float64(v) * float64(y[i]) // the product is exact: fused or not is the same
	}
	return sum
}
