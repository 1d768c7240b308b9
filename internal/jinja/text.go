package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// runes returns the number of characters of a short text.
func runes(s string) int { return utf8.RuneCountInString(s) }

// runes returns the number of characters of any text.
func (r *run) runes(s string) int {
	r.scan(len(s))
	if isASCII(s) {
		return len(s)
	}
	r.walk(len(s))
	return utf8.RuneCountInString(s)
}

// cut returns characters from one index to another.
func (r *run) cut(s string, from, to int) string {
	r.scan(len(s))
	if isASCII(s) {
		return s[min(from, len(s)):min(to, len(s))]
	}
	r.walk(len(s))
	start := byteOffset(s, from)
	return s[start : start+byteOffset(s[start:], to-from)]
}

// byteOffset returns where character i of a string begins.
func byteOffset(s string, i int) int {
	at := 0
	for ; i > 0 && at < len(s); i-- {
		at += runeSize(s[at:])
	}
	return at
}

// runeSize returns the size of the first character in bytes.
func runeSize(s string) int {
	_, size := utf8.DecodeRuneInString(s)
	return size
}

// concat joins texts.
func (r *run) concat(texts ...string) string {
	for _, t := range texts {
		r.take(len(t), 1)
	}
	return strings.Join(texts, "")
}

// str returns a value as Python's str does.
func (r *run) str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *undefined:
		return ""
	case int:
		r.take(1, 24)
		return strconv.Itoa(v)
	}
	return r.repr(v)
}

// repr returns a value as Python's repr does.
func (r *run) repr(v Value) string {
	o := &output{run: r}
	r.writeRepr(o, v)
	return o.String()
}

func (r *run) writeRepr(o *output, v Value) {
	r.step(1)
	r.enter()
	defer r.leave()
	switch v := v.(type) {
	case nil:
		o.write("None")
	case bool:
		o.write(map[bool]string{true: "True", false: "False"}[v])
	case int:
		o.write(strconv.Itoa(v))
	case float64:
		o.write(formatFloat(v))
	case string:
		r.writeQuoted(o, v)
	case markup:
		o.write("Markup(")
		r.writeQuoted(o, string(v))
		o.write(")")
	case *undefined:
		o.write("Undefined")
	case *list:
		r.writeList(o, v)
	case *dict:
		r.writeDict(o, v)
	case *span:
		o.write(fmt.Sprintf("range(%d, %d", v.start, v.stop))
		if v.step != 1 {
			o.write(fmt.Sprintf(", %d", v.step))
		}
		o.write(")")
	case *namespace:
		o.write("<Namespace ")
		r.writeRepr(o, v.dict)
		o.write(">")
	case *macro:
		if v.name == "" {
			o.write("<Macro anonymous>")
		} else {
			o.write("<Macro '" + v.name + "'>")
		}
	case *loop:
		o.write(fmt.Sprintf("<LoopContext %d/%d>", v.index+1, v.count()))
	default:
		r.fail("%s is printed, expected a value: apply list to it, or call it", typeName(v))
	}
}

func (r *run) writeList(o *output, l *list) {
	before, after := "[", "]"
	switch {
	case l.isTuple() && len(l.items) == 1:
		before, after = "(", ",)"
	case l.isTuple():
		before, after = "(", ")"
	case l.kind != listKind:
		before, after = l.kind+"([", "])"
	}
	o.write(before)
	for i, item := range l.items {
		if i > 0 {
			o.write(", ")
		}
		r.writeRepr(o, item)
	}
	o.write(after)
}

func (r *run) writeDict(o *output, d *dict) {
	o.write("{")
	for i, k := range d.keys {
		if i > 0 {
			o.write(", ")
		}
		r.writeRepr(o, k)
		o.write(": ")
		r.writeRepr(o, d.values[i])
	}
	o.write("}")
}

// quotedEscapes has a quote only where it is the one around the literal.
var quotedEscapes = map[rune]string{'\\': `\\`, '\'': `\'`, '"': `\"`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

// writeQuoted writes a string as a literal of Python.
func (r *run) writeQuoted(o *output, s string) {
	r.walk(len(s))
	quote, other := "'", '"'
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote, other = `"`, '\''
	}
	o.write(quote)
	from := 0
	for i, c := range s {
		text := quotedEscapes[c]
		switch {
		case c == other || text == "" && unicode.IsPrint(c):
			continue
		case text != "":
		case c < 0x100:
			text = fmt.Sprintf(`\x%02x`, c)
		case c < 0x10000:
			text = fmt.Sprintf(`\u%04x`, c)
		default:
			text = fmt.Sprintf(`\U%08x`, c)
		}
		r.step(1)
		o.write(s[from:i])
		o.write(text)
		from = i + runeSize(s[i:])
	}
	o.write(s[from:])
	o.write(quote)
}

// formatFloat writes a float with the fewest digits that stand for it, as Python does.
func formatFloat(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	case math.IsNaN(f):
		return "nan"
	}
	s := strconv.FormatFloat(f, 'e', -1, 64)
	_, exp, _ := strings.Cut(s, "e")
	if e, _ := strconv.Atoi(exp); e < -4 || e >= 16 {
		return s
	}
	s = strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
