package values

import (
	"encoding/hex"
	"math"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/codecs"
	"github.com/phi3conv/phi3conv/internal/jinja/names"
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
		Fn("hex", "self sep= bytes_per_sep=", hexMethod), Fn("decode", "self encoding= errors=", decode),
		Fn("fromhex", "self string", bytesFromHex), Fn("maketrans", "self frm to", byteTable),
		Fn("translate", "self table/ delete=", translateBytes), Fn("splitlines", "self keepends=", splitByteLines),
	)
	byteMethods["fromhex"].positional, byteMethods["maketrans"].positional = true, true
	for _, name := range strings.Fields("capitalize center count endswith expandtabs find index isalnum isalpha " +
		"isascii isdigit islower isspace istitle isupper join ljust lower lstrip partition removeprefix " +
		"removesuffix replace rfind rindex rjust rpartition rsplit rstrip split startswith strip " +
		"swapcase title upper zfill") {
		f := stringMethods[name]
		takesNumber := strings.Contains(" count find index rfind rindex ", " "+name+" ")
		byteMethods[name] = Raw(name, func(r *Run, a Arguments) Value {
			if takesNumber && len(a.Items) > 1 && BigOf(a.Items[1]) != nil {
				a.Items = slices.Clone(a.Items)
				a.Items[1] = octets([]byte{r.byteOf(a.Items[1])})
			}
			list := r.fromOctets(&List{Kind: ListKind, Items: a.Items})
			return r.asOctets(r.Apply(f, Arguments{list.(*List).Items, a.Names, a.Named}))
		})
	}
}

// byteOf returns a number as a byte.
func (r *Run) byteOf(v Value) byte {
	i := r.IntArg(v, 0)
	if i < 0 || i > math.MaxUint8 {
		r.Fail("%s is no byte, expected a number from 0 to 255", r.Str(v))
	}
	return byte(i)
}

func (r *Run) octetsArg(v Value) octets {
	b, ok := v.(octets)
	if !ok {
		r.FailUndefined(v)
		r.Fail("an argument is %s, expected bytes", TypeName(v))
	}
	return b
}

// hexMethod writes bytes in hexadecimal, with a separator between groups that are counted from the right, or from the
// left if their size is negative.
func hexMethod(r *Run, a []Value) Value {
	b, sep, size := a[0].(octets), "", r.IntArg(a[2], 1)
	if b2, ok := a[1].(octets); ok {
		sep = string(b2)
	} else if a[1] != (Absent{}) {
		sep = r.StringArg(a[1])
	}
	if a[1] != (Absent{}) && (len(sep) != 1 || sep[0] >= utf8.RuneSelf) {
		r.Fail("hex has the separator %.40q, expected one character of ASCII", sep)
	}
	r.Walk(2 * len(b))
	r.Take(len(b), 6)
	var s strings.Builder
	for i := range len(b) {
		if i > 0 && (size > 0 && (len(b)-i)%size == 0 || size < 0 && i%-size == 0) {
			s.WriteString(sep)
		}
		s.WriteString(hex.EncodeToString([]byte{b[i]}))
	}
	return s.String()
}

func bytesFromHex(r *Run, a []Value) Value {
	s, ok := a[1].(string)
	if m, isMarkup := a[1].(Markup); isMarkup {
		s, ok = string(m), true
	}
	if !ok {
		r.Fail("fromhex has %s, expected a string", TypeName(a[1]))
	}
	r.Walk(len(s))
	r.Take(len(s), 2)
	var b []byte
	for s = strings.TrimLeft(s, asciiSpace); s != ""; s = strings.TrimLeft(s, asciiSpace) {
		pair, err := hex.DecodeString(s[:min(len(s), 2)])
		if err != nil || len(s) < 2 {
			r.Fail("fromhex has %.40q, expected pairs of hexadecimal digits", s)
		}
		b, s = append(b, pair...), s[2:]
	}
	return octets(b)
}

const asciiSpace = " \t\n\r\f\v"

// byteTable makes the table that translate takes.
func byteTable(r *Run, a []Value) Value {
	from, to := r.octetsArg(a[1]), r.octetsArg(a[2])
	if len(from) != len(to) {
		r.Fail("maketrans has %d and %d bytes, expected as many of both", len(from), len(to))
	}
	r.Take(1, 512)
	r.Walk(len(from))
	table := make([]byte, 256)
	for i := range table {
		table[i] = byte(i)
	}
	for i := range len(from) {
		table[from[i]] = to[i]
	}
	return octets(table)
}

func translateBytes(r *Run, a []Value) Value {
	b, gone := a[0].(octets), octets("")
	if a[2] != (Absent{}) {
		gone = r.octetsArg(a[2])
	}
	table := octets("")
	if a[1] != nil {
		if table = r.octetsArg(a[1]); len(table) != 256 {
			r.Fail("translate has a table of %d bytes, expected 256, or none", len(table))
		}
	}
	r.Walk(len(b) + len(gone))
	r.Take(len(b), 1)
	dropped := [256]bool{}
	for i := range len(gone) {
		dropped[gone[i]] = true
	}
	var result []byte
	for i := range len(b) {
		switch {
		case dropped[b[i]]:
		case table != "":
			result = append(result, table[b[i]])
		default:
			result = append(result, b[i])
		}
	}
	return octets(result)
}

// splitByteLines cuts bytes at the ends of lines, which are fewer than those of text.
func splitByteLines(r *Run, a []Value) Value {
	b, keep := string(a[0].(octets)), r.IntArg(a[1], 0) != 0
	r.Walk(len(b))
	lines := r.List(nil)
	for b != "" {
		end, size := strings.IndexAny(b, "\r\n"), 1
		if end < 0 {
			end, size = len(b), 0
		} else if strings.HasPrefix(b[end:], "\r\n") {
			size = 2
		}
		line := b[:end]
		if keep {
			line = b[:end+size]
		}
		r.Take(1, 4*ValueSize+16)
		lines.Items = append(lines.Items, octets(line))
		b = b[end+size:]
	}
	return lines
}

// codec returns the encoding of two arguments, and how what it lacks is handled.
func (r *Run) codec(encoding, handler Value) (*codecs.Codec, string) {
	name, mode := r.StringArg(OrElse(encoding, "utf-8")), r.StringArg(OrElse(handler, "strict"))
	c, err := codecs.Find(Brief(name))
	if err != nil {
		r.Fail("%s: %v", name, err)
	}
	return c, mode
}

func encode(r *Run, a []Value) Value {
	s := r.StringArg(a[0])
	codec, handler := r.codec(a[1], a[2])
	r.Walk(6 * len(s))
	r.Take(len(s), 16) // the longest that stands for a character is its name
	b, err := codec.Encode(r.codes(s), handler, names.Of)
	if err != nil {
		r.Fail("text is encoded: %v: use utf-8", err)
	}
	r.Take(len(b), 2)
	return octets(b)
}

func decode(r *Run, a []Value) Value {
	b := a[0].(octets)
	codec, handler := r.codec(a[1], a[2])
	r.Walk(6 * len(b))
	r.Take(len(b), 20)
	text, err := codec.Decode([]byte(b), handler)
	if err != nil {
		r.Fail("bytes are decoded: %v", err)
	}
	return r.textOf(text)
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
			o.Write(codecs.Escape(rune(c)))
		default:
			o.Write(string(c))
		}
	}
	o.Write(string(quote))
}
