package verify

import (
	"math"
	"slices"
)

// Statistics of the change of a figure from an old to a new model. Both saw the same tokens:
// what a token is like moves both figures, and most of that cancels in the change.

// meanChange is the change of a mean.
func meanChange(old, now []Position, f func(*Position) float64) mean {
	return meanOfValues(len(now), func(i int) float64 { return f(&now[i]) - f(&old[i]) })
}

// shareChange is the change of a share of yes among n tokens.
type shareChange struct{ n, gained, lost int }

func shareChangeOf(old, now []Position, yes func(*Position) bool) shareChange {
	s := shareChange{n: len(now)}
	for i := range now {
		switch before, after := yes(&old[i]), yes(&now[i]); {
		case after && !before:
			s.gained++
		case before && !after:
			s.lost++
		}
	}
	return s
}

func (s shareChange) count() int     { return s.n }
func (s shareChange) value() float64 { return float64(s.gained-s.lost) / float64(s.n) }

func (s shareChange) se() float64 {
	_, se := paired(float64(s.gained), float64(s.lost), float64(s.n))
	return se
}

// interval is that of Agresti and Min (Statistics in Medicine 24, 2005), which counts half a
// token more in each of the four cells: none that changed among n does not show that none would.
func (s shareChange) interval(z float64, n int) (low, high float64) {
	if s.n == 0 {
		return -1, 1
	}
	k := float64(n) / float64(s.n)
	d, se := paired(k*float64(s.gained)+0.5, k*float64(s.lost)+0.5, float64(n)+2)
	return max(-1, d-z*se), min(1, d+z*se)
}

// paired returns the difference of two shares of the same n tokens, and its standard error.
func paired(gained, lost, n float64) (d, se float64) {
	return (gained - lost) / n, math.Sqrt(gained+lost-(gained-lost)*(gained-lost)/n) / n
}

// quantileChange is the change of the q-quantile. By Bahadur's representation (Annals of
// Mathematical Statistics 37, 1966) the error of a quantile is that of the number of tokens
// above it times the spacing of values there. So the errors of two have the correlation of being
// above the one and above the other.
type quantileChange struct {
	old, now quantile
	one      float64 // tokens above one of the two alone: half their number
	same     bool    // no token's value has changed
}

func quantileChangeOf(old, now []Position, f func(*Position) float64, q float64) quantileChange {
	s := quantileChange{old: quantile{sorted(old, f), q}, now: quantile{sorted(now, f), q}, same: len(now) > 0}
	before, after := s.old.value(), s.now.value()
	for i := range now {
		x, y := f(&old[i]), f(&now[i])
		s.same = s.same && x == y
		if (x > before) != (y > after) {
			s.one += 0.5
		}
	}
	return s
}

func (s quantileChange) count() int     { return len(s.now.x) }
func (s quantileChange) value() float64 { return s.now.value() - s.old.value() }

func (s quantileChange) se() float64 {
	low, high := s.interval(z975, s.count())
	if width := high - low; width < math.Inf(1) {
		return width / (2 * z975)
	}
	return math.NaN()
}

// leastAbove is how many tokens must be above a quantile for its error to be known.
const leastAbove = 10

// interval is symmetric: z standard errors to each side. A quarter of a token is added
// to those above one quantile alone, which are few if the models are alike; simulation
// shows that the interval holds the truth as often as it should then.
func (s quantileChange) interval(z float64, n int) (low, high float64) {
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
	d := s.value()
	return d - half, d + half
}

// spread returns z standard errors that n tokens like those of the sample would give, from
// the values at two ranks. The number of tokens above is taken as log-normal: for the sparse values
// of a tail the standard error is too great otherwise.
func (s quantile) spread(z float64, n int) float64 {
	above := (1 - s.q) * float64(n)
	width := z * math.Sqrt(s.q/above)
	scale := float64(len(s.x)) / float64(n) // from ranks in n values to ranks in the sample
	at := func(rank float64) float64 {      // counting from 1, interpolated
		whole, part := math.Modf(min(max(rank*scale+0.5, 1), float64(len(s.x))))
		i := int(whole) - 1
		return s.x[i] + part*(s.x[min(i+1, len(s.x)-1)]-s.x[i])
	}
	return (at(float64(n)-above*math.Exp(-width)) - at(float64(n)-above*math.Exp(width))) / 2
}

// sameTokens reports whether two verifications compared the same tokens.
func sameTokens(a, b []Position) bool {
	return slices.EqualFunc(a, b, func(p, q Position) bool {
		return p.Text == q.Text && p.Index == q.Index && p.Context == q.Context && p.Token == q.Token
	})
}
