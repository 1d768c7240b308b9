// Package codecs has Python's encodings of text, with its ways to handle what an encoding lacks. A text is a list of
// characters; halves of characters (surrogates) are among them.
package codecs

import (
	_ "embed"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"
	"unicode/utf16"
)

// ErrUnknown is the error for a name that is no encoding of text.
var ErrUnknown = errors.New("the encoding is not known")

// Codec is an encoding.
type Codec struct {
	name string
	// encode returns the bytes of a character.
	encode func(c rune) ([]byte, bool)
	// decode returns the first character of bytes, or two of them as a pair, how many bytes they take, and whether they
	// are any.
	decode func(b []byte) (c rune, size int, ok bool)
	ascii  bool   // the first 128 characters are those of ASCII, a byte each
	mark   []byte // before an encoded text
	// open returns the codec of the rest of bytes that begin with a mark, where one says which it is.
	open func(b []byte) (*Codec, []byte)
	// start returns the codec of one text, where bytes depend on those before them. It has encodeText, and end returns
	// the bytes after a text.
	start func() *Codec
	end   func() []byte
	// encodeText, in place of encode, returns the bytes of the first of some characters, and how many these are: 0 if
	// there are none.
	encodeText func(text []rune) (b []byte, n int)
	// whole has the encodings of a text as a whole.
	whole *wholeText
}

// wholeText is an encoding that has no bytes for a character alone.
type wholeText struct {
	encode func(text []rune, handler string) ([]byte, error)
	decode func(b []byte, handler string) ([]rune, error)
}

//go:embed codepages.txt
var codePages string

//go:embed aliases.txt
var aliasList string

// canonical returns an encoding's name as Python's modules have it.
func canonical(name string) string {
	var b strings.Builder
	between := false
	for _, c := range strings.ToLower(name) {
		if !strings.ContainsRune(".0123456789abcdefghijklmnopqrstuvwxyz", c) {
			between = true
			continue
		}
		if between && b.Len() > 0 {
			b.WriteByte('_')
		}
		between = false
		b.WriteRune(c)
	}
	name = b.String()
	for _, alias := range []string{name, strings.ReplaceAll(name, ".", "_")} {
		if to, ok := aliases()[alias]; ok {
			return to
		}
	}
	return name
}

var aliases = sync.OnceValue(func() map[string]string {
	m := map[string]string{}
	for line := range strings.Lines(aliasList) {
		alias, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		m[alias] = name
	}
	return m
})

// pages returns the encodings of one byte.
var pages = sync.OnceValue(func() map[string]*Codec {
	m := map[string]*Codec{}
	for line := range strings.Lines(codePages) {
		name, quoted, _ := strings.Cut(strings.TrimSpace(line), " ")
		text, err := strconv.Unquote(quoted)
		if err != nil {
			panic(fmt.Sprintf("codepages.txt: %s: %v", name, err))
		}
		m[name] = page(name, []rune(text))
	}
	return m
})

// page makes an encoding of one byte; the first 128 are ASCII if there are only 128 characters.
func page(name string, table []rune) *Codec {
	const missing = 0xfffe
	first := 0x100 - len(table)
	codes := map[rune]byte{}
	for i := range first {
		codes[rune(i)] = byte(i)
	}
	for i, c := range table {
		if c != missing {
			codes[c] = byte(first + i)
		}
	}
	return &Codec{name: name, ascii: first == 0x80, encode: func(c rune) ([]byte, bool) {
		code, ok := codes[c]
		return []byte{code}, ok
	}, decode: func(b []byte) (rune, int, bool) {
		if int(b[0]) < first {
			return rune(b[0]), 1, true
		}
		c := table[int(b[0])-first]
		return c, 1, c != missing
	}}
}

// direct makes an encoding of the first characters, a byte each.
func direct(name string, limit rune) *Codec {
	return &Codec{name: name, ascii: true,
		encode: func(c rune) ([]byte, bool) { return []byte{byte(c)}, c < limit },
		decode: func(b []byte) (rune, int, bool) { return rune(b[0]), 1, rune(b[0]) < limit }}
}

