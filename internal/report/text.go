// Package report writes results for people and for other programs: tables, Markdown, JUnit.
package report

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/dustin/go-humanize"
)

// Printable returns text from a file in a form that cannot disturb a terminal.
func Printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// Plural writes a count and a word, such as "2 errors".
func Plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}

// LastLine returns the last line of a text that says something: what a program said last.
func LastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndexByte(text, '\n')+1:]
}

// ByteSize writes a number of bytes, such as "2048 bytes (2.0 KiB)".
func ByteSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d bytes (%s)", n, humanize.IBytes(uint64(n)))
}

// Harmless writes control characters out, other than newline and tab, so that a model's text cannot command a
// terminal.
func Harmless(text string) string {
	command := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
	if !strings.ContainsFunc(text, command) {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if command(r) {
			fmt.Fprintf(&b, `\x%02x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}
