package sample

import (
	"math"
	"slices"
	"sort"

	"gonum.org/v1/gonum/stat/distuv"
)

// Quantile is the q-quantile of a sample, interpolated linearly between two values as numpy does.
type Quantile struct {
	x []float64 // in ascending order
	q float64
}

// QuantileOf takes values in ascending order.
func QuantileOf(sorted []float64, q float64) Quantile { return Quantile{sorted, q} }

// Sorted returns the values x(0) to x(n-1) in ascending order.
func Sorted(n int, x func(i int) float64) []float64 {
	list := make([]float64, n)
	for i := range list {
		list[i] = x(i)
	}
	slices.Sort(list)
	return list
}

// Count returns the number of values.
func (s Quantile) Count() int { return len(s.x) }

// Value returns the quantile, NaN of an empty sample.
func (s Quantile) Value() float64 {
	if len(s.x) == 0 {
		return math.NaN()
	}
	return interpolate(s.x, s.q*float64(len(s.x)-1))
}

// interpolate returns the value at an index that need not be whole.
func interpolate(x []float64, index float64) float64 {
	whole, fraction := math.Modf(index)
	i := int(whole)
	return x[i] + fraction*(x[min(i+1, len(x)-1)]-x[i])
}

// SE is half the width of the 95 % interval over its z, 1.96.
func (s Quantile) SE() float64 { return seOfInterval(s) }

// seOfInterval returns the standard error of a normal distribution whose 95 % interval is as wide.
func seOfInterval(s Statistic) float64 {
	low, high := s.Interval(Z975, s.Count())
	if width := high - low; width < math.Inf(1) {
		return width / (2 * Z975)
	}
	return math.NaN()
}

// Interval has the values at two ranks of the sample. It holds for every
// distribution: the number of values below the true quantile is binomial.
func (s Quantile) Interval(z float64, n int) (low, high float64) {
	tail := distuv.UnitNormal.CDF(-z)
	low, high = math.Inf(-1), math.Inf(1)
	if len(s.x) == 0 {
		return low, high
	}
	below, above := lowRank(n, s.q, tail), lowRank(n, 1-s.q, tail)
	scale := float64(len(s.x)) / float64(n) // from ranks in n values to ranks in the sample
	if below > 0 {
		low = s.x[int(math.Ceil(float64(below)*scale))-1]
	}
	if above > 0 {
		high = s.x[len(s.x)-int(math.Ceil(float64(above)*scale))]
	}
	return low, high
}

// lowRank returns the greatest r for which the r-th least of n values, counting
// from 1, is above their q-quantile with a probability of at most tail: that
// P(B < r) ≤ tail for a binomial B of n and q. It is 0 if there is no such value.
func lowRank(n int, q, tail float64) int {
	b := distuv.Binomial{N: float64(n), P: q}
	return sort.Search(n, func(r int) bool { return b.CDF(float64(r)) > tail })
}

// spread returns z standard errors that n values like those of the sample would give, from
// the values at two ranks. The number of values above is taken as log-normal: for the sparse values
// of a tail the standard error is too great otherwise.
func (s Quantile) spread(z float64, n int) float64 {
	above := (1 - s.q) * float64(n)
	width := z * math.Sqrt(s.q/above)
	scale := float64(len(s.x)) / float64(n) // from ranks in n values to ranks in the sample
	at := func(rank float64) float64 {      // counting from 1, interpolated
		return interpolate(s.x, min(max(rank*scale+0.5, 1), float64(len(s.x)))-1)
	}
	return (at(float64(n)-above*math.Exp(-width)) - at(float64(n)-above*math.Exp(width))) / 2
}

// QuantileChange is the change of the q-quantile between two paired samples. By Bahadur's representation
// (Annals of Mathematical Statistics 37, 1966) the error of a quantile is that of the number of values
// above it times the spacing of values there. So the errors of two have the correlation of being
// above the one and above the other.
type QuantileChange struct {
	old, now Quantile
	one      float64 // half the number of pairs of which one value alone is above its quantile
	same     bool    // no value has changed
}

// QuantileChangeOf takes the values old(i) and now(i) of the pairs 0 to n-1.
func QuantileChangeOf(n int, old, now func(i int) float64, q float64) QuantileChange {
	s := QuantileChange{old: Quantile{Sorted(n, old), q}, now: Quantile{Sorted(n, now), q}, same: n > 0}
	before, after := s.old.Value(), s.now.Value()
	for i := range n {
		x, y := old(i), now(i)
		s.same = s.same && x == y
		if (x > before) != (y > after) {
			s.one += 0.5
		}
	}
	return s
}

// Count returns the number of pairs.
func (s QuantileChange) Count() int { return len(s.now.x) }

// Value returns the change.
func (s QuantileChange) Value() float64 { return s.now.Value() - s.old.Value() }

// SE is half the width of the 95 % interval over its z, 1.96.
func (s QuantileChange) SE() float64 { return seOfInterval(s) }

// leastAbove is how many values must be above a quantile for its error to be known.
const leastAbove = 10

// Interval is symmetric: z standard errors to each side. A quarter of a value is added
// to those above one quantile alone, which are few if the models are alike; simulation
// shows that the interval holds the truth as often as it should then.
func (s QuantileChange) Interval(z float64, n int) (low, high float64) {
	if s.same {
		return 0, 0
	}
	q := s.now.q
	above := (1 - q) * float64(n)
	if len(s.now.x) == 0 || min(above, float64(n)-above) < leastAbove-1e-9 {
		return math.Inf(-1), math.Inf(1)
	}
	a, b := s.old.spread(z, n), s.now.spread(z, n)
	one := s.one * float64(n) / float64(len(s.now.x))
	correlation := 1 - (one+0.25)/(above*q)
	half := math.Sqrt(max(0, a*a+b*b-2*max(-1, correlation)*a*b))
	d := s.Value()
	return d - half, d + half
}
