package methods

import (
	"encoding/hex"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/codecs"
	"github.com/phi3conv/phi3conv/internal/jinja/names"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

var byteMethods map[string]*Builtin

func makeByteMethods() {
	byteMethods = values.Table(
		values.Fn("hex", "self sep= bytes_per_sep=", hexMethod), values.Fn("decode", "self encoding= errors=", decode),
		values.Fn("fromhex", "self string", bytesFromHex), values.Fn("maketrans", "self frm to", byteTable),
		values.Fn("translate", "self table/ delete=", translateBytes),
		values.Fn("splitlines", "self keepends=", splitByteLines),
	)
	byteMethods["fromhex"].ByPosition(true)
	byteMethods["maketrans"].ByPosition(true)
	for _, name := range strings.Fields("capitalize center count endswith expandtabs find index isalnum isalpha " +
		"isascii isdigit islower isspace istitle isupper join ljust lower lstrip partition removeprefix " +
		"removesuffix replace rfind rindex rjust rpartition rsplit rstrip split startswith strip " +
		"swapcase title upper zfill") {
		f := stringMethods[name]
		takesNumber := strings.Contains(" count find index rfind rindex ", " "+name+" ")
		byteMethods[name] = values.Raw(name, func(r *Run, a Arguments) Value {
			if takesNumber && len(a.Items) > 1 && values.BigOf(a.Items[1]) != nil {
				a.Items = slices.Clone(a.Items)
				a.Items[1] = values.Octets([]byte{r.ByteArg(a.Items[1])})
			}
			list := r.FromOctets(&List{Kind: values.ListKind, Items: a.Items})
			return r.AsOctets(r.Apply(f, Arguments{Items: list.(*List).Items, Names: a.Names, Named: a.Named}))
		})
	}
}

// hexMethod writes bytes in hexadecimal, with a separator between groups that are counted from the right, or from the
// left if their size is negative.
func hexMethod(r *Run, a []Value) Value {
	b, sep, size := a[0].(values.Octets), "", r.IntArg(a[2], 1)
	if b2, ok := a[1].(values.Octets); ok {
		sep = string(b2)
	} else if a[1] != (values.Absent{}) {
		sep = r.StringArg(a[1])
	}
	if a[1] != (values.Absent{}) && (len(sep) != 1 || sep[0] >= utf8.RuneSelf) {
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
	if m, isMarkup := a[1].(values.Markup); isMarkup {
		s, ok = string(m), true
	}
	if !ok {
		r.Fail("fromhex has %s, expected a string", values.TypeName(a[1]))
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
	return values.Octets(b)
}

const asciiSpace = " \t\n\r\f\v"

// byteTable makes the table that translate takes.
func byteTable(r *Run, a []Value) Value {
	from, to := r.OctetsArg(a[1]), r.OctetsArg(a[2])
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
	return values.Octets(table)
}

func translateBytes(r *Run, a []Value) Value {
	b, gone := a[0].(values.Octets), values.Octets("")
	if a[2] != (values.Absent{}) {
		gone = r.OctetsArg(a[2])
	}
	table := values.Octets("")
	if a[1] != nil {
		if table = r.OctetsArg(a[1]); len(table) != 256 {
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
	return values.Octets(result)
}

// splitByteLines cuts bytes at the ends of lines, which are fewer than those of text.
func splitByteLines(r *Run, a []Value) Value {
	b, keep := string(a[0].(values.Octets)), r.IntArg(a[1], 0) != 0
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
		r.Take(1, 4*values.ValueSize+16)
		lines.Items = append(lines.Items, values.Octets(line))
		b = b[end+size:]
	}
	return lines
}

// codec returns the encoding of two arguments, and how what it lacks is handled.
func codec(r *Run, encoding, handler Value) (*codecs.Codec, string) {
	name, mode := r.StringArg(values.OrElse(encoding, "utf-8")), r.StringArg(values.OrElse(handler, "strict"))
	c, err := codecs.Find(values.Brief(name))
	if err != nil {
		r.Fail("%s: %v", name, err)
	}
	return c, mode
}

func encode(r *Run, a []Value) Value {
	s := r.StringArg(a[0])
	codec, handler := codec(r, a[1], a[2])
	walked, taken := codec.Cost(len(s))
	r.Walk(walked)
	r.Take(len(s), taken)
	if handler != "strict" && !values.IsASCII(s) {
		const longest = 100 // the longest that stands for a character is its name
		r.Walk(6 * len(s))
		r.Take(len(s), longest)
	}
	b, err := codec.Encode(r.Codes(s), handler, names.Of)
	if err != nil {
		r.Fail("text is encoded: %v: use utf-8", err)
	}
	r.Take(len(b), 2)
	return values.Octets(b)
}

func decode(r *Run, a []Value) Value {
	b := a[0].(values.Octets)
	codec, handler := codec(r, a[1], a[2])
	walked, taken := codec.Cost(len(b))
	r.Walk(walked)
	r.Take(len(b), taken)
	if handler == "backslashreplace" {
		r.Walk(20 * len(b))
		r.Take(len(b), 100)
	}
	text, err := codec.Decode([]byte(b), handler)
	if err != nil {
		r.Fail("bytes are decoded: %v", err)
	}
	return r.FromCodes(text)
}
