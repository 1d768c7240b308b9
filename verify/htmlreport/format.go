package htmlreport

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/internal/plot"
	"github.com/phi3conv/phi3conv/verify"
)

// modelNames are the names of the quantized models without what all of them begin and end with.
func modelNames(reports []*verify.Report) []string {
	names := make([]string, len(reports))
	for i, r := range reports {
		names[i] = r.Quant.Name
	}
	if len(names) < 2 {
		return names
	}
	start, end := names[0], names[0]
	for _, n := range names {
		for !strings.HasPrefix(n, start) {
			start = start[:len(start)-1]
		}
		for !strings.HasSuffix(n, end) {
			end = end[1:]
		}
	}
	start = start[:strings.LastIndexAny(start, "-_./ ")+1]
	if i := strings.IndexAny(end, "-_./ "); i >= 0 {
		end = end[i:]
	} else {
		end = ""
	}
	short := make([]string, len(names))
	for i, n := range names {
		if len(start)+len(end) >= len(n) {
			return names
		}
		short[i] = n[len(start) : len(n)-len(end)]
	}
	return short
}

func bits(x float64) string {
	if !finite(x) || x <= 0 {
		return "–"
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

func sizeText(n int64) string {
	if n <= 0 {
		return "–"
	}
	return humanize.IBytes(uint64(n))
}

// change says a ratio in words.
func change(e verify.Estimate, of string) string {
	p, se := 100*(e.Value-1), 100*e.SE
	switch {
	case !finite(p):
		return "? against " + of
	case p < 0:
		return fmt.Sprintf("%s %% lower than %s", verify.Digits(-p, se), of)
	}
	return fmt.Sprintf("%s %% higher than %s", verify.Digits(p, se), of)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return humanize.Comma(int64(n)) + " " + what + "s"
}

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func plusMinus(e verify.Estimate) string {
	return verify.Digits(e.Value, e.SE) + " ± " + verify.Digits(e.SE, e.SE)
}

// percentText is a length for SVG, between 0 and 100.
func percentText(x float64) string {
	if !(x > 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(100*min(x, 100))/100, 'f', -1, 64)
}

// short formats x with three digits.
func short(x float64) string { return verify.Digits(x, x/10) }

// visible returns text of a file with the codes of characters that do not show, or that
// reorder others, in place of them.
func visible(s string) string {
	var b strings.Builder
	eachRune(s, func(shown string, _ bool) { b.WriteString(shown) })
	return b.String()
}

// visibleHTML is like visible, escaped, and with the codes in a colour of their own.
func visibleHTML(s string) template.HTML {
	var b strings.Builder
	eachRune(s, func(shown string, code bool) {
		if code {
			b.WriteString(`<span class="code">` + template.HTMLEscapeString(shown) + `</span>`)
		} else {
			b.WriteString(template.HTMLEscapeString(shown))
		}
	})
	return template.HTML(b.String())
}

func eachRune(s string, emit func(shown string, code bool)) {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			emit(fmt.Sprintf(`\x%02X`, s[0]), true)
		case unicode.IsPrint(r):
			emit(s[:n], false)
		case r == '\n':
			emit("↵", true)
		case r == '\t':
			emit("⇥", true)
		default:
			emit(fmt.Sprintf("U+%04X", r), true)
		}
		s = s[n:]
	}
}

// clip shows what is not printable, and shortens a name in its middle to a width in a plot.
func clip(s string, width float64) string { return plot.Clip(visible(s), width) }
