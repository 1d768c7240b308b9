package seal

import "math"

// exp and ln give the same bits on every machine, so that a model's seal has the same bytes wherever
// it is made; package math has versions for some processors, which differ in the last bits. The error
// of both is a few units in the last place. A product that is added to something is converted first,
// which keeps a compiler from fusing the two operations.

const expSteps = 64

// roots holds 2^(j/64), computed by square roots, which are rounded alike on every machine.
var roots = func() (t [expSteps]float64) {
	t[0] = 1
	root := 2.0
	for bit := expSteps / 2; bit > 0; bit /= 2 {
		root = math.Sqrt(root) // 2^(bit/64)
		for j := 0; j < expSteps; j += 2 * bit {
			t[j+bit] = t[j] * root
		}
	}
	return t
}()

// exp returns e^x for -708 ≤ x ≤ 0, and 0 for anything below.
func exp(x float64) float64 {
	if x < -708 {
		return 0
	}
	// x = n·ln2/64 + r, |r| ≤ ln2/128. ln2/64 in two parts: the high one has 33 bits, so that its
	// product with n is exact.
	const (
		high = 0x1.62e42fefp-7
		low  = math.Ln2/expSteps - high
	)
	n := math.Floor(float64(x*(expSteps/math.Ln2)) + 0.5)
	r := (x - float64(n*high)) - float64(n*low)
	// The series to r^5; the next term is below 2^-54 of the sum.
	p := 1.0/24 + float64(r*(1.0/120))
	p = 1.0/6 + float64(r*p)
	p = 0.5 + float64(r*p)
	p = r + float64(float64(r*r)*p)
	k := int64(n)
	t := roots[k&(expSteps-1)]
	return math.Float64frombits(math.Float64bits(t+float64(t*p)) + uint64(k>>6)<<52)
}

// ln returns the natural logarithm of x > 0.
func ln(x float64) float64 {
	m, k := math.Frexp(x)
	if m < math.Sqrt2/2 {
		m *= 2
		k--
	}
	// ln m = 2·artanh s with |s| ≤ 0.172; the next term is below 2^-60.
	s := (m - 1) / (m + 1)
	s2 := s * s
	sum := 0.0
	for i := 23.0; i >= 1; i -= 2 {
		sum = 1/i + float64(s2*sum)
	}
	return float64(float64(k)*math.Ln2) + float64(2*float64(s*sum))
}
