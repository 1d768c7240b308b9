package jinja

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/jinja/filters"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// statement is a part of a template that writes text or sets variables.
type statement interface {
	exec(r *rendering, s *scope) jumps
}

// jumps says how a statement ended.
type jumps int

const (
	onward jumps = iota
	breaks
	continues
)

// exec executes statements up to the first that jumps.
func (r *rendering) exec(body []statement, s *scope) jumps {
	r.Enter()
	defer r.Leave()
	for _, st := range body {
		r.Step(1)
		if j := st.exec(r, s); j != onward {
			return j
		}
	}
	return onward
}

// capture returns what a function writes.
func (r *rendering) capture(write func()) string {
	before := r.out
	r.out = values.NewOutput(r.Run)
	write()
	text := r.out.String()
	r.out = before
	return text
}

// inner returns a scope within another.
func (r *rendering) inner(s *scope) *scope {
	r.Take(1, 128)
	return &scope{parent: s}
}

type text struct{ text string }

func (st *text) exec(r *rendering, _ *scope) jumps {
	r.out.Write(st.text)
	return onward
}

// escaping says how values become text, where it stands in a template.
type escaping int

const (
	never escaping = iota
	always
	whenRendering // a value that is computed says
)

func (r *rendering) escapes(e escaping) bool {
	return e == always || e == whenRendering && r.Autoescape
}

type printed struct {
	value  expression
	escape escaping
}

func (st *printed) exec(r *rendering, s *scope) jumps {
	v := r.eval(st.value, s)
	if r.escapes(st.escape) {
		v = r.Escaped(v)
	}
	r.out.Write(r.Str(v))
	return onward
}

// bodyStatement is a list of statements.
type bodyStatement struct{ body []statement }

func (st *bodyStatement) exec(r *rendering, s *scope) jumps { return r.exec(st.body, s) }

// autoescape is a body in which automatic escaping is on or off. What leaves the body by a jump leaves it so.
type autoescape struct {
	on   expression
	body []statement
}

func (st *autoescape) exec(r *rendering, s *scope) jumps {
	before := r.Autoescape
	r.Autoescape = r.Truth(r.eval(st.on, s))
	j := r.exec(st.body, r.inner(s))
	if j == onward {
		r.Autoescape = before
	}
	return j
}

type jump struct{ isBreak bool }

func (st *jump) exec(*rendering, *scope) jumps {
	if st.isBreak {
		return breaks
	}
	return continues
}

type refused struct {
	line int
	text string
}

func (st *refused) exec(r *rendering, _ *scope) jumps {
	r.Line = st.line
	r.Fail("%s", st.text)
	return onward
}

// ifStatement has a body for each test, and one more for else.
type ifStatement struct {
	tests  []expression
	bodies [][]statement
}

func (st *ifStatement) exec(r *rendering, s *scope) jumps {
	for i, body := range st.bodies {
		if i == len(st.tests) || r.Truth(r.eval(st.tests[i], s)) {
			return r.exec(body, s)
		}
	}
	return onward
}

// target is what is set: a variable, an attribute of a namespace, or the items of a list.
type target struct {
	line      int
	name      string
	attribute string
	list      []target
}

// names returns the variables that are set.
func (t *target) names() []string {
	if t.list == nil && t.attribute == "" {
		return []string{t.name}
	}
	var names []string
	for _, item := range t.list {
		names = append(names, item.names()...)
	}
	return names
}

func (t *target) set(r *rendering, s *scope, v values.Value) {
	r.Take(1, 2*values.ValueSize)
	switch {
	case t.list != nil:
		r.Line = t.line
		parts := r.Items(v)
		if len(parts) != len(t.list) {
			r.Fail("%d values are set, expected %d", len(parts), len(t.list))
		}
		for i := range t.list {
			t.list[i].set(r, s, parts[i])
		}
	case t.attribute != "":
		r.Line = t.line
		object, _ := s.get(t.name)
		n, ok := object.(*values.Namespace)
		if !ok {
			r.Fail("%s.%s is set, expected %s to be a namespace()", t.name, t.attribute, t.name)
		}
		n.Set(r.Run, t.attribute, v)
	default:
		s.set(t.name, v)
	}
}

