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
			body = append(body, p.printed(p.tuple(true, false)))
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
		s.body = append(s.body, p.printed(p.expression(true)))
	}
	return s
}

// printed returns the statement that prints an expression.
func (p *parser) printed(e expression) statement {
	if s, ok := p.folder.printed(e); ok {
		return &text{s}
	}
	return &printed{p.folder.fold(e), p.escaping()}
}

// escaping says how values are escaped here.
func (p *parser) escaping() escaping {
	switch {
	case p.folder.volatile:
		return whenRendering
	case p.folder.Autoescape:
		return always
	}
	return never
}

// autoescape reads a body in which values are escaped, or not.
func (p *parser) autoescape() statement {
	s := &autoescape{on: p.whole(true)}
	f := p.folder
	escape, volatile := f.Autoescape, f.volatile
	if on, ok := f.constant(s.on); ok {
		f.Autoescape = f.Truth(on)
	} else {
		f.volatile = true
	}
	p.frame(func() { s.body = p.closed("endautoescape") })
	f.Autoescape, f.volatile = escape, volatile
	return s
}

func (p *parser) condition() statement {
	s := &ifStatement{}
	for {
		s.tests = append(s.tests, p.folder.fold(p.tuple(false, false)))
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
	s.items = p.folder.fold(p.tuple(false, false))
	p.frame(func() {
		if p.skipWord("if") {
			s.test = p.whole(true)
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
		return &setStatement{target: t, value: p.folder.fold(p.tuple(true, false))}
	}
	s := &setBlock{target: t}
	p.frame(func() {
		s.filters = p.folder.fold(p.filters(nil))
		s.body = p.closed("endset")
	})
	return s
}

func (p *parser) filterBlock() statement {
	s := &filterBlock{line: p.peek().line, escape: p.escaping()}
	p.frame(func() {
		s.filters = p.folder.fold(p.filters(p.filter(nil)))
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
			m.defaults = append(m.defaults, p.whole(true))
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
	c, ok := p.whole(true).(*call)
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
		s.values = append(s.values, p.whole(true))
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
	f := p.folder
	escape, volatile := f.Autoescape, f.volatile
	f.Autoescape, f.volatile = false, false
	p.function(func() { b.body = p.closed("endblock") })
	f.Autoescape, f.volatile = escape, volatile
	p.skipWord(t.text)
	return b
}
