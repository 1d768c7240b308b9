package codecs

import (
	"bytes"
	"slices"
	"strings"
	"unicode/utf8"
)

// set is a set of characters that an encoding of ISO 2022 switches to: by escape, a letter, a number of bytes for each
// character, and its table.
type set struct {
	escape  byte
	width   int
	table   func() *table
	shifted bool // it is beside ASCII, and a byte changes between the two
	pairs   bool // it is written for characters with another over them only
	unused  bool // nothing is written in it
	second  bool // it is for one character at a time, after ESC N
}

// double returns a set of two bytes.
func double(escape byte, name string) set {
	return set{escape: escape, width: 2, table: func() *table { return tables[name]() }}
}

// single returns a set of one byte.
func single(escape byte, chars func(code byte) (rune, bool)) set {
	t := &table{chars: map[uint32]rune{}, codes: map[rune]uint32{}}
	for code := range byte(0x80) {
		if c, ok := chars(code); ok {
			t.chars[uint32(code)], t.codes[c] = c, uint32(code)
		}
	}
	return set{escape: escape, width: 1, table: func() *table { return t }}
}

var (
	roman = single('J', func(code byte) (rune, bool) {
		switch code {
		case '\\':
			return '¥', true
		case '~':
			return '‾', true
		}
		return rune(code), true
	})
	katakana = single('I', func(code byte) (rune, bool) {
		return '｡' + rune(code) - 0x21, code > ' ' && code < 0x60
	})
	latin = second(single('A', func(code byte) (rune, bool) { return 0x80 + rune(code), true }))
	greek = second(single('F', func(code byte) (rune, bool) {
		c, _, ok := pages()["iso8859_7"].decode([]byte{0x80 | code})
		return c, ok && !strings.ContainsRune("€₯ͺ", c) // which are younger
	}))
	kanji    = double('B', "jisx0208")
	kanji78  = unused(double('@', "jisx0208"))
	kanji212 = double('D', "jisx0212")
	korean94 = double('C', "ksx1001")
)

func second(s set) set  { s.second = true; return s }
func unused(s set) set  { s.unused = true; return s }
func pairs(s set) set   { s.pairs = true; return s }
func shifted(s set) set { s.shifted = true; return s }

// designations are the sets of Python's encodings of ISO 2022, in the order that they are tried in.
var designations = map[string][]set{
	"iso2022_kr":   {shifted(korean94)},
	"iso2022_jp":   {kanji, roman, kanji78},
	"iso2022_jp_1": {kanji, kanji212, roman, kanji78},
	"iso2022_jp_2": {kanji, kanji212, korean94, double('A', "gb2312_7bit"), roman, kanji78, latin, greek},
	"iso2022_jp_3": {pairs(double('O', "jisx0213_2000_1")), kanji, double('O', "jisx0213_2000_1"),
		double('P', "jisx0213_2000_2")},
	"iso2022_jp_2004": {pairs(double('Q', "jisx0213_2004_1")), kanji, double('Q', "jisx0213_2004_1"),
		double('P', "jisx0213_2004_2")},
	"iso2022_jp_ext": {kanji, kanji212, roman, katakana, kanji78},
}

const (
	escape   = 0x1b
	shiftOut = 0x0e // to the shifted set
	shiftIn  = 0x0f
)

// iso2022 is what the bytes of a text so far have chosen: sets at the places G0 to G2, nil where it is ASCII.
type iso2022 struct {
	sets    []set
	chosen  [3]*set
	shifted bool // G1 is in use, not G0
	escaped bool // within an escape that is none of ISO 2022's
}

func iso2022Codec(name string, sets []set) *Codec {
	return &Codec{name: name, start: func() *Codec {
		s := &iso2022{sets: sets}
		return &Codec{name: name, encodeText: s.encode, decode: s.decode, end: func() []byte { return s.choose(nil) }}
	}}
}

// choose returns the bytes that choose a set, or ASCII.
func (s *iso2022) choose(to *set) (b []byte) {
	place, bracket := 0, byte('(')
	if to != nil && to.shifted {
		place, bracket = 1, ')'
	}
	if s.shifted && place == 0 {
		s.shifted, b = false, append(b, shiftIn)
	}
	switch old := s.chosen[place]; {
	case to == nil && old == nil, to != nil && old != nil && old.escape == to.escape:
	case to == nil:
		b = append(b, escape, '(', 'B')
	case to.width == 1:
		b = append(b, escape, bracket, to.escape)
	case to.escape == 'B':
		b = append(b, escape, '$', to.escape)
	default:
		b = append(b, escape, '$', bracket, to.escape)
	}
	s.chosen[place] = to
	if place == 1 && !s.shifted {
		s.shifted, b = true, append(b, shiftOut)
	}
	return b
}

func (s *iso2022) encode(text []rune) ([]byte, int) {
	if text[0] < utf8.RuneSelf {
		return append(s.choose(nil), byte(text[0])), 1
	}
	for i := range s.sets {
		to := &s.sets[i]
		code, n := to.table().find(text)
		if n > 0 && !to.unused && !to.second && (!to.pairs || n == 2) {
			return append(s.choose(to), codeBytes(code)...), n
		}
	}
	return nil, 0
}

