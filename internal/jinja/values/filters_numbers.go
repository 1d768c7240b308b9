package values

import (
	"cmp"
	"math"
	"strconv"
	"strings"
)

func numberFilters() []*Builtin {
	return []*Builtin{
		fn("abs", "x", func(r *Run, a []Value) Value {
			i, f, ok := Number(a[0])
			switch {
			case !ok:
				r.FailUndefined(a[0])
				r.Fail("abs is applied to %s, expected a number", TypeName(a[0]))
			case isFloat(a[0]):
				return math.Abs(f)
			case i < 0:
				return r.ints("-", 0, i)
			}
			return i
		}),
		fn("round", "value precision= method=", round),
		fn("int", "value default= base=", func(r *Run, a []Value) Value {
			r.FailUndefined(a[0])
			if i, ok := r.toInt(a[0], r.int(a[2], 10)); ok {
				return i
			}
			return orElse(a[1], 0)
		}),
		fn("float", "value default=", func(r *Run, a []Value) Value {
			r.FailUndefined(a[0])
			if f, ok := r.toFloat(a[0]); ok {
				return f
			}
			return orElse(a[1], 0.0)
		}),
	}
}

// toInt converts as Python's int does, and what that does not, by way of float.
func (r *Run) toInt(v Value, base int) (int, bool) {
	if s, ok := textOf(v); ok {
		r.scan(len(s))
		s = strings.TrimFunc(s, IsSpace)
		digits := strings.TrimLeft(s, "+-")
		if prefix := map[int]string{16: "0x", 8: "0o", 2: "0b"}[base]; prefix != "" {
			digits = strings.TrimPrefix(strings.ToLower(digits), prefix)
		}
		if i, err := strconv.ParseInt(oneSign(s)+strings.ReplaceAll(digits, "_", ""), base, 0); err == nil {
			return int(i), underscored(digits)
		}
	}
	if i, _, ok := Number(v); ok && !isFloat(v) {
		return i, true
	}
	f, ok := r.toFloat(v)
	_, isText := textOf(v)
	switch {
	case math.IsNaN(f), isText && math.IsInf(f, 0):
		return 0, false
	case math.Abs(f) >= 1<<63:
		r.Fail("the integer %s has more than 64 bits, which is not supported", formatFloat(f))
	}
	return int(math.Trunc(f)), ok
}

// oneSign returns a sign if there is one and no more.
func oneSign(s string) string {
	if n := len(s) - len(strings.TrimLeft(s, "+-")); n == 1 {
		return s[:1]
	} else if n > 1 {
		return "??" // no number
	}
	return ""
}

// underscored says whether underscores are between digits only.
func underscored(digits string) bool {
	return !strings.HasPrefix(digits, "_") && !strings.HasSuffix(digits, "_") && !strings.Contains(digits, "__")
}

func (r *Run) toFloat(v Value) (float64, bool) {
	if s, ok := textOf(v); ok {
		r.scan(len(s))
		s = strings.TrimFunc(s, IsSpace)
		if strings.ContainsAny(s, "xXpP") || !underscored(s) {
			return 0, false
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
		return f, err == nil || math.IsInf(f, 0)
	}
	_, f, ok := Number(v)
	return f, ok
}

// roundInt rounds to a multiple of 10^digits, halves to an even one.
func (r *Run) roundInt(i, digits int) Value {
	unit := 1
	for ; digits > 0; digits-- {
		next, fits := multiply(unit, 10)
		if !fits {
			return 0
		}
		unit = next
	}
	q, rest := i/unit, i%unit
	if half := 2 * max(rest, -rest); half > unit || half == unit && q%2 != 0 {
		q += cmp.Compare(i, 0)
	}
	return r.ints("*", q, unit)
}

func round(r *Run, a []Value) Value {
	i, f, ok := Number(a[0])
	if !ok {
		r.FailUndefined(a[0])
		r.Fail("round is applied to %s, expected a number", TypeName(a[0]))
	}
	precision := r.int(a[1], 0)
	method := r.string(orElse(a[2], "common"))
	scale := math.Pow(10, float64(precision))
	switch {
	case method == "ceil":
		return math.Ceil(f*scale) / scale
	case method == "floor":
		return math.Floor(f*scale) / scale
	case method != "common":
		r.Fail("round has the method %q, expected common, ceil or floor", method)
	case !isFloat(a[0]) && precision >= 0:
		return i
	case !isFloat(a[0]):
		return r.roundInt(i, -precision)
	case scale == 0:
		return math.Copysign(0, f)
	case precision < 0:
		return math.RoundToEven(f*scale) / scale
	case precision < 400:
		rounded, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'f', precision, 64), 64)
		return rounded
	}
	return f
}
