package codecs

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/names"
)

func utf8Codec() *Codec {
	return &Codec{name: "utf_8", ascii: true,
		encode: func(c rune) ([]byte, bool) { return utf8.AppendRune(nil, c), utf8.ValidRune(c) },
		decode: func(b []byte) (rune, int, bool) {
			c, size := utf8.DecodeRune(b)
			if c != utf8.RuneError || size > 1 {
				return c, size, true
			}
			for k := 2; k <= len(b) && !utf8.FullRune(b[:k-1]); k++ {
				if !utf8.FullRune(b[:k]) {
					size = k // all of a character that has no end is one error
				}
			}
			return 0, size, false
		}}
}

// word reads bytes as a number.
func word(b []byte, big bool) (n uint32) {
	for i := range b {
		if big {
			n = n<<8 | uint32(b[i])
		} else {
			n = n<<8 | uint32(b[len(b)-1-i])
		}
	}
	return n
}

// bytesOf writes a number of a size.
func bytesOf(n uint32, size int, big bool) []byte {
	b := make([]byte, size)
	for i := range b {
		at := i
		if big {
			at = size - 1 - i
		}
		b[at] = byte(n >> (8 * i))
	}
	return b
}

func utf16Codec(name string, big bool) *Codec {
	return &Codec{name: name,
		encode: func(c rune) ([]byte, bool) {
			if high, low := utf16.EncodeRune(c); high != unicode.ReplacementChar {
				return append(bytesOf(uint32(high), 2, big), bytesOf(uint32(low), 2, big)...), true
			}
			return bytesOf(uint32(c), 2, big), utf8.ValidRune(c)
		},
		decode: func(b []byte) (rune, int, bool) {
			if len(b) < 2 {
				return 0, len(b), false
			}
			c := rune(word(b[:2], big))
			switch {
			case !utf16.IsSurrogate(c):
				return c, 2, true
			case c >= 0xdc00:
				return 0, 2, false
			case len(b) < 4:
				return 0, len(b), false
			}
			c = utf16.DecodeRune(c, rune(word(b[2:4], big)))
			if c == unicode.ReplacementChar {
				return 0, 2, false
			}
			return c, 4, true
		}}
}

func utf32Codec(name string, big bool) *Codec {
	return &Codec{name: name,
		encode: func(c rune) ([]byte, bool) { return bytesOf(uint32(c), 4, big), utf8.ValidRune(c) },
		decode: func(b []byte) (rune, int, bool) {
			if len(b) < 4 {
				return 0, len(b), false
			}
			n := word(b[:4], big)
			return rune(n), 4, n <= unicode.MaxRune && utf8.ValidRune(rune(n))
		}}
}

// escapes are the letters after a backslash that stand for one character.
var escapes = map[byte]rune{'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', '\'': '\'', '"': '"', 'a': '\a', 'b': '\b',
	'f': '\f', 'v': '\v', '\n': none}

func unicodeEscape() *Codec {
	written := map[rune]string{'\\': `\\`, '\n': `\n`, '\t': `\t`, '\r': `\r`}
	return &Codec{name: "unicode_escape",
		encode: func(c rune) ([]byte, bool) {
			if text, ok := written[c]; ok {
				return []byte(text), true
			}
			if c >= ' ' && c <= '~' {
				return []byte{byte(c)}, true
			}
			return []byte(Escape(c)), true
		},
		decode: DecodeEscape}
}

func rawUnicodeEscape() *Codec {
	return &Codec{name: "raw_unicode_escape",
		encode: func(c rune) ([]byte, bool) {
			if c < 0x100 {
				return []byte{byte(c)}, true
			}
			return []byte(Escape(c)), true
		},
		decode: func(b []byte) (rune, int, bool) {
			if len(b) >= 2 && b[0] == '\\' && (b[1] == 'u' || b[1] == 'U') {
				return numbered(b, 2, digitsOf[b[1]])
			}
			return rune(b[0]), 1, true
		}}
}

// digitsOf is how many digits follow a letter after a backslash.
var digitsOf = map[byte]int{'x': 2, 'u': 4, 'U': 8}

// numbered reads a character's number of some hexadecimal digits; size is that of an error where there are fewer.
func numbered(b []byte, from, digits int) (c rune, size int, ok bool) {
	n, end := uint64(0), from
	for ; end < min(len(b), from+digits); end++ {
		d := strings.IndexByte("0123456789abcdef", b[end]|0x20)
		if d < 0 || b[end] < '0' {
			break
		}
		n = n<<4 | uint64(d)
	}
	return rune(n), end, end == from+digits && n <= unicode.MaxRune
}

// DecodeEscape reads one character of the text of a string literal of Python, by its escape if it has one. Bytes that
// are no ASCII are characters of their own.
func DecodeEscape(b []byte) (c rune, size int, ok bool) {
	if b[0] != '\\' {
		return rune(b[0]), 1, true
	}
	if len(b) == 1 {
		return 0, 1, false
	}
	letter := b[1]
	if c, ok := escapes[letter]; ok {
		return c, 2, true
	}
	switch {
	case letter >= '0' && letter <= '7':
		for size = 1; size < min(len(b), 4) && b[size] >= '0' && b[size] <= '7'; size++ {
			c = c<<3 | rune(b[size]-'0')
		}
		return c, size, true
	case digitsOf[letter] > 0:
		return numbered(b, 2, digitsOf[letter])
	case letter == 'N':
		return named(b)
	}
	return '\\', 1, true
}

// named reads \N{a name}.
func named(b []byte) (c rune, size int, ok bool) {
	if len(b) < 3 || b[2] != '{' {
		return 0, 2, false
	}
	end := bytes.IndexByte(b, '}')
	if end < 0 {
		return 0, len(b), false
	}
	if end == 3 {
		return 0, 3, false
	}
	c, ok = names.Find(string(b[3:end]))
	return c, end + 1, ok
}
