package jinja

import (
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/internal/jinja/filters"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// parser reads statements and expressions from tokens. It throws an *Error.
type parser struct {
	name   string
	tokens []token
	at     int
	depth  int

	folder   *folder           // of constant expressions; its Autoescape says whether automatic escaping is on
	loops    int               // around, as far as break and continue reach
	allLoops int               // around, also those around a macro
	blocks   map[string]*block // so far, by name
	mentions map[string]int    // how often a variable was read: says which of loop, caller, kwargs, varargs a body uses

	// Filters and tests that do not exist. They are errors of the template, but within an if only where they are
	// evaluated. unknownFor are those in bodies with variables of their own, where an if does not matter.
	unknown, unknownFor []*values.Error
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if p.at < len(p.tokens)-1 {
		p.at++
	}
	return t
}

func (p *parser) fail(line int, format string, args ...any) {
	panic(&Error{Template: p.name, Line: line, Text: fmt.Sprintf(format, args...)})
}

// is says whether the next token is of a kind.
func (p *parser) is(kind string) bool { return p.peek().kind == kind }

// word says whether the next token is one of some names.
func (p *parser) word(names ...string) bool {
	return p.is(nameToken) && slices.Contains(names, p.peek().text)
}

// skip passes over a token of a kind if it is the next one.
func (p *parser) skip(kind string) bool {
	ok := p.is(kind)
	if ok {
		p.next()
	}
	return ok
}

func (p *parser) skipWord(name string) bool {
	ok := p.word(name)
	if ok {
		p.next()
	}
	return ok
}

func (p *parser) expect(kind string) token {
	t := p.next()
	if t.kind != kind {
		p.fail(t.line, "found %v, expected %s", t, kind)
	}
	return t
}

func (p *parser) expectWord(name string) {
	if t := p.next(); t.kind != nameToken || t.text != name {
		p.fail(t.line, "found %v, expected %q", t, name)
	}
}

// enter goes a level deeper; the result comes back.
func (p *parser) enter() func() {
	if p.depth++; p.depth > maxNesting {
		p.fail(p.peek().line, "brackets or statements nest more than %d levels deep", maxNesting)
	}
	return func() { p.depth-- }
}

// whole reads an expression that is no part of another.
func (p *parser) whole(conditional bool) expression { return p.folder.fold(p.expression(conditional)) }

// expression reads an expression, with a conditional one if it is allowed.
func (p *parser) expression(conditional bool) expression {
	defer p.enter()()
	unknown := len(p.unknown)
	left := p.or()
	for conditional && p.skipWord("if") {
		c := &condition{test: p.or(), yes: left}
		if p.skipWord("else") {
			c.no = p.expression(true)
		}
		p.unknown = p.unknown[:unknown]
		left = c
	}
	return left
}

func (p *parser) or() expression {
	left := p.and()
	for p.skipWord("or") {
		left = &logical{left: left, right: p.and(), or: true}
	}
	return left
}

func (p *parser) and() expression {
	left := p.not()
	for p.skipWord("and") {
		left = &logical{left: left, right: p.not()}
	}
	return left
}

func (p *parser) not() expression {
	defer p.enter()()
	if p.skipWord("not") {
		return &negation{p.not()}
	}
	return p.comparison()
}

func (p *parser) comparison() expression {
	first := p.sum()
	c := &comparison{line: p.peek().line, first: first}
	for {
		op := p.peek().kind
		switch {
		case slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, op):
			p.next()
		case p.skipWord("in"):
			op = "in"
		case p.word("not") && p.tokens[p.at+1].kind == nameToken && p.tokens[p.at+1].text == "in":
			p.next()
			p.next()
			op = "not in"
		case len(c.operators) == 0:
			return first
		default:
			return c
		}
		c.operators = append(c.operators, op)
		c.others = append(c.others, p.sum())
	}
}

// chain reads operands with binary operators between them, from left to right.
func (p *parser) chain(operand func() expression, operators ...string) expression {
	left := operand()
	for slices.Contains(operators, p.peek().kind) {
		op := p.next()
		left = &binary{line: op.line, operator: op.kind, left: left, right: operand()}
	}
	return left
}

