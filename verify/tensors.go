// Package verify measures tensors, and how far the tensors of a converted model
// are from those of its original.
//
// The types accumulate: the caller feeds a tensor piece by piece, in order, and
// reads the result at the end. Sums are float64 and taken in that order, so that
// results depend on the values only, not on how they were cut into pieces.
package verify

import (
	"cmp"
	"math"
	"slices"
)

// Stats accumulates statistics of a tensor. The zero value is ready to use.
type Stats struct {
	Count int64 // values seen
	NaN   int64 // values that are not a number
	Inf   int64 // infinite values of either sign
	Zero  int64 // values that are 0 or -0

	// The least and the greatest finite value, 0 if there is none.
	Min, Max float32

	// Sums over the finite values of x-shift and its square. The shift, the
	// first of them, keeps digits where all values are nearly equal.
	shift, sum, square float64
}

// Add takes the next values of the tensor.
func (s *Stats) Add(x []float32) {
	if s.Finite() == 0 { // look for the first finite value
		i := slices.IndexFunc(x, func(v float32) bool { return v-v == 0 })
		if i < 0 {
			i = len(x)
		}
		for _, v := range x[:i] {
			s.addBad(v)
		}
		if i == len(x) {
			return
		}
		x = x[i:]
		s.Min, s.Max, s.shift = x[0], x[0], float64(x[0])
	}
	low, high, zero, sum, square := s.Min, s.Max, s.Zero, s.sum, s.square
	for _, v := range x {
		if v-v != 0 { // infinite or NaN
			s.addBad(v)
			continue
		}
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
		if v == 0 {
			zero++
		}
		d := float64(v) - s.shift
		sum += d
		square += float64(d * d) // rounded: fused operations would differ between CPUs
		s.Count++
	}
	s.Min, s.Max, s.Zero, s.sum, s.square = low, high, zero, sum, square
}

func (s *Stats) addBad(v float32) {
	s.Count++
	if v != v {
		s.NaN++
	} else {
		s.Inf++
	}
}

// Finite returns the number of finite values.
func (s *Stats) Finite() int64 { return s.Count - s.NaN - s.Inf }

// Mean returns the mean of the finite values, 0 if there is none.
func (s *Stats) Mean() float64 {
	if s.Finite() == 0 {
		return 0
	}
	return s.shift + s.sum/float64(s.Finite())
}

// Std returns the standard deviation of the finite values (that of the values
// themselves, dividing by their number), 0 if there is none.
func (s *Stats) Std() float64 {
	n := float64(s.Finite())
	if n == 0 {
		return 0
	}
	mean := s.sum / n
	return math.Sqrt(max(0, s.square/n-float64(mean*mean)))
}

// AbsMax returns the greatest finite magnitude.
func (s *Stats) AbsMax() float32 { return max(s.Max, -s.Min) }

// Histogram and outliers of a [Distribution].
const (
	Bins     = 16 // of the histogram
	Sigmas   = 6  // standard deviations from the mean beyond which a value is an outlier
	maxTop   = 5  // values in Top
	binSigma = 0.5
)

// Distribution accumulates where the finite values of a tensor lie, in a second
// pass after its [Stats].
type Distribution struct {
	// Outliers is the number of values more than [Sigmas] standard deviations
	// from the mean.
	Outliers int64
	// Top lists the values farthest from the mean, the farthest first, of equals
	// the first of the tensor; at most five.
	Top []Extreme
	// Bin counts values: each of the [Bins] is half a standard deviation wide,
	// together they are centred at the mean. The first and the last bin also
	// hold everything beyond them.
	Bin [Bins]int64

	mean, std float64
	next      int64 // index of the next value
	worst     float64
}

// Extreme is a value and its place in the tensor, counted in row-major order.
type Extreme struct {
	Index int64
	Value float32
}

// NewDistribution begins the second pass over the tensor that s describes.
func NewDistribution(s *Stats) *Distribution {
	return &Distribution{mean: s.Mean(), std: s.Std(), worst: -1}
}

// Edge returns the lower edge of bin i, counting from 0; Edge(Bins) is the upper
// edge of the last.
func (d *Distribution) Edge(i int) float64 {
	return d.mean + float64(float64(i-Bins/2)*binSigma*d.std)
}

// Sigma returns how many standard deviations v is from the mean, 0 if all values
// are equal.
func (d *Distribution) Sigma(v float32) float64 {
	if d.std == 0 {
		return 0
	}
	return (float64(v) - d.mean) / d.std
}

// Add takes the next values of the tensor.
func (d *Distribution) Add(x []float32) {
	scale := 0.0 // of a tensor of equal values
	if d.std > 0 {
		scale = 1 / (binSigma * d.std)
	}
	limit := Sigmas * d.std
	for i, v := range x {
		if v-v != 0 {
			continue
		}
		from := float64(v) - d.mean
		far := math.Abs(from)
		if far > limit && d.std > 0 {
			d.Outliers++
		}
		if far > d.worst {
			d.addTop(Extreme{d.next + int64(i), v})
		}
		bin := int(math.Floor(max(-Bins, min(Bins, float64(from*scale))))) + Bins/2
		d.Bin[max(0, min(Bins-1, bin))]++
	}
	d.next += int64(len(x))
}

func (d *Distribution) addTop(e Extreme) {
	far := func(e Extreme) float64 { return math.Abs(float64(e.Value) - d.mean) }
	d.Top = append(d.Top, e)
	slices.SortStableFunc(d.Top, func(a, b Extreme) int { return cmp.Compare(far(b), far(a)) })
	d.Top = d.Top[:min(len(d.Top), maxTop)]
	if len(d.Top) == maxTop {
		d.worst = far(d.Top[maxTop-1])
	}
}

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
		if e-e != 0 { // NaN or infinite, so x or y is
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
