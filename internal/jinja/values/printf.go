package values

import (
	"strconv"
	"strings"
)

// Printf formats as Python's % does: with a tuple of values, one value, or a dict of named ones.
func (r *Run) Printf(text, v Value) Value {
	format, _ := TextOf(text)
	p := &printer{run: r, format: format, out: NewOutput(r)}
	_, p.safe = text.(Markup)
	p.print(v)
	return Like(text, p.out.String())
}

// printBytes formats bytes, whose %s and %b are for bytes.
func (r *Run) printBytes(format Octets, v Value) Value {
	p := &printer{run: r, format: r.asText(format), bytes: true, out: NewOutput(r)}
	p.print(v)
	return r.AsOctets(p.out.String())
}

func (p *printer) print(v Value) {
	r, format := p.run, p.format
	p.values = []Value{v}
	l, isList := v.(*List)
	if isList && l.IsTuple() {
		p.values = l.Items
	}
	p.named, _ = v.(*Dict)
	r.Scan(len(format))
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
	if unused := p.used < len(p.values); unused && !p.hasItems(v) {
		r.Fail("a format has %d values, expected %d", len(p.values), p.used)
	}
}

// hasItems says whether a value has items by index or key; a format need not use it, unless it is of the same type.
func (p *printer) hasItems(v Value) bool {
	switch v := v.(type) {
	case *List:
		return v.Kind == ListKind
	case *Dict, *Undefined, *Span:
		return true
	case Octets:
		return !p.bytes
	case string, Markup:
		return p.bytes
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
	safe   bool // the format is safe in HTML: escape values
	bytes  bool // the format is of bytes
}

// directive formats what is after a %.
func (p *printer) directive() {
	p.run.Step(1)
	if p.peek() == '%' {
		p.at++
		p.out.Write("%")
		return
	}
	l := layout{fill: " ", align: '>', precision: -1}
	var v Value = Absent{}
	if p.peek() == '(' {
		v = p.byName()
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
	if strings.IndexByte("hlL", p.peek()) >= 0 {
		p.at++
	}
	l.verb = p.peek()
	p.at++
	if v == (Absent{}) {
		v = p.value()
	}
	if p.bytes {
		v, l = p.run.bytesDirective(v, l)
	}
	p.out.Write(p.run.directive(v, l, p.safe))
}

// byName returns the value of a name in brackets.
func (p *printer) byName() Value {
	end, open := p.at+1, 1
	for ; end < len(p.format); end++ {
		if p.format[end] == '(' {
			open++
		} else if p.format[end] == ')' {
			if open--; open == 0 {
				break
			}
		}
	}
	if end == len(p.format) || p.named == nil {
		p.run.Fail("a format has %%(name), expected a dict of values and a closing bracket")
	}
	name := p.format[p.at+1 : end]
	p.at = end + 1
	var key Value = name
	if p.bytes {
		key = p.run.AsOctets(name)
	}
	v, ok := p.named.Lookup(p.run, key)
	if !ok {
		p.run.Fail("a format has the name %s, which is not in the dict", name)
	}
	return v
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
		return p.run.IntArg(p.value(), 0)
	}
	start := p.at
	for p.peek() >= '0' && p.peek() <= '9' {
		p.at++
	}
	n, _ := strconv.Atoi(p.format[start:p.at]) // a great number gives a great one
	return n
}

// bytesDirective returns the value and the layout of text for those of bytes.
func (r *Run) bytesDirective(v Value, l layout) (Value, layout) {
	switch l.verb {
	case 's', 'b':
		l.verb = 's'
		return r.asText(r.OctetsArg(v)), l
	case 'r':
		l.verb = 'a'
	case 'c':
		if BigOf(v) != nil {
			v = Octets([]byte{r.ByteArg(v)})
		}
		return r.asText(r.OctetsArg(v)), l
	}
	return v, l
}

// directive formats one value with %.
func (r *Run) directive(v Value, l layout, safe bool) string {
	switch l.verb {
	case 's', 'r', 'a':
		l.fill = " "
		text := map[byte]func(Value) string{'s': r.Str, 'r': r.Repr, 'a': r.ASCII}[l.verb](v)
		if _, ok := v.(Markup); safe && (!ok || l.verb != 's') {
			text = string(r.Escaped(text))
		}
		if l.precision >= 0 && l.precision < r.Runes(text) {
			text = r.Cut(text, 0, l.precision)
		}
		return r.Pad(text, l.fill, l.align, l.width)
	case 'c':
		if BigOf(v) != nil {
			v = r.CharacterOf(v)
		}
		if s := r.StringArg(v); r.Runes(s) != 1 {
			r.Fail("%%c has %.40q, expected one character", s)
		}
		return r.Pad(r.StringArg(v), " ", l.align, l.width)
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
			v = r.Truncated(f)
		}
		l.verb = 'd'
	case 'x', 'X', 'o':
		if IsFloat(v) {
			r.Fail("%%%c has a float, expected an integer", l.verb)
		}
	case 'f', 'F', 'e', 'E', 'g', 'G':
	default:
		r.Fail("a format has %%%c, expected a letter such as s or d", l.verb)
	}
	return r.formatNumber(v, l)
}
