package values

import (
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// layout is how a value is formatted: what is after % or after the colon of str.format.
type layout struct {
	fill      string
	align     byte // '<', '>', '^' or '=' (between sign and digits); 0: as the type has it
	sign      byte // '+' or ' ' for numbers that are not negative, or 0
	alternate bool // a prefix as 0x
	width     int
	grouping  string
	precision int  // -1: none
	verb      byte // 0: none
}

// maxPrecision is the number of digits that a number can be given.
const maxPrecision = 1000

// formatNumber formats a number with a layout.
func (r *Run) formatNumber(v Value, l layout) string {
	i, f, _ := Number(v)
	if l.precision > maxPrecision {
		r.Fail("a precision is %d, expected at most %d", l.precision, maxPrecision)
	}
	sign, digits := "", ""
	switch l.verb {
	case 'd', 'x', 'X', 'o', 'b':
		base := map[byte]int{'d': 10, 'x': 16, 'X': 16, 'o': 8, 'b': 2}[l.verb]
		digits = strconv.FormatInt(int64(i), base)
		if sign, digits = cutSign(digits); l.precision > len(digits) {
			digits = strings.Repeat("0", l.precision-len(digits)) + digits
		}
		if l.verb == 'X' {
			digits = strings.ToUpper(digits)
		}
		if l.alternate && l.verb != 'd' {
			sign += "0" + string(l.verb)
		}
	case 'f', 'F', 'e', 'E', 'g', 'G', '%':
		if sign, digits = cutSign(formatDigits(f, l)); l.verb == '%' {
			digits += "%"
		}
	default:
		r.Fail("a number is formatted as %q, expected a letter such as d or f", string(rune(l.verb)))
	}
	if l.sign != 0 && !strings.HasPrefix(sign, "-") {
		sign = string(rune(l.sign)) + sign
	}
	if l.grouping != "" {
		digits = group(digits, l.grouping)
	}
	if l.align == '=' {
		return r.Concat(sign, r.pad(digits, l.fill, '>', l.width-len(sign)))
	}
	return r.pad(sign+digits, l.fill, l.align, l.width)
}

func cutSign(number string) (sign, digits string) {
	if strings.HasPrefix(number, "-") {
		return "-", number[1:]
	}
	return "", number
}

// formatDigits writes a float's digits, with its sign if it is negative.
func formatDigits(f float64, l layout) string {
	precision, verb := l.precision, l.verb
	if precision < 0 {
		precision = 6
	}
	if verb == '%' {
		f, verb = f*100, 'f'
	}
	if !floats.Finite(f) {
		return formatFloat(f)
	}
	if verb == 'g' || verb == 'G' {
		precision = max(1, precision)
	}
	text := strconv.FormatFloat(f, verb|0x20, precision, 64)
	if verb < 'a' {
		text = strings.ToUpper(text)
	}
	return text
}

// group puts a separator between thousands.
func group(digits, separator string) string {
	n := strings.IndexFunc(digits, func(c rune) bool { return c < '0' || c > '9' })
	if n < 0 {
		n = len(digits)
	}
	for i := n - 3; i > 0; i -= 3 {
		digits = digits[:i] + separator + digits[i:]
	}
	return digits
}

// layout reads a layout: [[fill]align][sign][#][0][width][grouping][.precision][type].
func (r *Run) layout(spec string) layout {
	l := layout{fill: " ", precision: -1}
	rest := spec
	isAlign := func(s string) bool { return s != "" && strings.IndexByte("<>^=", s[0]) >= 0 }
	if n := runeSize(rest); isAlign(rest[n:]) {
		l.fill, l.align, rest = rest[:n], rest[n], rest[n+1:]
	} else if isAlign(rest) {
		l.align, rest = rest[0], rest[1:]
	}
	take := func(set string) byte {
		if rest == "" || strings.IndexByte(set, rest[0]) < 0 {
			return 0
		}
		c := rest[0]
		rest = rest[1:]
		return c
	}
	digits := func() int {
		end := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		n, _ := strconv.Atoi(rest[:end]) // a great number gives a great one
		rest = rest[end:]
		return n
	}
	if c := take("+- "); c != '-' {
		l.sign = c
	}
	l.alternate = take("#") != 0
	if take("0") != 0 && l.align == 0 {
		l.fill, l.align = "0", '='
	}
	l.width = digits()
	if c := take(",_"); c != 0 {
		l.grouping = string(rune(c))
	}
	if take(".") != 0 {
		if take("0123456789") == 0 {
			r.Fail("the layout %q of a format has no precision", spec)
		}
		rest = spec[len(spec)-len(rest)-1:]
		l.precision = digits()
	}
	l.verb = take("sdxXobfFeEgG%")
	if rest != "" {
		r.Fail("the layout %q of a format is not known", spec)
	}
	return l
}
