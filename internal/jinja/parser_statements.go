package jinja

import (
	"slices"
	"strings"
)

// template reads all statements.
func (p *parser) template() []statement {
	body := p.statements()
	if t := p.peek(); t.kind != endToken {
		p.fail(t.line, "found the tag %v, expected the beginning of a statement", t)
	}
	if errs := append(p.unknown, p.unknownFor...); len(errs) > 0 {
		panic(errs[0])
	}
	return body
}

// statements reads text, variables and statements up to a tag of one of some names, which
// is the next token then, or to the end of the template.
func (p *parser) statements(ends ...string) (body []statement) {
	defer p.enter()()
	for {
		switch t := p.next(); t.kind {
		case dataToken:
			body = append(body, &text{t.text})
		case variableBegin:
			body = append(body, &printed{p.tuple(true, false), p.escape})
			p.expect(variableEnd)
		case blockBegin:
			if p.word(ends...) {
				return body
			}
			body = append(body, p.statement())
			p.expect(blockEnd)
		default:
			if len(ends) > 0 {
				p.fail(t.line, "found the end of the template, expected {%% %s %%}", strings.Join(ends, " %} or {% "))
			}
			return body
		}
	}
}

// body reads the rest of a tag and the statements up to the last of some names, which it
// passes over.
func (p *parser) body(ends ...string) []statement {
	p.skip(":")
	p.expect(blockEnd)
	return p.statements(ends...)
}

// closed reads a body up to its end.
func (p *parser) closed(end string) []statement {
	body := p.body(end)
	p.next()
	return body
}

// frame calls read, which reads a body with variables of its own. There, a filter that does not exist is an error even
// within an if.
func (p *parser) frame(read func()) {
	n := len(p.unknown)
	read()
	p.unknownFor = append(p.unknownFor, p.unknown[n:]...)
	p.unknown = p.unknown[:n]
}

// function calls read, which reads a body in which break and continue are not for the loops around it.
func (p *parser) function(read func()) {
	loops := p.loops
	p.loops = 0
	p.frame(read)
	p.loops = loops
}

// statement reads a statement up to the end of its last tag.
func (p *parser) statement() statement {
	t := p.expect(nameToken)
	switch t.text {
	case "for":
		return p.loop(t.line)
	case "if":
		n := len(p.unknown)
		s := p.condition()
		p.unknown = p.unknown[:n]
		return s
	case "set":
		return p.set(t.line)
	case "macro":
		return p.macro()
	case "call":
		return p.callBlock(t.line)
	case "filter":
		return p.filterBlock()
	case "generation":
		b := &block{}
		p.function(func() { b.body = p.closed("endgeneration") })
		return b
	case "with":
		return p.with()
	case "break", "continue":
		if p.loops == 0 {
			p.fail(t.line, "%s is not within a loop", t.text)
		}
		return &jump{t.text == "break"}
	case "print":
		return p.print()
	case "block":
		return p.block()
	case "autoescape":
		return p.autoescape()
	case "include", "import", "from", "extends":
		for !p.is(blockEnd) && !p.is(endToken) {
			p.next()
		}
		return &refused{line: t.line, text: t.text + " is refused: a chat template is one text and cannot reach others"}
	}
	p.fail(t.line, "found the tag %v, expected the name of a statement or the end of one", t)
	return nil
}

func (p *parser) print() statement {
	s := &bodyStatement{}
	for !p.is(blockEnd) {
		if s.body != nil {
			p.expect(",")
		}
		s.body = append(s.body, &printed{p.expression(true), p.escape})
	}
	return s
}

// autoescape reads a body in which values are escaped, or not.
func (p *parser) autoescape() statement {
	s := &autoescape{line: p.peek().line, on: p.expression(true)}
	before := p.escape
	p.escape = false
	if on, ok := s.on.(*constant); ok {
		s.isConstant, p.escape = true, on.value != nil && on.value != false && on.value != 0 && on.value != ""
	}
	p.frame(func() { s.body = p.closed("endautoescape") })
	p.escape = before
	return s
}

func (p *parser) condition() statement {
	s := &ifStatement{}
	for {
		s.tests = append(s.tests, p.tuple(false, false))
		s.bodies = append(s.bodies, p.body("elif", "else", "endif"))
		switch p.next().text {
		case "elif":
		case "else":
			s.bodies = append(s.bodies, p.closed("endif"))
			return s
		default:
			return s
		}
	}
}

func (p *parser) loop(line int) statement {
	s := &forStatement{line: line, target: p.target(false)}
	p.expectWord("in")
	s.items = p.tuple(false, false)
	p.frame(func() {
		if p.skipWord("if") {
			s.test = p.expression(true)
		}
		s.recursive = p.skipWord("recursive")
		p.loops++
		p.allLoops++
		loop := p.mentions["loop"]
		s.body = p.body("endfor", "else")
		s.usesLoop = s.recursive || p.mentions["loop"] > loop
		p.loops--
		p.allLoops--
		if p.next().text == "else" {
			s.otherwise = p.closed("endfor")
		}
	})
	if slices.Contains(s.target.names(), "loop") {
		p.fail(line, "loop cannot be the variable of a loop")
	}
	return s
}