type setStatement struct {
	target target
	value  expression
}

func (st *setStatement) exec(r *rendering, s *scope) jumps {
	st.target.set(r, s, r.eval(st.value, s))
	return onward
}

// setBlock sets a variable to the text of a body.
type setBlock struct {
	target  target
	filters expression // see filtered
	body    []statement
}

func (st *setBlock) exec(r *rendering, s *scope) (j jumps) {
	inner := r.inner(s)
	text := r.capture(func() { j = r.exec(st.body, inner) })
	if j == onward {
		st.target.set(r, s, r.filtered(st.filters, r.marked(text), inner))
	}
	return j
}

// marked returns the text of a body, which is safe in HTML where automatic escaping is on.
func (r *rendering) marked(text string) values.Value {
	if r.Autoescape {
		return values.Markup(text)
	}
	return text
}

// filtered applies filters to the text of a block. e is the last one, and nil if there is none.
func (r *rendering) filtered(e expression, text values.Value, s *scope) values.Value {
	f, ok := e.(*filter)
	if !ok {
		return text
	}
	r.Enter()
	defer r.Leave()
	a := f.arguments.eval(r, s, r.filtered(f.value, text, s))
	r.Line = f.line
	return filters.Apply(r.Run, f.name, a)
}

type filterBlock struct {
	line    int
	escape  escaping
	filters expression // see filtered
	body    []statement
}

func (st *filterBlock) exec(r *rendering, s *scope) (j jumps) {
	inner := r.inner(s)
	text := r.capture(func() { j = r.exec(st.body, inner) })
	if j == onward {
		var v values.Value = text
		if r.escapes(st.escape) {
			v = values.Markup(text)
		}
		r.Line = st.line
		r.write(r.filtered(st.filters, v, inner))
	}
	return j
}

// write writes what a filter or call block has made, which must be text.
func (r *rendering) write(v values.Value) {
	if values.TypeName(v) != "str" {
		r.Fail("a block is made into %s, expected a string", values.TypeName(v))
	}
	r.out.Write(r.Str(v))
}

// block is a body with variables of its own. That of {% block %} is an outer one: it sees no variables of loops and
// other bodies around it.
type block struct {
	body  []statement
	outer bool
}

func (st *block) exec(r *rendering, s *scope) jumps {
	for st.outer && s.parent != r.globals {
		s = s.parent
	}
	return r.exec(st.body, r.inner(s))
}

type withStatement struct {
	targets []target
	values  []expression
	body    []statement
}

func (st *withStatement) exec(r *rendering, s *scope) jumps {
	results := r.evalAll(st.values, s)
	inner := r.inner(s)
	for i := range st.targets {
		st.targets[i].set(r, inner, results[i])
	}
	return r.exec(st.body, inner)
}

type macroStatement struct {
	name                            string
	names                           []string
	defaults                        []expression // of the last names
	body                            []statement
	usesCaller, usesNamed, usesRest bool // reads caller, kwargs, varargs, which are no parameters
}

func (st *macroStatement) exec(r *rendering, s *scope) jumps {
	r.Take(1, 64)
	s.set(st.name, &macro{st, s})
	return onward
}

// macro is a function that a template defines.
type macro struct {
	*macroStatement
	scope *scope // around it
}

// TypeName names the type in an error.
func (m *macro) TypeName() string { return "macro" }

func (m *macro) String() string {
	if m.name == "" {
		return "<Macro anonymous>"
	}
	return "<Macro '" + m.name + "'>"
}

