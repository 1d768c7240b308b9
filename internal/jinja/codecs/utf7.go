package codecs

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// utf7Codec has characters that are no ASCII, and some that are, as UTF-16 in base 64 between + and a character that is
// no digit of it; a - there stands for nothing.
func utf7Codec() *Codec {
	return &Codec{name: "utf_7", whole: &wholeText{
		encode: func(text []rune, _ string) ([]byte, error) { return encodeUTF7(text), nil },
		decode: decodeUTF7,
	}}
}

const (
	base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	notDirect    = `\~+` // characters of ASCII, without control characters, that are written in base 64
)

// direct says whether a character stands for itself.
func direct7(c rune) bool {
	return c < 0x7f && (c >= ' ' && !strings.ContainsRune(notDirect, c) || c == '\t' || c == '\n' || c == '\r')
}

func isBase64(c rune) bool { return c < utf8.RuneSelf && strings.ContainsRune(base64Digits, c) }

func encodeUTF7(text []rune) (b []byte) {
	inside, bits, buffer := false, 0, uint32(0)
	put := func(unit rune) {
		buffer, bits = buffer<<16|uint32(unit), bits+16
		for ; bits >= 6; bits -= 6 {
			b = append(b, base64Digits[buffer>>(bits-6)&63])
		}
	}
	flush := func() {
		if bits > 0 {
			b = append(b, base64Digits[buffer<<(6-bits)&63])
		}
		inside, bits, buffer = false, 0, 0
	}
	for _, c := range text {
		switch {
		case direct7(c):
			if inside {
				if flush(); isBase64(c) || c == '-' {
					b = append(b, '-')
				}
			}
			b = append(b, byte(c))
			continue
		case !inside && c == '+':
			b = append(b, "+-"...)
			continue
		case !inside:
			inside, b = true, append(b, '+')
		}
		if c >= 0x10000 {
			high, low := utf16.EncodeRune(c)
			put(high)
			c = low
		}
		put(c)
	}
	if inside {
		flush()
		b = append(b, '-')
	}
	return b
}

// utf7 is what is decoded of a text.
type utf7 struct {
	text   []rune
	inside bool // base 64
	bits   int  // of buffer
	buffer uint32
	high   rune // half of a character that is not complete
}

// decodeUTF7 decodes as Python does, which takes what is wrong in base 64 to begin with the + before it.
func decodeUTF7(b []byte, handler string) ([]rune, error) {
	var s utf7
	start, at := 0, 0
	for at < len(b) || s.inside {
		if !s.inside {
			start = at
		}
		size, ok := s.step(b[at:])
		if at += size; ok {
			continue
		}
		instead, n := undecoded(b[start:at], handler)
		if n == 0 {
			return nil, &Error{start}
		}
		s.text, at, s.inside = append(s.text, instead...), start+n, false
	}
	return s.text, nil
}

// step decodes one byte, or the end, and returns how many bytes it has read, and whether they are right.
func (s *utf7) step(b []byte) (size int, ok bool) {
	switch {
	case len(b) == 0:
		s.inside = false
		return 0, s.high == 0 && s.padded()
	case s.inside && isBase64(rune(b[0])):
		s.digit(uint32(strings.IndexByte(base64Digits, b[0])))
		return 1, true
	case s.inside:
		s.inside = false
		if !s.padded() {
			return 1, false
		}
		if s.high != 0 && b[0] != '+' && b[0] < utf8.RuneSelf {
			s.text = append(s.text, s.high)
		}
		s.high = 0
		if b[0] == '-' {
			return 1, true
		}
		return 0, true
	case b[0] >= utf8.RuneSelf:
		return 1, false
	case b[0] != '+':
		s.text = append(s.text, rune(b[0]))
		return 1, true
	case len(b) > 1 && b[1] == '-':
		s.text = append(s.text, '+')
		return 2, true
	case len(b) > 1 && !isBase64(rune(b[1])):
		return 2, false
	}
	*s = utf7{text: s.text, inside: true}
	return 1, true
}

// padded says whether nothing but padding is left: less than a digit, of zeros.
func (s *utf7) padded() bool { return s.bits == 0 || s.bits < 6 && s.buffer == 0 }

func (s *utf7) digit(d uint32) {
	if s.buffer, s.bits = s.buffer<<6|d, s.bits+6; s.bits < 16 {
		return
	}
	s.bits -= 16
	unit := rune(s.buffer >> s.bits)
	s.buffer &= 1<<s.bits - 1
	high := s.high
	s.high = 0
	switch {
	case high != 0 && unit >= 0xdc00 && unit < 0xe000:
		unit = utf16.DecodeRune(high, unit)
	case high != 0:
		s.text = append(s.text, high)
	}
	if unit >= 0xd800 && unit < 0xdc00 {
		s.high = unit
		return
	}
	s.text = append(s.text, unit)
}
