package jinja

// expression is a part of a template that has a value.
type expression interface {
	eval(r *run, s *scope) Value
}

// eval evaluates an expression.
func (r *run) eval(e expression, s *scope) Value {
	r.step(1)
	r.enter()
	v := e.eval(r, s)
	r.leave()
	return v
}

func (r *run) evalAll(list []expression, s *scope) []Value {
	r.take(len(list), valueSize)
	values := make([]Value, len(list))
	for i, e := range list {
		values[i] = r.eval(e, s)
	}
	return values
}

type constant struct{ value Value }

func (e *constant) eval(*run, *scope) Value { return e.value }

type variable struct {
	line int
	name string
}

func (e *variable) eval(_ *run, s *scope) Value {
	if v, ok := s.get(e.name); ok {
		return v
	}
	if g, ok := globals[e.name]; ok {
		return g
	}
	return &undefined{text: "the variable " + e.name + " is undefined", line: e.line}
}

type listLiteral struct {
	items   []expression
	isTuple bool
}

func (e *listLiteral) eval(r *run, s *scope) Value {
	if e.isTuple {
		return &list{kind: tupleKind, items: r.evalAll(e.items, s)}
	}
	return r.list(r.evalAll(e.items, s))
}

type dictLiteral struct {
	line         int
	keys, values []expression
}

func (e *dictLiteral) eval(r *run, s *scope) Value {
	d := newDict()
	for i, k := range e.keys {
		key, value := r.eval(k, s), r.eval(e.values[i], s)
		r.line = e.line
		d.set(r, key, value)
	}
	return d
}

type condition struct{ test, yes, no expression }

func (e *condition) eval(r *run, s *scope) Value {
	switch {
	case r.truth(r.eval(e.test, s)):
		return r.eval(e.yes, s)
	case e.no != nil:
		return r.eval(e.no, s)
	}
	return &undefined{text: "the if without an else has no value", line: r.line}
}

type logical struct {
	left, right expression
	or          bool
}

func (e *logical) eval(r *run, s *scope) Value {
	left := r.eval(e.left, s)
	if r.truth(left) == e.or {
		return left
	}
	return r.eval(e.right, s)
}

type negation struct{ operand expression }

func (e *negation) eval(r *run, s *scope) Value { return !r.truth(r.eval(e.operand, s)) }

type comparison struct {
	line      int
	first     expression
	operators []string
	others    []expression
}

func (e *comparison) eval(r *run, s *scope) Value {
	left := r.eval(e.first, s)
	for i, op := range e.operators {
		right := r.eval(e.others[i], s)
		r.line = e.line
		if !r.compare(op, left, right) {
			return false
		}
		left = right
	}
	return true
}

type binary struct {
	line        int
	operator    string
	left, right expression
}

func (e *binary) eval(r *run, s *scope) Value {
	left, right := r.eval(e.left, s), r.eval(e.right, s)
	r.line = e.line
	return r.arithmetic(e.operator, left, right)
}

type sign struct {
	line     int
	negative bool
	operand  expression
}

func (e *sign) eval(r *run, s *scope) Value {
	v := r.eval(e.operand, s)
	r.line = e.line
	if _, _, ok := number(v); !ok {
		r.failUndefined(v)
		r.fail("a sign is before %s, expected a number", typeName(v))
	}
	switch f, ok := v.(float64); {
	case ok && e.negative:
		return -f
	case ok:
		return f
	case e.negative:
		return r.arithmetic("-", 0, v)
	}
	return r.arithmetic("+", 0, v)
}

type concatenation struct{ parts []expression }

func (e *concatenation) eval(r *run, s *scope) Value {
	values := r.evalAll(e.parts, s)
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = r.str(v)
	}
	return r.concat(texts...)
}

type attribute struct {
	line   int
	object expression
	name   string
}

func (e *attribute) eval(r *run, s *scope) Value {
	v := r.eval(e.object, s)
	r.line = e.line
	return r.attribute(v, e.name)
}

type subscript struct {
	line          int
	object, index expression
}

func (e *subscript) eval(r *run, s *scope) Value {
	v := r.eval(e.object, s)
	bounds, ok := e.index.(*sliceBounds)
	if !ok {
		index := r.eval(e.index, s)
		r.line = e.line
		return r.item(v, index)
	}
	var values [3]Value
	for i, b := range bounds.bounds {
		if b != nil {
			values[i] = r.eval(b, s)
		}
	}
	r.line = e.line
	return r.slice(v, values)
}

