package solve

import (
	"fmt"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// factor is H = U·D·Uᵀ, U being unit upper triangular and D diagonal.
//
// It is what error feedback needs. For a row's error e, e·H·eᵀ = Σ_j D_j·((e·U)_j)², and
// (e·U)_j = e_j + Σ_{i<j} e_i·U_ij: when column j is reached, its weight moved by the sum has
// the error that counts, with weight D_j. In GPTQ's terms (Frantar et al. 2023,
// arXiv:2210.17323), whose upper Cholesky factor C of the inverse has H⁻¹ = CᵀC, U is
// C⁻¹ with columns divided by their diagonal, and D_j = 1/C_jj². LDLQ (Chee et al. 2023,
// arXiv:2307.13304) computes the same without inverting H.
type factor struct {
	u *square // the diagonal is 1, what is below it is not used
	d []float32
}

// factorize computes the factor of h, which it overwrites with U. It fails where h
// is not positive definite to the precision of float32. worked gets the parts of factorWork.
func factorize(h *square, threads int, worked func(float64)) (*factor, error) {
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
		worked(factorWork(end) - factorWork(begin))
	}
	return f, nil
}

// factorBlock is how many columns are eliminated together.
const factorBlock = 64

// leastPivot is the share of a diagonal element that elimination must leave: less is rounding error.
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
			return fmt.Errorf("column %d depends on those after it: pivot %g of %g", begin+j, d, diagonal[begin+j])
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
