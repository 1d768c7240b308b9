package methods

import (
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

var intMethods = values.Table(
	values.Fn("bit_length", "self", func(r *Run, a []Value) Value { return values.BigOf(a[0]).BitLen() }),
	values.Fn("bit_count", "self", func(r *Run, a []Value) Value {
		n := 0
		r.ScanNumber(a[0])
		for _, w := range values.BigOf(a[0]).Bits() {
			n += bits.OnesCount(uint(w))
		}
		return n
	}),
	values.Fn("conjugate", "self", func(r *Run, a []Value) Value { return r.Ints("+", 0, a[0]) }),
	values.Fn("as_integer_ratio", "self", func(r *Run, a []Value) Value { return r.Pair(r.Ints("+", 0, a[0]), 1) }),
	values.Fn("from_bytes", "self bytes byteorder= signed=", fromBytes),
	values.Fn("to_bytes", "self length= byteorder= signed=", toBytes),
)

// bigEndian returns bytes with the greatest first.
func bigEndian(r *Run, data []byte, order Value) []byte {
	switch order := r.StringArg(values.OrElse(order, "big")); order {
	case "little":
		slices.Reverse(data)
	case "big":
	default:
		r.Fail("the order of bytes is %q, expected big or little", order)
	}
	return data
}

func fromBytes(r *Run, a []Value) Value {
	b, ok := a[1].(values.Octets)
	if !ok {
		r.Fail("from_bytes has %s, expected bytes", values.TypeName(a[1]))
	}
	r.Walk(len(b))
	r.Take(len(b), 4)
	i := new(big.Int).SetBytes(bigEndian(r, []byte(b), a[2]))
	if r.Truth(values.OrElse(a[3], false)) && i.BitLen() == 8*len(b) && len(b) > 0 {
		i.Sub(i, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return values.Integer(i)
}

func toBytes(r *Run, a []Value) Value {
	n, i := r.IntArg(a[1], 1), values.BigOf(a[0])
	signed := r.Truth(values.OrElse(a[3], false))
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
	return values.Octets(bigEndian(r, i.FillBytes(make([]byte, n)), a[2]))
}

var floatMethods = values.Table(
	values.Fn("is_integer", "self", func(r *Run, a []Value) Value {
		f := a[0].(float64)
		return f == math.Trunc(f) && !math.IsInf(f, 0)
	}),
	values.Fn("as_integer_ratio", "self", func(r *Run, a []Value) Value {
		r.Truncated(a[0].(float64))
		q := new(big.Rat)
		q.SetFloat64(a[0].(float64))
		return r.Pair(values.Integer(q.Num()), values.Integer(q.Denom()))
	}),
	values.Fn("conjugate", "self", func(r *Run, a []Value) Value { return a[0] }),
	values.Fn("fromhex", "self string", fromHex),
	values.Fn("hex", "self", func(r *Run, a []Value) Value {
		f := a[0].(float64)
		switch {
		case math.IsInf(f, 0) || math.IsNaN(f):
			return values.FormatFloat(f)
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
		return sign + whole + digits + "p" + fmt.Sprintf("%+d", exponent)
	}),
)

// fromHex reads a hexadecimal float.
func fromHex(r *Run, a []Value) Value {
	s := strings.ToLower(strings.TrimFunc(r.StringArg(a[1]), values.IsSpace))
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

var complexMethods = values.Table(
	values.Fn("conjugate", "self", func(r *Run, a []Value) Value {
		c := a[0].(complex128)
		return complex(real(c), -imag(c))
	}),
)
