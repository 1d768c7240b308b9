package grammar

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What bounds a grammar's text.
const (
	maxText  = 1 << 20
	maxDepth = 100 // of brackets
)

// Parse reads a grammar in GBNF, as llama.cpp defines it. Texts are those of the rule root. Errors have the line.
func Parse(text string) (*Grammar, error) {
	if len(text) > maxText {
		return nil, fmt.Errorf("the grammar has %d bytes, expected at most %d", len(text), maxText)
	}
	if !utf8.ValidString(text) {
		return nil, fmt.Errorf("the grammar is not UTF-8")
	}
	p := &parser{text: text, g: NewGrammar("root")}
	if err := p.grammar(); err != nil {
		return nil, fmt.Errorf("grammar, line %d: %w", 1+strings.Count(text[:p.at], "\n"), err)
	}
	return p.g, nil
}

type parser struct {
	text  string
	at    int
	depth int
	g     *Grammar
	used  []use
}

// use is where a rule is called.
type use struct {
	name string
	at   int
}

func (p *parser) grammar() error {
	for p.space(true); p.at < len(p.text); p.space(true) {
		if err := p.rule(); err != nil {
			return err
		}
	}
	for _, u := range p.used {
		if _, ok := p.g.index[u.name]; !ok {
			p.at = u.at
			return fmt.Errorf("there is no rule %s", u.name)
		}
	}
	if _, ok := p.g.index[p.g.root]; !ok {
		return fmt.Errorf("there is no rule %s, with which a text begins", p.g.root)
	}
	return nil
}

func (p *parser) rule() error {
	start := p.at
	name := p.name()
	if name == "" {
		return fmt.Errorf("%s, expected the name of a rule, of letters, digits and -", p.found())
	}
	p.space(false)
	if !p.take("::=") {
		return fmt.Errorf("%s after %s, expected ::=", p.found(), name)
	}
	p.space(true)
	e, err := p.alternatives(false)
	if err != nil {
		return err
	}
	if p.at < len(p.text) && p.text[p.at] != '\n' && p.text[p.at] != '\r' {
		return fmt.Errorf("%s, expected the end of rule %s", p.found(), name)
	}
	if len(p.g.names) >= maxRules {
		return fmt.Errorf("there are more than %d rules", maxRules)
	}
	if !p.g.Define(name, e) {
		p.at = start
		return fmt.Errorf("there are two rules %s", name)
	}
	return nil
}

// space skips white space and comments, with newline also line ends.
func (p *parser) space(newline bool) {
	for p.at < len(p.text) {
		switch c := p.text[p.at]; {
		case c == ' ' || c == '\t':
		case c == '#':
			if n := strings.IndexAny(p.text[p.at:], "\r\n"); n >= 0 {
				p.at += n - 1
			} else {
				p.at = len(p.text) - 1
			}
		case newline && (c == '\n' || c == '\r'):
		default:
			return
		}
		p.at++
	}
}

func (p *parser) take(s string) bool {
	ok := strings.HasPrefix(p.text[p.at:], s)
	if ok {
		p.at += len(s)
	}
	return ok
}

// found says what is there.
func (p *parser) found() string {
	if p.at >= len(p.text) {
		return "the grammar ends"
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.at:])
	return strconv.QuoteRune(r)
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_'
}

func (p *parser) name() string {
	start := p.at
	for p.at < len(p.text) && isWord(p.text[p.at]) {
		p.at++
	}
	return p.text[start:p.at]
}

