package values

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/jinja/libm"
)

// A power of a negative number can be a complex number, which computes on as in CPython's complexobject.c.

// complexOf returns a number as a complex one.
func complexOf(v Value) (complex128, bool) {
	if c, ok := v.(complex128); ok {
		return c, true
	}
	_, f, ok := Number(v)
	return complex(f, 0), ok
}

// equalComplex says whether two values are equal of which one is complex.
func (r *Run) equalComplex(a, b Value) bool {
	if !isComplex(a) {
		a, b = b, a
	}
	c := a.(complex128)
	if d, ok := b.(complex128); ok {
		return c == d
	}
	return imag(c) == 0 && r.Equal(real(c), b)
}

// isComplex says whether a value is a complex number.
func isComplex(v Value) bool {
	_, ok := v.(complex128)
	return ok
}

// complexes applies an operator to two complex numbers.
func (r *Run) complexes(op string, a, b complex128) Value {
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return product(a, b)
	case "/":
		if b == 0 {
			r.Fail("%s divides by zero", op)
		}
		return quotient(a, b)
	case "**":
		return r.complexPower(a, b)
	}
	r.Fail("complex numbers have no %s", op)
	return nil
}

// product multiplies without a fused operation, so that it does not depend on the CPU.
func product(a, b complex128) complex128 {
	return complex(float64(real(a)*real(b))-float64(imag(a)*imag(b)),
		float64(real(a)*imag(b))+float64(imag(a)*real(b)))
}

func quotient(a, b complex128) complex128 {
	re, im := real(b), imag(b)
	if math.Abs(re) >= math.Abs(im) {
		ratio := im / re
		d := re + float64(im*ratio)
		return complex((real(a)+float64(imag(a)*ratio))/d, (imag(a)-float64(real(a)*ratio))/d)
	}
	ratio := re / im
	d := float64(re*ratio) + im
	return complex((float64(real(a)*ratio)+imag(a))/d, (float64(imag(a)*ratio)-real(a))/d)
}

// What a power of floats takes; that of complex numbers takes four functions.
const (
	powerSteps = 1000
	powerBytes = 32 << 10
)

func (r *Run) complexPower(a, b complex128) Value {
	r.Step(4 * powerSteps)
	r.Take(4, powerBytes)
	if a == 0 && (imag(b) != 0 || real(b) < 0) {
		r.Fail("0 has a negative or complex power")
	}
	const small = 100
	var c complex128
	if n := real(b); imag(b) == 0 && n == math.Floor(n) && math.Abs(n) <= small {
		c = wholePower(a, int(math.Abs(n)))
		if n <= 0 {
			if c == 0 {
				r.Fail("0 has a negative power")
			}
			c = quotient(1, c)
		}
	} else if a != 0 {
		magnitude := libm.Hypot(real(a), imag(a))
		length, angle := libm.Pow(magnitude, real(b)), libm.Atan2(imag(a), real(a))
		phase := float64(angle * real(b))
		if imag(b) != 0 {
			length /= libm.Exp(angle * imag(b))
			phase += float64(imag(b) * libm.Log(magnitude))
		}
		sin, cos := libm.Sincos(phase)
		c = complex(length*cos, length*sin)
	}
	if math.IsInf(real(c), 0) || math.IsInf(imag(c), 0) {
		r.Fail("a power of a complex number is too large")
	}
	return c
}

// wholePower multiplies a number with itself.
func wholePower(a complex128, n int) complex128 {
	c := complex128(1)
	for ; n > 0; n >>= 1 {
		if n&1 != 0 {
			c = product(c, a)
		}
		a = product(a, a)
	}
	return c
}

// ComplexLiteral returns what Python makes of the text of a complex number: signs of zeros are lost.
func ComplexLiteral(c complex128) complex128 {
	re, im := real(c), imag(c)
	negative := math.Signbit(im)
	switch {
	case re == 0 && !math.Signbit(re) && negative: // -1j
		return complex(math.Copysign(0, -1), im)
	case re == 0 && !math.Signbit(re):
		return c
	case negative: // a number less 1j
		return complex(re-0, 0-math.Abs(im))
	}
	return complex(re+0, 0+im)
}

// hasReal says whether a complex number is written with its real part.
func hasReal(c complex128) bool { return real(c) != 0 || math.Signbit(real(c)) }

func formatComplex(c complex128) string {
	part := func(f float64) string {
		s := FormatFloat(f)
		if n := len(s); n > 2 && s[n-2:] == ".0" {
			return s[:n-2]
		}
		return s
	}
	im := part(imag(c))
	if !hasReal(c) {
		return im + "j"
	}
	if im[0] != '-' {
		im = "+" + im
	}
	return "(" + part(real(c)) + im + "j)"
}

// formattedComplex formats a complex number with a layout.
func (r *Run) formattedComplex(c complex128, l layout) string {
	width, align, fill := l.width, l.align, l.fill
	l.width, l.align, l.fill = 0, '>', " "
	real1, imag1 := real(c), imag(c)
	withReal, parens := true, false
	part := l
	if l.verb == 0 {
		withReal = hasReal(c)
		if parens = withReal; l.precision >= 0 {
			part.verb = 'g'
		}
	}
	write := func(f float64, l layout) string {
		if l.verb != 0 {
			return r.formatNumber(f, l)
		}
		s := r.formatNumber(f, l)
		if n := len(s); n > 2 && s[n-2:] == ".0" {
			return s[:n-2]
		}
		return s
	}
	text := ""
	if withReal {
		text = write(real1, part)
		part.sign = '+'
	}
	text += write(imag1, part) + "j"
	if parens {
		text = "(" + text + ")"
	}
	return r.Pad(text, fill, align, width)
}

// Magnitude returns the absolute value of a complex number.
func (r *Run) Magnitude(c complex128) float64 {
	f := libm.Hypot(real(c), imag(c))
	if math.IsInf(f, 0) && !math.IsInf(real(c), 0) && !math.IsInf(imag(c), 0) {
		r.Fail("the absolute value of a complex number is too large")
	}
	return f
}

// Signed returns a number with a sign before it.
func (r *Run) Signed(v Value, negative bool) Value {
	switch f := v.(type) {
	case float64:
		if negative {
			return -f
		}
		return f
	case complex128:
		if negative {
			return -f
		}
		return f
	}
	if _, _, ok := Number(v); !ok {
		r.FailUndefined(v)
		r.Fail("a sign is before %s, expected a number", TypeName(v))
	}
	if negative {
		return r.Ints("-", 0, v)
	}
	return r.Ints("+", 0, v)
}

// IsNegative says whether a number is written with a minus before it.
func IsNegative(v Value) bool {
	if c, ok := v.(complex128); ok {
		return !hasReal(c) && math.Signbit(imag(c))
	}
	_, f, ok := Number(v)
	return ok && math.Signbit(f)
}
