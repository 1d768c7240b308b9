package verify

import (
	"math"
	"slices"
)

// statistic is a figure of a sample of tokens, with its uncertainty.
type statistic interface {
	value() float64
	se() float64
	// interval returns the bounds that n tokens like those of the sample would
	// give: the truth is below low, and above high, with a probability of Φ(-z)
	// each. An unknown bound is infinite.
	interval(z float64, n int) (low, high float64)
	count() int // tokens in the sample
}

// Quantiles of the normal distribution.
const (
	z95  = 1.6448536269514722 // one-sided 95 %
	z975 = 1.959963984540054  // two-sided 95 %
)

func estimate(s statistic) Estimate {
	low, high := s.interval(z975, s.count())
	return Estimate{s.value(), s.se(), low, high}
}

// mean is the mean of a sample.
type mean struct {
	n          int
	m          float64
	sd         float64 // standard deviation (of n-1 degrees of freedom)
	skew, kurt float64 // skewness, excess kurtosis
}

func meanOf(p []Position, f func(*Position) float64) mean {
	return meanOfValues(len(p), func(i int) float64 { return f(&p[i]) })
}

// meanOfValues takes the values x(0) to x(count-1).
func meanOfValues(count int, x func(i int) float64) mean {
	n := float64(count)
	sum := 0.0
	for i := range count {
		sum += x(i)
	}
	m := sum / n
	var m2, m3, m4 float64
	for i := range count {
		d := x(i) - m
		m2 += d * d
		m3 += d * d * d
		m4 += d * d * d * d
	}
	s := mean{n: count, m: m, sd: math.Sqrt(m2 / (n - 1))}
	if m2 > 0 {
		s.skew = m3 / n / math.Pow(m2/n, 1.5)
		s.kurt = m4*n/(m2*m2) - 3
	}
	return s
}

func (s mean) count() int     { return s.n }
func (s mean) value() float64 { return s.m }
func (s mean) se() float64    { return s.sd / math.Sqrt(float64(s.n)) }

// interval is the normal one with Johnson's correction for skewness (Journal of the
// American Statistical Association 73, 1978): KLDs are skewed to the right, and
// so the truth is above the sample's mean by more, and more often, than below.
func (s mean) interval(z float64, n int) (low, high float64) {
	if !(s.sd >= 0) {
		return math.Inf(-1), math.Inf(1)
	}
	sqrtN := math.Sqrt(float64(n))
	a := (1 + 2*z*z) / 6
	shift := s.skew * a / sqrtN
	se := s.sd / sqrtN
	wider := s.kurt*(a-(z*z-3)/12) + s.skew*s.skew*(a*a/2+a*(3-2*z*z)/6+(z*z*z*z+2*z*z-3)/18-1.5*a) + (z*z+1)/4
	z += max(0, z*wider) / float64(n)
	return s.m - se*(z-shift), s.m + se*(z+shift)
}

// positive is the mean of values that are not negative.
type positive struct{ mean }

func (s positive) interval(z float64, n int) (low, high float64) {
	low, high = s.mean.interval(z, n)
	return max(0, low), high
}

// exponential is e to the mean.
type exponential struct{ mean }

func (s exponential) value() float64 { return math.Exp(s.m) }
func (s exponential) se() float64    { return math.Exp(s.m) * s.mean.se() }
func (s exponential) interval(z float64, n int) (low, high float64) {
	low, high = s.mean.interval(z, n)
	return math.Exp(low), math.Exp(high)
}

// root is the square root of the mean of values that are not negative.
type root struct{ mean }

func (s root) value() float64 { return math.Sqrt(s.m) }
func (s root) se() float64 {
	if s.m == 0 { // and so are all values
		return s.mean.se()
	}
	return s.mean.se() / (2 * math.Sqrt(s.m))
}
func (s root) interval(z float64, n int) (low, high float64) {
	low, high = s.mean.interval(z, n)
	return math.Sqrt(max(0, low)), math.Sqrt(high)
}

// share is the mean of values from 0 to 1.
type share struct {
	mean
	effective float64 // yes-no questions that would have this standard error, per token
}

// shareOf takes values that are each the share of yes among k questions.
func shareOf(p []Position, f func(*Position) float64, k float64) share {
	s := share{meanOf(p, f), 1}
	// The k answers of a token are correlated: they tell as much as 1 to k
	// independent ones, which the standard error says.
	if v := s.m * (1 - s.m); v > 0 && s.sd > 0 {
		s.effective = max(1, min(k, v/(s.sd*s.sd)))
	}
	return s
}

// interval is Wilson's (Journal of the American Statistical Association 22,
// 1927), which holds where the share is near 1 too.
func (s share) interval(z float64, n int) (low, high float64) {
	if s.n == 0 {
		return 0, 1
	}
	k := s.effective * float64(n)
	middle := (s.m + z*z/(2*k)) / (1 + z*z/k)
	half := z / (1 + z*z/k) * math.Sqrt(s.m*(1-s.m)/k+z*z/(4*k*k))
	return max(0, middle-half), min(1, middle+half)
}

// quantile is the q-quantile of a sample in ascending order.
type quantile struct {
	x []float64
	q float64
}

func sorted(p []Position, f func(*Position) float64) []float64 {
	x := make([]float64, len(p))
	for i := range p {
		x[i] = f(&p[i])
	}
	slices.Sort(x)
	return x
}

func (s quantile) count() int { return len(s.x) }

func (s quantile) value() float64 {
	if len(s.x) == 0 {
		return math.NaN()
	}
	whole, part := math.Modf(s.q * float64(len(s.x)-1))
	i := int(whole)
	return s.x[i] + part*(s.x[min(i+1, len(s.x)-1)]-s.x[i])
}

// se is a quarter of the width of the interval, nearly: it is asymptotic.
func (s quantile) se() float64 {
	low, high := s.interval(z975, len(s.x))
	if width := high - low; width < math.Inf(1) {
		return width / (2 * z975)
	}
	return math.NaN()
}

// interval has the values at two ranks of the sample. It holds for every
// distribution: the number of values below the true quantile is binomial.
func (s quantile) interval(z float64, n int) (low, high float64) {
	tail := math.Erfc(z/math.Sqrt2) / 2
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
	size := float64(n)
	// What lies 10 standard deviations below is too little to count.
	i := max(0, math.Floor(size*q-10*math.Sqrt(size*q*(1-q))))
	gamma := func(x float64) float64 { y, _ := math.Lgamma(x); return y }
	term := math.Exp(gamma(size+1) - gamma(i+1) - gamma(size-i+1) + i*math.Log(q) + (size-i)*math.Log1p(-q))
	for sum := term; sum <= tail && i < size; sum += term {
		term *= (size - i) / (i + 1) * (q / (1 - q))
		i++
	}
	return int(i)
}
