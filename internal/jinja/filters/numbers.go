package filters

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

func numberFilters() []*Builtin {
	return []*Builtin{
		fn("abs", "x", func(r *Run, a []Value) Value {
			if c, ok := a[0].(complex128); ok {
				return r.Magnitude(c)
			}
			_, f, ok := values.Number(a[0])
			switch {
			case !ok:
				r.FailUndefined(a[0])
				r.Fail("abs is applied to %s, expected a number", values.TypeName(a[0]))
			case values.IsFloat(a[0]):
				return math.Abs(f)
			case f < 0:
				return r.Ints("-", 0, a[0])
			}
			return r.Ints("+", 0, a[0])
		}),
		fn("round", "value precision= method=", round),
		fn("int", "value default= base=", func(r *Run, a []Value) Value {
			r.FailUndefined(a[0])
			base, _, ok := values.Number(values.OrElse(a[2], 10))
			if !ok || values.IsFloat(a[2]) {
				base = -1
			}
			if i, ok := toInt(r, a[0], base); ok {
				return i
			}
			return values.OrElse(a[1], 0)
		}),
		fn("float", "value default=", func(r *Run, a []Value) Value {
			r.FailUndefined(a[0])
			if f, ok := toFloat(r, a[0]); ok {
				return f
			}
			return values.OrElse(a[1], 0.0)
		}),
		fn("filesizeformat", "value binary=", fileSize),
	}
}

// toInt converts as Python's int does, and what that does not, by way of float.
func toInt(r *Run, v Value, base int) (Value, bool) {
	s, isText := values.TextOf(v)
	if isText {
		if i, ok := parseInt(r, s, base); ok {
			return i, true
		}
	} else if values.BigOf(v) != nil {
		return r.Ints("+", 0, v), true
	}
	f, ok := toFloat(r, v)
	if !ok || math.IsNaN(f) || isText && math.IsInf(f, 0) {
		return nil, false
	}
	return r.Truncated(f), true
}

// asciiDigits replaces decimal digits of all scripts, and drops white space around.
func asciiDigits(r *Run, s string) string {
	r.Scan(len(s))
	s = strings.TrimFunc(s, values.IsSpace)
	if values.IsASCII(s) {
		return s
	}
	r.Walk(len(s))
	r.Take(len(s), 1)
	return strings.Map(func(c rune) rune {
		for _, t := range unicode.Nd.R16 {
			if c >= rune(t.Lo) && c <= rune(t.Hi) {
				return '0' + (c-rune(t.Lo))%10
			}
		}
		for _, t := range unicode.Nd.R32 {
			if c >= rune(t.Lo) && c <= rune(t.Hi) {
				return '0' + (c-rune(t.Lo))%10
			}
		}
		return c
	}, s)
}

// parseInt reads an integer as Python's int does.
func parseInt(r *Run, s string, base int) (Value, bool) {
	s = strings.ToLower(asciiDigits(r, s))
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	for prefix, b := range map[string]int{"0x": 16, "0o": 8, "0b": 2} {
		if digits, ok := strings.CutPrefix(s, prefix); ok && (base == b || base == 0) {
			s, base = strings.TrimPrefix(digits, "_"), b
			break
		}
	}
	if base == 0 {
		if base = 10; strings.HasPrefix(s, "0") && strings.Trim(s, "0_") != "" {
			return nil, false
		}
	}
	if base < 2 || base > 36 || s == "" || s[0] == '-' || s[0] == '+' || !underscored(s) {
		return nil, false
	}
	words := len(s) / 8
	r.Take(len(s), 2)
	r.Step(words * words / 512)
	return values.ParseInteger(sign+strings.ReplaceAll(s, "_", ""), base)
}

// underscored says whether underscores are between other characters only, one by one.
func underscored(s string) bool {
	return !strings.HasPrefix(s, "_") && !strings.HasSuffix(s, "_") && !strings.Contains(s, "__")
}

// toFloat converts as Python's float does.
func toFloat(r *Run, v Value) (float64, bool) {
	s, isText := values.TextOf(v)
	if !isText {
		if _, _, ok := values.Number(v); !ok {
			return 0, false
		}
		return r.Operand(v), true
	}
	s = asciiDigits(r, s)
	if strings.ContainsAny(s, "xXpP") || !underscored(s) {
		return 0, false
	}
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '_' && (s[i-1] < '0' || s[i-1] > '9' || s[i+1] < '0' || s[i+1] > '9') {
			return 0, false
		}
	}
	if len(s) == 4 && strings.EqualFold(s[1:], "nan") && (s[0] == '-' || s[0] == '+') {
		s = s[1:]
	}
	f, err := strconv.ParseFloat(strings.ReplaceAll(s, "_", ""), 64)
	return f, err == nil || math.IsInf(f, 0)
}

