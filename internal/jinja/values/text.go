package values

import (
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/codecs"
	"github.com/phi3conv/phi3conv/internal/jinja/html"
)

// Runes returns the number of characters of a short text.
func Runes(s string) int { return utf8.RuneCountInString(s) }

// Runes returns the number of characters of any text.
func (r *Run) Runes(s string) int {
	r.Scan(len(s))
	if IsASCII(s) {
		return len(s)
	}
	r.Walk(len(s))
	return utf8.RuneCountInString(s)
}

// Cut returns characters from one index to another.
func (r *Run) Cut(s string, from, to int) string {
	r.Scan(len(s))
	if IsASCII(s) {
		return s[min(from, len(s)):min(to, len(s))]
	}
	r.Walk(len(s))
	start := byteOffset(s, from)
	return s[start : start+byteOffset(s[start:], to-from)]
}

// byteOffset returns where character i of a string begins.
func byteOffset(s string, i int) int {
	at := 0
	for ; i > 0 && at < len(s); i-- {
		at += RuneSize(s[at:])
	}
	return at
}

// RuneSize returns the size of the first character in bytes.
func RuneSize(s string) int {
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
	case Markup:
		return string(v)
	case *Undefined:
		return ""
	case int, *big.Int:
		return r.Decimal(v)
	}
	return r.Repr(v)
}

// Repr returns a value as Python's repr does.
func (r *Run) Repr(v Value) string {
	o := NewOutput(r)
	r.WriteRepr(o, v)
	return o.String()
}

// ASCII is Repr with escapes for all that is not ASCII.
func (r *Run) ASCII(v Value) string {
	s := r.Repr(v)
	r.Walk(len(s))
	o := NewOutput(r)
	for _, c := range s {
		if c < utf8.RuneSelf {
			o.Write(string(c))
		} else {
			o.Write(codecs.Escape(r.Code(c)))
		}
	}
	return o.String()
}

// WriteRepr writes what Repr returns.
func (r *Run) WriteRepr(o *Output, v Value) {
	r.Step(1)
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case nil:
		o.Write("None")
	case bool:
		o.Write(map[bool]string{true: "True", false: "False"}[v])
	case int, *big.Int:
		o.Write(r.Decimal(v))
	case float64:
		o.Write(FormatFloat(v))
	case complex128:
		o.Write(formatComplex(v))
	case string:
		r.writeQuoted(o, v)
	case Octets:
		r.writeOctets(o, v)
	case Markup:
		o.Write("Markup(")
		r.writeQuoted(o, string(v))
		o.Write(")")
	case *Undefined:
		o.Write("Undefined")
	case *List:
		r.writeList(o, v)
	case *Dict:
		r.writeDict(o, v)
	case *Span:
		o.Write("range(" + r.Decimal(v.start) + ", " + r.Decimal(v.stop))
		if v.step != 1 {
			o.Write(", " + r.Decimal(v.step))
		}
		o.Write(")")
	case *Namespace:
		o.Write("<Namespace ")
		r.WriteRepr(o, v.dict)
		o.Write(">")
	case Custom:
		o.Write(v.String())
	default:
		r.Fail("%s is printed, expected a value: apply list to it, or call it", TypeName(v))
	}
}

func (r *Run) writeList(o *Output, l *List) { r.WriteItems(o, l, r.WriteRepr) }

// WriteItems writes a list with its brackets.
func (r *Run) WriteItems(o *Output, l *List, write func(*Output, Value)) {
	before, after := "[", "]"
	r.failUnordered(l)
	switch {
	case l.Kind == SetKind && len(l.Items) == 0:
		before, after = "set(", ")"
	case l.Kind == SetKind:
		before, after = "{", "}"
	case l.IsTuple() && len(l.Items) == 1:
		before, after = "(", ",)"
	case l.IsTuple():
		before, after = "(", ")"
	case l.Kind != ListKind:
		before, after = l.Kind+"([", "])"
	}
	o.Write(before)
	for i, item := range l.Items {
		if i > 0 {
			o.Write(", ")
		}
		write(o, item)
	}
	o.Write(after)
}

func (r *Run) writeDict(o *Output, d *Dict) {
	o.Write("{")
	for i, k := range d.Keys {
		if i > 0 {
			o.Write(", ")
		}
		r.WriteRepr(o, k)
		o.Write(": ")
		r.WriteRepr(o, d.Values[i])
	}
	o.Write("}")
}

// quotedEscapes has a quote only where it is the one around the literal.
var quotedEscapes = map[rune]string{'\\': `\\`, '\'': `\'`, '"': `\"`, '\n': `\n`, '\r': `\r`, '\t': `\t`}

// writeQuoted writes a string as a literal of Python.
func (r *Run) writeQuoted(o *Output, s string) {
	r.Walk(len(s))
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
		case text == "":
			text = codecs.Escape(r.Code(c))
		}
		r.Step(1)
		o.Write(s[from:i])
		o.Write(text)
		from = i + RuneSize(s[i:])
	}
	o.Write(s[from:])
	o.Write(quote)
}

// FormatFloat writes a float with the fewest digits that stand for it, as Python does.
func FormatFloat(f float64) string {
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
func IsSpace(c rune) bool { return html.IsSpace(c) }

// IsWord says what can be part of a name.
func IsWord(c rune) bool {
	return c == '_' || unicode.IsLetter(c) || unicode.IsNumber(c) || unicode.In(c, unicode.Mn, unicode.Mc)
}

// IsASCII says whether a text has no other characters.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// Pad fills a text up to a width: '<' puts it to the left, '>' to the right, '^' between.
func (r *Run) Pad(s, fill string, align byte, width int) string {
	n := width - r.Runes(s)
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

// Replace replaces the first count of a text, all if it is negative.
func (r *Run) Replace(s, old, with string, count int) string {
	r.Scan(len(s))
	n := strings.Count(s, old)
	if count >= 0 {
		n = min(n, count)
	}
	r.Walk(n)
	r.Take(n, len(with))
	r.Take(len(s), 1)
	return strings.Replace(s, old, with, n)
}
