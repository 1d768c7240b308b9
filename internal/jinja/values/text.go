package values

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
func (r *Run) runes(s string) int {
	r.scan(len(s))
	if isASCII(s) {
		return len(s)
	}
	r.walk(len(s))
	return utf8.RuneCountInString(s)
}

// cut returns characters from one index to another.
func (r *Run) cut(s string, from, to int) string {
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

// Concat joins texts.
func (r *Run) Concat(texts ...string) string {
	for _, t := range texts {
		r.Take(len(t), 1)
	}
	return strings.Join(texts, "")
}

// Str returns a value as Python's str does.
func (r *Run) Str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case *Undefined:
		return ""
	case int:
		r.Take(1, 24)
		return strconv.Itoa(v)
	}
	return r.Repr(v)
}

// Repr returns a value as Python's repr does.
func (r *Run) Repr(v Value) string {
	o := NewOutput(r)
	r.writeRepr(o, v)
	return o.String()
}

func (r *Run) writeRepr(o *Output, v Value) {
	r.Step(1)
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case nil:
		o.Write("None")
	case bool:
		o.Write(map[bool]string{true: "True", false: "False"}[v])
	case int:
		o.Write(strconv.Itoa(v))
	case float64:
		o.Write(formatFloat(v))
	case string:
		r.writeQuoted(o, v)
	case markup:
		o.Write("Markup(")
		r.writeQuoted(o, string(v))
		o.Write(")")
	case *Undefined:
		o.Write("Undefined")
	case *List:
		r.writeList(o, v)
	case *Dict:
		r.writeDict(o, v)
	case *span:
		o.Write(fmt.Sprintf("range(%d, %d", v.start, v.stop))
		if v.step != 1 {
			o.Write(fmt.Sprintf(", %d", v.step))
		}
		o.Write(")")
	case *Namespace:
		o.Write("<Namespace ")
		r.writeRepr(o, v.dict)
		o.Write(">")
	case custom:
		o.Write(v.String())
	default:
		r.Fail("%s is printed, expected a value: apply list to it, or call it", TypeName(v))
	}
}

func (r *Run) writeList(o *Output, l *List) {
	before, after := "[", "]"
	switch {
	case l.isTuple() && len(l.Items) == 1:
		before, after = "(", ",)"
	case l.isTuple():
		before, after = "(", ")"
	case l.Kind != listKind:
		before, after = l.Kind+"([", "])"
	}
	o.Write(before)
	for i, item := range l.Items {
		if i > 0 {
			o.Write(", ")
		}
		r.writeRepr(o, item)
	}
	o.Write(after)
}

func (r *Run) writeDict(o *Output, d *Dict) {
	o.Write("{")
	for i, k := range d.Keys {
		if i > 0 {
			o.Write(", ")
		}
		r.writeRepr(o, k)
		o.Write(": ")
		r.writeRepr(o, d.Values[i])
	}
	o.Write("}")
}

// quotedEscapes has a quote only where it is the one around the literal.
var quotedEscapes = map[rune]string{'\\': `\\`, '\'': `\'`, '"': `\"`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

// writeQuoted writes a string as a literal of Python.
func (r *Run) writeQuoted(o *Output, s string) {
	r.walk(len(s))
	quote, other := "'", '"'
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote, other = `"`, '\''
	}
	o.Write(quote)
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
		r.Step(1)
		o.Write(s[from:i])
		o.Write(text)
		from = i + runeSize(s[i:])
	}
	o.Write(s[from:])
	o.Write(quote)
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

// IsSpace says what white space is in Python.
func IsSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

// IsWord says what can be part of a name.
func IsWord(c rune) bool {
	return c == '_' || unicode.IsLetter(c) || unicode.IsNumber(c) || unicode.In(c, unicode.Mn, unicode.Mc)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// pad fills a text up to a width: '<' puts it to the left, '>' to the right, '^' between.
func (r *Run) pad(s, fill string, align byte, width int) string {
	n := width - r.runes(s)
	if n <= 0 {
		return s
	}
	r.Take(n, 2*len(fill))
	left := 0
	switch align {
	case '>':
		left = n
	case '^':
		left = n/2 + n&width&1
	case 'f': // in the middle, as str.format does
		left = n / 2
	}
	return r.Concat(strings.Repeat(fill, left), s, strings.Repeat(fill, n-left))
}

// replace replaces the first count of a text, all if it is negative.
func (r *Run) replace(s, old, with string, count int) string {
	r.scan(len(s))
	n := strings.Count(s, old)
	if count >= 0 {
		n = min(n, count)
	}
	r.walk(n)
	r.Take(n, len(with))
	r.Take(len(s), 1)
	return strings.Replace(s, old, with, n)
}
