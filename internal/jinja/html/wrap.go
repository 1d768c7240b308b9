package html

import (
	"slices"
	"strings"
	"unicode"
)

// Wrapping says how lines are wrapped.
type Wrapping struct {
	Width        int // at least 1
	BreakWords   bool
	BreakHyphens bool
}

// Wrap cuts a line into lines of at most a width, as Python's textwrap does.
func (w Wrapping) Wrap(line string) (lines []string) {
	chunks := w.chunks([]rune(line))
	blank := func(chunk []rune) bool { return !slices.ContainsFunc(chunk, func(c rune) bool { return !IsSpace(c) }) }
	for len(chunks) > 0 {
		if blank(chunks[0]) && len(lines) > 0 {
			chunks = chunks[1:]
		}
		var current [][]rune
		n := 0
		for len(chunks) > 0 && n+len(chunks[0]) <= w.Width {
			n += len(chunks[0])
			current, chunks = append(current, chunks[0]), chunks[1:]
		}
		if len(chunks) > 0 && len(chunks[0]) > w.Width {
			if w.BreakWords {
				end := w.end(chunks[0], w.Width-n)
				current, chunks[0] = append(current, chunks[0][:end]), chunks[0][end:]
			} else if len(current) == 0 {
				current, chunks = append(current, chunks[0]), chunks[1:]
			}
		}
		if last := len(current) - 1; last >= 0 && blank(current[last]) {
			current = current[:last]
		}
		if len(current) > 0 {
			lines = append(lines, string(slices.Concat(current...)))
		}
	}
	return lines
}

// end returns where a long word is cut to fit in the space that is left.
func (w Wrapping) end(chunk []rune, space int) int {
	if !w.BreakHyphens {
		return space
	}
	for i := space - 1; i > 0; i-- {
		if chunk[i] == '-' {
			if slices.ContainsFunc(chunk[:i], func(c rune) bool { return c != '-' }) {
				return i + 1
			}
			break
		}
	}
	return space
}

func isBlank(c rune) bool { return strings.ContainsRune("\t\n\v\f\r ", c) }

// IsWord says what \w matches in Python.
func IsWord(c rune) bool { return unicode.IsLetter(c) || unicode.IsNumber(c) || c == '_' }

// chunks cuts a line into white space and words, and words after hyphens.
func (w Wrapping) chunks(s []rune) (chunks [][]rune) {
	for from := 0; from < len(s); {
		end := from
		switch dashes := dashesBeforeWord(s, from); {
		case isBlank(s[from]):
			for end < len(s) && isBlank(s[end]) {
				end++
			}
		case w.BreakHyphens && dashes > 0 && from > 0 && isPunctuated(s[from-1]):
			end += dashes
		default:
			end = w.word(s, from)
		}
		chunks = append(chunks, s[from:end])
		from = end
	}
	return chunks
}

func isPunctuated(c rune) bool { return IsWord(c) || strings.ContainsRune(`!"'&.,?`, c) }

// dashesBeforeWord returns how many dashes there are if they are two or more and a word follows them, and else 0.
func dashesBeforeWord(s []rune, from int) int {
	n := from
	for n < len(s) && s[n] == '-' {
		n++
	}
	if n-from < 2 || n == len(s) || !IsWord(s[n]) {
		return 0
	}
	return n - from
}

// word returns the end of the word, or the part of one, that begins at an index.
func (w Wrapping) word(s []rune, from int) int {
	letter := func(i int) bool { return i >= 0 && i < len(s) && IsWord(s[i]) && !unicode.IsDigit(s[i]) }
	for i := from + 1; i < len(s); i++ {
		if isBlank(s[i]) {
			return i
		}
		if !w.BreakHyphens || s[i] != '-' {
			continue
		}
		before := letter(i-1) && (letter(i-2) || i >= 3 && s[i-2] == '-' && letter(i-3))
		after := letter(i+1) && (letter(i+2) || i+2 < len(s) && s[i+2] == '-' && letter(i+3))
		if before && after {
			return i + 1
		}
		if isPunctuated(s[i-1]) && dashesBeforeWord(s, i) > 0 {
			return i
		}
	}
	return len(s)
}
