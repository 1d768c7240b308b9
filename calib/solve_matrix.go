package calib

import (
	"fmt"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
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
	call kern.Product
	mem  []byte
}

func newMultiplier() *multiplier {
	b := make([]byte, kern.ScratchBytes+63)
	return &multiplier{mem: b[-uintptr(unsafe.Pointer(&b[0]))&63:][:kern.ScratchBytes]}
}

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
	kernel := kern.Best().Products[kern.F32]
	if n == 0 {
		return
	}
	for i := 0; i < count; i += panels {
		for k0 := 0; k0 < k; k0 += block {
			w.call = kern.Product{
				Out: &out.data[at+kern.Rows*i], OutStride: int64(4 * out.stride),
				W: (*byte)(unsafe.Pointer(&p[i*step+k0*kern.Rows])), Panels: int64(min(panels, count-i)), PanelBytes: int64(4 * step),
				A: (*byte)(unsafe.Pointer(&x.data[x0+k0])), AStride: int64(4 * x.stride),
				T: int64(n), Blocks: int64(min(block, k-k0)), Add: 1, Scratch: &w.mem[0],
			}
			kernel(&w.call)
		}
	}
}

// parallel calls do for tasks 0…n-1, each on one of the threads.
func parallel(threads, n int, do func(w *multiplier, task int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(threads, n) {
		wg.Go(func() {
			w := newMultiplier()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(w, i)
			}
		})
	}
	wg.Wait()
}

// factor is H = U·D·Uᵀ, U being unit upper triangular and D diagonal.
//
// It is what error feedback needs. For a row's error e, e·H·eᵀ = Σ_j D_j·((e·U)_j)², and
// (e·U)_j = e_j + Σ_{i<j} e_i·U_ij: when column j is reached, its weight moved by the sum has
// the error that counts, with weight D_j. In GPTQ's terms (Frantar et al. 2023,
// arXiv:2210.17323), whose upper Cholesky factor C of the inverse has H⁻¹ = CᵀC, U is
// C⁻¹ with columns divided by their diagonal, and D_j = 1/C_jj². LDLQ (Chee et al. 2023,
// arXiv:2307.13304) is the same without the detour over the inverse.
type factor struct {
	u *square // the diagonal is 1, what is below it is not used
	d []float32
}

// factorize computes the factor of h, which it overwrites with U. It fails where h
// is not positive definite to the precision of float32.
func factorize(h *square, threads int) (*factor, error) {
	n := h.n
	f := &factor{h, make([]float32, n)}
	diagonal := make([]float32, n)
	for j := range n {
		diagonal[j] = h.data[h.at(j, j)]
	}
	for end := n; end > 0; end -= factorBlock {
		begin := max(0, end-factorBlock)
		m := end - begin
		if err := f.corner(begin, end, diagonal); err != nil {
			return nil, err
		}
		// Above the corner: V = U·D solves V·Ucᵀ = H, Uc being the corner's factor.
		v, u := rows{make([]float32, begin*m), m}, rows{make([]float32, m*m), m}
		for j := range m {
			for k := range m {
				u.data[j*m+k] = h.data[h.at(begin+j, begin+k)]
			}
		}
		const chunk = 64
		parallel(threads, (begin+chunk-1)/chunk, func(_ *multiplier, task int) {
			for i := task * chunk; i < min(begin, (task+1)*chunk); i++ {
				row := v.row(i)
				for j := m - 1; j >= 0; j-- {
					sum := h.data[h.at(i, begin+j)]
					for k, x := range u.row(j)[j+1:] {
						sum -= float32(row[j+1+k] * x)
					}
					row[j] = sum
					h.data[h.at(i, begin+j)] = sum / f.d[begin+j]
				}
			}
		})
		// What is left of H: minus V·Uᵀ, panel by panel, down to the diagonal.
		parallel(threads, begin/kern.Rows, func(w *multiplier, task int) {
			first := task * kern.Rows
			panel := make([]float32, m*kern.Rows)
			for r := range kern.Rows {
				for k := range m {
					panel[k*kern.Rows+r] = -h.data[h.at(first+r, begin+k)]
				}
			}
			w.addPanels(rows{h.data[h.at(0, first):], kern.Rows}, 0, v, 0, first+kern.Rows, panel, 0, 1, m)
		})
	}
	return f, nil
}

// factorBlock is how many columns are eliminated together.
const factorBlock = 64

// leastPivot is the least share of a diagonal element that elimination may leave: less is
// rounding error.
const leastPivot = 1e-6

// corner factorizes rows and columns begin to end, in float64.
func (f *factor) corner(begin, end int, diagonal []float32) error {
	m := end - begin
	a := make([]float64, m*m)
	for i := range m {
		for j := i; j < m; j++ {
			a[i*m+j] = float64(f.u.data[f.u.at(begin+i, begin+j)])
		}
	}
	for j := m - 1; j >= 0; j-- {
		d := a[j*m+j]
		if !(d > leastPivot*float64(diagonal[begin+j])) {
			return fmt.Errorf("column %d depends on those behind it: pivot %g of %g", begin+j, d, diagonal[begin+j])
		}
		f.d[begin+j] = float32(d)
		for i := range j {
			u := a[i*m+j] / d
			for k := i; k < j; k++ {
				a[i*m+k] -= float64(u * a[k*m+j])
			}
		}
		for i := range j {
			a[i*m+j] /= d
			f.u.data[f.u.at(begin+i, begin+j)] = float32(a[i*m+j])
		}
		f.u.data[f.u.at(begin+j, begin+j)] = 1
	}
	return nil
}
