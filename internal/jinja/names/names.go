// Package names has the names of Unicode's characters, as Python's \N{...} takes them.
package names

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/text/unicode/runenames"
)

// aliases are names beside those in Unicode's table, a line each: the character's number and the name.
//
//go:embed aliases.txt
var aliases string

const (
	ideograph     = "CJK UNIFIED IDEOGRAPH-"
	syllable      = "HANGUL SYLLABLE "
	firstSyllable = 0xac00
	vowels        = 21
	finals        = 28 // consonants at the end of a syllable, or none
)

// Parts of the names of Hangul syllables.
var (
	initialNames = strings.Split("G,GG,N,D,DD,R,M,B,BB,S,SS,,J,JJ,C,K,T,P,H", ",")
	vowelNames   = strings.Split("A,AE,YA,YAE,EO,E,YEO,YE,O,WA,WAE,OE,YO,U,WEO,WE,WI,YU,EU,YI,I", ",")
	finalNames   = strings.Split(",G,GG,GS,N,NJ,NH,D,L,LG,LM,LB,LS,LT,LP,LH,M,B,BS,S,SS,NG,J,C,K,T,P,H", ",")
)

// Of returns the name of a character, "" if it has none.
func Of(c rune) string {
	name := runenames.Name(c)
	switch {
	case strings.HasPrefix(name, "<CJK Ideograph"):
		return fmt.Sprintf("%s%X", ideograph, c)
	case strings.HasPrefix(name, "<Hangul Syllable"):
		i := int(c - firstSyllable)
		return syllable + initialNames[i/finals/vowels] + vowelNames[i/finals%vowels] + finalNames[i%finals]
	case strings.HasPrefix(name, "<"):
		return ""
	}
	return name
}

// numbers returns the characters that have names of their own, by name.
var numbers = sync.OnceValue(func() map[string]rune {
	m := map[string]rune{}
	tables := []*unicode.RangeTable{unicode.L, unicode.M, unicode.N, unicode.P, unicode.S, unicode.Z, unicode.Cf}
	for _, t := range tables {
		for _, r := range t.R16 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				add(m, c)
			}
		}
		for _, r := range t.R32 {
			for c := rune(r.Lo); c <= rune(r.Hi); c += rune(r.Stride) {
				add(m, c)
			}
		}
	}
	for line := range strings.Lines(aliases) {
		number, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		c, _ := strconv.ParseUint(number, 16, 32)
		m[name] = rune(c)
	}
	const few, first, firstOfMany = 16, 0xfe00, 0xe0100 // variation selectors
	for i := range rune(256) {
		c := firstOfMany + i - few
		if i < few {
			c = first + i
		}
		m[fmt.Sprintf("VS%d", i+1)] = c
	}
	return m
})

func add(m map[string]rune, c rune) {
	if name := runenames.Name(c); name != "" && name[0] != '<' {
		m[name] = c
	}
}

// Find returns the character of a name.
func Find(name string) (rune, bool) {
	if digits, ok := strings.CutPrefix(name, ideograph); ok {
		c, err := strconv.ParseUint(digits, 16, 32)
		ok = err == nil && (len(digits) == 4 || len(digits) == 5) && strings.ToUpper(digits) == digits
		return rune(c), ok && strings.HasPrefix(Of(rune(c)), ideograph)
	}
	if parts, ok := strings.CutPrefix(name, syllable); ok {
		return findSyllable(parts)
	}
	c, ok := numbers()[strings.ToUpper(name)]
	return c, ok
}

// findSyllable takes the longest parts that fit, as Python does.
func findSyllable(name string) (rune, bool) {
	at := [3]int{}
	for i, parts := range [][]string{initialNames, vowelNames, finalNames} {
		longest := -1
		for j, part := range parts {
			if len(part) > longest && strings.HasPrefix(name, part) {
				at[i], longest = j, len(part)
			}
		}
		if longest < 0 {
			return 0, false
		}
		name = name[longest:]
	}
	return rune(firstSyllable + (at[0]*vowels+at[1])*finals + at[2]), name == ""
}
