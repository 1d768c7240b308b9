// Package html has what templates do with HTML and URLs: Jinja's filters escape, striptags, urlize and urlencode, as
// markupsafe and Python's html and urllib do it. Everything takes time and memory in proportion to the text.
package html

import (
	"html"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var escaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&#34;", "'", "&#39;")

// Escape replaces what has a meaning in HTML.
func Escape(s string) string { return escaper.Replace(s) }

// IsSpace says what white space is in Python.
func IsSpace(c rune) bool { return unicode.IsSpace(c) || c >= 0x1c && c <= 0x1f }

var numeric = regexp.MustCompile(`&#(?:[0-9]+|[xX][0-9a-fA-F]+);?`)

// Unescape replaces references to characters, as Python's html.unescape.
func Unescape(s string) string {
	if !strings.Contains(s, "&") {
		return s
	}
	var b strings.Builder
	from := 0
	for _, at := range numeric.FindAllStringIndex(s, -1) {
		b.WriteString(unescapeNames(s[from:at[0]]))
		b.WriteString(character(strings.TrimSuffix(s[at[0]+2:at[1]], ";")))
		from = at[1]
	}
	b.WriteString(unescapeNames(s[from:]))
	return b.String()
}

// unescapeNames replaces names; numbers that are none stay.
func unescapeNames(s string) string {
	return html.UnescapeString(strings.ReplaceAll(s, "&#", "&amp;#"))
}

// windows1252 has what numbers from 0x80 to 0x9f mean in HTML, with what they are where they mean nothing else.
const windows1252 = "\u20ac\u0081\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u008d\u017d\u008f" +
	"\u0090\u2018\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u009d\u017e\u0178"

// character returns the character of a number of a reference.
func character(number string) string {
	base := 10
	if number[0] == 'x' || number[0] == 'X' {
		number, base = number[1:], 16
	}
	n, err := strconv.ParseUint(number, base, 32)
	c := rune(n)
	switch {
	case err == nil && n >= 0x80 && n < 0xa0:
		return string([]rune(windows1252)[n-0x80])
	case err != nil || n == 0 || n > unicode.MaxRune || !utf8.ValidRune(c):
		return "\ufffd"
	case c == '\r':
		return "\r"
	case c < ' ' && c != '\t' && c != '\n' && c != '\f', c == 0x7f, c >= 0xfdd0 && c < 0xfdf0, c&0xfffe == 0xfffe:
		return ""
	}
	return string(c)
}

// StripTags removes tags and comments, makes one space of white space, and replaces references to characters.
func StripTags(s string) string {
	var b strings.Builder
	for {
		start := strings.IndexByte(s, '<')
		if start < 0 {
			break
		}
		size := strings.IndexByte(s[start:], '>') + 1
		if strings.HasPrefix(s[start:], "<!--") {
			if size = strings.Index(s[start+4:], "-->"); size >= 0 {
				size += 4
			}
			size += 3
			if size < 4 {
				size = 0
			}
		}
		if size == 0 {
			break
		}
		b.WriteString(s[:start])
		s = s[start+size:]
	}
	b.WriteString(s)
	return Unescape(strings.Join(strings.FieldsFunc(b.String(), IsSpace), " "))
}

// Quote quotes a text for the path of a URL, or for its query.
func Quote(s string, query bool) string {
	var b strings.Builder
	b.Grow(3 * len(s))
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("_.-~", c) >= 0,
			c == '/' && !query:
			b.WriteByte(c)
		case c == ' ' && query:
			b.WriteByte('+')
		default:
			const digits = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// Regular expressions of Jinja, with Python's \w, \d and \S. They need not match the whole of what follows them.
const (
	word     = `[\p{L}\p{N}_%-]`
	notSpace = `[^\s\p{Z}\x{0b}\x{1c}-\x{1f}\x{85}]`
)

var (
	link = regexp.MustCompile(`(?i)^(?:` +
		`(?:https?://|www\.)(?:` + word + `+\.)*(?:[a-z]{2,63}|xn--[\p{L}\p{N}_%]{2,59})` +
		`|(?:[\p{L}\p{N}_%-]{2,63}\.)+(?:com|net|int|edu|gov|org|info|mil)` +
		`|https?://(?:\p{Nd}{1,3}(?:\.\p{Nd}{1,3}){3}|\[(?:[\p{Nd}a-f]{0,4}:){2}(?:[\p{Nd}a-f]{0,4}:?){1,6}\])` +
		`)(?::\p{Nd}{1,5})?(?:[/?#]` + notSpace + `*)?$`)
	address = regexp.MustCompile(`^` + notSpace + `+@[\p{L}\p{N}_][\p{L}\p{N}_.-]*\.[\p{L}\p{N}_]+$`)
)

// Links are the options of Linked.
type Links struct {
	Limit   int    // characters of an address that are shown; negative: all
	Rel     string // attributes, escaped; "": none
	Target  string
	Schemes []string // beginnings of more addresses
}

// Linked makes links of the addresses in an escaped text.
func Linked(text string, o Links) string {
	var b strings.Builder
	for text != "" {
		n := strings.IndexFunc(text, IsSpace)
		if n < 0 {
			n = len(text)
		}
		b.WriteString(linkedWord(text[:n], o))
		text = text[n:]
		n = len(text) - len(strings.TrimLeftFunc(text, IsSpace))
		b.WriteString(text[:n])
		text = text[n:]
	}
	return b.String()
}

// cutAll returns where a text is after all of some beginnings, or before all of some ends.
func cutAll(s string, cut func(s, affix string) (string, bool), affixes ...string) string {
	for {
		before := s
		for _, a := range affixes {
			s, _ = cut(s, a)
		}
		if s == before {
			return s
		}
	}
}

func linkedWord(word string, o Links) string {
	middle := cutAll(word, strings.CutPrefix, "(", "<", "&lt;")
	head := word[:len(word)-len(middle)]
	short := cutAll(middle, strings.CutSuffix, ")", ">", ".", ",", "&gt;")
	middle, tail := short, middle[len(short):]
	for _, pair := range [][2]string{{"(", ")"}, {"<", ">"}, {"&lt;", "&gt;"}} { // a pair belongs to an address
		opened := strings.Count(middle, pair[0])
		if opened <= strings.Count(middle, pair[1]) {
			continue
		}
		end := 0
		for range min(opened, strings.Count(tail, pair[1])) {
			end += strings.Index(tail[end:], pair[1]) + len(pair[1])
		}
		middle, tail = middle+tail[:end], tail[end:]
	}
	return head + o.link(middle) + tail
}

// link makes a link of an address; anything else stays as it is.
func (o Links) link(s string) string {
	attributes := ""
	if o.Rel != "" {
		attributes = ` rel="` + o.Rel + `"`
	}
	if o.Target != "" {
		attributes += ` target="` + o.Target + `"`
	}
	to := func(address, shown, attributes string) string {
		return `<a href="` + address + `"` + attributes + `>` + shown + `</a>`
	}
	bare, mail := strings.CutPrefix(s, "mailto:")
	switch {
	case link.MatchString(s) && (strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")):
		return to(s, o.shown(s), attributes)
	case link.MatchString(s):
		return to("https://"+s, o.shown(s), attributes)
	case mail && address.MatchString(bare):
		return to(s, bare, "")
	case strings.Contains(s, "@") && !strings.HasPrefix(s, "www.") && !strings.HasPrefix(s, "@") &&
		!strings.Contains(s, ":") && address.MatchString(s):
		return to("mailto:"+s, s, "")
	}
	for _, scheme := range o.Schemes {
		if s != scheme && strings.HasPrefix(s, scheme) {
			s = to(s, s, attributes)
		}
	}
	return s
}

func (o Links) shown(s string) string {
	n := 0
	for i := range s {
		if n++; n > o.Limit && o.Limit >= 0 {
			return s[:i] + "..."
		}
	}
	return s
}
