// Package tensorstats measures tensors, and how far the tensors of a converted model are from those
// of its original.
//
// The types accumulate: the caller feeds a tensor piece by piece, in order, and
// reads the result at the end. Sums are float64 and taken in that order, so that
// results depend on the values only, not on how they were cut into pieces.
package tensorstats

import (
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/floats"
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
		i := slices.IndexFunc(x, floats.Finite[float32])
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
		if !floats.Finite(v) {
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
	if math.IsNaN(float64(v)) {
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
