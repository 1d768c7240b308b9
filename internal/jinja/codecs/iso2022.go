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
	end, complete := s.escapeEnd(b)
	switch {
	case !complete:
		return 0, len(b), false
	case end == 0:
		return 0, 1, false
	}
	place, width := s.designated(string(b[1:end-1]), b[end-1], hasSecond)
	i := slices.IndexFunc(s.sets, func(s set) bool { return s.escape == b[end-1] && s.width == width })
	switch {
	case b[end-1] == 'B' && width == 1:
		s.chosen[place] = nil
	case i >= 0:
		s.chosen[place] = &s.sets[i]
	default:
		return 0, end, false
	}
	return none, end, true
}

// escapeEnd returns how many bytes an escape has, 0 if it is too long, and whether all are there.
func (s *iso2022) escapeEnd(b []byte) (end int, complete bool) {
	for i := 1; i < longestEscape; i++ {
		switch {
		case i >= len(b):
			return 0, false
		case endsEscape(b[i]):
			return i + 1, true
		case !s.sets[0].shifted && bytes.HasPrefix(b[i:], []byte("&@")):
			i += 2
		}
	}
	return 0, true
}

// designated returns the place that an escape chooses a set for, and the set's width, from what is between ESC and the
// last letter. The width is 0 if it chooses none.
func (s *iso2022) designated(between string, last byte, hasSecond bool) (place, width int) {
	switch {
	case between == "(":
		return 0, 1
	case between == ")":
		return 1, 1
	case between == "." && hasSecond:
		return 2, 1
	case between == "$", between == "$(":
		return 0, 2
	case between == "$)":
		return 1, 2
	case len(between) == 4 && between[2:] == "\x1b$" && last == 'B' && !s.sets[0].shifted:
		return 0, 2 // two bytes, which Python does not look at, say which edition it is
	}
	return 0, 0
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

// hz is what the bytes of a text so far have chosen: ASCII, or GB 2312.
type hz struct {
	chinese bool
	table   *table
}

// hzCodec has the codes of GB 2312 between ~{ and ~}.
func hzCodec() *Codec {
	return &Codec{name: "hz", start: func() *Codec {
		s := &hz{table: tables["gb2312_7bit"]()}
		return &Codec{name: "hz", encodeText: s.encode, decode: s.decode, end: func() []byte { return s.choose(false) }}
	}}
}

// choose returns the bytes that choose ASCII or GB 2312.
func (s *hz) choose(chinese bool) (b []byte) {
	if s.chinese != chinese {
		b = []byte("~}")
		if chinese {
			b = []byte("~{")
		}
	}
	s.chinese = chinese
	return b
}

func (s *hz) encode(text []rune) ([]byte, int) {
	switch {
	case text[0] == '~':
		return append(s.choose(false), "~~"...), 1
	case text[0] < utf8.RuneSelf:
		return append(s.choose(false), byte(text[0])), 1
	}
	code, n := s.table.find(text)
	if n == 0 {
		return nil, 0
	}
	return append(s.choose(true), codeBytes(code)...), n
}

func (s *hz) decode(b []byte) (rune, int, bool) {
	switch {
	case b[0] == '~' && len(b) > 1:
		switch {
		case b[1] == '}' && s.chinese, b[1] == '{' && !s.chinese:
			s.chinese = !s.chinese
			return none, 2, true
		case b[1] == '~' && !s.chinese:
			return '~', 2, true
		case b[1] == '\n' && !s.chinese:
			return none, 2, true
		}
		return 0, 1, false
	case b[0] == '~' || b[0] >= utf8.RuneSelf:
		return 0, 1, false
	case s.chinese:
		return s.table.decode(b, 2)
	}
	return rune(b[0]), 1, true
}
