package filters

import (
	"cmp"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/methods"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// prettyWidth is how wide lines of pprint are.
const prettyWidth = 80

// pretty writes a value as Python's pprint.pformat does.
func pretty(r *Run, v Value) string {
	p := prettyPrinter{r, values.NewOutput(r)}
	p.write(v, 0, 0, 1)
	return p.out.String()
}

type prettyPrinter struct {
	run *Run
	out *Output
}

// write writes a value from a column; allowance is how many characters follow it on its line.
func (p prettyPrinter) write(v Value, indent, allowance, level int) {
	r := p.run
	r.Enter()
	defer r.Leave()
	flat := values.NewOutput(r)
	writeFlat(r, flat, v)
	text := flat.String()
	l, isList := v.(*List)
	s, isText := v.(string)
	d, isDict := v.(*Dict)
	switch {
	case r.Runes(text) <= prettyWidth-indent-allowance:
		p.out.Write(text)
	case isList && (l.Kind == values.ListKind || l.Kind == values.TupleKind):
		begin, end := "[", "]"
		if l.Kind == values.TupleKind {
			if begin, end = "(", ")"; len(l.Items) == 1 {
				end = ",)"
			}
		}
		p.out.Write(begin)
		for i, item := range l.Items {
			p.write(item, indent+1, p.after(i, len(l.Items), indent+1, allowance+len(end)), level+1)
		}
		p.out.Write(end)
	case isDict:
		p.out.Write("{")
		for i, pair := range sortedPairs(r, d) {
			key, value := pair.(*List).Items[0], pair.(*List).Items[1]
			space := p.after(i, len(d.Keys), indent+1, allowance+1)
			name := values.NewOutput(r)
			writeFlat(r, name, key)
			p.out.Write(name.String())
			p.out.Write(": ")
			p.write(value, indent+1+r.Runes(name.String())+2, space, level+1)
		}
		p.out.Write("}")
	case isText:
		p.text(s, indent, allowance, level)
	default:
		p.out.Write(text)
	}
}

// after writes what is before item i, and returns the allowance of the item.
func (p prettyPrinter) after(i, n, indent, last int) int {
	p.run.Step(1)
	if i > 0 {
		p.line(",", indent)
	}
	if i == n-1 {
		return last
	}
	return 1
}

// line ends a line and indents the next one.
func (p prettyPrinter) line(end string, indent int) {
	p.run.Take(indent, 1)
	p.out.Write(end + "\n" + strings.Repeat(" ", indent))
}

// text writes a string in parts, a line each.
func (p prettyPrinter) text(s string, indent, allowance, level int) {
	r := p.run
	if level == 1 {
		indent, allowance = indent+1, allowance+1
	}
	var chunks []string
	lines := methods.SplitLines(r, s, true)
	for i, line := range lines {
		room, isLast := prettyWidth-indent, i == len(lines)-1
		short := room
		if isLast {
			short -= allowance
		}
		if text := r.Repr(line); r.Runes(text) <= short {
			chunks = append(chunks, text)
			continue
		}
		current := ""
		words := words(r, line.(string))
		for j, part := range words {
			if isLast && j == len(words)-1 {
				room -= allowance
			}
			if text := r.Repr(current + part); r.Runes(text) > room {
				if current != "" {
					chunks = append(chunks, r.Repr(current))
				}
				current = part
			} else {
				current += part
			}
		}
		if current != "" {
			chunks = append(chunks, r.Repr(current))
		}
	}
	parens := level == 1 && len(chunks) > 1
	if parens {
		p.out.Write("(")
	}
	for i, chunk := range chunks {
		if i > 0 {
			p.line("", indent)
		}
		p.out.Write(chunk)
	}
	if parens {
		p.out.Write(")")
	}
}

// words cuts a text into words, each with the white space after it.
func words(r *Run, s string) (words []string) {
	r.Walk(len(s))
	for s != "" {
		end := strings.IndexFunc(s, values.IsSpace)
		if end < 0 {
			end = len(s)
		}
		rest := strings.TrimLeftFunc(s[end:], values.IsSpace)
		r.Take(1, 16)
		words = append(words, s[:len(s)-len(rest)])
		s = rest
	}
	return words
}

// writeFlat writes a value as Repr does, but dicts in the order of their keys.
func writeFlat(r *Run, o *Output, v Value) {
	r.Step(1)
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case *List:
		if v.Kind == values.ListKind || v.Kind == values.TupleKind {
			r.WriteItems(o, v, func(o *Output, v Value) { writeFlat(r, o, v) })
			return
		}
	case *Dict:
		o.Write("{")
		for i, pair := range sortedPairs(r, v) {
			if i > 0 {
				o.Write(", ")
			}
			writeFlat(r, o, pair.(*List).Items[0])
			o.Write(": ")
			writeFlat(r, o, pair.(*List).Items[1])
		}
		o.Write("}")
		return
	}
	r.WriteRepr(o, v)
}

// className is the name of a type that Python sorts by.
func className(typeName string) string {
	if typeName == "None" {
		return "NoneType"
	}
	return typeName
}

// sortedPairs returns the items of a dict in the order of their keys; those that have none go by their types.
func sortedPairs(r *Run, d *Dict) []Value {
	pairs := r.Pairs(d)
	slices.SortStableFunc(pairs, func(a, b Value) int {
		k, l := a.(*List).Items[0], b.(*List).Items[0]
		s, t := values.TypeName(k), values.TypeName(l)
		_, _, isNumber := values.Number(k)
		_, _, isNumber2 := values.Number(l)
		if s == t || isNumber && isNumber2 {
			c, _ := r.Order(k, l)
			return c
		}
		return cmp.Compare(className(s), className(t))
	})
	return pairs
}
