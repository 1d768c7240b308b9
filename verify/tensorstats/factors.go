package tensorstats

import (
	"cmp"
	"math"
	"slices"
)

// SampleRows is how many rows, spread over a matrix, tell the factors of its columns.
const SampleRows = 64

// Sample takes a row of both matrices, before any is added. [SampleRows] of them are enough.
func (r *Rows) Sample(row int, a, b []float32) {
	s := 1.0
	if r.gains != nil {
		s = r.gains[row]
	}
	if !(s > 0) {
		return
	}
	r.sampleA = append(r.sampleA, a...)
	for _, y := range b {
		r.sampleB = append(r.sampleB, float32(float64(y)/s))
	}
}

// SetGains says what the rows were multiplied by, NaN where that is not known: the inverse of what the columns of
// another matrix were multiplied by. Without it nothing is.
func (r *Rows) SetGains(gains []float64) { r.gains = gains }

// Factors returns what the columns were multiplied by: 1 where nothing tells.
func (r *Rows) Factors() []float64 {
	if r.factors == nil {
		r.factors, _ = r.estimate()
		for i, f := range r.factors {
			if math.IsNaN(f) {
				r.factors[i] = 1
			}
		}
	}
	return r.factors
}

// Gains returns what the channels that the columns read were multiplied by where they are made, NaN where nothing
// tells.
func (r *Rows) Gains() []float64 {
	gains, rest := r.estimate()
	for i, f := range gains {
		if gains[i] = 1 / f; rest[i] > maxRest {
			gains[i] = math.NaN()
		}
	}
	return gains
}

// estimate returns for each column the c with the least Σ|b - c·a|, which a few damaged rows do not move: the median of
// b/a, each counted |a| times. It is NaN where no row tells. rest is what is left of the sum, as a share of Σ|c·a|.
func (r *Rows) estimate() (factors, rest []float64) {
	type ratio struct{ value, weight float64 }
	factors, rest = make([]float64, r.cols), make([]float64, r.cols)
	weights := make([]float64, r.cols)
	var list []ratio
	for c := range factors {
		list = list[:0]
		for at := c; at < len(r.sampleA); at += r.cols {
			a, b := float64(r.sampleA[at]), float64(r.sampleB[at])
			if q := b / a; a != 0 && !math.IsNaN(q) {
				list = append(list, ratio{q, math.Abs(a)})
				weights[c] += math.Abs(a)
			}
		}
		slices.SortFunc(list, func(x, y ratio) int { return cmp.Compare(x.value, y.value) })
		factors[c] = math.NaN()
		half := weights[c] / 2
		for _, q := range list {
			if half -= q.weight; half <= 0 {
				factors[c] = q.value
				break
			}
		}
		for _, q := range list {
			rest[c] += float64(q.weight*math.Abs(q.value/factors[c]-1)) / weights[c]
		}
	}
	mean := 0.0
	for _, w := range weights {
		mean += w / float64(len(weights))
	}
	for c, w := range weights {
		if w < leastWeight*mean || !(factors[c] > 1./maxFactor && factors[c] < maxFactor) {
			factors[c] = math.NaN()
		}
	}
	return factors, rest
}

const (
	leastWeight = 1e-3 // of the mean column's; lighter ones are dead
	maxRest     = 0.4  // rest of a column from which its factor is not known well enough; 64 rows tell it to 6 % then
	maxFactor   = 32   // above what methods scale by
)