// Attribute returns what a template can know about the macro.
func (m *macro) Attribute(name string) (values.Value, bool) {
	switch name {
	case "name":
		if m.name == "" {
			return nil, true
		}
		return m.name, true
	case "arguments":
		arguments := &values.List{Kind: values.TupleKind}
		for _, name := range m.names {
			arguments.Items = append(arguments.Items, name)
		}
		return arguments, true
	case "caller":
		return m.usesCaller, true
	case "catch_kwargs":
		return m.usesNamed, true
	case "catch_varargs":
		return m.usesRest, true
	case "explicit_caller":
		return slices.Contains(m.names, "caller"), true
	}
	return nil, false
}

func (m *macro) call(r *rendering, a values.Arguments) values.Value {
	s := r.inner(m.scope)
	r.Take(len(m.names)+3, 2*values.ValueSize)
	named := values.NewDict()
	for i, name := range a.Names {
		named.Set(r.Run, name, a.Named[i])
	}
	if len(a.Items) > len(m.names) && !m.usesRest {
		r.Fail("macro %s has %d arguments, expected at most %d", m.name, len(a.Items), len(m.names))
	}
	given := make([]bool, len(m.names))
	for i, name := range m.names {
		var v values.Value = &values.Undefined{Text: "parameter " + name + " was not provided"}
		if i < len(a.Items) {
			v, given[i] = a.Items[i], true
		} else if n, ok := named.Get(name); ok {
			v, given[i] = n, true
			named.Remove(r.Run, name)
		}
		s.set(name, v)
	}
	m.specials(r, s, a, named)
	for i, e := range m.defaults {
		if at := len(m.names) - len(m.defaults) + i; !given[at] {
			s.set(m.names[at], r.eval(e, s))
		}
	}
	return r.marked(r.capture(func() { r.exec(m.body, s) }))
}

// specials sets caller, kwargs and varargs, or refuses arguments that they would hold.
func (m *macro) specials(r *rendering, s *scope, a values.Arguments, named *values.Dict) {
	if m.usesCaller {
		caller, ok := named.Get("caller")
		if !ok {
			caller = &values.Undefined{Text: "no caller is defined"}
		}
		named.Remove(r.Run, "caller")
		s.set("caller", caller)
	}
	if m.usesNamed {
		s.set("kwargs", named)
	} else if len(named.Keys) > 0 {
		r.Fail("macro %s has no parameter %s", m.name, named.Keys[0])
	}
	if m.usesRest {
		s.set("varargs", &values.List{Kind: values.TupleKind, Items: a.Items[min(len(a.Items), len(m.names)):]})
	}
}

// callBlock calls a macro with its body as caller.
type callBlock struct {
	caller *macroStatement
	call   *call
}

func (st *callBlock) exec(r *rendering, s *scope) jumps {
	r.Take(1, 64)
	f := r.eval(st.call.function, s)
	a := st.call.arguments.eval(r, s)
	a.Names = append(a.Names, "caller")
	a.Named = append(a.Named, &macro{st.caller, s})
	r.Line = st.call.line
	r.write(r.call(f, a))
	return onward
}

// blocks is the variable self: the blocks of the template, as functions.
type blocks struct{ rendering *rendering }

// TypeName names the type in an error.
func (b *blocks) TypeName() string { return "TemplateReference" }

func (b *blocks) String() string { return "<TemplateReference None>" }

// Attribute returns the function that renders a block.
func (b *blocks) Attribute(name string) (values.Value, bool) {
	block, ok := b.rendering.template.blocks[name]
	if !ok {
		return nil, false
	}
	return values.Raw(name, func(_ *values.Run, a values.Arguments) values.Value {
		r := b.rendering
		if len(a.Items)+len(a.Names) > 0 {
			r.Fail("the block %s has %d arguments, expected none", name, len(a.Items)+len(a.Names))
		}
		return r.marked(r.capture(func() { block.exec(r, r.outer) }))
	}), true
}
