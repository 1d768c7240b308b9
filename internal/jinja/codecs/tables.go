package codecs

import (
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"
)

// table is what the codes of an East Asian encoding, of one to three bytes, stand for. Some stand for a character and
// one that is written over it; both are then in one rune, the first in its upper half.
type table struct {
	chars map[uint32]rune
	codes map[rune]uint32
}

// pair returns two characters, of which the first is no control character, as one rune. It is larger than all of one.
func pair(first, second rune) rune { return first<<16 | second }

// source is where a table comes from: golang.org/x/text, whose encodings are those of browsers, or another table, whose
// codes are converted; a code that is converted to 0 is left out.
type source struct {
	from    encoding.Encoding
	parent  string
	convert func(code uint32) uint32
}

var sources = map[string]source{
	"cp932":     {from: japanese.ShiftJIS},
	"euc_jp":    {from: japanese.EUCJP},
	"cp949":     {from: korean.EUCKR},
	"gbk":       {from: simplifiedchinese.GBK},
	"gb18030":   {from: simplifiedchinese.GB18030},
	"big5":      {from: traditionalchinese.Big5},
	"big5hkscs": {from: traditionalchinese.Big5},

	"cp950":          {parent: "big5", convert: same},
	"gb2312":         {parent: "gbk", convert: doubles},
	"euc_kr":         {parent: "cp949", convert: doubles},
	"johab":          {parent: "euc_kr", convert: johabCode},
	"euc_jis_2004":   {parent: "euc_jp", convert: same},
	"euc_jisx0213":   {parent: "euc_jis_2004", convert: same},
	"shift_jis":      {parent: "euc_jp", convert: shiftJIS},
	"shift_jis_2004": {parent: "euc_jis_2004", convert: shiftJIS},
	"shift_jisx0213": {parent: "euc_jisx0213", convert: shiftJIS},

	// The sets of ISO 2022 have seven bits a byte.
	"jisx0208":        {parent: "euc_jp", convert: sevenBits},
	"jisx0212":        {parent: "euc_jp", convert: secondPlane},
	"jisx0213_2000_1": {parent: "euc_jisx0213", convert: sevenBits},
	"jisx0213_2000_2": {parent: "euc_jisx0213", convert: secondPlane},
	"jisx0213_2004_1": {parent: "euc_jis_2004", convert: sevenBits},
	"jisx0213_2004_2": {parent: "euc_jis_2004", convert: secondPlane},
	"ksx1001":         {parent: "euc_kr", convert: sevenBits},
	"gb2312_7bit":     {parent: "gb2312", convert: sevenBits},
}

func same(code uint32) uint32 { return code }

// doubles leaves out codes of two bytes that do not both have the highest bit and the form of EUC.
func doubles(code uint32) uint32 {
	if code > 0xff && (code < 0xa100 || code&0xff < 0xa1) {
		return 0
	}
	return code
}

// sevenBits returns a code of EUC without its highest bits.
func sevenBits(code uint32) uint32 {
	if code < 0xa100 || code > 0xffff {
		return 0
	}
	return code & 0x7f7f
}

// secondPlane does so for codes of three bytes.
func secondPlane(code uint32) uint32 {
	if code>>16 != 0x8f {
		return 0
	}
	return code & 0x7f7f
}

// shiftJIS returns a code of EUC as one of Shift JIS: two rows of 94 codes share a first byte. Rows of the second plane
// that JIS X 0213 does not have are left out.
func shiftJIS(code uint32) uint32 {
	if code < 0x80 {
		return code
	}
	if code>>8 == 0x8e {
		return code & 0xff
	}
	row, at := code>>8&0x7f-0x21, code&0x7f-0x21
	if code>>16 == 0x8f {
		switch {
		case row >= 0x4d:
			row += 0x1a
		case row == 0x07 || row >= 0x0b && row <= 0x0e:
			row += 0x58
		case row == 0 || row >= 2 && row <= 4:
			row += 0x5e
		default:
			return 0
		}
	}
	at += row & 1 * 0x5e
	lead, trail := 0x81+row>>1, 0x40+at
	if lead >= 0xa0 {
		lead += 0x40
	}
	if trail >= 0x7f {
		trail++
	}
	return lead<<8 | trail
}

// johabCode returns a code of EUC-KR that stands for no syllable as one of Johab.
func johabCode(code uint32) uint32 {
	if code < 0x80 {
		return code
	}
	row, at := code>>8-0xa1, code&0x7f-0x21
	switch {
	case row < 0x0c:
		row += 0x1b2
	case row >= 0x29 && row < 0x5d:
		row += 0x197
	default:
		return 0
	}
	if at += row & 1 * 0x5e; at < 0x4e {
		at += 0x31
	} else {
		at += 0x43
	}
	return row>>1<<8 | at
}

// changes are how Python's tables differ from their sources: lines of a table, a code, and what this and the next codes
// stand for: characters; all from one to another (with ".." between them); nothing, up to another code (after "-"); a
// character and one over it (after "+"). A line with "=" has a character and the code that it is written as, or 0.
//
//go:embed tables.txt
var changes string

var tables = map[string]func() *table{}

func init() {
	for name, s := range sources {
		tables[name] = sync.OnceValue(func() *table { return makeTable(name, s) })
	}
}

