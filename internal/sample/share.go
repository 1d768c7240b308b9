package sample

import (
	"math"

	"gonum.org/v1/gonum/stat/distuv"
)

// Share is the mean of values from 0 to 1.
type Share struct {
	Mean
	effective float64 // yes-no questions that would have this standard error, per value
}

// ShareOf takes values x(0) to x(n-1) that are each the share of yes among at most k questions.
func ShareOf(n int, x func(i int) float64, k float64) Share {
	s := Share{MeanOf(n, x), 1}
	// The k answers in a value are correlated: they tell as much as 1 to k
	// independent ones, which the standard error says.
	if v := s.mean * (1 - s.mean); v > 0 && s.sd > 0 {
		s.effective = max(1, min(k, v/(s.sd*s.sd)))
	}
	return s
}

// Interval is Wilson's (Journal of the American Statistical Association 22, 1927), which holds where
// the share is near 0 or 1 too.
func (s Share) Interval(z float64, n int) (low, high float64) {
	if s.n == 0 {
		return 0, 1
	}
	k := s.effective * float64(n)
	middle := (s.mean + z*z/(2*k)) / (1 + z*z/k)
	half := z / (1 + z*z/k) * math.Sqrt(s.mean*(1-s.mean)/k+z*z/(4*k*k))
	return max(0, middle-half), min(1, middle+half)
}

// Difference is the mean of paired differences, each from -1 to 1.
type Difference struct {
	n          int
	sum, sumSq float64
}

// DifferenceOf takes the differences x(0) to x(n-1).
func DifferenceOf(n int, x func(i int) float64) Difference {
	d := Difference{n: n}
	for i := range n {
		v := x(i)
		d.sum += v
		d.sumSq += float64(v * v)
	}
	return d
}

// Negated returns the mean of the differences the other way round.
func (d Difference) Negated() Difference {
	d.sum = 0 - d.sum // not -0
	return d
}

// Count returns the number of pairs.
func (d Difference) Count() int { return d.n }

// Value returns the mean.
func (d Difference) Value() float64 { return d.sum / float64(d.n) }

// SE returns the standard error of the mean.
func (d Difference) SE() float64 {
	n := float64(d.n)
	return math.Sqrt(max(0, d.sumSq-d.sum*d.sum/n) / (n - 1) / n)
}

// Interval is the normal one after two pairs more, half a one each of the four outcomes of two answers:
// Agresti and Min, Statistics in Medicine 24 (2005). None that differs among n does not show that none would.
func (d Difference) Interval(z float64, n int) (low, high float64) {
	if d.n == 0 {
		return -1, 1
	}
	scale := float64(n) / float64(d.n)
	sum, sumSq, k := scale*d.sum, scale*d.sumSq+1, float64(n)+2
	mean, se := sum/k, math.Sqrt(max(0, sumSq-sum*sum/k))/k
	return max(-1, mean-z*se), min(1, mean+z*se)
}

// ShareChange is the change of a share of yes among the same tokens.
type ShareChange struct{ Difference }

// SE is that of the tokens themselves, which are many: not of n-1 degrees of freedom.
func (s ShareChange) SE() float64 {
	n := float64(s.n)
	return math.Sqrt(s.sumSq-s.sum*s.sum/n) / n
}

// McNemar returns the exact two-sided p value for b changes one way and c the other, where each is as
// likely: P(|B - (b+c)/2| ≥ |b-c|/2) for B binomial of b+c and 1/2.
func McNemar(b, c int) float64 {
	return min(1, 2*distuv.Binomial{N: float64(b + c), P: 0.5}.CDF(float64(min(b, c))))
}