// roundInt rounds to a multiple of 10^digits, halves to an even one.
func roundInt(r *Run, i Value, digits int) Value {
	if digits > values.BigOf(i).BitLen()/3+1 {
		return 0
	}
	unit := r.Ints("**", 10, digits)
	q, rest := r.Ints("//", i, unit), r.Ints("%", i, unit)
	c, _ := values.CompareNumbers(r.Ints("*", 2, rest), unit)
	if c > 0 || c == 0 && r.Ints("%", q, 2) == 1 {
		q = r.Ints("+", q, 1)
	}
	return r.Ints("*", q, unit)
}

// roundFloat rounds to decimal digits after the point, or before it if they are negative.
func roundFloat(f float64, digits int) float64 {
	if f == 0 || math.IsInf(f, 0) || math.IsNaN(f) || digits > 400 {
		return f
	}
	text := strconv.FormatFloat(f, 'e', -1, 64)
	_, exponent, _ := strings.Cut(text, "e")
	e, _ := strconv.Atoi(exponent)
	switch {
	case digits >= 0:
		text = strconv.FormatFloat(f, 'f', digits, 64)
	case e+digits >= 0:
		text = strconv.FormatFloat(f, 'e', e+digits, 64)
	default:
		half, _ := strconv.ParseFloat(fmt.Sprintf("5e%d", e), 64)
		if text = "0"; e+digits == -1 && math.Abs(f) > half {
			text = fmt.Sprintf("1e%d", e+1)
		}
		rounded, _ := strconv.ParseFloat(text, 64)
		return math.Copysign(rounded, f)
	}
	rounded, _ := strconv.ParseFloat(text, 64)
	return rounded
}

func round(r *Run, a []Value) Value {
	_, _, ok := values.Number(a[0])
	if !ok {
		r.FailUndefined(a[0])
		r.Fail("round is applied to %s, expected a number", values.TypeName(a[0]))
	}
	method := r.StringArg(values.OrElse(a[2], "common"))
	if method != "common" && method != "ceil" && method != "floor" {
		r.Fail("round has the method %q, expected common, ceil or floor", method)
	}
	if a[1] == nil && method == "common" { // to an integer
		if !values.IsFloat(a[0]) {
			return r.Ints("+", 0, a[0])
		}
		return r.Truncated(math.RoundToEven(r.Operand(a[0])))
	}
	if method != "common" {
		scale := r.Arithmetic("**", 10, values.OrElse(a[1], 0))
		scaled := r.Operand(r.Arithmetic("*", a[0], scale))
		if method == "ceil" {
			scaled = math.Ceil(scaled)
		} else {
			scaled = math.Floor(scaled)
		}
		return r.Arithmetic("/", r.Truncated(scaled), scale)
	}
	precision := r.IntArg(a[1], 0)
	switch {
	case values.IsFloat(a[0]):
		return roundFloat(a[0].(float64), precision)
	case precision >= 0:
		return r.Ints("+", 0, a[0])
	case precision < -1<<32: // which has an opposite
		return 0
	}
	return roundInt(r, a[0], -precision)
}

func fileSize(r *Run, a []Value) Value {
	r.FailUndefined(a[0])
	size, ok := toFloat(r, a[0])
	if !ok {
		r.Fail("filesizeformat is applied to %s, expected a number", values.TypeName(a[0]))
	}
	base, units := 1000.0, "kB MB GB TB PB EB ZB YB"
	if r.Truth(values.OrElse(a[1], false)) {
		base, units = 1024, "KiB MiB GiB TiB PiB EiB ZiB YiB"
	}
	switch {
	case size == 1:
		return "1 Byte"
	case size < base:
		return r.Str(r.Truncated(size)) + " Bytes"
	}
	unit, name := base, ""
	for _, name = range strings.Fields(units) {
		if unit *= base; size < unit {
			break
		}
	}
	return r.Str(r.Printf("%.1f", base*size/unit)) + " " + name
}
