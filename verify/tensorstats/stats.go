// Package tensorstats measures tensors, and how far the tensors of a converted model are from those
// of its original.
//
// The types accumulate: the caller feeds a tensor piece by piece, in order, and
// reads the result at the end. Sums are float64 and taken in that order, so that
// results depend on the values only, not on how they were cut into pieces.
//
// # Which rows are unlike
//
// [Rows] must not name a row that a method made, however far that is: with few tokens error feedback may turn a row
// by any angle in directions that no token has, and scaling of channels (AWQ) turns all rows. So the size of an error
// says little. What says something is that another hypothesis explains the row much better. Let a be a block of the
// reference of n values and b that of the file, both with the scales of channels taken out: factors of columns are the
// weighted medians of b/a over 64 rows, which damage in a few does not move; the factor of a row is the median over its
// blocks or, of less than three, the inverse of the factor of the column that reads what the row makes.
//
// A flipped bit. For each bit in the exponents of the float16 numbers of a block the test flips it back, which
// multiplies scale or minimum by a known f, and takes the distance r to a that is left. A good block is b = a + e with
// an error of any size in a direction that has nothing to do with a's. Then |f·b - a| <= r needs |(f-1)·a + f·e| <= r:
// e in a cone around a, of which the sine is at most r/(|f-1|·|a|). Of directions in n dimensions the share s^((n-1)/2)
// is in the cone of the squared sine s. Where a minimum can move each group of a block by itself, the means of the
// groups are left out of |a| and of n. For a minimum's own bit the cone is that around the minimum, and the squared
// sine is r²/|e|². Errors do not spread over all columns alike, so the test takes s^(n/3). A tensor is searched with
// ten hypotheses for each block that is far off at all (by 15 % of its power; any flip gives nearly a quarter, or does
// not matter). A block is named if s^(n/3)·10·blocks is below 1e-8: in one tensor of 10^8 without damage a block is
// named. With n = 32 and ten such blocks that is s < 0.1, and as a scale that became twice as large has s = 4·r²/|a|²,
// errors up to 2.5 % of the power: types of four bits leave 0.7 %. With n = 256 it is s < 0.7. In vector types n counts
// points, not weights: an encoder suits a point to the important ones of its four or eight weights, and the others take
// what comes. In the types of eight no flip of IQ2_XS, and not every one of IQ2_S, is sure enough then to be named.
//
// Two swapped rows. Of the 64 rows of a matrix that are turned most, each two are tried: b of each must be nearer to
// the other's a than to its own, by the factor 1/2 in the squared sine, measured against the angle between the two. By
// the same cone the chance is below 2^-(n-1) for each pair, n being the number of columns: 10^-9 with 32, and 10^-77
// with 256.
//
// Other damage has no hypothesis. A row is named if its cosine with the reference's is below 0.2: the
// error has 24 times the row's power. A row of something else has a cosine of about 1/sqrt(n). Error feedback with the
// damping d leaves at most (1+1/d) times the error of rounding, if that counts in all columns the same: with d = 0.1
// and two bits 2 times the power. Where the median row is that far off, four times its tan² is needed. A row that is
// turned a thousand times as far (in tan²) as the median row is named from tan² = 0.1 on. F32, F16 and BF16 have only
// roundings, and 1e-4 is enough.
//
// Rows with less than 1e-4 of the median power are left out: methods do with them what they like. If more than one in
// 16 rows is unlike, none is named: the models differ otherwise than by damage, as their predictions do.
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
