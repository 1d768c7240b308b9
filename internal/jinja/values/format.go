package values

import (
	"strconv"
	"strings"
)

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
