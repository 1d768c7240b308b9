package values

import (
	"math"
	"strconv"
	"strings"
)

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
