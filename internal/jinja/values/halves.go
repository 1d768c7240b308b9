package values

import (
	"math/bits"
	"slices"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// A string of Python can have halves of characters (lone surrogates), which UTF-8 cannot write. They stand here as
// characters that Unicode will hardly ever assign: one of 64 blocks from firstStandIn on. Where a text has characters
// of that block itself, the template is read and rendered once more with another block; see [Error.Met].
const (
	firstHalf    = 0xd800
	blockBits    = 11 // as many as halves
	firstStandIn = 0xc0000
	lastStandIn  = firstStandIn + 64<<blockBits - 1
	standInLead  = "\xf3" // the first byte of stand-ins in UTF-8
)

// Blocks are some of the 64 blocks of characters that can stand for halves, a bit each.
type Blocks uint64

// Avoid has halves stand in a block that is none of those that a text has.
func (r *Run) Avoid(met Blocks) {
	r.met, r.standIn = met, firstStandIn+rune(bits.TrailingZeros64(uint64(^met)))<<blockBits
}

// Character returns a character as text.
func (r *Run) Character(c rune) string {
	if utf16.IsSurrogate(c) {
		r.halves = true
		r.checkHalves()
		return string(c - firstHalf + r.standIn)
	}
	r.meet(c)
	r.checkHalves()
	return string(c)
}

// meet takes notice of a character.
func (r *Run) meet(c rune) {
	if c >= firstStandIn && c <= lastStandIn {
		r.met |= 1 << ((c - firstStandIn) >> blockBits)
	}
}

// Seen takes notice of the characters of a text that comes from outside.
func (r *Run) Seen(s string) {
	for i := strings.Index(s, standInLead); i >= 0; i = strings.Index(s, standInLead) {
		c, size := utf8.DecodeRuneInString(s[i:])
		r.meet(c)
		s = s[i+size:]
	}
	r.checkHalves()
}

func (r *Run) checkHalves() {
	if r.halves && r.met>>((r.standIn-firstStandIn)>>blockBits)&1 != 0 {
		panic(&Error{Template: r.template, Line: r.Line, limit: true, Met: r.met,
			Text: "there are halves of characters (\\ud800) and characters from U+C0000 on, which stand for them"})
	}
}

// Inherit takes over what another run has seen of characters.
func (r *Run) Inherit(from *Run) { r.halves, r.met, r.standIn = from.halves, from.met, from.standIn }

// Code returns the number of a character of a text.
func (r *Run) Code(c rune) rune {
	if r.halves && c >= r.standIn && c < r.standIn+1<<blockBits {
		return c - r.standIn + firstHalf
	}
	return c
}

// HasHalf says whether a text has half of a character.
func (r *Run) HasHalf(s string) bool {
	return r.halves && strings.ContainsFunc(s, func(c rune) bool { return r.Code(c) != c })
}

// Codes returns the numbers of a text's characters.
func (r *Run) Codes(s string) []rune {
	r.Walk(len(s))
	r.Take(len(s), 4)
	list := []rune(s)
	if r.halves {
		for i, c := range list {
			list[i] = r.Code(c)
		}
	}
	return list
}

// FromCodes returns the text of characters by their numbers.
func (r *Run) FromCodes(list []rune) string {
	r.Take(len(list), 4)
	var s strings.Builder
	for _, c := range list {
		s.WriteString(r.Character(c))
	}
	return s.String()
}

// compareTexts compares by the numbers of characters.
func (r *Run) compareTexts(s, t string) int {
	if r.HasHalf(s) || r.HasHalf(t) {
		return slices.Compare(r.Codes(s), r.Codes(t))
	}
	return strings.Compare(s, t)
}
