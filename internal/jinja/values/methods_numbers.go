package values

import (
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"strings"
)

// numberAttribute returns an attribute of a number that is no method.
func (r *Run) numberAttribute(v Value, name string) (Value, bool) {
	whole := !IsFloat(v)
	switch name {
	case "real":
		return r.Arithmetic("+", v, 0), true
	case "imag":
		return r.Arithmetic("*", v, 0), true
	case "numerator":
		if !whole {
			return nil, false
		}
		return r.Ints("+", 0, v), true
	case "denominator":
		return 1, whole
	}
	return nil, false
}

var intMethods = Table(
	Fn("bit_length", "self", func(r *Run, a []Value) Value { return BigOf(a[0]).BitLen() }),
	Fn("bit_count", "self", func(r *Run, a []Value) Value {
		n := 0
		r.scanNumber(a[0])
		for _, w := range BigOf(a[0]).Bits() {
			n += bits.OnesCount(uint(w))
		}
		return n
	}),
	Fn("conjugate", "self", func(r *Run, a []Value) Value { return r.Ints("+", 0, a[0]) }),
	Fn("as_integer_ratio", "self", func(r *Run, a []Value) Value { return r.pair(r.Ints("+", 0, a[0]), 1) }),
	Fn("from_bytes", "self bytes byteorder= signed=", fromBytes),
	Fn("to_bytes", "self length= byteorder= signed=", toBytes),
)

// bigEndian returns bytes with the greatest first.
func (r *Run) bigEndian(data []byte, order Value) []byte {
	switch order := r.StringArg(OrElse(order, "big")); order {
	case "little":
		slices.Reverse(data)
	case "big":
	default:
		r.Fail("the order of bytes is %q, expected big or little", order)
	}
	return data
}

func fromBytes(r *Run, a []Value) Value {
	b, ok := a[1].(octets)
	if !ok {
		r.Fail("from_bytes has %s, expected bytes", TypeName(a[1]))
	}
	r.Walk(len(b))
	r.Take(len(b), 4)
	i := new(big.Int).SetBytes(r.bigEndian([]byte(b), a[2]))
	if r.Truth(OrElse(a[3], false)) && i.BitLen() == 8*len(b) && len(b) > 0 {
		i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return integer(i)
}

func toBytes(r *Run, a []Value) Value {
	n, i := r.IntArg(a[1], 1), BigOf(a[0])
	signed := r.Truth(OrElse(a[3], false))
	r.Take(n, 4)
	if signed && i.Sign() < 0 {
		if n*8 < 1 || new(big.Int).Not(i).BitLen() > n*8-1 {
			r.Fail("an integer does not fit into %d bytes", n)
		}
		i = new(big.Int).Add(i, new(big.Int).Lsh(big.NewInt(1), uint(n*8)))
		signed = false
	}
	if n < 0 || i.Sign() < 0 || i.BitLen() > n*8 || signed && i.BitLen() > n*8-1 {
		r.Fail("an integer does not fit into %d bytes, or has a sign", n)
	}
	return octets(r.bigEndian(i.FillBytes(make([]byte, n)), a[2]))
}

var floatMethods = Table(
	Fn("is_integer", "self", func(r *Run, a []Value) Value {
		f := a[0].(float64)
		return f == math.Trunc(f) && !math.IsInf(f, 0)
	}),
	Fn("as_integer_ratio", "self", func(r *Run, a []Value) Value {
		r.Truncated(a[0].(float64))
		q := new(big.Rat)
		q.SetFloat64(a[0].(float64))
		return r.pair(integer(q.Num()), integer(q.Denom()))
	}),
	Fn("conjugate", "self", func(r *Run, a []Value) Value { return a[0] }),
	Fn("fromhex", "self string", fromHex),
	Fn("hex", "self", func(r *Run, a []Value) Value {
		f := a[0].(float64)
		switch {
		case math.IsInf(f, 0) || math.IsNaN(f):
			return FormatFloat(f)
		case f == 0:
			return map[bool]string{false: "0x0.0p+0", true: "-0x0.0p+0"}[math.Signbit(f)]
		}
		fraction, exponent := math.Float64bits(f)&(1<<52-1), int(math.Float64bits(f)>>52&0x7ff)-1023
		whole, sign := "0x1.", ""
		if exponent == -1023 {
			whole, exponent = "0x0.", -1022
		}
		if f < 0 {
			sign = "-"
		}
		digits := strconv.FormatUint(1<<52|fraction, 16)[1:]
		return sign + whole + digits + "p" + r.formatNumber(exponent, layout{sign: '+', precision: -1, verb: 'd'})
	}),
)

// fromHex reads a hexadecimal float.
func fromHex(r *Run, a []Value) Value {
	s := strings.ToLower(strings.TrimFunc(r.StringArg(a[1]), IsSpace))
	r.Scan(len(s))
	digits := strings.TrimLeft(s, "+-")
	sign := s[:len(s)-len(digits)]
	if !slices.Contains([]string{"inf", "infinity", "nan"}, digits) {
		digits = "0x" + strings.TrimPrefix(digits, "0x")
		if !strings.Contains(digits, "p") {
			digits += "p0"
		}
	} else if digits == "nan" {
		sign = ""
	}
	f, err := strconv.ParseFloat(sign+digits, 64)
	if err != nil || strings.Contains(s, "_") {
		r.Fail("%.40q is no hexadecimal float", s)
	}
	return f
}