func makeTable(name string, s source) *table {
	t := &table{chars: map[uint32]rune{}, codes: map[rune]uint32{}}
	if s.from != nil {
		t.read(s.from)
	} else {
		parent := tables[s.parent]()
		for code, c := range parent.chars {
			if code = s.convert(code); code != 0 || c == 0 {
				t.chars[code] = c
			}
		}
		for c, code := range parent.codes {
			if code = s.convert(code); code != 0 || c == 0 {
				t.codes[c] = code
			}
		}
	}
	if name == "johab" {
		t.addSyllables()
	}
	var lines []string
	for line := range strings.Lines(changes) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			lines = append(lines, strings.TrimSuffix(rest, "\n"))
		}
	}
	changed := map[uint32]bool{}
	for _, line := range lines {
		if !t.change(line, changed) {
			panic(fmt.Sprintf("tables.txt: %s %s", name, line))
		}
	}
	t.invert(changed)
	for _, line := range lines {
		t.rewrite(line)
	}
	return t
}

// read takes over the codes of an encoding, of one byte, of two, or of three after 8F.
func (t *table) read(e encoding.Encoding) {
	d, text := e.NewDecoder(), make([]byte, 2*utf8.UTFMax)
	try := func(number uint32, code ...byte) {
		d.Reset()
		n, _, err := d.Transform(text, code, true)
		c, size := utf8.DecodeRune(text[:n])
		if err == nil && size == n && c != utf8.RuneError {
			t.chars[number] = c
		}
	}
	for number := range uint32(1 << 16) {
		switch lead := byte(number >> 8); {
		case lead == 0:
			try(number, byte(number))
		case lead >= 0x80:
			try(number, lead, byte(number))
			if e == japanese.EUCJP {
				try(0x8f<<16|number, 0x8f, lead, byte(number))
			}
		}
	}
}

// change makes one of the changes of what codes stand for.
func (t *table) change(line string, changed map[uint32]bool) bool {
	number, text, _ := strings.Cut(line, " ")
	n, err := strconv.ParseUint(number, 16, 32)
	code, chars := uint32(n), []rune(text)
	if err != nil || len(chars) == 0 {
		return false
	}
	set := func(c rune) {
		t.chars[code], changed[code] = c, true
		code++
	}
	switch {
	case chars[0] == '=':
	case chars[0] == '-':
		last, err := strconv.ParseUint(text[1:], 16, 32)
		for ; code <= uint32(last); code++ {
			delete(t.chars, code)
		}
		return err == nil
	case chars[0] == '+' && len(chars) == 3:
		set(pair(chars[1], chars[2]))
	case len(chars) == 4 && chars[1] == '.' && chars[2] == '.':
		for c := chars[0]; c <= chars[3]; c++ {
			set(c)
		}
	default:
		for _, c := range chars {
			set(c)
		}
	}
	return true
}

// invert finds the codes that characters are written as: one that was changed, or the source's, or the first. One that
// is shorter goes before all of these.
func (t *table) invert(changed map[uint32]bool) {
	for c, code := range t.codes {
		if t.chars[code] != c {
			delete(t.codes, c)
		}
	}
	for _, code := range slices.Sorted(maps.Keys(t.chars)) {
		c := t.chars[code]
		if old, ok := t.codes[c]; !ok || changed[code] && len(codeBytes(code)) <= len(codeBytes(old)) {
			t.codes[c] = code
		}
	}
}

// rewrite makes one of the changes of what characters are written as.
func (t *table) rewrite(line string) {
	number, c, ok := strings.Cut(line, " =")
	if !ok {
		return
	}
	code, _ := strconv.ParseUint(number, 16, 32)
	char, _ := utf8.DecodeRuneInString(c)
	if t.codes[char] = uint32(code); code == 0 {
		delete(t.codes, char)
	}
}

// A syllable of Hangul has a first consonant, a vowel and a last consonant or none. Its number is made of theirs.
const (
	firstSyllable = 0xac00
	syllables     = 19 * 21 * 28
)

// addSyllables adds the syllables to Johab, whose codes have five bits for each part.
func (t *table) addSyllables() {
	for i := range uint32(syllables) {
		first, vowel, last := i/(21*28), i/28%21, i%28
		vowel += 3 + (vowel+1)/6*2
		if last++; last > 17 {
			last++
		}
		t.chars[0x8000|(first+2)<<10|vowel<<5|last] = firstSyllable + rune(i)
	}
}

// find returns the code of a text's beginning, and how many characters it is.
func (t *table) find(text []rune) (code uint32, n int) {
	if len(text) > 1 && text[0] > 0x1f && text[0] < 0x10000 && text[1] < 0x10000 {
		if code, ok := t.codes[pair(text[0], text[1])]; ok {
			return code, 2
		}
	}
	if code, ok := t.codes[text[0]]; ok {
		return code, 1
	}
	return 0, 0
}

// codeBytes returns a code's bytes.
func codeBytes(code uint32) []byte {
	switch {
	case code > 0xffff:
		return []byte{byte(code >> 16), byte(code >> 8), byte(code)}
	case code > 0xff:
		return []byte{byte(code >> 8), byte(code)}
	}
	return []byte{byte(code)}
}
