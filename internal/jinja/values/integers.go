package values

import (
	"cmp"
	"math"
	"math/big"
	"math/bits"
	"strconv"
	"strings"
)

// Integers of more than 64 bits are *big.Int; all others are int. Values of *big.Int are never changed.

// MaxDigits is how many decimal digits Python writes or reads.
const MaxDigits = 4300

// Integer returns the shortest form of an integer.
func Integer(i *big.Int) Value {
	if i.IsInt64() {
		return int(i.Int64())
	}
	return i
}

// BigOf returns an integer of any size, or nil if the value is none.
func BigOf(v Value) *big.Int {
	switch v := v.(type) {
	case bool, int:
		i, _, _ := Number(v)
		return big.NewInt(int64(i))
	case *big.Int:
		return v
	}
	return nil
}

// saturated returns an integer of 64 bits that compares with those of 64 bits as a longer one does.
func saturated(i *big.Int) int {
	if i.Sign() < 0 {
		return math.MinInt
	}
	return math.MaxInt
}

// floatOf returns the nearest float, an infinity where there is none.
func floatOf(i *big.Int) float64 {
	shift := i.BitLen() - 66
	if shift > 1024 {
		return math.Inf(i.Sign())
	}
	if shift <= 0 {
		f, _ := new(big.Float).SetInt(i).Float64()
		return f
	}
	top := new(big.Int).SetBits(i.Bits()) // the magnitude, not copied
	rest := top.TrailingZeroBits() < uint(shift)
	top = new(big.Int).Rsh(top, uint(shift))
	if rest { // only whether there are more bits matters, for a half
		top.SetBit(top, 0, 1)
	}
	f, _ := new(big.Float).SetInt(top).Float64()
	return math.Ldexp(math.Copysign(f, float64(i.Sign())), shift)
}

// Truncated returns the integer part of a float.
func (r *Run) Truncated(f float64) Value {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		r.Fail("%s is no integer", FormatFloat(f))
	}
	i, _ := big.NewFloat(f).Int(nil)
	return Integer(i)
}

// Decimal writes an integer, as long as Python does.
func (r *Run) Decimal(v Value) string {
	i, ok := v.(*big.Int)
	if !ok {
		r.Take(1, 24)
		n, _, _ := Number(v)
		return strconv.Itoa(n)
	}
	return r.based(i, 10)
}

// based writes an integer in a base.
func (r *Run) based(i *big.Int, base int) string {
	long := base == 10 && i.BitLen() > MaxDigits*34/10 // a digit has 3.32 bits
	s := ""
	if !long {
		r.work(i, i)
		r.Take(i.BitLen(), 2)
		s = i.Text(base)
	}
	if long || base == 10 && len(strings.TrimPrefix(s, "-")) > MaxDigits {
		r.Fail("an integer has more than %d digits: use a float", MaxDigits)
	}
	return s
}

// ParseInteger reads an integer of a base; base 0 goes by the prefix. It has at most 4,300 digits if they are decimal.
func ParseInteger(s string, base int) (Value, bool) {
	if i, err := strconv.ParseInt(s, base, 64); err == nil {
		return int(i), true
	}
	digits := strings.TrimLeft(s, "+-")
	if base&(base-1) != 0 && len(digits) > MaxDigits {
		return nil, false
	}
	if base == 0 && len(digits) > MaxDigits && digits[0] != '0' {
		return nil, false
	}
	i, ok := new(big.Int).SetString(s, base)
	if !ok {
		return nil, false
	}
	return Integer(i), true
}

// work counts the steps of multiplying or dividing, and the memory of the result.
func (r *Run) work(a, b *big.Int) {
	m, n := len(a.Bits()), len(b.Bits())
	r.Take(m+n, 2*8)
	if m > 0 && n > math.MaxInt/512/m {
		m, n = math.MaxInt>>10, 1
	}
	r.Step(m * n / 512)
}

// Ints applies an operator to two integers of any size.
func (r *Run) Ints(op string, a, b Value) Value {
	if m, n, ok := short(a, b); ok {
		if v, ok := shortInts(op, m, n); ok {
			return v
		}
	}
	i, j := BigOf(a), BigOf(b)
	c := new(big.Int)
	switch op {
	case "+", "-":
		r.Take(max(len(i.Bits()), len(j.Bits()))+1, 8)
		if op == "+" {
			return Integer(c.Add(i, j))
		}
		return Integer(c.Sub(i, j))
	case "*":
		r.work(i, j)
		return Integer(c.Mul(i, j))
	case "**":
		return r.power(i, j)
	}
	if j.Sign() == 0 {
		r.Fail("%s divides by zero", op)
	}
	r.work(i, j)
	if op == "/" {
		r.work(i, i)
		r.work(j, j)
		f, _ := new(big.Rat).SetFrac(i, j).Float64()
		if math.IsInf(f, 0) {
			r.Fail("the result of / is too large for a float")
		}
		return f
	}
	q, m := c.QuoRem(i, j, new(big.Int))
	if m.Sign() != 0 && m.Sign() != j.Sign() { // the quotient is rounded down
		q.Sub(q, big.NewInt(1))
		m.Add(m, j)
	}
	if op == "//" {
		return Integer(q)
	}
	return Integer(m)
}