// sliceBounds are start, stop and step of a slice, nil where one is not given.
type sliceBounds struct{ bounds [3]expression }

func (e *sliceBounds) eval(r *run, _ *scope) Value {
	r.fail("a slice among several indices is not supported")
	return nil
}

// callArguments are expressions for the arguments of a call; list and dict are those
// after * and **, nil if there are none.
type callArguments struct {
	items      []expression
	names      []string
	named      []expression
	list, dict expression
}

// arguments are the arguments of a call.
type arguments struct {
	items []Value
	names []string
	named []Value
}

// eval evaluates arguments; first come those given.
func (a *callArguments) eval(r *run, s *scope, first ...Value) arguments {
	r.take(len(first)+len(a.items)+len(a.names), valueSize)
	result := arguments{items: first}
	for _, e := range a.items {
		result.items = append(result.items, r.eval(e, s))
	}
	result.names = append(result.names, a.names...)
	for _, e := range a.named {
		result.named = append(result.named, r.eval(e, s))
	}
	if a.list != nil {
		more := r.items(r.eval(a.list, s))
		r.take(len(more), valueSize)
		result.items = append(result.items, more...)
	}
	if a.dict != nil {
		v := r.eval(a.dict, s)
		d, ok := v.(*dict)
		if !ok {
			r.failUndefined(v)
			r.fail("** is before %s, expected a dict", typeName(v))
		}
		r.take(len(d.keys), 2*valueSize)
		for i, k := range d.keys {
			name, ok := k.(string)
			if !ok {
				r.fail("an argument has the name %s, expected a string", r.repr(k))
			}
			result.names = append(result.names, name)
			result.named = append(result.named, d.values[i])
		}
	}
	return result
}

type call struct {
	line      int
	function  expression
	arguments callArguments
}

func (e *call) eval(r *run, s *scope) Value {
	f := r.eval(e.function, s)
	a := e.arguments.eval(r, s)
	r.line = e.line
	return r.call(f, a)
}

// call calls a function, a method, a macro or a loop.
func (r *run) call(f Value, a arguments) Value {
	r.enter()
	defer r.leave()
	switch f := f.(type) {
	case *builtin:
		return r.builtin(f, a)
	case *method:
		r.take(1+len(a.items), valueSize)
		return r.builtin(f.function, arguments{append([]Value{f.receiver}, a.items...), a.names, a.named})
	case *macro:
		return f.call(r, a)
	case *loop:
		if f.statement.recursive && len(a.items) == 1 && len(a.names) == 0 {
			return r.capture(func() { f.statement.run(r, f.scope, a.items[0], f.depth+1) })
		}
		r.fail("a loop is called, expected one argument and {%% for ... recursive %%}")
	}
	r.failUndefined(f)
	r.fail("%s is called, expected a function or macro", typeName(f))
	return nil
}

type filter struct {
	line      int
	name      string
	value     expression
	arguments callArguments
}

func (e *filter) eval(r *run, s *scope) Value {
	a := e.arguments.eval(r, s, r.eval(e.value, s))
	r.line = e.line
	return r.filter(e.name, a)
}

func unknownFilter(name string) string {
	return "there is no filter " + name + ": use another, or write a macro"
}

func unknownTest(name string) string {
	return "there is no test " + name + ": use another, or compare with =="
}

// filter applies a filter to its first argument.
func (r *run) filter(name string, a arguments) Value {
	f := filters[name]
	if f == nil {
		r.fail("%s", unknownFilter(name))
	}
	return r.builtin(f, a)
}

type test struct {
	line      int
	name      string
	value     expression
	arguments callArguments
}

func (e *test) eval(r *run, s *scope) Value {
	a := e.arguments.eval(r, s, r.eval(e.value, s))
	r.line = e.line
	return r.test(e.name, a)
}

// test applies a test to its first argument.
func (r *run) test(name string, a arguments) bool {
	f := tests[name]
	if f == nil {
		r.fail("%s", unknownTest(name))
	}
	return r.truth(r.builtin(f, a))
}

// captured is the text of a block that a filter is applied to.
type captured struct{ text string }

func (e *captured) eval(*run, *scope) Value { return e.text }
