// Package sample has figures of samples with their uncertainty: means, shares, quantiles and what
// becomes of them between two models that saw the same tokens or questions.
//
// Distributions are those of gonum.org/v1/gonum/stat/distuv, where a result is rounded to an integer or is of measured
// times. Sums are our own, in the order of the sample and with every product rounded, so that they are the same on all
// machines: gonum/stat sums in another order on amd64. gonum lacks these intervals, and quantiles with numpy's
// interpolation.
package sample

// Statistic is a figure of a sample.
type Statistic interface {
	Value() float64
	SE() float64 // standard error
	// Interval returns the confidence interval that n values like those of the sample would give: the truth is below
	// low with probability Φ(-z), and above high with the same. An unknown bound is infinite.
	Interval(z float64, n int) (low, high float64)
	Count() int // values in the sample
}

// Quantiles of the normal distribution, to the last digit; distuv's are 1 and 3 units off there.
const (
	Z95  = 1.6448536269514722 // one-sided 95 %
	Z975 = 1.959963984540054  // two-sided 95 %
)

// LeastNumber returns the least number, to 1 %, for which a test is decided, 0 if there is none up
// to most. The search begins at from.
func LeastNumber(from, most int, decided func(n int) bool) int {
	// Double until it is decided, then halve the step.
	n := from
	for !decided(n) {
		if n *= 2; n > most {
			return 0
		}
	}
	low := n / 2
	for n-low > max(1, n/100) {
		if middle := (low + n) / 2; !decided(middle) {
			low = middle
		} else {
			n = middle
		}
	}
	return n
}

// Exact is a figure without uncertainty.
type Exact float64

// Value returns the figure.
func (e Exact) Value() float64 { return float64(e) }

// SE returns 0.
func (e Exact) SE() float64 { return 0 }

// Interval returns the figure twice.
func (e Exact) Interval(float64, int) (low, high float64) { return float64(e), float64(e) }

// Count returns 1.
func (e Exact) Count() int { return 1 }
