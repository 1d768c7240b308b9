package jinja

import "strings"

// statement is a part of a template that writes text or sets variables.
type statement interface {
	exec(r *run, s *scope) jumps
}

// jumps says how a statement ended.
type jumps int

const (
	onward jumps = iota
	breaks
	continues
)

// exec executes statements up to the first that jumps.
func (r *run) exec(body []statement, s *scope) jumps {
	r.enter()
	defer r.leave()
	for _, st := range body {
		r.step(1)
		if j := st.exec(r, s); j != onward {
			return j
		}
	}
	return onward
}

// output collects text, within the limit of memory.
type output struct {
	run *run
	b   strings.Builder
}

// write adds text, and counts the memory that is allocated as the output grows.
func (o *output) write(s string) {
	if o.b.Cap()-o.b.Len() < len(s) {
		o.run.take(2*o.b.Cap()+len(s), 1)
		o.b.Grow(len(s)) // which allocates as much
	}
	o.b.WriteString(s)
}

func (o *output) String() string { return o.b.String() }

// capture returns what a function writes.
func (r *run) capture(write func()) string {
	before := r.out
	r.out = &output{run: r}
	write()
	text := r.out.String()
	r.out = before
	return text
}

// inner returns a scope within another.
func (r *run) inner(s *scope) *scope {
	r.take(1, 128)
	return &scope{parent: s}
}

type text struct{ text string }

func (st *text) exec(r *run, _ *scope) jumps {
	r.out.write(st.text)
	return onward
}

type printed struct{ value expression }

func (st *printed) exec(r *run, s *scope) jumps {
	r.out.write(r.str(r.eval(st.value, s)))
	return onward
}

type jump struct{ isBreak bool }

func (st *jump) exec(*run, *scope) jumps {
	if st.isBreak {
		return breaks
	}
	return continues
}

type refused struct {
	line int
	text string
}

func (st *refused) exec(r *run, _ *scope) jumps {
	r.line = st.line
	r.fail("%s", st.text)
	return onward
}

// ifStatement has a body for each test, and one more for else.
type ifStatement struct {
	tests  []expression
	bodies [][]statement
}

