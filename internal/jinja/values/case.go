package values

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// upper and lower follow Unicode as Python does: a letter can become several.
func upper(s string) string {
	if isASCII(s) {
		return strings.ToUpper(s)
	}
	return cases.Upper(language.Und).String(s)
}

func lower(s string) string {
	if isASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Lower(language.Und, cases.HandleFinalSigma(true)).String(s)
}

func fold(s string) string { return cases.Fold().String(s) }

// title gives the first letter of a word the form that it has there.
func title(first string) string { return cases.Title(language.Und, cases.NoLower).String(first) }

func isDigit(c rune) bool {
	return unicode.IsDigit(c) || strings.ContainsRune("¹²³⁰⁴⁵⁶⁷⁸⁹₀₁₂₃₄₅₆₇₈₉", c)
}

// titleMethod gives each run of letters a capital at its beginning.
func titleMethod(s string) string {
	var b strings.Builder
	for s != "" {
		n := strings.IndexFunc(s, isCased)
		if n < 0 {
			n = len(s)
		}
		b.WriteString(s[:n])
		s = s[n:]
		end := strings.IndexFunc(s, func(c rune) bool { return !isCased(c) })
		if end < 0 {
			end = len(s)
		}
		b.WriteString(capitalize(s[:end]))
		s = s[end:]
	}
	return b.String()
}

func capitalize(s string) string {
	first := runeSize(s)
	return title(s[:first]) + lower(s[first:])
}

func swapCase(s string) string {
	var b strings.Builder
	for _, c := range s {
		if unicode.IsUpper(c) {
			b.WriteString(lower(string(c)))
		} else {
			b.WriteString(upper(string(c)))
		}
	}
	return b.String()
}

// isCased says whether a letter has two cases.
func isCased(c rune) bool { return unicode.IsUpper(c) || unicode.IsLower(c) || unicode.IsTitle(c) }

// hasCase says whether a text has letters with cases and none of the wrong one.
func hasCase(r *Run, s string, wrong func(rune) bool) bool {
	r.walk(2 * len(s))
	return strings.IndexFunc(s, isCased) >= 0 &&
		strings.IndexFunc(s, func(c rune) bool { return wrong(c) || unicode.IsTitle(c) }) < 0
}
