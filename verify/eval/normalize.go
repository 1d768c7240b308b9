package eval

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// punctuation is Python's string.punctuation without "_", and the four characters that
// TriviaQA's evaluation script adds.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~‘’´"

// Normalize returns an answer as TriviaQA's evaluation script compares it: in lower case,
// with a space in the place of each underscore, punctuation character and of each of the
// words a, an and the, without white space at its ends, and one space wherever it was within.
//
// Punctuation is that of ASCII and ‘ ’ ´; other characters, such as dashes and accents, stay. As in
// Python, a word is made of letters and numbers of any script.
func Normalize(s string) string {
	s = cases.Lower(language.Und).String(strings.ReplaceAll(s, "_", " "))
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune(punctuation, r) {
			return ' '
		}
		return r
	}, s)
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, func(r rune) bool { return !inWord(r) })
		if n < 0 {
			n = len(s)
		}
		switch word := s[:n]; word {
		case "a", "an", "the":
			b.WriteByte(' ')
		default:
			b.WriteString(word)
		}
		s = s[n:]
		if n = strings.IndexFunc(s, inWord); n < 0 {
			n = len(s)
		}
		b.WriteString(s[:n])
		s = s[n:]
	}
	return strings.Join(words(b.String()), " ")
}

func inWord(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

// words splits a text at white space, of which Python has four control characters more than Go.
func words(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f })
}

// ExactMatch says whether answer and one of the right ones are the same, normalized.
func ExactMatch(answer string, right []string) bool {
	answer = Normalize(answer)
	for _, r := range right {
		if Normalize(r) == answer {
			return true
		}
	}
	return false
}

// F1 returns the greatest F1 score of answer and a right one: the harmonic mean of the shares of their
// normalized words that they have in common.
func F1(answer string, right []string) float64 {
	count := map[string]int{}
	mine := words(Normalize(answer))
	for _, w := range mine {
		count[w]++
	}
	best := 0.0
	for _, r := range right {
		its := words(Normalize(r))
		common := 0
		left := make(map[string]int, len(count))
		for _, w := range its {
			if left[w]++; left[w] <= count[w] {
				common++
			}
		}
		if common > 0 {
			best = max(best, 2*float64(common)/float64(len(mine)+len(its)))
		}
	}
	return best
}
