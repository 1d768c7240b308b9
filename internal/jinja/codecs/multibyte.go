package codecs

import (
	"bytes"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// later are the next editions of encodings, with a few characters more. Python takes both bytes of such a code as
// wrong, of three bytes the first two.
var later = map[string]string{"euc_jisx0213": "euc_jis_2004", "shift_jisx0213": "shift_jis_2004"}

// tableCodec makes an encoding of codes of one or two bytes, or three after 8F in EUC.
func tableCodec(name string) *Codec {
	table, newer := tables[name], tables[later[name]]
	euc := strings.HasPrefix(name, "euc_j")
	return &Codec{name: name,
		encodeText: func(text []rune) ([]byte, int) {
			code, n := table().find(text)
			return codeBytes(code), n
		},
		decode: func(b []byte) (rune, int, bool) {
			size := 2
			if c, ok := table().chars[uint32(b[0])]; ok {
				return c, 1, true
			}
			if euc && b[0] == 0x8f {
				size = 3
			}
			c, n, ok := table().decode(b, size)
			if !ok && newer != nil && len(b) >= size && newer().chars[word(b[:size], true)] != 0 {
				n = 2
			}
			return c, n, ok
		}}
}

// decode decodes a code of a number of bytes. Python takes its first byte to be wrong where it stands for nothing, and
// all where there are fewer bytes.
func (t *table) decode(b []byte, size int) (rune, int, bool) {
	if len(b) < size {
		return 0, len(b), false
	}
	if c, ok := t.chars[word(b[:size], true)]; ok {
		return c, size, true
	}
	return 0, 1, false
}

// The parts of a syllable in EUC-KR, as letters of their own. The first last consonant is none.
var (
	firstParts = []rune("ㄱㄲㄴㄷㄸㄹㅁㅂㅃㅅㅆㅇㅈㅉㅊㅋㅌㅍㅎ")
	vowelParts = []rune("ㅏㅐㅑㅒㅓㅔㅕㅖㅗㅘㅙㅚㅛㅜㅝㅞㅟㅠㅡㅢㅣ")
	lastParts  = []rune("ㅤㄱㄲㄳㄴㄵㄶㄷㄹㄺㄻㄼㄽㄾㄿㅀㅁㅂㅄㅅㅆㅇㅈㅊㅋㅌㅍㅎ")
)

// euckrCodec has syllables without a code as their parts, four letters of which the first is none.
func euckrCodec() *Codec {
	c := tableCodec("euc_kr")
	const row = 0xa4
	letter := func(c rune) byte { return byte(c - 'ㄱ' + 0xa1) }
	none := letter(lastParts[0])
	simple, decodeSimple := c.encodeText, c.decode
	c.encodeText = func(text []rune) ([]byte, int) {
		b, n := simple(text)
		if i := int(text[0]) - firstSyllable; n == 0 && i >= 0 && i < syllables {
			return []byte{row, none, row, letter(firstParts[i/(21*28)]), row, letter(vowelParts[i/28%21]),
				row, letter(lastParts[i%28])}, 1
		}
		return b, n
	}
	c.decode = func(b []byte) (rune, int, bool) {
		if !bytes.HasPrefix(b, []byte{row, none}) {
			return decodeSimple(b)
		}
		if len(b) < 8 {
			return 0, len(b), false
		}
		part := func(i int, of []rune) int {
			if b[i] != row {
				return -1
			}
			return slices.IndexFunc(of, func(c rune) bool { return letter(c) == b[i+1] })
		}
		first, vowel, last := part(2, firstParts), part(4, vowelParts), part(6, lastParts)
		if first < 0 || vowel < 0 || last < 0 {
			return 0, 1, false
		}
		return firstSyllable + rune((first*21+vowel)*28+last), 8, true
	}
	return c
}

// longCodes are the characters up to U+FFFF that GB 18030 has no code of one or two bytes for: their order is that of
// their codes of four bytes. Those from U+10000 on follow from firstLong on.
var longCodes = sync.OnceValue(func() (list []rune) {
	short := tables["gb18030"]().codes
	for c := range rune(0x10000) {
		if _, ok := short[c]; !ok && utf8.ValidRune(c) {
			list = append(list, c)
		}
	}
	return list
})

const firstLong = 189_000

// gb18030Codec has codes of four bytes for what has no shorter one. The second and fourth are digits.
func gb18030Codec() *Codec {
	c := tableCodec("gb18030")
	short, decodeShort := c.encodeText, c.decode
	c.encodeText = func(text []rune) ([]byte, int) {
		if b, n := short(text); n > 0 {
			return b, n
		}
		number, ok := slices.BinarySearch(longCodes(), text[0])
		if text[0] >= 0x10000 {
			number, ok = firstLong+int(text[0])-0x10000, true
		}
		if !ok {
			return nil, 0
		}
		return []byte{0x81 + byte(number/12600), '0' + byte(number/1260%10), 0x81 + byte(number/10%126),
			'0' + byte(number%10)}, 1
	}
	c.decode = func(b []byte) (rune, int, bool) {
		digit := func(x byte) bool { return x >= '0' && x <= '9' }
		switch {
		case len(b) < 2 || b[0] < utf8.RuneSelf || !digit(b[1]):
			return decodeShort(b)
		case len(b) < 4:
			return 0, len(b), false
		case b[0] < 0x81 || b[2] < 0x81 || !digit(b[3]):
			return 0, 1, false
		}
		number := (int(b[0]-0x81)*10+int(b[1]-'0'))*1260 + int(b[2]-0x81)*10 + int(b[3]-'0')
		switch list := longCodes(); {
		case number < len(list):
			return list[number], 4, true
		case number >= firstLong && number <= firstLong+unicode.MaxRune-0x10000:
			return rune(number - firstLong + 0x10000), 4, true
		}
		return 0, 1, false
	}
	return c
}