func (s *iso2022) decode(b []byte) (rune, int, bool) {
	c := b[0]
	switch {
	case s.escaped:
		s.escaped = !endsEscape(c)
		return rune(c), 1, true
	case c == escape:
		return s.decodeEscape(b)
	case (c == shiftIn || c == shiftOut) && s.sets[0].shifted:
		s.shifted = c == shiftOut
		return none, 1, true
	case c == '\n':
		s.shifted = false
		return '\n', 1, true
	case c < ' ':
		return rune(c), 1, true
	case c >= utf8.RuneSelf:
		return 0, 1, false
	}
	from := s.chosen[0]
	if s.shifted {
		from = s.chosen[1]
	}
	switch {
	case from == nil:
		return rune(c), 1, true
	case len(b) < from.width:
		return 0, len(b), false
	case from.second:
		return 0, 1, false
	}
	char, ok := from.table().chars[word(b[:from.width], true)]
	return char, from.width, ok
}

func endsEscape(c byte) bool { return c >= '@' && c <= 'Z' }

// longestEscape is how many bytes of an escape are looked at.
const longestEscape = 16

// decodeEscape decodes bytes that begin with ESC.
func (s *iso2022) decodeEscape(b []byte) (rune, int, bool) {
	hasSecond := slices.ContainsFunc(s.sets, func(s set) bool { return s.second })
	switch {
	case len(b) < 2:
		return 0, len(b), false
	case hasSecond && b[1] == 'N':
		return s.decodeSecond(b)
	case !strings.ContainsRune("()$.&", rune(b[1])):
		s.escaped = true
		return escape, 1, true
	}
	end := 0
	for i := 1; i < longestEscape && end == 0; i++ {
		switch {
		case i >= len(b):
			return 0, len(b), false
		case endsEscape(b[i]):
			end = i + 1
		case !s.sets[0].shifted && bytes.HasPrefix(b[i:], []byte("&@")):
			i += 2
		}
	}
	if end == 0 {
		return 0, 1, false
	}
	place, ok := 0, true
	width := 1
	switch between := string(b[1 : end-1]); {
	case between == "(":
	case between == ")":
		place = 1
	case between == "." && hasSecond:
		place = 2
	case between == "$", between == "$(":
		width = 2
	case len(between) == 4 && between[2:] == "\x1b$" && b[end-1] == 'B' && !s.sets[0].shifted:
		width = 2 // two bytes, which Python does not look at, say which edition it is
	case between == "$)":
		place, width = 1, 2
	default:
		ok = false
	}
	i := slices.IndexFunc(s.sets, func(s set) bool { return s.escape == b[end-1] && s.width == width })
	switch {
	case !ok:
	case b[end-1] == 'B' && width == 1:
		s.chosen[place] = nil
		return none, end, true
	case i >= 0:
		s.chosen[place] = &s.sets[i]
		return none, end, true
	}
	return 0, end, false
}

// decodeSecond decodes a character of the set at G2, after ESC N.
func (s *iso2022) decodeSecond(b []byte) (rune, int, bool) {
	if len(b) < 3 {
		return 0, len(b), false
	}
	switch from := s.chosen[2]; {
	case from == nil:
		return rune(b[2]), 3, b[2] < utf8.RuneSelf
	case !from.second:
		return 0, 0, false
	case from.escape == greek.escape && b[2] >= utf8.RuneSelf:
		return rune(b[2] & 0x7f), 3, true
	default:
		c, ok := from.table().chars[uint32(b[2])]
		return c, 3, ok
	}
}

// hzCodec has the codes of GB 2312 between ~{ and ~}.
func hzCodec() *Codec {
	return &Codec{name: "hz", start: func() *Codec {
		chinese, table := false, tables["gb2312_7bit"]
		to := func(want bool) (b []byte) {
			if chinese != want {
				b = []byte("~}")
				if want {
					b = []byte("~{")
				}
			}
			chinese = want
			return b
		}
		return &Codec{name: "hz", encodeText: func(text []rune) ([]byte, int) {
			switch {
			case text[0] == '~':
				return append(to(false), "~~"...), 1
			case text[0] < utf8.RuneSelf:
				return append(to(false), byte(text[0])), 1
			}
			code, n := table().find(text)
			if n == 0 {
				return nil, 0
			}
			return append(to(true), codeBytes(code)...), n
		}, decode: func(b []byte) (rune, int, bool) {
			switch {
			case b[0] == '~' && len(b) == 1:
				return 0, 1, false
			case b[0] == '~' && b[1] == '~' && !chinese:
				return '~', 2, true
			case b[0] == '~' && b[1] == '\n' && !chinese:
				return none, 2, true
			case b[0] == '~' && (b[1] == '{' && !chinese || b[1] == '}' && chinese):
				chinese = !chinese
				return none, 2, true
			case b[0] == '~' || b[0] >= utf8.RuneSelf:
				return 0, 1, false
			case chinese:
				return table().decode(b, 2)
			}
			return rune(b[0]), 1, true
		}, end: func() []byte { return to(false) }}
	}}
}
