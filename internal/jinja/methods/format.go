package methods

import (
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// format formats as Python's str.format does, or format_map with its mapping.
func format(r *Run, text Value, items []Value, named Arguments, mapping Value) string {
	format := r.StringArg(text)
	r.Scan(len(format))
	f := &formatter{run: r, items: items, named: named, mapping: mapping, out: values.NewOutput(r)}
	_, f.safe = text.(values.Markup)
	f.fields(format, 2)
	return f.out.String()
}

type formatter struct {
	run     *Run
	items   []Value
	named   Arguments
	mapping Value // of format_map
	next    int   // field without a number; -1: fields have numbers
	out     *Output
	safe    bool // the format is safe in HTML: escape values
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
		if strings.Trim(path[1:n], "0123456789") == "" {
			index, _ = values.ParseInteger(path[1:n], 10)
		}
		v, path = r.Item(v, index), path[n+1:]
	}
	switch conversion {
	case "":
	case "s":
		v = r.Str(v)
	case "r":
		v = r.Repr(v)
	case "a":
		v = r.ASCII(v)
	default:
		r.Fail("a format has the conversion !%s, expected !s, !r or !a", conversion)
	}
	if strings.Contains(spec, "{") {
		out := f.out
		f.out = values.NewOutput(r)
		f.fields(spec, depth-1)
		spec, f.out = f.out.String(), out
	}
	text := r.Formatted(v, spec)
	if m, ok := v.(values.Markup); ok && f.safe {
		if spec != "" {
			r.Fail("text that is safe in HTML is formatted as %q, expected no layout", spec)
		}
		text = string(m)
	} else if f.safe {
		text = string(r.Escaped(text))
	}
	f.out.Write(text)
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
		if d, ok := f.mapping.(*Dict); ok {
			if v, ok := d.Get(name); ok {
				return v
			}
		}
		f.run.Fail("a format has the name %s, which is not given", name)
	}
	if i < 0 || i >= len(f.items) {
		f.run.Fail("a format has %d values, expected at least %d", len(f.items), i+1)
	}
	return f.items[i]
}
