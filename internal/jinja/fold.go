package jinja

import (
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/jinja/filters"
	"github.com/phi3conv/phi3conv/internal/jinja/methods"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// Jinja computes constant expressions when it compiles a template, by rules that are not quite those of rendering, and
// writes the others, with constants in them, as Python code. Both show in what is rendered, so this package does as
// Jinja's nodes.py (as_const), optimizer.py and compiler.py do.

// foldLimits bound what all constant expressions of a template may take.
var foldLimits = Limits{Steps: 250_000, Bytes: 8 << 20}

// folder computes constant expressions.
type folder struct {
	*values.Run
	volatile bool                // whether there is automatic escaping is known only when the template is rendered
	variable map[expression]bool // that were found not to be constant
}

// expression is a part of a template that has a value.
type expression interface {
	eval(r *rendering, s *scope) values.Value
	// constant returns the value if it can be computed without a rendering.
	constant(f *folder) (values.Value, bool)
	// replace replaces the expressions within this one.
	replace(with func(expression) expression)
}

func newFolder(name string) *folder {
	return &folder{Run: values.NewRun(name, foldLimits, methods.Of, time.Now), variable: map[expression]bool{}}
}

// constant computes an expression.
func (f *folder) constant(e expression) (values.Value, bool) {
	f.Step(1)
	if f.variable[e] {
		return nil, false
	}
	f.Enter()
	v, ok := e.constant(f)
	f.Leave()
	if !ok {
		f.variable[e] = true
	}
	return v, ok
}

// constants computes several expressions, nil where one is nil.
func (f *folder) constants(list []expression) ([]values.Value, bool) {
	f.Take(len(list), values.ValueSize)
	results := make([]values.Value, len(list))
	for i, e := range list {
		if e == nil {
			continue
		}
		v, ok := f.constant(e)
		if !ok {
			return nil, false
		}
		results[i] = v
	}
	return results, true
}

// try computes a value. What fails is left for rendering, unless it takes too much.
func (f *folder) try(compute func() values.Value) (v values.Value, ok bool) {
	ok = f.Try(func() { v = compute() })
	return v, ok
}

// printed returns the text of an expression that is printed, if it is constant.
func (f *folder) printed(e expression) (text string, ok bool) {
	v, ok := values.Value(nil), false
	if !f.Try(func() { v, ok = f.constant(e) }) || !ok {
		return "", false
	}
	ok = f.Try(func() {
		if f.Autoescape {
			v = f.Escaped(v)
		}
		text = f.Str(v)
	})
	return text, ok
}

// fold computes what is constant in an expression.
func (f *folder) fold(e expression) expression {
	if e == nil {
		return nil
	}
	switch e.(type) {
	case *constant, *variable:
	case *listLiteral, *dictLiteral: // only what is within them
		e.replace(f.fold)
		return e
	default:
		if !f.volatile {
			e = f.optimize(e)
		}
	}
	return f.checked(e)
}

// checked refuses what is left of an expression where Jinja would write code that is none.
func (f *folder) checked(e expression) expression {
	switch e := e.(type) {
	case *constant:
		if e.long {
			f.Fail("an integer has more than %d digits: use a float", values.MaxDigits)
		}
	case *slice:
		if e.object == nil {
			f.Fail("a slice is one of several indices, expected one")
		}
	case *call:
		e.arguments.checkNames(f, e.line)
	case *filter:
		e.arguments.checkNames(f, e.line)
	case *test:
		e.arguments.checkNames(f, e.line)
	}
	e.replace(f.checked)
	return e
}

func (f *folder) optimize(e expression) expression {
	if e == nil {
		return nil
	}
	f.Step(1)
	e.replace(f.optimize)
	if v, ok := f.constant(e); ok && f.isCode(v) {
		return f.code(v)
	}
	return e
}

// isCode says whether Jinja can write a constant as code.
func (f *folder) isCode(v values.Value) bool {
	f.Step(1)
	switch v := v.(type) {
	case nil, bool, int, *big.Int, float64, complex128, string, values.Markup:
		return true
	case *values.List:
		if v.Kind != values.ListKind && v.Kind != values.TupleKind && v.Kind != values.SetKind {
			return false
		}
		return f.areCode(v.Items)
	case *values.Dict:
		return f.areCode(v.Keys) && f.areCode(v.Values)
	}
	return values.TypeName(v) == "range"
}

func (f *folder) areCode(items []values.Value) bool {
	f.Enter()
	defer f.Leave()
	for _, item := range items {
		if !f.isCode(item) {
			return false
		}
	}
	return true
}

// code returns the value of a constant that is written as code. The code of an infinity or a NaN is a name that does
// not exist, and integers must not be too long.
func (f *folder) code(v values.Value) *constant {
	c := &constant{value: v}
	switch v := v.(type) {
	case float64:
		c.noCode = math.IsInf(v, 0) || math.IsNaN(v)
	case complex128:
		c.value = values.ComplexLiteral(v)
		c.noCode = math.IsInf(real(v), 0) || math.IsNaN(real(v)) || math.IsInf(imag(v), 0) || math.IsNaN(imag(v))
	case *big.Int:
		c.long = !f.Try(func() { f.Decimal(v) })
	case *values.List:
		c.join(f, v.Items)
	case *values.Dict:
		c.join(f, v.Keys)
		c.join(f, v.Values)
	}
	return c
}

// join takes over what is wrong with the code of items.
func (c *constant) join(f *folder, items []values.Value) {
	f.Enter()
	defer f.Leave()
	for _, item := range items {
		part := f.code(item)
		c.noCode, c.long = c.noCode || part.noCode, c.long || part.long
	}
}

func replaceAll(list []expression, with func(expression) expression) {
	for i, e := range list {
		if e != nil {
			list[i] = with(e)
		}
	}
}

func (e *constant) constant(*folder) (values.Value, bool)    { return e.value, true }
func (e *constant) replace(func(expression) expression)      {}
func (e *variable) constant(*folder) (values.Value, bool)    { return nil, false }
func (e *variable) replace(func(expression) expression)      {}
func (e *listLiteral) replace(w func(expression) expression) { replaceAll(e.items, w) }

func (e *listLiteral) constant(f *folder) (values.Value, bool) {
	items, ok := f.constants(e.items)
	if !ok {
		return nil, false
	}
	if e.isTuple {
		return &values.List{Kind: values.TupleKind, Items: items}, true
	}
	return f.List(items), true
}

func (e *dictLiteral) replace(with func(expression) expression) {
	replaceAll(e.keys, with)
	replaceAll(e.values, with)
}

// constant fails, as Jinja does, where a key cannot be one.
func (e *dictLiteral) constant(f *folder) (values.Value, bool) {
	keys, ok1 := f.constants(e.keys)
	vals, ok2 := f.constants(e.values)
	if !ok1 || !ok2 {
		return nil, false
	}
	f.Line = e.line
	d := values.NewDict()
	for i, k := range keys {
		d.Set(f.Run, k, vals[i])
	}
	return d, true
}

func (e *condition) replace(with func(expression) expression) {
	e.test, e.yes = with(e.test), with(e.yes)
	if e.no != nil {
		e.no = with(e.no)
	}
}

func (e *condition) constant(f *folder) (values.Value, bool) {
	test, ok := f.constant(e.test)
	switch {
	case !ok:
	case f.Truth(test):
		return f.constant(e.yes)
	case e.no != nil:
		return f.constant(e.no)
	}
	return nil, false
}

func (e *logical) replace(with func(expression) expression) {
	e.left, e.right = with(e.left), with(e.right)
}

func (e *logical) constant(f *folder) (values.Value, bool) {
	left, ok := f.constant(e.left)
	if !ok || f.Truth(left) == e.or {
		return left, ok
	}
	return f.constant(e.right)
}

func (e *negation) replace(with func(expression) expression) { e.operand = with(e.operand) }

func (e *negation) constant(f *folder) (values.Value, bool) {
	v, ok := f.constant(e.operand)
	return ok && !f.Truth(v), ok
}

func (e *comparison) replace(with func(expression) expression) {
	e.first = with(e.first)
	replaceAll(e.others, with)
}

func (e *comparison) constant(f *folder) (values.Value, bool) {
	left, ok := f.constant(e.first)
	if !ok {
		return nil, false
	}
	f.Line = e.line
	for i, op := range e.operators {
		right, ok := f.constant(e.others[i])
		if !ok {
			return nil, false
		}
		holds, ok := f.try(func() values.Value { return f.Compare(op, left, right) })
		if !ok || holds == false {
			return false, ok
		}
		left = right
	}
	return true, true
}

// replace leaves a sign before a power out of its left side, as Python reads the code of a negative constant there.
func (e *binary) replace(with func(expression) expression) {
	e.left, e.right = with(e.left), with(e.right)
	if c, ok := e.left.(*constant); ok && e.operator == "**" {
		e.signed = values.IsNegative(c.value)
	}
}

func (e *binary) constant(f *folder) (values.Value, bool) {
	left, ok1 := f.constant(e.left)
	right, ok2 := f.constant(e.right)
	if !ok1 || !ok2 {
		return nil, false
	}
	f.Line = e.line
	return f.try(func() values.Value { return f.Arithmetic(e.operator, left, right) })
}

func (e *sign) replace(with func(expression) expression) { e.operand = with(e.operand) }

func (e *sign) constant(f *folder) (values.Value, bool) {
	v, ok := f.constant(e.operand)
	if !ok {
		return nil, false
	}
	f.Line = e.line
	return f.try(func() values.Value { return f.Signed(v, e.negative) })
}

func (e *concatenation) replace(with func(expression) expression) { replaceAll(e.parts, with) }

// constant escapes nothing, as Jinja does here.
func (e *concatenation) constant(f *folder) (values.Value, bool) {
	parts, ok := f.constants(e.parts)
	if !ok {
		return nil, false
	}
	texts := make([]string, len(parts))
	for i, v := range parts {
		texts[i] = f.Str(v)
	}
	return f.Concat(texts...), true
}

func (e *attribute) replace(with func(expression) expression) { e.object = with(e.object) }

func (e *attribute) constant(f *folder) (values.Value, bool) {
	v, ok := f.constant(e.object)
	if !ok {
		return nil, false
	}
	f.Line = e.line
	return f.try(func() values.Value { return f.Attribute(v, e.name) })
}

func (e *subscript) replace(with func(expression) expression) {
	e.object, e.index = with(e.object), with(e.index)
}

func (e *subscript) constant(f *folder) (values.Value, bool) {
	v, ok1 := f.constant(e.object)
	index, ok2 := f.constant(e.index)
	if !ok1 || !ok2 {
		return nil, false
	}
	f.Line = e.line
	return f.try(func() values.Value { return f.Item(v, index) })
}

func (e *slice) replace(with func(expression) expression) {
	if e.object != nil {
		e.object = with(e.object)
	}
	replaceAll(e.bounds[:], with)
}

// constant is undefined where a value has no slice, which is an error in rendering.
func (e *slice) constant(f *folder) (values.Value, bool) {
	bounds, ok := f.constants(e.bounds[:])
	if !ok {
		return nil, false
	}
	if e.object == nil {
		return &values.Undefined{Text: "a slice is no value"}, true
	}
	v, ok := f.constant(e.object)
	if !ok {
		return nil, false
	}
	f.Line = e.line
	if part, ok := f.try(func() values.Value { return f.Slice(v, [3]values.Value(bounds)) }); ok {
		return part, true
	}
	if _, undefined := v.(*values.Undefined); undefined || bounds[2] == 0 && f.Sliceable(v) {
		return nil, false
	}
	return &values.Undefined{Text: values.TypeName(v) + " has no slice"}, true
}

// checkNames refuses a name that is given twice. In a constant call the last counts.
func (a *callArguments) checkNames(f *folder, line int) {
	for i, name := range a.names {
		if slices.Contains(a.names[:i], name) {
			f.Line = line
			f.Fail("the argument %s is given twice", name)
		}
	}
}

func (a *callArguments) replace(with func(expression) expression) {
	replaceAll(a.items, with)
	replaceAll(a.named, with)
	if a.list != nil {
		a.list = with(a.list)
	}
	if a.dict != nil {
		a.dict = with(a.dict)
	}
}

// constant computes arguments; first come those given.
func (a *callArguments) constant(f *folder, first values.Value) (result values.Arguments, ok bool) {
	items, ok1 := f.constants(a.items)
	named, ok2 := f.constants(a.named)
	if !ok1 || !ok2 {
		return result, false
	}
	items = append([]values.Value{first}, items...)
	if a.list != nil {
		list, ok := f.constant(a.list)
		if !ok || !f.Try(func() { items = append(items, f.Items(list)...) }) {
			return result, false
		}
	}
	names := values.NewDict()
	for i, name := range a.names {
		names.Set(f.Run, name, named[i])
	}
	if a.dict != nil {
		dict, ok := f.constant(a.dict)
		if !ok || !f.Try(func() { f.Update(names, dict) }) {
			return result, false
		}
	}
	result.Items = items
	for i, k := range names.Keys {
		name, ok := k.(string)
		if !ok {
			return result, false
		}
		result.Names, result.Named = append(result.Names, name), append(result.Named, names.Values[i])
	}
	return result, true
}

func (e *call) constant(*folder) (values.Value, bool) { return nil, false }

func (e *call) replace(with func(expression) expression) {
	e.function = with(e.function)
	e.arguments.replace(with)
}

func (e *filter) replace(with func(expression) expression) {
	if e.value != nil {
		e.value = with(e.value)
	}
	e.arguments.replace(with)
}

func (e *filter) constant(f *folder) (values.Value, bool) {
	if e.value == nil || f.volatile || !filters.Foldable(e.name) {
		return nil, false
	}
	v, ok1 := f.constant(e.value)
	a, ok2 := e.arguments.constant(f, v)
	if !ok1 || !ok2 {
		return nil, false
	}
	f.Line = e.line
	return f.try(func() values.Value { return filters.Apply(f.Run, e.name, a) })
}

func (e *test) replace(with func(expression) expression) {
	e.value = with(e.value)
	e.arguments.replace(with)
}

func (e *test) constant(f *folder) (values.Value, bool) {
	v, ok1 := f.constant(e.value)
	a, ok2 := e.arguments.constant(f, v)
	if !ok1 || !ok2 || f.volatile || filters.Tests[e.name] == nil {
		return nil, false
	}
	f.Line = e.line
	if e.name == "sameas" && len(a.Items) == 2 {
		return filters.SameConstants(f.Run, a.Items[0], a.Items[1]), true
	}
	return f.try(func() values.Value { return filters.Test(f.Run, e.name, a) })
}
