package sample

import (
	"math"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Mean is the mean of a sample.
type Mean struct {
	n          int
	mean       float64
	sd         float64 // standard deviation (of n-1 degrees of freedom)
	skew, kurt float64 // skewness, excess kurtosis
}

// MeanOf takes the values x(0) to x(n-1).
func MeanOf(n int, x func(i int) float64) Mean {
	size := float64(n)
	sum := 0.0
	for i := range n {
		sum += x(i)
	}
	m := sum / size
	var m2, m3, m4 float64
	for i := range n {
		d := x(i) - m
		m2 += float64(d * d)
		m3 += float64(d * d * d)
		m4 += float64(d * d * d * d)
	}
	s := Mean{n: n, mean: m, sd: math.Sqrt(m2 / (size - 1))}
	if m2 > 0 {
		s.skew = m3 / size / math.Pow(m2/size, 1.5)
		s.kurt = m4*size/(m2*m2) - 3
	}
	return s
}

// Count returns the number of values.
func (s Mean) Count() int { return s.n }

// Value returns the mean.
func (s Mean) Value() float64 { return s.mean }

// SE returns the standard error of the mean.
func (s Mean) SE() float64 { return s.sd / math.Sqrt(float64(s.n)) }

// Interval is the normal one with Johnson's correction for skewness (Journal of the American Statistical
// Association 73, 1978): KLDs are skewed to the right, and so the truth is above the sample's mean by
// more, and more often, than below.
func (s Mean) Interval(z float64, n int) (low, high float64) {
	if !(s.sd >= 0) {
		return math.Inf(-1), math.Inf(1)
	}
	sqrtN := math.Sqrt(float64(n))
	a := (1 + 2*z*z) / 6
	shift := s.skew * a / sqrtN
	se := s.sd / sqrtN
	skewness := a*a/2 + a*(3-2*z*z)/6 + (z*z*z*z+2*z*z-3)/18 - 1.5*a
	wider := s.kurt*(a-(z*z-3)/12) + s.skew*s.skew*skewness + (z*z+1)/4
	z += max(0, z*wider) / float64(n)
	return s.mean - se*(z-shift), s.mean + se*(z+shift)
}

// Positive is the mean of values that are not negative.
type Positive struct{ Mean }

// Interval is that of the mean, not below 0.
func (s Positive) Interval(z float64, n int) (low, high float64) {
	low, high = s.Mean.Interval(z, n)
	return max(0, low), high
}

// Exponential is e to the mean.
type Exponential struct{ Mean }

// Value returns e to the mean.
func (s Exponential) Value() float64 { return math.Exp(s.mean) }

// SE returns the standard error by the derivative.
func (s Exponential) SE() float64 { return math.Exp(s.mean) * s.Mean.SE() }

// Interval is that of the mean, as powers of e.
func (s Exponential) Interval(z float64, n int) (low, high float64) {
	low, high = s.Mean.Interval(z, n)
	return math.Exp(low), math.Exp(high)
}

// Root is the square root of the mean of values that are not negative.
type Root struct{ Mean }

// Value returns the root of the mean.
func (s Root) Value() float64 { return math.Sqrt(s.mean) }

// SE returns the standard error by the derivative.
func (s Root) SE() float64 {
	if s.mean == 0 { // and so are all values
		return s.Mean.SE()
	}
	return s.Mean.SE() / (2 * math.Sqrt(s.mean))
}

// Interval has the roots of the mean's.
func (s Root) Interval(z float64, n int) (low, high float64) {
	low, high = s.Mean.Interval(z, n)
	return math.Sqrt(max(0, low)), math.Sqrt(high)
}

// Few is the mean of a few measurements of a time or speed, none of them negative.
type Few struct{ Mean }

// FewOf takes the measurements.
func FewOf(x []float64) Few {
	m, sd := stat.MeanStdDev(x, nil)
	return Few{Mean{n: len(x), mean: m, sd: sd}}
}

// Interval is Student's (Biometrika 6, 1908): the deviation of a few measurements is not known well.
func (s Few) Interval(z float64, n int) (low, high float64) {
	if !(s.sd >= 0) || n < 2 {
		return 0, math.Inf(1)
	}
	t := distuv.StudentsT{Sigma: 1, Nu: float64(n - 1)}.Quantile(distuv.UnitNormal.CDF(z))
	half := t * s.sd / math.Sqrt(float64(n))
	return max(0, s.mean-half), s.mean + half
}