func (p *parser) sum() expression { return p.chain(p.joined, "+", "-") }

func (p *parser) joined() expression {
	first := p.product()
	if !p.is("~") {
		return first
	}
	parts := []expression{first}
	for p.skip("~") {
		parts = append(parts, p.product())
	}
	return &concatenation{parts, p.folder.Autoescape && !p.folder.volatile}
}

func (p *parser) product() expression { return p.chain(p.power, "*", "/", "//", "%") }

func (p *parser) power() expression { return p.chain(func() expression { return p.unary(true) }, "**") }

func (p *parser) unary(filters bool) expression {
	defer p.enter()()
	var e expression
	if t := p.peek(); t.kind == "-" || t.kind == "+" {
		p.next()
		e = &sign{line: t.line, negative: t.kind == "-", operand: p.unary(false)}
	} else {
		e = p.primary()
	}
	e = p.postfix(e)
	for filters {
		switch {
		case p.is("|"):
			e = p.filters(e)
		case p.word("is"):
			e = p.test(e)
		case p.is("("):
			e = p.call(e)
		default:
			return e
		}
	}
	return e
}

var constants = map[string]values.Value{
	"true": true, "True": true, "false": false, "False": false, "none": nil, "None": nil,
}

func (p *parser) primary() expression {
	t := p.next()
	switch t.kind {
	case nameToken:
		if v, ok := constants[t.text]; ok {
			return &constant{value: v}
		}
		if p.mentions == nil {
			p.mentions = map[string]int{}
		}
		p.mentions[t.text]++
		return &variable{t.text}
	case stringToken:
		text := t.text
		for p.is(stringToken) {
			text += p.next().text
		}
		return &constant{value: text}
	case intToken, floatToken:
		return p.folder.code(t.num)
	case "(":
		e := p.tuple(true, true)
		p.expect(")")
		return e
	case "[":
		return &listLiteral{items: p.items("]")}
	case "{":
		return p.dict()
	}
	p.fail(t.line, "found %v, expected an expression", t)
	return nil
}

// items reads expressions up to a closing bracket.
func (p *parser) items(end string) (items []expression) {
	for !p.is(end) {
		if items != nil {
			p.expect(",")
			if p.is(end) {
				break
			}
		}
		items = append(items, p.expression(true))
	}
	p.expect(end)
	return items
}

func (p *parser) dict() expression {
	d := &dictLiteral{line: p.peek().line}
	for !p.is("}") {
		if d.keys != nil {
			p.expect(",")
			if p.is("}") {
				break
			}
		}
		d.keys = append(d.keys, p.expression(true))
		p.expect(":")
		d.values = append(d.values, p.expression(true))
	}
	p.expect("}")
	return d
}

// tuple reads an expression, or a tuple of several with commas between them.
func (p *parser) tuple(conditional, brackets bool) expression {
	var items []expression
	isTuple := false
	for {
		if items != nil {
			p.expect(",")
		}
		if p.is(variableEnd) || p.is(blockEnd) || p.is(")") || items != nil && p.word("recursive") {
			break
		}
		items = append(items, p.expression(conditional))
		if !p.is(",") {
			break
		}
		isTuple = true
	}
	if !isTuple && len(items) > 0 {
		return items[0]
	}
	if !isTuple && !brackets {
		p.fail(p.peek().line, "found %v, expected an expression", p.peek())
	}
	return &listLiteral{items: items, isTuple: true}
}

// postfix reads attributes, subscripts and calls.
func (p *parser) postfix(e expression) expression {
	for {
		switch {
		case p.is("."):
			line := p.next().line
			switch t := p.next(); t.kind {
			case nameToken:
				e = &attribute{line: line, object: e, name: t.text}
			case intToken:
				e = &subscript{line: line, object: e, index: &constant{value: t.num}}
			default:
				p.fail(t.line, "found %v, expected the name or number of an attribute", t)
			}
		case p.is("["):
			e = p.subscript(e)
		case p.is("("):
			e = p.call(e)
		default:
			return e
		}
	}
}