// codecs are the encodings that are no tables, by Python's names.
var codecs = sync.OnceValue(func() map[string]*Codec {
	m := map[string]*Codec{}
	for _, c := range []*Codec{direct("ascii", 0x80), direct("latin_1", 0x100), direct("charmap", 0x100), utf8Codec(),
		utf16Codec("utf_16_le", false), utf16Codec("utf_16_be", true),
		utf32Codec("utf_32_le", false), utf32Codec("utf_32_be", true), unicodeEscape(), rawUnicodeEscape(),
		euckrCodec(), gb18030Codec(), hzCodec(), utf7Codec(), punycodeCodec(), idnaCodec()} {
		m[c.name] = c
	}
	for _, name := range strings.Fields("big5 big5hkscs cp932 cp949 cp950 euc_jis_2004 euc_jisx0213 euc_jp gb2312 " +
		"gbk johab shift_jis shift_jis_2004 shift_jisx0213") {
		m[name] = tableCodec(name)
	}
	for name, sets := range designations {
		m[name] = iso2022Codec(name, sets)
	}
	m["utf_8_sig"] = marked(m["utf_8"], m["utf_8"], "\ufeff")
	m["utf_16"] = marked(m["utf_16_le"], m["utf_16_be"], "\ufeff")
	m["utf_32"] = marked(m["utf_32_le"], m["utf_32_be"], "\ufeff")
	return m
})

// Find returns the encoding of a name.
func Find(name string) (*Codec, error) {
	name = canonical(name)
	if c, ok := codecs()[name]; ok {
		return c, nil
	}
	if c, ok := pages()[name]; ok {
		return c, nil
	}
	return nil, ErrUnknown
}

// marked makes an encoding with a mark before the text; the mark of other says that the rest is of it.
func marked(c, other *Codec, mark string) *Codec {
	m := *c
	bom := []rune(mark)[0]
	m.mark, _ = c.encode(bom)
	otherMark, _ := other.encode(bom)
	m.open = func(b []byte) (*Codec, []byte) {
		if rest, ok := cutPrefix(b, m.mark); ok {
			return c, rest
		}
		if rest, ok := cutPrefix(b, otherMark); ok {
			return other, rest
		}
		return c, b
	}
	return &m
}

func cutPrefix(b, prefix []byte) ([]byte, bool) {
	rest, ok := strings.CutPrefix(string(b), string(prefix))
	return []byte(rest), ok
}

// Cost returns how many bytes are gone through for a text of a size, and the memory in bytes that is taken for each.
func (c *Codec) Cost(size int) (walked, taken int) {
	switch {
	case c.name == "punycode":
		return size * size, 100 // every character moves those after it
	case c.whole != nil:
		return 60 * size, 100 // a character can be 18 after normalization
	}
	return 6 * size, 20
}

// Error is what cannot be encoded or decoded.
type Error struct{ At int } // which character or byte

func (e *Error) Error() string { return fmt.Sprintf("the encoding does not have what is at %d", e.At) }

// Encode encodes a text. The handler says what is done about what the encoding lacks: ignore, replace,
// backslashreplace, xmlcharrefreplace, namereplace, surrogateescape or surrogatepass; with another it is an error.
// name returns the name of a character, for namereplace.
func (c *Codec) Encode(text []rune, handler string, name func(rune) string) ([]byte, error) {
	if c.whole != nil {
		return c.whole.encode(text, handler)
	}
	if c.start != nil {
		c = c.start()
	}
	b := append([]byte{}, c.mark...)
	for at := 0; at < len(text); {
		code, n := c.first(text[at:])
		if n == 0 {
			var ok bool
			if code, ok = c.instead(text[at], handler, name); !ok {
				return nil, &Error{at}
			}
			n = 1
		}
		b, at = append(b, code...), at+n
	}
	if c.end != nil {
		b = append(b, c.end()...)
	}
	return b, nil
}

// first returns the bytes of the first of some characters, and how many these are: 0 if there are none.
func (c *Codec) first(text []rune) (b []byte, n int) {
	if c.encodeText != nil {
		return c.encodeText(text)
	}
	b, ok := c.encode(text[0])
	if !ok {
		return nil, 0
	}
	return b, 1
}

// instead returns what stands for a character that the encoding lacks.
func (c *Codec) instead(char rune, handler string, name func(rune) string) ([]byte, bool) {
	text := ""
	switch handler {
	case "ignore":
	case "replace":
		text = "?"
	case "backslashreplace":
		text = Escape(char)
	case "xmlcharrefreplace":
		text = fmt.Sprintf("&#%d;", char)
	case "namereplace":
		if text = Escape(char); name(char) != "" {
			text = `\N{` + name(char) + "}"
		}
	case "surrogateescape":
		if char >= 0xdc80 && char < 0xdd00 {
			return []byte{byte(char)}, true
		}
		return nil, false
	case "surrogatepass":
		return c.pass(char)
	default:
		return nil, false
	}
	if c.ascii {
		return []byte(text), true
	}
	var b []byte
	for _, char := range text {
		code, n := c.first([]rune{char})
		if n == 0 {
			return nil, false
		}
		b = append(b, code...)
	}
	return b, true
}

