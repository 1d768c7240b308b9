package jinja

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/codecs"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// Kinds of tokens. Operators are tokens of their own text.
const (
	endToken      = "end of template"
	dataToken     = "text"
	nameToken     = "name"
	stringToken   = "string"
	intToken      = "integer"
	floatToken    = "float"
	variableBegin = "{{"
	variableEnd   = "}}"
	blockBegin    = "{%"
	blockEnd      = "%}"
)

type token struct {
	kind string
	text string       // of data, names and strings
	num  values.Value // of numbers
	line int
}

// String describes the token in an error.
func (t token) String() string {
	if t.kind == nameToken {
		return strconv.Quote(t.text)
	}
	return t.kind
}

// lexer cuts a template as Jinja's does with trim_blocks and lstrip_blocks: white space
// before a block on its line and the line's end after it are dropped, and "-" at a tag drops all.
type lexer struct {
	name      string
	src       string
	at        int
	line      int
	lineStart bool // what was read last ends a line
	tokens    []token
	run       *values.Run
}

// lex returns the tokens of a template, the last of which is an endToken.
func lex(run *values.Run, name, source string) []token {
	source = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(source)
	l := &lexer{name: name, src: strings.TrimSuffix(source, "\n"), line: 1, lineStart: true, run: run}
	for l.at < len(l.src) {
		l.root()
	}
	l.add(token{kind: endToken})
	return l.tokens
}

func (l *lexer) fail(format string, args ...any) {
	panic(&Error{Template: l.name, Line: l.line, Text: fmt.Sprintf(format, args...)})
}

func (l *lexer) add(t token) {
	t.line = l.line
	l.tokens = append(l.tokens, t)
}

// skip passes over n bytes.
func (l *lexer) skip(n int) {
	s := l.src[l.at : l.at+n]
	l.line += strings.Count(s, "\n")
	l.at += n
	if n > 0 {
		l.lineStart = s[n-1] == '\n'
	}
}

// skipSpace passes over white space.
func (l *lexer) skipSpace() {
	l.skip(len(l.src) - l.at - len(strings.TrimLeftFunc(l.src[l.at:], values.IsSpace)))
}

// root reads text up to a tag, and the tag.
func (l *lexer) root() {
	rest := l.src[l.at:]
	n := 0
	for ; ; n++ {
		i := strings.IndexByte(rest[n:], '{')
		if i < 0 || n+i+1 >= len(rest) {
			l.add(token{kind: dataToken, text: rest})
			l.skip(len(rest))
			return
		}
		if n += i; strings.IndexByte("{%#", rest[n+1]) >= 0 {
			break
		}
	}
	l.tag(rest[:n], rest[n:])
}

// tag reads what begins with "{{", "{%" or "{#" after a text.
func (l *lexer) tag(text, rest string) {
	kind, size := rest[:2], 2
	sign := byte(0)
	if len(rest) > 2 && (rest[2] == '-' || rest[2] == '+') {
		sign, size = rest[2], 3
	}
	trimmed := l.trim(text, sign, kind == variableBegin)
	if trimmed != "" {
		l.add(token{kind: dataToken, text: trimmed})
	}
	l.skip(len(text))
	if raw := rawBegin(rest[size:]); kind == blockBegin && raw > 0 {
		l.skip(size + raw)
		l.raw()
		return
	}
	l.skip(size)
	if kind == "{#" {
		l.comment()
		return
	}
	l.add(token{kind: kind})
	l.code(kind)
}

// trim drops white space at the end of a text before a tag.
func (l *lexer) trim(text string, sign byte, variable bool) string {
	if sign == '-' {
		return strings.TrimRightFunc(text, values.IsSpace)
	}
	if sign == '+' || variable {
		return text
	}
	start := strings.LastIndexByte(text, '\n') + 1
	if (start > 0 || l.lineStart) && strings.TrimLeftFunc(text[start:], values.IsSpace) == "" {
		return text[:start]
	}
	return text
}

// rawBegin returns the length of the rest of a {% raw %} tag, 0 if it is another.
func rawBegin(s string) int {
	rest := strings.TrimLeftFunc(s, values.IsSpace)
	rest, ok := strings.CutPrefix(rest, "raw")
	rest = strings.TrimLeftFunc(rest, values.IsSpace)
	switch {
	case ok && strings.HasPrefix(rest, blockEnd):
		rest = rest[2:]
	case ok && strings.HasPrefix(rest, "-"+blockEnd):
		rest = strings.TrimLeftFunc(rest[3:], values.IsSpace)
	default:
		return 0
	}
	return len(s) - len(rest)
}

// raw reads text up to {% endraw %}.
func (l *lexer) raw() {
	for n := 0; ; n += 2 {
		i := strings.Index(l.src[l.at+n:], blockBegin)
		if i < 0 && l.at == len(l.src) {
			return
		}
		if i < 0 {
			l.fail("{%% raw %%} has no end, expected {%% endraw %%}")
		}
		n += i
		text, rest := l.src[l.at:l.at+n], l.src[l.at+n+2:]
		sign := byte(0)
		if rest != "" && (rest[0] == '-' || rest[0] == '+') {
			sign, rest = rest[0], rest[1:]
		}
		rest, ok := strings.CutPrefix(strings.TrimLeftFunc(rest, values.IsSpace), "endraw")
		rest = strings.TrimLeftFunc(rest, values.IsSpace)
		if size := tagEnd(rest, blockEnd); ok && size > 0 {
			if text := l.trim(text, sign, false); text != "" {
				l.add(token{kind: dataToken, text: text})
			}
			l.skip(len(l.src) - l.at - len(rest) + size)
			return
		}
	}
}

