package values

import (
	"math"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/codecs"
)

// Octets are Python's bytes.
type Octets string

// hidden is added to bytes that are no ASCII, and to separators, to make them characters without a meaning: methods of
// strings then do with bytes what those of bytes do.
const hidden = 0xf700

// asText returns bytes as characters, one for each.
func (r *Run) asText(b Octets) string {
	r.Walk(len(b))
	r.Take(len(b), 3)
	var s strings.Builder
	for i := range len(b) {
		if c := rune(b[i]); c >= utf8.RuneSelf || c >= 0x1c && c < ' ' {
			s.WriteRune(hidden + c)
		} else {
			s.WriteRune(c)
		}
	}
	return s.String()
}

// AsOctets undoes asText, in all of a list too.
func (r *Run) AsOctets(v Value) Value {
	switch v := v.(type) {
	case string:
		r.Walk(len(v))
		r.Take(len(v), 1)
		b := make([]byte, 0, len(v))
		for _, c := range v {
			b = append(b, byte(c))
		}
		return Octets(b)
	case *List:
		r.Take(len(v.Items), ValueSize+16)
		items := make([]Value, len(v.Items))
		for i, item := range v.Items {
			items[i] = r.AsOctets(item)
		}
		return &List{Kind: v.Kind, Items: items}
	}
	return v
}

// FromOctets makes text of bytes in an argument, and refuses strings.
func (r *Run) FromOctets(v Value) Value {
	switch v := v.(type) {
	case Octets:
		return r.asText(v)
	case string, Markup:
		r.Fail("a method of bytes has a string, expected bytes")
	case *List:
		r.Take(len(v.Items), ValueSize+16)
		items := make([]Value, len(v.Items))
		for i, item := range v.Items {
			items[i] = r.FromOctets(item)
		}
		return &List{Kind: v.Kind, Items: items}
	}
	return v
}

// ByteArg returns a number as a byte.
func (r *Run) ByteArg(v Value) byte {
	i := r.IntArg(v, 0)
	if i < 0 || i > math.MaxUint8 {
		r.Fail("%s is no byte, expected a number from 0 to 255", r.Str(v))
	}
	return byte(i)
}

func (r *Run) OctetsArg(v Value) Octets {
	b, ok := v.(Octets)
	if !ok {
		r.FailUndefined(v)
		r.Fail("an argument is %s, expected bytes", TypeName(v))
	}
	return b
}

// byteItems returns bytes as integers.
func (r *Run) byteItems(b Octets) []Value {
	r.Walk(len(b))
	r.Take(len(b), ValueSize)
	items := make([]Value, len(b))
	for i := range items {
		items[i] = int(b[i])
	}
	return items
}

// writeOctets writes bytes as a literal of Python.
func (r *Run) writeOctets(o *Output, b Octets) {
	quote := byte('\'')
	if strings.Contains(string(b), "'") && !strings.Contains(string(b), `"`) {
		quote = '"'
	}
	o.Write("b" + string(quote))
	for i := range len(b) {
		switch c := b[i]; {
		case c == quote || c == '\\':
			o.Write(`\` + string(c))
		case quotedEscapes[rune(c)] != "" && c < ' ':
			o.Write(quotedEscapes[rune(c)])
		case c < ' ' || c > '~':
			o.Write(codecs.Escape(rune(c)))
		default:
			o.Write(string(c))
		}
	}
	o.Write(string(quote))
}
