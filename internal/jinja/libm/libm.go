// Package libm has functions of floating-point numbers whose results are the nearest floats. Python takes the C
// library's, which are nearest but for one in some hundreds; those of Go's package math are farther off, and differ
// between CPUs.
package libm

import (
	"math"
	"math/big"
)

// precision is that of what is computed on the way, in bits. A float has 53.
const precision = 160

func number(f float64) *big.Float { return new(big.Float).SetPrec(precision).SetFloat64(f) }

func newFloat(p uint) *big.Float { return new(big.Float).SetPrec(p) }

// negligible says whether a term no longer changes a sum that is about 1, or greater than it.
func negligible(term *big.Float, p uint) bool {
	return term.Sign() == 0 || term.MantExp(nil) < -int(p)
}

// arctangent returns the sum of z - z³/3 + z⁵/5 …, and with alternating false that of z + z³/3 + …, for |z| < 1/2.
func arctangent(z *big.Float, alternating bool) *big.Float {
	p := z.Prec()
	square := newFloat(p).Mul(z, z)
	if alternating {
		square.Neg(square)
	}
	sum, power := newFloat(p).Set(z), newFloat(p).Set(z)
	for n := int64(3); ; n += 2 {
		power.Mul(power, square)
		term := newFloat(p).Quo(power, newFloat(p).SetInt64(n))
		if term.Sign() == 0 || term.MantExp(nil) < z.MantExp(nil)-int(p) {
			return sum
		}
		sum.Add(sum, term)
	}
}

// pi by Machin: π/4 = 4 arctan(1/5) - arctan(1/239).
func pi(p uint) *big.Float {
	inverse := func(n int64) *big.Float { return newFloat(p).Quo(newFloat(p).SetInt64(1), newFloat(p).SetInt64(n)) }
	a := newFloat(p).Mul(arctangent(inverse(5), true), newFloat(p).SetInt64(16))
	b := newFloat(p).Mul(arctangent(inverse(239), true), newFloat(p).SetInt64(4))
	return a.Sub(a, b)
}

// log returns the natural logarithm of a positive number.
func log(x *big.Float) *big.Float {
	one := number(1)
	m := number(0)
	e := x.MantExp(m) // m in [1/2, 1)
	if m.Cmp(number(0.75)) < 0 {
		m.Mul(m, number(2))
		e--
	}
	z := number(0).Quo(number(0).Sub(m, one), number(0).Add(m, one))
	sum := arctangentOrZero(z)
	ln2 := arctangent(number(0).Quo(one, number(3)), false)
	sum.Add(sum, ln2.Mul(ln2, number(float64(e))))
	return sum.Mul(sum, number(2))
}

func arctangentOrZero(z *big.Float) *big.Float {
	if z.Sign() == 0 {
		return number(0)
	}
	return arctangent(z, false)
}

// exp returns e^x for |x| < 2000.
func exp(x *big.Float) *big.Float {
	const halvings = 12
	ln2 := log(number(2))
	q, _ := number(0).Quo(x, ln2).Int64()
	r := number(0).Sub(x, number(0).Mul(ln2, number(float64(q))))
	r.SetMantExp(r, -halvings)
	sum, term := number(1), number(1)
	for n := 1.0; !negligible(term, precision); n++ {
		term.Quo(term.Mul(term, r), number(n))
		sum.Add(sum, term)
	}
	for range halvings {
		sum.Mul(sum, sum)
	}
	return sum.SetMantExp(sum, int(q))
}

// rounded returns the nearest float, an infinity where there is none.
func rounded(x *big.Float) float64 {
	f, _ := x.Float64()
	return f
}

// most bounds exponents of e: beyond it all results are 0 or infinite.
const most = 800

// Exp returns e^x.
func Exp(x float64) float64 {
	if math.IsNaN(x) || math.Abs(x) > most {
		return math.Exp(x)
	}
	return rounded(exp(number(x)))
}

// Log returns the natural logarithm.
func Log(x float64) float64 {
	if !(x > 0) || math.IsInf(x, 1) || x == 1 {
		return math.Log(x)
	}
	return rounded(log(number(x)))
}

// Pow returns x^y.
func Pow(x, y float64) float64 {
	special := math.Pow(x, y)
	magnitude := math.Abs(x)
	if math.IsNaN(special) || magnitude == 0 || magnitude == 1 || y == 0 || y == 1 ||
		math.IsInf(x, 0) || math.IsInf(y, 0) {
		return special
	}
	exponent := number(0).Mul(log(number(magnitude)), number(y))
	if e, _ := exponent.Float64(); math.Abs(e) > most {
		return special
	}
	return math.Copysign(rounded(exp(exponent)), special)
}

// Hypot returns √(x² + y²).
func Hypot(x, y float64) float64 {
	if math.IsInf(x, 0) || math.IsInf(y, 0) || math.IsNaN(x) || math.IsNaN(y) {
		return math.Hypot(x, y)
	}
	p := uint(2200) // the squares of the greatest and the least float have all their bits
	a, b := newFloat(p).SetFloat64(x), newFloat(p).SetFloat64(y)
	sum := a.Add(a.Mul(a, a), b.Mul(b, b))
	return rounded(sum.Sqrt(sum))
}

// Atan2 returns the angle of the point (x, y).
func Atan2(y, x float64) float64 {
	if math.IsInf(x, 0) || math.IsInf(y, 0) || math.IsNaN(x) || math.IsNaN(y) || y == 0 && x > 0 || x == 0 && y == 0 {
		return math.Atan2(y, x)
	}
	angle := number(0) // of the point mirrored into the first quadrant
	if y != 0 {
		a, b := number(math.Abs(y)), number(math.Abs(x))
		for range 3 { // tan(t/2) = y / (x + √(x² + y²))
			r := number(0).Add(number(0).Mul(a, a), number(0).Mul(b, b))
			b.Add(b, r.Sqrt(r))
		}
		angle = arctangent(a.Quo(a, b), true)
		angle.Mul(angle, number(8))
	}
	if x < 0 {
		angle.Sub(pi(precision), angle)
	}
	return math.Copysign(rounded(angle), y)
}

// Sincos returns the sine and the cosine.
func Sincos(x float64) (sin, cos float64) {
	if x == 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return math.Sincos(x)
	}
	p := uint(precision + max(0, math.Ilogb(x)))
	quarter := pi(p)
	quarter.SetMantExp(quarter, -1)
	r := newFloat(p).SetFloat64(x)
	turns := newFloat(p).Quo(r, quarter)
	half := newFloat(p).SetFloat64(math.Copysign(0.5, x))
	n, _ := turns.Add(turns, half).Int(nil)
	r.Sub(r, newFloat(p).Mul(quarter, newFloat(p).SetInt(n)))
	r.SetPrec(precision)
	s, c := series(r, 1), series(r, 0)
	switch new(big.Int).And(n, big.NewInt(3)).Int64() {
	case 1:
		s, c = c, s.Neg(s)
	case 2:
		s, c = s.Neg(s), c.Neg(c)
	case 3:
		s, c = c.Neg(c), s
	}
	return rounded(s), rounded(c)
}

// series returns the sum of ±rⁿ/n! over odd n, or even ones, from first: the sine or the cosine of a small r.
func series(r *big.Float, first int) *big.Float {
	sum, term := number(0), number(1)
	if first == 1 {
		term.Set(r)
	}
	for n := first; !negligible(term, 2*precision); n += 2 {
		sum.Add(sum, term)
		term.Mul(term, r)
		term.Mul(term, r)
		term.Quo(term.Neg(term), number(float64((n+1)*(n+2))))
	}
	return sum
}
