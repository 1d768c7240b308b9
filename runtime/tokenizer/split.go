package tokenizer

import (
	"maps"
	"slices"
	"strings"
	"unicode/utf8"
)

// splitters find the end of the word that begins at text[i], by the name of the
// pattern in a GGUF file. Each does what its regular expression does, with the
// first alternative that matches, in time linear in the text.
var splitters = map[string]func(text string, i int) int{
	"gpt-2":  gpt2Words.end,
	"phi-2":  gpt2Words.end,
	"smollm": digitWords.end,
	"dbrx":   cl100kWord,
	"gpt-4o": o200kWord,
}

func splitterNames() string { return strings.Join(slices.Sorted(maps.Keys(splitters)), ", ") }

// class is the kind of a character.
type class uint8

const (
	other    class = iota
	upper          // \p{Lu}
	title          // \p{Lt}
	lower          // \p{Ll}
	modifier       // \p{Lm}
	letter         // \p{Lo}
	mark           // \p{M}
	number         // \p{N}
	white          // \s
	newDigit       // a digit for those who know a later Unicode version only
)

// set is a set of classes.
type set uint16

func (s set) has(c class) bool { return s>>c&1 != 0 }

const (
	letters   set = 1<<upper | 1<<title | 1<<lower | 1<<modifier | 1<<letter
	caseless  set = 1<<modifier | 1<<letter | 1<<mark
	uppers        = caseless | 1<<upper | 1<<title
	lowers        = caseless | 1<<lower
	punctuals     = 1<<mark | 1<<newDigit | 1<<other // [^\s\p{L}\p{N}]
)

// classAt returns the class of the character at text[i] and its length.
func classAt(text string, i int) (class, int) {
	if c := text[i]; c < utf8.RuneSelf {
		return asciiClasses[c], 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	return classes()[r], n
}

// run returns where the characters from text[i] on that are in s end.
func (s set) run(text string, i int) int {
	for i < len(text) {
		c, n := classAt(text, i)
		if !s.has(c) {
			break
		}
		i += n
	}
	return i
}

// groupWords is the pattern
//
//	's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
//
// applied to what is left of a text when the characters in alone were cut out, each
// a word.
type groupWords struct{ alone set }

var (
	gpt2Words  = groupWords{}
	digitWords = groupWords{alone: 1<<number | 1<<newDigit}
)

func (g groupWords) end(text string, i int) int {
	c, n := classAt(text, i)
	if g.alone.has(c) {
		return i + n
	}
	if k := contraction(text[i:], false); k > 0 {
		return i + k
	}
	j := i
	if text[i] == ' ' && i+1 < len(text) {
		j++
		c, _ = classAt(text, j)
	}
	for _, group := range [...]set{letters, 1 << number, punctuals} {
		if group.has(c) && !g.alone.has(c) {
			return (group &^ g.alone).run(text, j)
		}
	}
	end, last := whiteRun(text, i)
	if end < len(text) {
		if c, _ := classAt(text, end); !g.alone.has(c) && last > i {
			return last
		}
	}
	return end
}

// whiteRun returns where the white space that begins at text[i] ends and where its
// last character begins.
func whiteRun(text string, i int) (end, last int) {
	last = i
	for i < len(text) {
		c, n := classAt(text, i)
		if c != white {
			break
		}
		last = i
		i += n
	}
	return i, last
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the start of
// text, or 0; with fold in either case, and with U+017F as an s.
func contraction(text string, fold bool) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	a := text[1]
	if fold && 'A' <= a && a <= 'Z' {
		a += 'a' - 'A'
	}
	switch a {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v', 'l':
		if len(text) < 3 {
			return 0
		}
		b := text[2]
		if fold && 'A' <= b && b <= 'Z' {
			b += 'a' - 'A'
		}
		if a == 'l' && b == 'l' || a != 'l' && b == 'e' {
			return 3
		}
	}
	if fold && strings.HasPrefix(text[1:], "\u017f") {
		return 3
	}
	return 0
}

// cl100kWord is the pattern
//
// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
func cl100kWord(text string, i int) int {
	if n := contraction(text[i:], true); n > 0 {
		return i + n
	}
	c, n := classAt(text, i)
	if letters.has(c) {
		return letters.run(text, i+n)
	}
	if startsWord(text, i, c) && i+n < len(text) {
		if end := letters.run(text, i+n); end > i+n {
			return end
		}
	}
	return noLetters(text, i, c, "\r\n")
}

// startsWord says whether a character is one of [^\r\n\p{L}\p{N}].
func startsWord(text string, i int, c class) bool {
	return !letters.has(c) && c != number && text[i] != '\r' && text[i] != '\n'
}

// noLetters is the pattern
//
//	\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[tail]*|\s*[\r\n]+|\s+(?!\S)|\s+
//
// at text[i], which has the class c and is no letter.
func noLetters(text string, i int, c class, tail string) int {
	if c == number {
		for k := 0; k < 3 && i < len(text); k++ {
			c, n := classAt(text, i)
			if c != number {
				break
			}
			i += n
		}
		return i
	}
	j := i
	if text[i] == ' ' {
		j++
	}
	if end := set(punctuals).run(text, j); end > j {
		for end < len(text) && strings.IndexByte(tail, text[end]) >= 0 {
			end++
		}
		return end
	}
	end, last := whiteRun(text, i)
	if k := strings.LastIndexAny(text[i:end], "\r\n"); k >= 0 {
		return i + k + 1
	}
	if end < len(text) && last > i {
		return last
	}
	return end
}

// o200kWord is the pattern, with U for [\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}] and W for
// [\p{Ll}\p{Lm}\p{Lo}\p{M}],
//
//	[^\r\n\p{L}\p{N}]?U*W+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|
//	[^\r\n\p{L}\p{N}]?U+W*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|
//	\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+
func o200kWord(text string, i int) int {
	c, n := classAt(text, i)
	end := 0
	if startsWord(text, i, c) {
		small, large := caseRuns(text, i+n)
		if small == 0 { // without the character in front, which may be a mark
			if small, _ = caseRuns(text, i); small == 0 {
				small = large
			}
		}
		end = small
	} else if letters.has(c) {
		small, large := caseRuns(text, i)
		end = max(small, large)
	}
	if end > 0 {
		return end + contraction(text[end:], true)
	}
	return noLetters(text, i, c, "\r\n/")
}

// caseRuns returns where U*W+ and, if that does not match, U+W* end that begin at
// text[i], or 0.
func caseRuns(text string, i int) (small, large int) {
	back := 0 // end of the last character in U that is in W too
	j := i
	for j < len(text) {
		c, n := classAt(text, j)
		if !uppers.has(c) {
			break
		}
		j += n
		if caseless.has(c) {
			back = j
		}
	}
	if end := lowers.run(text, j); end > j {
		return end, 0
	}
	if back > 0 {
		return back, 0
	}
	if j > i {
		return 0, j // W* has nothing to match
	}
	return 0, 0
}