// comment passes over the rest of a comment.
func (l *lexer) comment() {
	for n := l.at; n < len(l.src); n++ {
		if size := tagEnd(l.src[n:], "#}"); size > 0 {
			l.skip(n - l.at + size)
			return
		}
	}
	if l.at == len(l.src) {
		return // as Jinja does
	}
	l.fail("a comment has no end, expected #}")
}

// tagEnd returns the length of a tag's end with the white space that it drops, 0 if s
// does not begin with it.
func tagEnd(s, end string) int {
	switch {
	case strings.HasPrefix(s, end+"\n") && end != variableEnd:
		return len(end) + 1
	case strings.HasPrefix(s, end):
		return len(end)
	case strings.HasPrefix(s, "+"+end) && end != variableEnd:
		return len(end) + 1
	case strings.HasPrefix(s, "-"+end):
		return len(s) - len(strings.TrimLeftFunc(s[len(end)+1:], values.IsSpace))
	}
	return 0
}

var closing = map[string]string{"(": ")", "[": "]", "{": "}"}

// code reads the tokens within a tag, up to and including its end.
func (l *lexer) code(begin string) {
	end := variableEnd
	if begin == blockBegin {
		end = blockEnd
	}
	var open []string // closing brackets that are awaited
	for l.at < len(l.src) {
		l.skipSpace()
		if size := tagEnd(l.src[l.at:], end); len(open) == 0 && size > 0 {
			l.add(token{kind: end})
			l.skip(size)
			return
		}
		if l.at == len(l.src) {
			break
		}
		op := l.token()
		if c, ok := closing[op]; ok {
			open = append(open, c)
		} else if strings.Contains(")]}", op) && op != "" {
			if len(open) == 0 || open[len(open)-1] != op {
				l.fail("unexpected %q", op)
			}
			open = open[:len(open)-1]
		}
	}
	l.fail("a tag has no end, expected %s", end)
}

var operators = []string{"//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~",
	"[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";"}

// token reads a token within a tag, and returns it if it is an operator.
func (l *lexer) token() string {
	rest := l.src[l.at:]
	c, _ := utf8.DecodeRuneInString(rest)
	switch {
	case c >= '0' && c <= '9':
		l.number(rest)
	case values.IsWord(c):
		n := strings.IndexFunc(rest, func(c rune) bool { return !values.IsWord(c) })
		if n < 0 {
			n = len(rest)
		}
		l.add(token{kind: nameToken, text: rest[:n]})
		l.skip(n)
	case c == '\'' || c == '"':
		l.literal(rest)
	default:
		for _, op := range operators {
			if strings.HasPrefix(rest, op) {
				l.add(token{kind: op})
				l.skip(len(op))
				return op
			}
		}
		l.fail("unexpected character %q", c)
	}
	return ""
}

const digits = `[0-9]+(?:_[0-9]+)*`

var (
	exponent     = `[eE][-+]?` + digits
	floatPattern = regexp.MustCompile(`^` + digits + `(?:(?:\.` + digits + `)?` + exponent + `|\.` + digits + `)`)
	intPattern   = regexp.MustCompile(
		`^(?i:0b(?:_?[01])+|0o(?:_?[0-7])+|0x(?:_?[0-9a-f])+|[1-9](?:_?[0-9])*|0(?:_?0)*)`)
)

// number reads an integer or a float.
func (l *lexer) number(s string) {
	afterDot := l.at > 0 && l.src[l.at-1] == '.' // as in a.0.1
	if n := len(floatPattern.FindString(s)); n > 0 && !afterDot {
		f, _ := strconv.ParseFloat(strings.ReplaceAll(s[:n], "_", ""), 64)
		l.add(token{kind: floatToken, num: f})
		l.skip(n)
		return
	}
	n := len(intPattern.FindString(s))
	i, ok := values.ParseInteger(strings.ReplaceAll(s[:n], "_", ""), 0)
	if !ok {
		l.fail("the integer %.40s has too many digits", s[:n])
	}
	l.add(token{kind: intToken, num: i})
	l.skip(n)
}

// literal reads a string.
func (l *lexer) literal(s string) {
	n := 1
	for n < len(s) && s[n] != s[0] {
		if s[n] == '\\' {
			n++
		}
		n++
	}
	if n >= len(s) {
		l.fail("a string has no end, expected %c", s[0])
	}
	l.add(token{kind: stringToken, text: l.unescape(s[1:n])})
	l.skip(n + 1)
}

// longestEscape is more than the longest name of a character has, with what is around it.
const longestEscape = 128

// unescape replaces Python's escape sequences; what is none keeps its backslash.
func (l *lexer) unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	l.run.Line = l.line
	var b strings.Builder
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			i++
			continue
		}
		if c, size := utf8.DecodeRuneInString(s[i+1:]); c >= utf8.RuneSelf { // Jinja reads the escape of the character
			b.WriteString(codecs.Escape(c))
			i += 1 + size
			continue
		}
		c, size, ok := codecs.DecodeEscape([]byte(s[i:min(len(s), i+longestEscape)]))
		if !ok {
			l.fail("%.60q in a string is no character", s[i:i+size])
		}
		if i += size; c >= 0 {
			b.WriteString(l.run.Character(c))
		}
	}
	return b.String()
}