// pass encodes half of a character as if it were one.
func (c *Codec) pass(char rune) ([]byte, bool) {
	if !utf16.IsSurrogate(char) {
		return nil, false
	}
	switch c.name {
	case "utf_8":
		return []byte{0xe0 | byte(char>>12), 0x80 | byte(char>>6&0x3f), 0x80 | byte(char&0x3f)}, true
	case "utf_16_le":
		return []byte{byte(char), byte(char >> 8)}, true
	case "utf_16_be":
		return []byte{byte(char >> 8), byte(char)}, true
	case "utf_32_le":
		return []byte{byte(char), byte(char >> 8), 0, 0}, true
	case "utf_32_be":
		return []byte{0, 0, byte(char >> 8), byte(char)}, true
	}
	return nil, false
}

// Escape returns Python's escape of a character.
func Escape(c rune) string {
	switch {
	case c < 0x100:
		return fmt.Sprintf(`\x%02x`, c)
	case c < 0x10000:
		return fmt.Sprintf(`\u%04x`, c)
	}
	return fmt.Sprintf(`\U%08x`, c)
}

// none is what a decoder returns for bytes that stand for no character, such as an escaped end of a line.
const none = -1

// Decode decodes bytes. The handlers are those of Encode that can decode.
func (c *Codec) Decode(b []byte, handler string) (text []rune, err error) {
	switch {
	case len(b) == 0:
		return nil, nil
	case c.whole != nil:
		return c.whole.decode(b, handler)
	}
	if c.start != nil {
		c = c.start()
	}
	all := len(b)
	if c.open != nil {
		c, b = c.open(b)
	}
	for len(b) > 0 {
		char, size, ok := c.decode(b)
		if !ok && handler == "surrogatepass" {
			char, size, ok = c.passed(b)
		}
		switch {
		case ok && char == none:
		case ok && char > unicode.MaxRune:
			text = append(text, char>>16, char&0xffff)
		case ok:
			text = append(text, char)
		default:
			var instead []rune
			if instead, size = undecoded(b[:size], handler); size == 0 {
				return nil, &Error{all - len(b)}
			}
			text = append(text, instead...)
		}
		b = b[size:]
	}
	return text, nil
}

// undecoded returns what stands for bytes that stand for nothing, and for how many of them: 0 is an error.
func undecoded(bad []byte, handler string) (text []rune, size int) {
	switch handler {
	case "ignore":
		return nil, len(bad)
	case "replace":
		return []rune{0xfffd}, len(bad)
	case "backslashreplace":
		for _, x := range bad {
			text = append(text, []rune(Escape(rune(x)))...)
		}
		return text, len(bad)
	case "surrogateescape":
		const most = 4 // of Python
		for ; size < min(len(bad), most) && bad[size] >= 0x80; size++ {
			text = append(text, 0xdc00+rune(bad[size]))
		}
		return text, size
	}
	return nil, 0
}

// passed decodes half of a character.
func (c *Codec) passed(b []byte) (rune, int, bool) {
	var char rune
	size := min(3, len(b))
	switch {
	case c.name == "utf_8" && len(b) >= 3:
		char = rune(b[0]&15)<<12 | rune(b[1]&0x3f)<<6 | rune(b[2]&0x3f)
		if b[0] != 0xed || b[1]&0xc0 != 0x80 || b[2]&0xc0 != 0x80 {
			return 0, 1, false
		}
	case c.name == "utf_16_le" && len(b) >= 2:
		char, size = rune(b[0])|rune(b[1])<<8, 2
	case c.name == "utf_16_be" && len(b) >= 2:
		char, size = rune(b[1])|rune(b[0])<<8, 2
	case c.name == "utf_32_le" && len(b) >= 4:
		char, size = rune(b[0])|rune(b[1])<<8|rune(b[2])<<16|rune(b[3])<<24, 4
	case c.name == "utf_32_be" && len(b) >= 4:
		char, size = rune(b[3])|rune(b[2])<<8|rune(b[1])<<16|rune(b[0])<<24, 4
	}
	return char, size, utf16.IsSurrogate(char)
}
