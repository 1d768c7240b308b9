package values

import (
	"math"
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

// printf formats as Python's % does: with a tuple of values, one value, or a dict of named ones.
func (r *Run) printf(format string, v Value) Value {
	p := &printer{run: r, format: format, values: []Value{v}, out: NewOutput(r)}
	l, isList := v.(*List)
	if isList && l.isTuple() {
		p.values = l.Items
	}
	p.named, _ = v.(*Dict)
	r.scan(len(format))
	for p.at < len(format) {
		n := strings.IndexByte(format[p.at:], '%')
		if n < 0 {
			n = len(format) - p.at
		}
		p.out.Write(format[p.at : p.at+n])
		if p.at += n; p.at < len(format) {
			p.at++
			p.directive()
		}
	}
	if unused := p.used < len(p.values); unused && !hasItems(v) {
		r.Fail("a format has %d values, expected %d", len(p.values), p.used)
	}
	return p.out.String()
}

// hasItems says whether a value has items by index or key; a format need not use it.
func hasItems(v Value) bool {
	switch v := v.(type) {
	case *List:
		return v.Kind == listKind
	case *Dict, *Undefined, *span:
		return true
	}
	return false
}

// printer formats one string with %.
type printer struct {
	run    *Run
	format string
	at     int
	values []Value
	used   int
	named  *Dict
	out    *Output
}

// directive formats what is after a %.
func (p *printer) directive() {
	p.run.Step(1)
	l := layout{fill: " ", align: '>', precision: -1}
	var v Value = absent{}
	if p.peek() == '(' {
		end := strings.IndexByte(p.format[p.at:], ')')
		if end < 0 || p.named == nil {
			p.run.Fail("a format has %%(name), expected a dict of values and a closing bracket")
		}
		name := p.format[p.at+1 : p.at+end]
		p.at += end + 1
		var ok bool
		if v, ok = p.named.Get(name); !ok {
			p.run.Fail("a format has the name %s, which is not in the dict", name)
		}
	}
	for ; strings.IndexByte("-+ #0", p.peek()) >= 0; p.at++ {
		switch p.peek() {
		case '-':
			l.align = '<'
		case '0':
			l.fill = "0"
		case '#':
			l.alternate = true
		default:
			l.sign = max(p.peek(), l.sign)
			if p.peek() == '+' {
				l.sign = '+'
			}
		}
	}
	if l.width = p.number(); l.width < 0 {
		l.align, l.width = '<', -l.width
	}
	if p.peek() == '.' {
		p.at++
		l.precision = max(0, p.number())
	}
	l.verb = p.peek()
	p.at++
	if l.verb == '%' {
		p.out.Write("%")
		return
	}
	if v == (absent{}) {
		v = p.value()
	}
	p.out.Write(p.run.directive(v, l))
}

// peek returns the next byte of the format, which must not end there.
func (p *printer) peek() byte {
	if p.at >= len(p.format) {
		p.run.Fail("a format ends after %%, expected a letter such as s or d")
	}
	return p.format[p.at]
}

func (p *printer) value() Value {
	if p.used >= len(p.values) {
		p.run.Fail("a format has %d values, expected more", len(p.values))
	}
	p.used++
	return p.values[p.used-1]
}

// number reads a width or precision, or takes it from the values.
func (p *printer) number() int {
	if p.peek() == '*' {
		p.at++
		return p.run.int(p.value(), 0)
	}
	start := p.at
	for p.peek() >= '0' && p.peek() <= '9' {
		p.at++
	}
	n, _ := strconv.Atoi(p.format[start:p.at]) // a great number gives a great one
	return n
}

// directive formats one value with %.
func (r *Run) directive(v Value, l layout) string {
	switch l.verb {
	case 's', 'r', 'a':
		l.fill = " "
		text := ""
		if l.verb == 's' {
			text = r.Str(v)
		} else {
			text = r.Repr(v)
		}
		if l.precision >= 0 && l.precision < r.runes(text) {
			text = r.cut(text, 0, l.precision)
		}
		return r.pad(text, l.fill, l.align, l.width)
	case 'c':
		if i, ok := v.(int); ok {
			v = string(rune(i))
		}
		if s := r.string(v); r.runes(s) != 1 {
			r.Fail("%%c has %.40q, expected one character", s)
		}
		return r.pad(r.string(v), " ", l.align, l.width)
	}
	if _, _, ok := Number(v); !ok {
		r.FailUndefined(v)
		r.Fail("%%%c has %s, expected a number", l.verb, TypeName(v))
	}
	if l.fill == "0" && l.align == '>' {
		l.align = '='
	} else {
		l.fill = " "
	}
	switch l.verb {
	case 'd', 'i', 'u':
		if f, ok := v.(float64); ok {
			v = int(f)
			if math.Abs(f) >= 1<<63 || math.IsNaN(f) {
				r.Fail("%%d has %s, which is no integer of 64 bits", formatFloat(f))
			}
		}
		l.verb = 'd'
	case 'x', 'X', 'o':
		if isFloat(v) {
			r.Fail("%%%c has a float, expected an integer", l.verb)
		}
	}
	return r.formatNumber(v, l)
}

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

// format formats as Python's str.format does.
func (r *Run) format(format string, items []Value, named Arguments) string {
	r.scan(len(format))
	f := &formatter{run: r, items: items, named: named, out: NewOutput(r)}
	f.fields(format, 2)
	return f.out.String()
}

type formatter struct {
	run   *Run
	items []Value
	named Arguments
	next  int // field without a number; -1: fields have numbers
	out   *Output
}

// fields writes a format; fields can hold others in their layouts, up to a depth.
func (f *formatter) fields(s string, depth int) {
	r := f.run
	if depth == 0 {
		r.Fail("the fields of a format nest too deep")
	}
	for s != "" {
		n := strings.IndexAny(s, "{}")
		if n < 0 {
			f.out.Write(s)
			return
		}
		f.out.Write(s[:n])
		brace := s[n]
		if s = s[n+1:]; s != "" && s[0] == brace {
			f.out.Write(s[:1])
			s = s[1:]
			continue
		}
		open, end := 1, 0
		for ; end < len(s) && brace == '{'; end++ {
			if s[end] == '{' {
				open++
			} else if s[end] == '}' {
				if open--; open == 0 {
					break
				}
			}
		}
		if end >= len(s) || brace == '}' {
			r.Fail("a format has a single brace, expected two for the character itself")
		}
		f.field(s[:end], depth)
		s = s[end+1:]
	}
}

// field writes a field: a name or number, attributes and items, a conversion, a layout.
func (f *formatter) field(field string, depth int) {
	r := f.run
	r.Step(1)
	name, spec, _ := strings.Cut(field, ":")
	name, conversion, _ := strings.Cut(name, "!")
	end := strings.IndexAny(name, ".[")
	if end < 0 {
		end = len(name)
	}
	if end == 0 && name != "" { // as in Python's string.Formatter
		r.Fail("the field %q of a format has no number or name", name)
	}
	v := f.argument(name[:end])
	for path := name[end:]; path != ""; {
		if path[0] == '.' {
			n := strings.IndexAny(path[1:]+".", ".[") + 1
			v, path = r.Attribute(v, path[1:n]), path[n:]
			continue
		}
		n := strings.IndexByte(path, ']')
		if path[0] != '[' || n < 2 {
			r.Fail("the field %q of a format is malformed", name)
		}
		var index Value = path[1:n]
		if i, err := strconv.Atoi(path[1:n]); err == nil {
			index = i
		}
		v, path = r.Item(v, index), path[n+1:]
	}
	switch conversion {
	case "":
	case "s":
		v = r.Str(v)
	case "r", "a":
		v = r.Repr(v)
	default:
		r.Fail("a format has the conversion !%s, expected !s or !r", conversion)
	}
	if strings.Contains(spec, "{") {
		out := f.out
		f.out = NewOutput(r)
		f.fields(spec, depth-1)
		spec, f.out = f.out.String(), out
	}
	f.out.Write(r.formatted(v, spec))
}

// argument returns the value of a field by its number or name.
func (f *formatter) argument(name string) Value {
	i, err := strconv.Atoi(name)
	switch {
	case name == "":
		if f.next < 0 {
			f.run.Fail("some fields of a format have numbers, expected all or none")
		}
		i = f.next
		f.next++
	case err == nil:
		if f.next > 0 {
			f.run.Fail("some fields of a format have numbers, expected all or none")
		}
		f.next = -1
	default:
		for i, n := range f.named.Names {
			if n == name {
				return f.named.Named[i]
			}
		}
		f.run.Fail("a format has the name %s, which is not given", name)
	}
	if i < 0 || i >= len(f.items) {
		f.run.Fail("a format has %d values, expected at least %d", len(f.items), i+1)
	}
	return f.items[i]
}

// formatted formats a value with a layout as Python's format does.
func (r *Run) formatted(v Value, spec string) string {
	if spec == "" {
		return r.Str(v)
	}
	l := r.layout(spec)
	if _, _, ok := Number(v); ok {
		return r.formattedNumber(v, l)
	}
	s, ok := textOf(v)
	if !ok || l.verb != 0 && l.verb != 's' || l.sign != 0 || l.align == '=' {
		r.FailUndefined(v)
		r.Fail("%s is formatted as %q, which does not fit", TypeName(v), spec)
	}
	if l.precision >= 0 && l.precision < r.runes(s) {
		s = r.cut(s, 0, l.precision)
	}
	switch l.align {
	case 0:
		l.align = '<'
	case '^':
		l.align = 'f'
	}
	return r.pad(s, l.fill, l.align, l.width)
}

func (r *Run) formattedNumber(v Value, l layout) string {
	if b, ok := v.(bool); ok && l.verb == 0 {
		v = map[bool]int{false: 0, true: 1}[b]
	}
	switch l.align {
	case 0:
		l.align = '>'
	case '^':
		l.align = 'f'
	}
	f, isFloat := v.(float64)
	switch {
	case isFloat && l.verb == 0 && l.precision < 0:
		return r.pad(formatFloat(f), l.fill, l.align, l.width)
	case isFloat && l.verb == 0:
		l.verb = 'g'
	case l.verb == 0:
		l.verb = 'd'
	}
	if isFloat && strings.IndexByte("dxXob", l.verb) >= 0 {
		r.Fail("a float is formatted as %q, expected f, e or g", string(rune(l.verb)))
	}
	return r.formatNumber(v, l)
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