// target reads what can be set: a name, an attribute of a namespace if they are allowed,
// or a tuple of these.
func (p *parser) target(attributes bool) target {
	line := p.peek().line
	var list []target
	isTuple := false
	for {
		if p.is("(") {
			p.next()
			list = append(list, p.target(attributes))
			p.expect(")")
		} else {
			t := p.expect(nameToken)
			if _, ok := constants[t.text]; ok {
				p.fail(t.line, "%s cannot be set", t.text)
			}
			if t.text == "loop" && p.allLoops > 0 {
				p.fail(t.line, "loop cannot be set within a loop")
			}
			one := target{line: line, name: t.text}
			if attributes && p.skip(".") {
				one.attribute = p.expect(nameToken).text
			}
			list = append(list, one)
		}
		if !p.skip(",") {
			break
		}
		isTuple = true
		if attributes && p.word("in") || p.is("=") || p.is(blockEnd) || p.is(")") {
			break
		}
	}
	if !isTuple {
		return list[0]
	}
	return target{line: line, list: list}
}

func (p *parser) set(line int) statement {
	t := p.target(true)
	if p.skip("=") {
		return &setStatement{target: t, value: p.tuple(true, false)}
	}
	s := &setBlock{target: t}
	p.frame(func() {
		s.filters = p.filters(nil)
		s.body = p.closed("endset")
	})
	return s
}

func (p *parser) filterBlock() statement {
	s := &filterBlock{line: p.peek().line, escape: p.escape}
	p.frame(func() {
		s.filters = p.filters(p.filter(nil))
		s.body = p.closed("endfilter")
	})
	return s
}

// signature reads the parameters of a macro.
func (p *parser) signature(m *macroStatement) {
	p.expect("(")
	for !p.is(")") {
		if m.names != nil {
			p.expect(",")
		}
		t := p.expect(nameToken)
		if slices.Contains(m.names, t.text) {
			p.fail(t.line, "the parameter %s is there twice", t.text)
		}
		m.names = append(m.names, t.text)
		if t.text == "caller" && !p.is("=") {
			p.fail(t.line, "the parameter caller has no default, expected one, or none of this name")
		}
		if p.skip("=") {
			m.defaults = append(m.defaults, p.expression(true))
		} else if m.defaults != nil {
			p.fail(p.peek().line, "a parameter without a default follows one with a default")
		}
	}
	p.expect(")")
}

// macroBody reads the body of a macro or of a call block.
func (p *parser) macroBody(m *macroStatement, end string) {
	before := [3]int{}
	special := []string{"caller", "kwargs", "varargs"}
	for i, name := range special {
		before[i] = p.mentions[name]
	}
	p.function(func() { m.body = p.closed(end) })
	used := func(i int) bool { return p.mentions[special[i]] > before[i] && !slices.Contains(m.names, special[i]) }
	m.usesCaller, m.usesNamed, m.usesRest = used(0), used(1), used(2)
}

func (p *parser) macro() statement {
	m := &macroStatement{name: p.expect(nameToken).text}
	p.signature(m)
	p.macroBody(m, "endmacro")
	return m
}

func (p *parser) callBlock(line int) statement {
	s := &callBlock{caller: &macroStatement{}}
	if p.is("(") {
		p.signature(s.caller)
	}
	c, ok := p.expression(true).(*call)
	if !ok {
		p.fail(line, "found no call, expected one after {%% call")
	}
	s.call = c
	p.macroBody(s.caller, "endcall")
	return s
}

func (p *parser) with() statement {
	s := &withStatement{}
	for !p.is(blockEnd) {
		if s.targets != nil {
			p.expect(",")
		}
		s.targets = append(s.targets, p.target(false))
		p.expect("=")
		s.values = append(s.values, p.expression(true))
	}
	p.frame(func() { s.body = p.closed("endwith") })
	return s
}

// block reads a named block, which is rendered where it stands.
func (p *parser) block() statement {
	t := p.expect(nameToken)
	if p.blocks[t.text] != nil {
		p.fail(t.line, "the block %s is defined twice", t.text)
	}
	b := &block{outer: !p.skipWord("scoped")}
	if p.word("required") {
		p.fail(t.line, "the block %s is required, expected another template that extends this one", t.text)
	}
	if p.blocks == nil {
		p.blocks = map[string]*block{}
	}
	p.blocks[t.text] = b
	escape := p.escape
	p.escape = false
	p.function(func() { b.body = p.closed("endblock") })
	p.escape = escape
	p.skipWord(t.text)
	return b
}
