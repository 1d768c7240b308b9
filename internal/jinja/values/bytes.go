package values

import (
	"strings"
	"unicode/utf8"
)

// octets are Python's bytes.
type octets string

// hidden is added to bytes that are no ASCII, and to separators, to make them characters without a meaning: methods of
// strings then do with bytes what those of bytes do.
const hidden = 0xf700

// asText returns bytes as characters, one for each.
func (r *Run) asText(b octets) string {
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

// asOctets undoes asText, in all of a list too.
func (r *Run) asOctets(v Value) Value {
	switch v := v.(type) {
	case string:
		r.Walk(len(v))
		r.Take(len(v), 1)
		b := make([]byte, 0, len(v))
		for _, c := range v {
			b = append(b, byte(c))
		}
		return octets(b)
	case *List:
		r.Take(len(v.Items), ValueSize+16)
		items := make([]Value, len(v.Items))
		for i, item := range v.Items {
			items[i] = r.asOctets(item)
		}
		return &List{Kind: v.Kind, Items: items}
	}
	return v
}

// fromOctets makes text of bytes in an argument, and refuses strings.
func (r *Run) fromOctets(v Value) Value {
	switch v := v.(type) {
	case octets:
		return r.asText(v)
	case string, Markup:
		r.Fail("a method of bytes has a string, expected bytes")
	case *List:
		r.Take(len(v.Items), ValueSize+16)
		items := make([]Value, len(v.Items))
		for i, item := range v.Items {
			items[i] = r.fromOctets(item)
		}
		return &List{Kind: v.Kind, Items: items}
	}
	return v
}

var byteMethods map[string]*Builtin

func makeByteMethods() {
	byteMethods = Table(
		Fn("hex", "self", func(r *Run, a []Value) Value {
			b := a[0].(octets)
			o := NewOutput(r)
			for i := range len(b) {
				o.Write(string("0123456789abcdef"[b[i]>>4]) + string("0123456789abcdef"[b[i]&15]))
			}
			return o.String()
		}),
		Fn("decode", "self encoding= errors=", decode),
	)
	for _, name := range strings.Fields("capitalize center count endswith expandtabs find index isalnum isalpha " +
		"isascii isdigit islower isspace istitle isupper join ljust lower lstrip partition removeprefix " +
		"removesuffix replace rfind rindex rjust rpartition rsplit rstrip split startswith strip " +
		"swapcase title upper zfill") {
		f := stringMethods[name]
		byteMethods[name] = Raw(name, func(r *Run, a Arguments) Value {
			list := r.fromOctets(&List{Kind: ListKind, Items: a.Items})
			return r.asOctets(r.Apply(f, Arguments{list.(*List).Items, a.Names, a.Named}))
		})
	}
}

// codecs are the encodings that there are, as the number of characters that one byte can be; 0 for UTF-8.
var codecs = map[string]rune{"utf-8": 0, "utf8": 0, "ascii": 0x80, "us-ascii": 0x80, "latin-1": 0x100, "latin1": 0x100,
	"iso-8859-1": 0x100}

// codec returns the encoding of two arguments, and what stands for what it lacks.
func (r *Run) codec(encoding, errors Value) (limit rune, strict bool, instead string) {
	name := r.StringArg(OrElse(encoding, "utf-8"))
	limit, ok := codecs[strings.ReplaceAll(Lower(Brief(name)), "_", "-")]
	if !ok {
		r.Fail("the encoding %s is not known, expected utf-8, ascii or latin-1", name)
	}
	switch mode := r.StringArg(OrElse(errors, "strict")); mode {
	case "strict":
		return limit, true, ""
	case "ignore":
	case "replace":
		instead = "?"
	default:
		r.Fail("errors of an encoding are %q, expected strict, ignore or replace", mode)
	}
	return limit, false, instead
}

func encode(r *Run, a []Value) Value {
	s := r.StringArg(a[0])
	limit, strict, instead := r.codec(a[1], a[2])
	r.Walk(len(s))
	r.Take(len(s), 1)
	if limit == 0 || IsASCII(s) {
		return octets(s)
	}
	b := make([]byte, 0, len(s))
	for _, c := range s {
		switch {
		case c < limit:
			b = append(b, byte(c))
		case strict:
			r.Fail("%q is encoded, which is not in the encoding: use utf-8", c)
		default:
			b = append(b, instead...)
		}
	}
	return octets(b)
}

func decode(r *Run, a []Value) Value {
	b := a[0].(octets)
	limit, strict, instead := r.codec(a[1], a[2])
	r.Walk(len(b))
	r.Take(len(b), 3)
	if instead != "" {
		instead = "\ufffd"
	}
	var s strings.Builder
	for i := 0; i < len(b); {
		c, size := rune(b[i]), 1
		ok := c < limit
		if limit == 0 {
			c, size = utf8.DecodeRuneInString(string(b[i:min(len(b), i+utf8.UTFMax)]))
			ok = c != utf8.RuneError || size > 1
		}
		for k := 2; limit == 0 && !ok && i+k <= len(b) && !utf8.FullRuneInString(string(b[i:i+k-1])); k++ {
			if !utf8.FullRuneInString(string(b[i : i+k])) {
				size = k // all of a character that has no end is one error
			}
		}
		switch {
		case ok:
			s.WriteRune(c)
		case strict:
			r.Fail("bytes are decoded that are not in the encoding, at %d", i)
		default:
			s.WriteString(instead)
		}
		i += size
	}
	return s.String()
}

// byteItems returns bytes as integers.
func (r *Run) byteItems(b octets) []Value {
	r.Walk(len(b))
	r.Take(len(b), ValueSize)
	items := make([]Value, len(b))
	for i := range items {
		items[i] = int(b[i])
	}
	return items
}

// writeOctets writes bytes as a literal of Python.
func (r *Run) writeOctets(o *Output, b octets) {
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
			o.Write(escaped(rune(c)))
		default:
			o.Write(string(c))
		}
	}
	o.Write(string(quote))
}