// alternatives reads sequences between bars; nested within brackets, where lines may end.
func (p *parser) alternatives(nested bool) (Expr, error) {
	var all []Expr
	for {
		e, err := p.sequence(nested)
		if err != nil {
			return Expr{}, err
		}
		all = append(all, e)
		if !p.take("|") {
			break
		}
		p.space(true)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return Alt(all...), nil
}

func (p *parser) sequence(nested bool) (Expr, error) {
	var all []Expr
	for p.at < len(p.text) {
		e, ok, err := p.item()
		if err != nil {
			return Expr{}, err
		}
		if !ok {
			break
		}
		if e, err = p.repeated(e, nested); err != nil {
			return Expr{}, err
		}
		all = append(all, e)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return Seq(all...), nil
}

// item reads a text, a class, a rule, a token or a group. It returns false where none begins.
func (p *parser) item() (e Expr, ok bool, err error) {
	switch c := p.text[p.at]; {
	case c == '"':
		p.at++
		e, err = p.literal()
	case c == '[':
		p.at++
		e, err = p.characters()
	case c == '.':
		p.at++
		e = Runes(0, utf8.MaxRune)
	case c == '(':
		if p.depth++; p.depth > maxDepth {
			return e, false, fmt.Errorf("brackets are nested more than %d deep", maxDepth)
		}
		p.at++
		p.space(true)
		if e, err = p.alternatives(true); err == nil && !p.take(")") {
			err = fmt.Errorf("%s, expected )", p.found())
		}
		p.depth--
	case c == '<':
		e, err = p.token()
	case c == '!':
		err = fmt.Errorf("!, a token that is not: only tokens that are can be read")
	case isWord(c):
		start := p.at
		name := p.name()
		p.used = append(p.used, use{name, start})
		e = Rule(name)
	default:
		return e, false, nil
	}
	return e, err == nil, err
}

// token reads <[17]> or <|end|>, in which > ends it.
func (p *parser) token() (Expr, error) {
	n := strings.IndexAny(p.text[p.at:], ">\r\n")
	if n < 0 || p.text[p.at+n] != '>' {
		return Expr{}, fmt.Errorf("a token without >")
	}
	text := p.text[p.at : p.at+n+1]
	if number, ok := strings.CutPrefix(text, "<["); ok {
		number, ok = strings.CutSuffix(number, "]>")
		id, err := strconv.ParseInt(number, 10, 32)
		if !ok || err != nil || id < 0 {
			return Expr{}, fmt.Errorf("%s, expected the id of a token, such as <[17]>", text)
		}
		p.at += n + 1
		return TokenID(int32(id)), nil
	}
	p.at += n + 1
	return Token(text), nil
}

func (p *parser) literal() (Expr, error) {
	var b strings.Builder
	for {
		if p.at >= len(p.text) {
			return Expr{}, fmt.Errorf("a text without its closing \"")
		}
		if p.take(`"`) {
			return Text(b.String()), nil
		}
		r, err := p.character()
		if err != nil {
			return Expr{}, err
		}
		b.WriteRune(r)
	}
}

// character reads a character, which may be escaped.
func (p *parser) character() (rune, error) {
	if !p.take(`\`) {
		r, n := utf8.DecodeRuneInString(p.text[p.at:])
		p.at += n
		return r, nil
	}
	if p.at >= len(p.text) {
		return 0, fmt.Errorf(`the grammar ends after \`)
	}
	c := p.text[p.at]
	p.at++
	switch c {
	case 't':
		return '\t', nil
	case 'r':
		return '\r', nil
	case 'n':
		return '\n', nil
	case '\\', '"', '[', ']', '-', '^':
		return rune(c), nil
	}
	digits := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
	if digits == 0 {
		return 0, fmt.Errorf(`\%c, expected one of \t \r \n \\ \" \[ \] \- \^ \xHH \uHHHH \UHHHHHHHH`, c)
	}
	if p.at+digits > len(p.text) {
		return 0, fmt.Errorf(`\%c without its %d digits`, c, digits)
	}
	hex := p.text[p.at : p.at+digits]
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || !utf8.ValidRune(rune(min(n, 1<<30))) {
		return 0, fmt.Errorf(`\%c%s, expected %d hexadecimal digits of a character`, c, hex, digits)
	}
	p.at += digits
	return rune(n), nil
}

// characters reads a class after its [.
func (p *parser) characters() (Expr, error) {
	var ranges []rune
	not := p.take("^")
	for {
		if p.at >= len(p.text) {
			return Expr{}, fmt.Errorf("a class of characters without its ]")
		}
		if p.take("]") {
			break
		}
		first, err := p.character()
		if err != nil {
			return Expr{}, err
		}
		last := first
		if rest := p.text[p.at:]; len(rest) > 1 && rest[0] == '-' && rest[1] != ']' {
			p.at++
			if last, err = p.character(); err != nil {
				return Expr{}, err
			}
		}
		if first > last {
			return Expr{}, fmt.Errorf("a range of characters from %q to %q", first, last)
		}
		ranges = append(ranges, first, last)
	}
	if ranges = union(ranges); not {
		ranges = others(ranges)
	}
	return Runes(ranges...), nil
}

// mostTimes bounds the numbers of repetitions.
const mostTimes = 100_000

// repeated reads what says how often e comes, if there is something.
func (p *parser) repeated(e Expr, newline bool) (Expr, error) {
	for {
		switch {
		case p.take("*"):
			e = Repeat(e, 0, -1)
		case p.take("+"):
			e = Repeat(e, 1, -1)
		case p.take("?"):
			e = Opt(e)
		case p.take("{"):
			var err error
			if e, err = p.times(e); err != nil {
				return e, err
			}
		default:
			p.space(newline)
			return e, nil
		}
		if p.depth++; p.depth > maxDepth { // e is nested
			return e, fmt.Errorf("there are too many signs of repetition")
		}
		defer func() { p.depth-- }()
	}
}

// times reads numbers after their {.
func (p *parser) times(e Expr) (Expr, error) {
	number := func() (int, bool) {
		p.space(false)
		start := p.at
		for p.at < len(p.text) && p.text[p.at] >= '0' && p.text[p.at] <= '9' {
			p.at++
		}
		n, err := strconv.Atoi(p.text[start:p.at])
		if err != nil && p.at > start {
			n = mostTimes + 1
		}
		given := p.at > start
		p.space(false)
		return n, given
	}
	least, given := number()
	most := least
	if p.take(",") {
		var bounded bool
		if most, bounded = number(); !bounded {
			most = -1
		}
	} else if !given {
		return e, fmt.Errorf("%s, expected a number of times", p.found())
	}
	if !p.take("}") {
		return e, fmt.Errorf("%s, expected }", p.found())
	}
	if least > mostTimes || most > mostTimes || most >= 0 && most < least {
		return e, fmt.Errorf("a repetition of {%d,%d}, expected at most %d and the lesser number first", least, most,
			mostTimes)
	}
	return Repeat(e, least, most), nil
}