func (st *ifStatement) exec(r *run, s *scope) jumps {
	for i, body := range st.bodies {
		if i == len(st.tests) || r.truth(r.eval(st.tests[i], s)) {
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

func (t *target) set(r *run, s *scope, v Value) {
	r.take(1, 2*valueSize)
	switch {
	case t.list != nil:
		r.line = t.line
		values := r.items(v)
		if len(values) != len(t.list) {
			r.fail("%d values are set, expected %d", len(values), len(t.list))
		}
		for i := range t.list {
			t.list[i].set(r, s, values[i])
		}
	case t.attribute != "":
		r.line = t.line
		object, _ := s.get(t.name)
		n, ok := object.(*namespace)
		if !ok {
			r.fail("%s.%s is set, expected %s to be a namespace()", t.name, t.attribute, t.name)
		}
		n.set(r, t.attribute, v)
	default:
		s.set(t.name, v)
	}
}

type setStatement struct {
	target target
	value  expression
}

func (st *setStatement) exec(r *run, s *scope) jumps {
	st.target.set(r, s, r.eval(st.value, s))
	return onward
}

// setBlock sets a variable to the text of a body.
type setBlock struct {
	line   int
	target target
	filter expression // of a captured, or nil
	body   []statement
}

func (st *setBlock) exec(r *run, s *scope) (j jumps) {
	inner := r.inner(s)
	text := r.capture(func() { j = r.exec(st.body, inner) })
	if j == onward {
		st.target.set(r, s, r.filtered(st.filter, text, inner))
	}
	return j
}

// filtered applies the filters of a block to its text.
func (r *run) filtered(e expression, text string, s *scope) Value {
	f, ok := e.(*filter)
	if !ok {
		return text
	}
	r.enter()
	defer r.leave()
	a := f.arguments.eval(r, s, r.filtered(f.value, text, s))
	r.line = f.line
	return r.filter(f.name, a)
}

type filterBlock struct {
	filter expression
	body   []statement
}

func (st *filterBlock) exec(r *run, s *scope) (j jumps) {
	inner := r.inner(s)
	text := r.capture(func() { j = r.exec(st.body, inner) })
	if j == onward {
		r.out.write(r.str(r.filtered(st.filter, text, inner)))
	}
	return j
}

// block is a body with variables of its own: {% generation %}, or a {% block %}, which
// sees only those outside of all loops.
type block struct {
	body   []statement
	global bool
}

func (st *block) exec(r *run, s *scope) jumps {
	for st.global && s.parent != r.globals {
		s = s.parent
	}
	return r.exec(st.body, r.inner(s))
}

type autoescape struct {
	line int
	on   expression
	body []statement
}

func (st *autoescape) exec(r *run, s *scope) jumps {
	if r.truth(r.eval(st.on, s)) {
		r.line = st.line
		r.fail("autoescape is refused: a chat template writes text, not HTML")
	}
	return r.exec(st.body, r.inner(s))
}

type withStatement struct {
	line    int
	targets []target
	values  []expression
	body    []statement
}

func (st *withStatement) exec(r *run, s *scope) jumps {
	values := r.evalAll(st.values, s)
	inner := r.inner(s)
	for i := range st.targets {
		st.targets[i].set(r, inner, values[i])
	}
	return r.exec(st.body, inner)
}

type macroStatement struct {
	line                            int
	name                            string
	names                           []string
	defaults                        []expression // of the last names
	body                            []statement
	usesCaller, usesNamed, usesRest bool // reads caller, kwargs, varargs, which are no parameters
}

func (st *macroStatement) exec(r *run, s *scope) jumps {
	r.take(1, 64)
	s.set(st.name, &macro{st, s})
	return onward
}

// macro is a function that a template defines.
type macro struct {
	*macroStatement
	scope *scope // around it
}

func (m *macro) call(r *run, a arguments) Value {
	s := r.inner(m.scope)
	r.take(len(m.names)+3, 2*valueSize)
	named := newDict()
	for i, name := range a.names {
		named.set(r, name, a.named[i])
	}
	if len(a.items) > len(m.names) && !m.usesRest {
		r.fail("macro %s has %d arguments, expected at most %d", m.name, len(a.items), len(m.names))
	}
	given := make([]bool, len(m.names))
	for i, name := range m.names {
		var v Value = &undefined{text: "parameter " + name + " was not provided", line: r.line}
		if i < len(a.items) {
			v, given[i] = a.items[i], true
		} else if n, ok := named.get(name); ok {
			v, given[i] = n, true
			named.remove(name)
		}
		s.set(name, v)
	}
	m.specials(r, s, a, named)
	for i, e := range m.defaults {
		if at := len(m.names) - len(m.defaults) + i; !given[at] {
			s.set(m.names[at], r.eval(e, s))
		}
	}
	return r.capture(func() { r.exec(m.body, s) })
}

// specials sets caller, kwargs and varargs, or refuses arguments that they would hold.
func (m *macro) specials(r *run, s *scope, a arguments, named *dict) {
	if m.usesCaller {
		caller, ok := named.get("caller")
		if !ok {
			caller = &undefined{text: "no caller is defined", line: r.line}
		}
		named.remove("caller")
		s.set("caller", caller)
	}
	if m.usesNamed {
		s.set("kwargs", named)
	} else if len(named.keys) > 0 {
		r.fail("macro %s has no parameter %s", m.name, named.keys[0])
	}
	if m.usesRest {
		s.set("varargs", &list{kind: tupleKind, items: a.items[min(len(a.items), len(m.names)):]})
	}
}

// callBlock calls a macro with its body as caller.
type callBlock struct {
	caller *macroStatement
	call   *call
}

func (st *callBlock) exec(r *run, s *scope) jumps {
	r.take(1, 64)
	f := r.eval(st.call.function, s)
	a := st.call.arguments.eval(r, s)
	a.names = append(a.names, "caller")
	a.named = append(a.named, &macro{st.caller, s})
	r.line = st.call.line
	r.out.write(r.str(r.call(f, a)))
	return onward
}
