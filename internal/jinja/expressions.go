package jinja

import (
	"github.com/phi3conv/phi3conv/internal/jinja/filters"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// eval evaluates an expression.
func (r *rendering) eval(e expression, s *scope) values.Value {
	r.Step(1)
	r.Enter()
	v := e.eval(r, s)
	r.Leave()
	return v
}

func (r *rendering) evalAll(list []expression, s *scope) []values.Value {
	r.Take(len(list), values.ValueSize)
	results := make([]values.Value, len(list))
	for i, e := range list {
		results[i] = r.eval(e, s)
	}
	return results
}

type constant struct {
	value  values.Value
	noCode bool // Jinja writes code for it that fails where it is run
	long   bool // Jinja cannot write code for it
}

func (e *constant) eval(r *rendering, _ *scope) values.Value {
	if e.noCode {
		r.Fail("a constant is infinite or no number, which Jinja cannot compile: compute it from a variable")
	}
	return e.value
}

type variable struct{ name string }

func (e *variable) eval(_ *rendering, s *scope) values.Value {
	if v, ok := s.get(e.name); ok {
		return v
	}
	if g, ok := values.Globals[e.name]; ok {
		return g
	}
	return &values.Undefined{Text: "the variable " + e.name + " is undefined"}
}

type listLiteral struct {
	items   []expression
	isTuple bool
}

func (e *listLiteral) eval(r *rendering, s *scope) values.Value {
	if e.isTuple {
		return &values.List{Kind: values.TupleKind, Items: r.evalAll(e.items, s)}
	}
	return r.List(r.evalAll(e.items, s))
}

type dictLiteral struct {
	line         int
	keys, values []expression
}

func (e *dictLiteral) eval(r *rendering, s *scope) values.Value {
	d := values.NewDict()
	for i, k := range e.keys {
		key, value := r.eval(k, s), r.eval(e.values[i], s)
		r.Line = e.line
		d.Set(r.Run, key, value)
	}
	return d
}

type condition struct{ test, yes, no expression }

func (e *condition) eval(r *rendering, s *scope) values.Value {
	switch {
	case r.Truth(r.eval(e.test, s)):
		return r.eval(e.yes, s)
	case e.no != nil:
		return r.eval(e.no, s)
	}
	return &values.Undefined{Text: "the if without an else has no value"}
}

type logical struct {
	left, right expression
	or          bool
}

func (e *logical) eval(r *rendering, s *scope) values.Value {
	left := r.eval(e.left, s)
	if r.Truth(left) == e.or {
		return left
	}
	return r.eval(e.right, s)
}

type negation struct{ operand expression }

func (e *negation) eval(r *rendering, s *scope) values.Value { return !r.Truth(r.eval(e.operand, s)) }

type comparison struct {
	line      int
	first     expression
	operators []string
	others    []expression
}

func (e *comparison) eval(r *rendering, s *scope) values.Value {
	left := r.eval(e.first, s)
	for i, op := range e.operators {
		right := r.eval(e.others[i], s)
		r.Line = e.line
		if !r.Compare(op, left, right) {
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
	signed      bool // the left side is a negative constant before **: Python reads -2 ** x as -(2 ** x)
}

func (e *binary) eval(r *rendering, s *scope) values.Value {
	left, right := r.eval(e.left, s), r.eval(e.right, s)
	r.Line = e.line
	if e.signed {
		return r.Signed(r.Arithmetic(e.operator, r.Signed(left, true), right), true)
	}
	return r.Arithmetic(e.operator, left, right)
}

type sign struct {
	line     int
	negative bool
	operand  expression
}

func (e *sign) eval(r *rendering, s *scope) values.Value {
	v := r.eval(e.operand, s)
	r.Line = e.line
	return r.Signed(v, e.negative)
}

type concatenation struct {
	parts  []expression
	escape bool // if one part is safe in HTML
}

func (e *concatenation) eval(r *rendering, s *scope) values.Value {
	results := r.evalAll(e.parts, s)
	if e.escape {
		return filters.JoinSafe(r.Run, results)
	}
	texts := make([]string, len(results))
	for i, v := range results {
		texts[i] = r.Str(v)
	}
	return r.Concat(texts...)
}

type attribute struct {
	line   int
	object expression
	name   string
}

func (e *attribute) eval(r *rendering, s *scope) values.Value {
	v := r.eval(e.object, s)
	r.Line = e.line
	return r.Attribute(v, e.name)
}

type subscript struct {
	line          int
	object, index expression
}

func (e *subscript) eval(r *rendering, s *scope) values.Value {
	v, index := r.eval(e.object, s), r.eval(e.index, s)
	r.Line = e.line
	return r.Item(v, index)
}

type slice struct {
	line   int
	object expression    // nil where the slice is one of several indices
	bounds [3]expression // start, stop and step, nil where one is not given
}

func (e *slice) eval(r *rendering, s *scope) values.Value {
	if e.object == nil { // one of several indices: no value has an item for them
		return &values.Undefined{Text: "a slice is no value"}
	}
	v := r.eval(e.object, s)
	var given [3]values.Value
	for i, b := range e.bounds {
		if b != nil {
			given[i] = r.eval(b, s)
		}
	}
	r.Line = e.line
	return r.Slice(v, given)
}

// callArguments are expressions for the arguments of a call; list and dict are those
// after * and **, nil if there are none.
type callArguments struct {
	items      []expression
	names      []string
	named      []expression
	list, dict expression
}

// eval evaluates arguments; first come those given.
func (a *callArguments) eval(r *rendering, s *scope, first ...values.Value) values.Arguments {
	r.Take(len(first)+len(a.items)+len(a.names), values.ValueSize)
	result := values.Arguments{Items: first}
	for _, e := range a.items {
		result.Items = append(result.Items, r.eval(e, s))
	}
	result.Names = append(result.Names, a.names...)
	for _, e := range a.named {
		result.Named = append(result.Named, r.eval(e, s))
	}
	if a.list != nil {
		more := r.Items(r.eval(a.list, s))
		r.Take(len(more), values.ValueSize)
		result.Items = append(result.Items, more...)
	}
	if a.dict != nil {
		v := r.eval(a.dict, s)
		d, ok := v.(*values.Dict)
		if !ok {
			r.FailUndefined(v)
			r.Fail("** is before %s, expected a dict", values.TypeName(v))
		}
		r.Take(len(d.Keys), 2*values.ValueSize)
		for i, k := range d.Keys {
			name, ok := k.(string)
			if !ok {
				r.Fail("an argument has the name %s, expected a string", r.Repr(k))
			}
			result.Names = append(result.Names, name)
			result.Named = append(result.Named, d.Values[i])
		}
	}
	return result
}

type call struct {
	line      int
	function  expression
	arguments callArguments
}

func (e *call) eval(r *rendering, s *scope) values.Value {
	f := r.eval(e.function, s)
	a := e.arguments.eval(r, s)
	r.Line = e.line
	return r.call(f, a)
}

// call calls a function, a method, a macro or a loop.
func (r *rendering) call(f values.Value, a values.Arguments) values.Value {
	r.Enter()
	defer r.Leave()
	switch f := f.(type) {
	case *values.Builtin:
		return r.Apply(f, a)
	case *values.Method:
		r.Take(1+len(a.Items), values.ValueSize)
		a.Items = append([]values.Value{f.Receiver}, a.Items...)
		return r.Apply(f.Function, a)
	case *macro:
		return f.call(r, a)
	case *loop:
		if f.statement.recursive && len(a.Items) == 1 && len(a.Names) == 0 {
			return r.capture(func() { f.statement.run(r, f.scope, a.Items[0], f.depth+1) })
		}
		r.Fail("a loop is called, expected one argument and {%% for ... recursive %%}")
	}
	r.FailUndefined(f)
	r.Fail("%s is called, expected a function or macro", values.TypeName(f))
	return nil
}

type filter struct {
	line      int
	name      string
	value     expression // nil for the text of a block
	arguments callArguments
}

func (e *filter) eval(r *rendering, s *scope) values.Value {
	a := e.arguments.eval(r, s, r.eval(e.value, s))
	r.Line = e.line
	return filters.Apply(r.Run, e.name, a)
}

type test struct {
	line      int
	name      string
	value     expression
	arguments callArguments
}

func (e *test) eval(r *rendering, s *scope) values.Value {
	a := e.arguments.eval(r, s, r.eval(e.value, s))
	r.Line = e.line
	return filters.Test(r.Run, e.name, a)
}
