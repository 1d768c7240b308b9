package eval

import (
	"math"

	"github.com/phi3conv/phi3conv/verify"
)

// statistic is a figure of a sample of questions.
type statistic interface {
	count() int
	estimate() verify.Estimate // with the two-sided 95 % interval
	// interval returns the bounds that n questions like those of the sample would give: the
	// truth is below low, and above high, with a probability of Φ(-z) each.
	interval(z float64, n int) (low, high float64)
}

// Quantiles of the normal distribution.
const (
	z95  = 1.6448536269514722 // one-sided 95 %
	z975 = 1.959963984540054  // two-sided 95 %
)

// sample has the moments of values.
type sample struct {
	n          int
	sum, sumSq float64
}

func sampleOf(x []float64) sample {
	s := sample{n: len(x)}
	for _, v := range x {
		s.sum += v
		s.sumSq += float64(v * v)
	}
	return s
}

func (s sample) count() int    { return s.n }
func (s sample) mean() float64 { return s.sum / float64(s.n) }

// variance has n-1 degrees of freedom.
func (s sample) variance() float64 {
	n := float64(s.n)
	return max(0, s.sumSq-s.sum*s.sum/n) / (n - 1)
}

func (s sample) se() float64 { return math.Sqrt(s.variance() / float64(s.n)) }

// share is the mean of values from 0 to 1.
type share struct{ sample }

func (s share) estimate() verify.Estimate {
	low, high := s.interval(z975, s.n)
	return verify.Estimate{Value: s.mean(), SE: s.se(), Low: low, High: high}
}

// interval is Wilson's (Journal of the American Statistical Association 22, 1927), for as many
// yes-no questions as have this variance.
func (s share) interval(z float64, n int) (low, high float64) {
	if s.n == 0 {
		return 0, 1
	}
	p, k := s.mean(), float64(n)
	if v := p * (1 - p); v > 0 && s.variance() > 0 {
		k *= max(1, v/s.variance())
	}
	middle := (p + z*z/(2*k)) / (1 + z*z/k)
	half := z / (1 + z*z/k) * math.Sqrt(max(0, p*(1-p)/k+z*z/(4*k*k)))
	return max(0, middle-half), min(1, middle+half)
}

// difference is the mean of paired differences, each from -1 to 1.
type difference struct{ sample }

func (s difference) estimate() verify.Estimate {
	low, high := s.interval(z975, s.n)
	return verify.Estimate{Value: s.mean(), SE: s.se(), Low: low, High: high}
}

// interval is the normal one after two pairs more, half a one each of which differs by 1 and by -1:
// Agresti and Min, Statistics in Medicine 24 (2005). It holds where few pairs or none differ.
func (s difference) interval(z float64, n int) (low, high float64) {
	if s.n == 0 {
		return -1, 1
	}
	scale := float64(n) / float64(s.n)
	k := float64(n) + 2
	m := s.sum * scale / k
	se := math.Sqrt(max(0, (s.sumSq*scale+1)/k-m*m) / k)
	return max(-1, m-z*se), min(1, m+z*se)
}

// McNemar returns the exact two-sided p value for b changes one way and c the other,
// where each is as likely: P(|B - (b+c)/2| ≥ |b-c|/2) for B binomial of b+c and 1/2.
func McNemar(b, c int) float64 {
	n := b + c
	gamma := func(x int) float64 { y, _ := math.Lgamma(float64(x + 1)); return y }
	p := 0.0
	for i := range min(b, c) + 1 {
		p += math.Exp(gamma(n) - gamma(i) - gamma(n-i) - float64(n)*math.Ln2)
	}
	return min(1, 2*p)
}
