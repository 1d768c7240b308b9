package values

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf16"
)

// A string of Python can have halves of characters (lone surrogates), which UTF-8 cannot write. They stand here as the
// last private characters of Unicode. Nobody uses these; a template that has both is refused.
const (
	firstPrivate = unicode.MaxRune + 1 - (lastHalf + 1 - firstHalf)
	firstHalf    = 0xd800
	lastHalf     = 0xdfff
	privateBytes = "\xf4\x8f" // that the private characters begin with
)

// Character returns a character as text.
func (r *Run) Character(c rune) string {
	switch {
	case utf16.IsSurrogate(c):
		r.halves = true
		r.checkHalves()
		c += firstPrivate - firstHalf
	case c >= firstPrivate:
		r.private = true
		r.checkHalves()
	}
	return string(c)
}

// Seen takes notice of the characters of a text that comes from outside.
func (r *Run) Seen(s string) {
	for rest := s; !r.private; {
		i := strings.Index(rest, privateBytes)
		if i < 0 {
			return
		}
		rest = rest[i+len(privateBytes):]
		r.private = rest >= "\xa0"
	}
	r.checkHalves()
}

func (r *Run) checkHalves() {
	if r.halves && r.private {
		r.Fail("there are halves of characters (\\ud800) and private characters from U+%X on, which stand for them",
			firstPrivate)
	}
}

// Inherit takes over what another run has seen of characters.
func (r *Run) Inherit(from *Run) { r.halves, r.private = from.halves, from.private }

// Code returns the number of a character of a text.
func (r *Run) Code(c rune) rune {
	if r.halves && c >= firstPrivate {
		return c - firstPrivate + firstHalf
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