// short returns two integers that both have 64 bits.
func short(a, b Value) (i, j int, ok bool) {
	_, longA := a.(*big.Int)
	_, longB := b.(*big.Int)
	i, _, _ = Number(a)
	j, _, _ = Number(b)
	return i, j, !longA && !longB
}

// shortInts applies an operator where operands and result have 64 bits.
func shortInts(op string, a, b int) (Value, bool) {
	switch op {
	case "+":
		c := a + b
		return c, (c > a) == (b > 0)
	case "-":
		c := a - b
		return c, (c < a) == (b > 0)
	case "*":
		hi, lo := bits.Mul64(uint64(max(a, -a)), uint64(max(b, -b)))
		return a * b, hi == 0 && lo <= math.MaxInt64 && a != math.MinInt && b != math.MinInt
	case "/":
		const exact = 1 << 53 // integers up to it are floats
		return float64(a) / float64(b), b != 0 && max(a, -a, b, -b) <= exact && a != math.MinInt && b != math.MinInt
	case "//", "%":
		if b == 0 || b == -1 {
			return nil, false
		}
		q, m := a/b, a%b
		if m != 0 && (m < 0) != (b < 0) {
			q, m = q-1, m+b
		}
		if op == "%" {
			return m, true
		}
		return q, true
	}
	return nil, false
}

// power raises an integer to an integer.
func (r *Run) power(a, b *big.Int) Value {
	if b.Sign() < 0 {
		return r.floats("**", r.exactFloat(a), r.exactFloat(b))
	}
	if a.IsInt64() && a.Int64() >= -1 && a.Int64() <= 1 {
		switch {
		case b.Sign() == 0:
			return 1
		case a.Int64() == -1 && b.Bit(0) == 0:
			return 1
		}
		return int(a.Int64())
	}
	if !b.IsInt64() {
		r.Take(math.MaxInt, 1)
	}
	r.Take(int(b.Int64()), (a.BitLen()+7)/8*4) // bytes of the result, at least, and what it takes on the way
	if words := b.Int64() * int64(a.BitLen()) / 64; words > 0 {
		r.Step(int(words * words / 512))
	}
	return Integer(new(big.Int).Exp(a, b, nil))
}

// exactFloat returns an integer as a float, and fails if it is too large for one.
func (r *Run) exactFloat(i *big.Int) float64 {
	f := floatOf(i)
	if math.IsInf(f, 0) {
		r.Fail("an integer of %d bits is too large for a float", i.BitLen())
	}
	return f
}

// Operand returns a number as a float, for an operator.
func (r *Run) Operand(v Value) float64 {
	if i, ok := v.(*big.Int); ok {
		return r.exactFloat(i)
	}
	_, f, _ := Number(v)
	return f
}

// ScanNumber counts the steps of going through an integer.
func (r *Run) ScanNumber(v Value) {
	if i, ok := v.(*big.Int); ok {
		r.Scan(i.BitLen() / 8)
	}
}

// CompareNumbers compares exactly; it is false for a NaN.
func CompareNumbers(a, b Value) (int, bool) {
	_, f, _ := Number(a)
	_, g, _ := Number(b)
	switch {
	case math.IsNaN(f) || math.IsNaN(g):
		return 0, false
	case IsFloat(a) && IsFloat(b):
		return cmp.Compare(f, g), true
	case IsFloat(a):
		return compareFloat(f, BigOf(b)), true
	case IsFloat(b):
		return -compareFloat(g, BigOf(a)), true
	}
	if i, j, ok := short(a, b); ok {
		return cmp.Compare(i, j), true
	}
	return BigOf(a).Cmp(BigOf(b)), true
}

func compareFloat(f float64, i *big.Int) int {
	switch {
	case math.IsInf(f, 0):
		return cmp.Compare(f, 0)
	case i.BitLen() > 1024: // more than any float
		return -i.Sign()
	}
	return big.NewFloat(f).Cmp(new(big.Float).SetInt(i))
}
