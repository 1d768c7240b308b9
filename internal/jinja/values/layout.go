package values

import (
	"strconv"
	"strings"
	"unicode"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// layout is how a value is formatted: what is after % or after the colon of str.format.
type layout struct {
	fill      string
	align     byte // '<', '>', '^' or '=' (between sign and digits); 0: as the type has it
	sign      byte // '+' or ' ' for numbers that are not negative, or 0
	noMinus   bool // -0 is 0
	alternate bool // a prefix as 0x, a point, or zeros at the end
	width     int
	grouping  string
	precision int  // -1: none
	verb      byte // 0: none
}

var bases = map[byte]int{'d': 10, 'n': 10, 'x': 16, 'X': 16, 'o': 8, 'b': 2}

// formatNumber formats a number with a layout.
func (r *Run) formatNumber(v Value, l layout) string {
	r.Take(l.precision, 4)
	sign, prefix, digits := "", "", ""
	if base := bases[l.verb]; base != 0 && !IsFloat(v) {
		if sign, digits = cutSign(r.based(BigOf(v), base)); l.precision > len(digits) {
			digits = strings.Repeat("0", l.precision-len(digits)) + digits
		}
		if l.verb == 'X' {
			digits = strings.ToUpper(digits)
		}
		if l.alternate && base != 10 {
			prefix = "0" + string(l.verb)
		}
	} else {
		sign, digits = cutSign(r.formatDigits(r.Operand(v), l))
		if l.noMinus && strings.Trim(digits, "0.%") == "" {
			sign = ""
		}
	}
	if sign == "" && l.sign != 0 {
		sign = string(rune(l.sign))
	}
	sign += prefix
	if l.grouping != "" {
		width := 0
		if l.align == '=' && l.fill == "0" {
			width = l.width - len(sign)
		}
		digits = r.group(digits, l, width)
	}
	if l.align == '=' {
		return r.Concat(sign, r.Pad(digits, l.fill, '>', l.width-len(sign)))
	}
	return r.Pad(sign+digits, l.fill, l.align, l.width)
}

func cutSign(number string) (sign, digits string) {
	if strings.HasPrefix(number, "-") {
		return "-", number[1:]
	}
	return "", number
}

// formatDigits writes a float's digits, with its sign if it is negative.
func (r *Run) formatDigits(f float64, l layout) string {
	precision, verb, end := l.precision, l.verb, ""
	if precision < 0 {
		precision = 6
	}
	if verb == '%' {
		f, verb, end = f*100, 'f', "%"
	}
	text := ""
	switch {
	case !floats.Finite(f), l.verb == 0 && l.precision < 0:
		text = FormatFloat(f)
	case verb == 0, verb|0x20 == 'g', verb == 'n':
		text = general(f, max(1, precision), l.alternate, verb == 0)
	case strings.IndexByte("fFeE", verb) >= 0:
		text = strconv.FormatFloat(f, verb|0x20, precision, 64)
		if l.alternate && precision == 0 {
			mantissa, exponent, ok := strings.Cut(text, "e")
			if text = mantissa + "."; ok {
				text += "e" + exponent
			}
		}
	default:
		r.Fail("a number is formatted as %q, expected a letter such as d or f", string(rune(verb)))
	}
	if verb != 0 && verb < 'a' {
		text = strings.ToUpper(text)
	}
	return text + end
}

// general writes a number of digits as %g does. With withPoint, a number without an exponent has a digit after the
// point, as in Python's format without a letter.
func general(f float64, digits int, keepZeros, withPoint bool) string {
	text := strconv.FormatFloat(f, 'e', digits-1, 64)
	mantissa, exponent, _ := strings.Cut(text, "e")
	limit := digits
	if withPoint {
		limit--
	}
	e, _ := strconv.Atoi(exponent)
	if exponent = "e" + exponent; e >= -4 && e < limit {
		mantissa, exponent = strconv.FormatFloat(f, 'f', digits-1-e, 64), ""
	}
	hasPoint := strings.Contains(mantissa, ".")
	switch {
	case keepZeros && !hasPoint:
		mantissa += "."
	case !keepZeros && hasPoint:
		mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
	}
	if withPoint && exponent == "" && !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	return mantissa + exponent
}

// group puts separators between the digits before a point, with zeros before them up to a width.
func (r *Run) group(digits string, l layout, width int) string {
	size := 3
	if strings.IndexByte("xXob", l.verb) >= 0 {
		size = 4
	}
	n := strings.IndexAny(digits, ".e%")
	if n < 0 {
		n = len(digits)
	}
	whole, rest := digits[:n], digits[n:]
	if strings.IndexByte("0123456789abcdefABCDEF", whole[0]) < 0 || whole == "inf" {
		return digits
	}
	r.Take(max(width, 2*len(whole)), 2)
	width = max(len(whole), width-len(rest))
	for len(whole)+(len(whole)-1)/size < width {
		whole = strings.Repeat("0", max(1, (width-len(whole)-len(whole)/size)/2)) + whole
	}
	first := (len(whole)-1)%size + 1
	var b strings.Builder
	b.WriteString(whole[:first])
	for ; first < len(whole); first += size {
		b.WriteString(l.grouping)
		b.WriteString(whole[first : first+size])
	}
	return b.String() + rest
}

// layout reads a layout: [[fill]align][sign][z][#][0][width][grouping][.precision][type].
func (r *Run) layout(spec string) layout {
	l := layout{fill: " ", precision: -1}
	rest := spec
	isAlign := func(s string) bool { return s != "" && strings.IndexByte("<>^=", s[0]) >= 0 }
	hasFill := false
	if n := RuneSize(rest); isAlign(rest[n:]) {
		l.fill, l.align, rest, hasFill = rest[:n], rest[n], rest[n+1:], true
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
	l.sign = take("+- ")
	l.noMinus = take("z") != 0
	l.alternate = take("#") != 0
	if !hasFill && take("0") != 0 {
		if l.fill = "0"; l.align == 0 {
			l.align = '0'
		}
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
	l.verb = take("sdxXobcnfFeEgG%")
	if rest != "" {
		r.Fail("the layout %q of a format is not known", spec)
	}
	return l
}

// Formatted formats a value with a layout as Python's format does.
func (r *Run) Formatted(v Value, spec string) string {
	if spec == "" {
		return r.Str(v)
	}
	l := r.layout(spec)
	c, isComplex := v.(complex128)
	standard := byte('<')
	if _, _, ok := Number(v); ok || isComplex {
		standard = '>'
	}
	switch l.align {
	case 0:
		l.align = standard
	case '0':
		if l.align = standard; standard == '>' {
			l.align = '='
		}
	case '^':
		l.align = 'f'
	}
	s, isText := TextOf(v)
	switch {
	case isComplex && fitsComplex(l):
		return r.formattedComplex(c, l)
	case !isComplex && standard == '>' && fits(v, l):
		return r.formattedNumber(v, l)
	case !isText || !fitsText(l):
		r.FailUndefined(v)
		r.Fail("%s is formatted as %q, which does not fit", TypeName(v), spec)
	}
	if l.precision >= 0 && l.precision < r.Runes(s) {
		s = r.Cut(s, 0, l.precision)
	}
	return r.Pad(s, l.fill, l.align, l.width)
}

// fitsText says whether a layout is one for a text.
func fitsText(l layout) bool {
	return (l.verb == 0 || l.verb == 's') && l.sign == 0 && l.align != '=' && l.grouping == "" && !l.alternate &&
		!l.noMinus
}

// fitsComplex says whether a layout is one for a complex number.
func fitsComplex(l layout) bool {
	return l.fill != "0" && l.align != '=' && !l.noMinus && (l.verb == 0 || strings.IndexByte("eEfFgGn", l.verb) >= 0)
}

// fits says whether a layout is one for a number.
func fits(v Value, l layout) bool {
	whole := strings.IndexByte("dxXobc", l.verb) >= 0 || !IsFloat(v) && (l.verb == 0 || l.verb == 'n')
	switch {
	case l.verb == 's', IsFloat(v) && strings.IndexByte("dxXobc", l.verb) >= 0,
		whole && (l.precision >= 0 || l.noMinus),
		l.verb == 'c' && (l.sign != 0 || l.alternate || l.grouping != ""),
		l.verb == 'n' && l.grouping != "",
		l.grouping == "," && l.verb != 0 && strings.IndexByte("xXob", l.verb) >= 0:
		return false
	}
	return true
}

func (r *Run) formattedNumber(v Value, l layout) string {
	if l.sign == '-' {
		l.sign = 0
	}
	if l.verb == 'c' {
		return r.Pad(r.CharacterOf(v), l.fill, l.align, l.width)
	}
	if l.verb == 0 && !IsFloat(v) {
		l.verb = 'd'
	}
	return r.formatNumber(v, l)
}

// CharacterOf returns the character of a number.
func (r *Run) CharacterOf(v Value) string {
	i, _, _ := Number(v)
	if i < 0 || i > unicode.MaxRune {
		r.Fail("%s is the number of no character", r.Str(v))
	}
	return r.Character(rune(i))
}