// subscript reads what is in brackets after a value: an index, a slice, or several of them, which are a tuple.
func (p *parser) subscript(e expression) expression {
	line := p.next().line
	var items []expression
	for !p.is("]") {
		if items != nil {
			p.expect(",")
		}
		items = append(items, p.index())
	}
	p.expect("]")
	if len(items) != 1 {
		return &subscript{line: line, object: e, index: &listLiteral{items: items, isTuple: true}}
	}
	if s, ok := items[0].(*slice); ok && s.object == nil {
		s.line, s.object = line, e
		return s
	}
	return &subscript{line: line, object: e, index: items[0]}
}

// index reads an index or a slice.
func (p *parser) index() expression {
	var bounds [3]expression // start, stop and step; the index if there is no colon
	colons := 0
	for ; ; colons++ {
		if colons == 0 && !p.is(":") || !p.is(":") && !p.is("]") && !p.is(",") {
			bounds[colons] = p.expression(true)
		}
		if colons == 2 || !p.skip(":") {
			break
		}
	}
	if colons == 0 {
		return bounds[0]
	}
	return &slice{bounds: bounds}
}

// arguments reads the arguments of a call.
func (p *parser) arguments() (a callArguments) {
	p.expect("(")
	for first := true; !p.is(")"); first = false {
		if !first {
			p.expect(",")
			if p.is(")") {
				break
			}
		}
		t := p.peek()
		switch {
		case p.skip("*"):
			if a.list != nil || a.dict != nil {
				p.fail(t.line, "found another *, expected one list of arguments")
			}
			a.list = p.expression(true)
		case p.skip("**"):
			if a.dict != nil {
				p.fail(t.line, "found another **, expected one dict of arguments")
			}
			a.dict = p.expression(true)
		case t.kind == nameToken && p.tokens[p.at+1].kind == "=" && a.dict == nil:
			p.next()
			p.next()
			a.names = append(a.names, t.text)
			a.named = append(a.named, p.expression(true))
		case a.names != nil || a.list != nil || a.dict != nil:
			p.fail(t.line, "found %v, expected an argument with a name", t)
		default:
			a.items = append(a.items, p.expression(true))
		}
	}
	p.expect(")")
	return a
}

func (p *parser) call(e expression) expression {
	line := p.peek().line
	return &call{line: line, function: e, arguments: p.arguments()}
}

// filters reads the filters of a value, each after a "|".
func (p *parser) filters(e expression) expression {
	for p.skip("|") {
		e = p.filter(e)
	}
	return e
}

// dotted reads a name, which can have dots in it.
func (p *parser) dotted() token {
	t := p.expect(nameToken)
	for p.skip(".") {
		t.text += "." + p.expect(nameToken).text
	}
	return t
}

// filter reads the name and the arguments of a filter.
func (p *parser) filter(e expression) *filter {
	t := p.dotted()
	f := &filter{line: t.line, name: t.text, value: e}
	if p.is("(") {
		f.arguments = p.arguments()
	}
	if filters.Filters[t.text] == nil {
		p.unknown = append(p.unknown, &Error{Template: p.name, Line: t.line, Text: filters.UnknownFilter(t.text)})
	}
	return f
}

func (p *parser) test(e expression) expression {
	p.expectWord("is")
	negative := p.skipWord("not")
	t := p.dotted()
	test := &test{line: t.line, name: t.text, value: e}
	switch {
	case p.is("("):
		test.arguments = p.arguments()
	case p.word("else", "or", "and"):
	case p.word("is"):
		p.fail(p.peek().line, "found a second is, expected one test")
	case p.is(nameToken), p.is(stringToken), p.is(intToken), p.is(floatToken), p.is("["), p.is("{"):
		test.arguments.items = []expression{p.postfix(p.primary())}
	}
	if filters.Tests[t.text] == nil {
		p.unknown = append(p.unknown, &Error{Template: p.name, Line: t.line, Text: filters.UnknownTest(t.text)})
	}
	if negative {
		return &negation{test}
	}
	return test
}
