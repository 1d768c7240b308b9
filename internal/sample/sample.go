// Package sample has figures of samples with their uncertainty: means, shares, quantiles and what
// becomes of them between two models that saw the same tokens or questions.
//
// Quantiles and distributions are those of gonum.org/v1/gonum/stat/distuv, where a result is rounded to
// an integer or of measured times. Means and moments are sums of our own, in the order of the sample
// with every product rounded: gonum/stat sums with assembly on amd64, in another order than elsewhere.
// Neither has gonum the intervals, nor quantiles with numpy's interpolation.
package sample

// Statistic is a figure of a sample.
type Statistic interface {
	Value() float64
	SE() float64 // standard error
	// Interval returns the bounds that n values like those of the sample would give: the truth is
	// below low, and above high, with a probability of Φ(-z) each. An unknown bound is infinite.
	Interval(z float64, n int) (low, high float64)
	Count() int // values in the sample
}

// Quantiles of the normal distribution, to the last digit; distuv's are 1 and 3 units off there.
const (
	Z95  = 1.6448536269514722 // one-sided 95 %
	Z975 = 1.959963984540054  // two-sided 95 %
)

// LeastNumber returns the least number, to 1 %, for which a test is decided, 0 if there is none up
// to most; from is where to begin.
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
