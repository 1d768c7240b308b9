package tensorstats

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// Diff accumulates the difference of a tensor b to a reference a. The zero value
// is ready to use.
type Diff struct {
	Count int64 // pairs seen

	err2, worst  float64 // Σ(a-b)², max|a-b|
	dot, aa, bb  float64 // Σab, Σa², Σb²
	incomparable bool    // a NaN on either side, or infinities that differ
}

// Add takes the next values of both tensors, which must be equally many.
func (d *Diff) Add(a, b []float32) {
	b = b[:len(a)]
	err2, worst, dot, aa, bb := d.err2, d.worst, d.dot, d.aa, d.bb
	for i, va := range a {
		x, y := float64(va), float64(b[i])
		e := x - y
		if !floats.Finite(e) { // nor is x or y
			if va == b[i] {
				continue // the same infinity
			}
			d.incomparable = true
		}
		err2 += float64(e * e)
		worst = max(worst, math.Abs(e))
		dot += float64(x * y)
		aa += float64(x * x)
		bb += float64(y * y)
	}
	d.err2, d.worst, d.dot, d.aa, d.bb = err2, worst, dot, aa, bb
	d.Count += int64(len(a))
}

// Merge adds what another Diff has seen, to sum up the tensors of a model.
func (d *Diff) Merge(o *Diff) {
	d.Count += o.Count
	d.err2 += o.err2
	d.worst = max(d.worst, o.worst)
	d.dot += o.dot
	d.aa += o.aa
	d.bb += o.bb
	d.incomparable = d.incomparable || o.incomparable
}

// RMSE returns the root of the mean squared difference, NaN if a value is NaN. It
// is 0 if and only if the tensors are equal, which is the test for that.
func (d *Diff) RMSE() float64 {
	switch {
	case d.incomparable:
		return math.NaN()
	case d.Count == 0:
		return 0
	}
	return math.Sqrt(d.err2 / float64(d.Count))
}

// MaxAbs returns the greatest difference, NaN if a value is NaN.
func (d *Diff) MaxAbs() float64 {
	if d.incomparable {
		return math.NaN()
	}
	return d.worst
}

// Cosine returns the cosine of the angle between the tensors as vectors: 1 if
// both are zero, 0 if only one is, NaN if a value is NaN.
func (d *Diff) Cosine() float64 {
	switch {
	case d.incomparable:
		return math.NaN()
	case d.err2 == 0:
		return 1
	case d.aa == 0 || d.bb == 0:
		return 0
	}
	return d.dot / (math.Sqrt(d.aa) * math.Sqrt(d.bb))
}

// SQNR returns the signal to quantization noise ratio 10·log10(Σa²/Σ(a-b)²) in
// decibels: +Inf for equal tensors, -Inf if a is zero and b is not, NaN if a value
// is NaN. Formats without infinities, such as JSON, cannot tell these three apart:
// RMSE() == 0 is the test for equality.
func (d *Diff) SQNR() float64 {
	switch {
	case d.incomparable:
		return math.NaN()
	case d.err2 == 0:
		return math.Inf(1)
	}
	return 10 * math.Log10(d.aa/d.err2)
}
