package values

import (
	"slices"
	"strings"
)

// Builtin is a filter, test, method or function of Jinja or Python. Filters and tests get
// their value, methods their receiver, as first argument.
type Builtin struct {
	name       string
	parameters []string
	required   int // parameters without a default
	positional bool
	function   func(r *Run, a []Value) Value
	raw        func(r *Run, a Arguments) Value // in place of function: takes any arguments
}

// Arguments are the arguments of a call.
type Arguments struct {
	Items []Value
	Names []string
	Named []Value
}

// absent stands for an argument that is not given.
type absent struct{}

// fn makes a builtin of a function. Parameters are separated by spaces; those with "=" at their
// end have defaults, and are absent if they are not given.
func fn(name, parameters string, function func(r *Run, a []Value) Value) *Builtin {
	f := &Builtin{name: name, function: function}
	for _, p := range strings.Fields(parameters) {
		name, optional := strings.CutSuffix(p, "=")
		if !optional {
			f.required++
		}
		f.parameters = append(f.parameters, name)
	}
	return f
}

// Raw makes a builtin of a function that takes any arguments.
func Raw(name string, function func(r *Run, a Arguments) Value) *Builtin {
	return &Builtin{name: name, raw: function}
}

// table returns builtins by name.
func table(list ...*Builtin) map[string]*Builtin {
	t := map[string]*Builtin{}
	for _, f := range list {
		t[f.name] = f
	}
	return t
}

// Apply calls a builtin.
func (r *Run) Apply(f *Builtin, a Arguments) Value {
	r.Step(1)
	if f.raw != nil {
		return f.raw(r, a)
	}
	r.Take(len(f.parameters), ValueSize)
	values := make([]Value, len(f.parameters))
	for i := range values {
		values[i] = absent{}
	}
	if len(a.Items) > len(values) {
		r.Fail("%s has %d arguments too many", f.name, len(a.Items)-len(values))
	}
	copy(values, a.Items)
	for i, name := range a.Names {
		at := slices.Index(f.parameters, name)
		if at < 0 || f.positional || values[at] != (absent{}) {
			r.Fail("%s has the argument %s, expected one of %q, once", f.name, name, f.parameters)
		}
		values[at] = a.Named[i]
	}
	for i, v := range values[:f.required] {
		if v == (absent{}) {
			r.Fail("%s has no argument %s", f.name, f.parameters[i])
		}
	}
	return f.function(r, values)
}

// Method is a method with its receiver.
type Method struct {
	Function *Builtin
	Receiver Value
}

// given says whether an argument is given and not None.
func given(v Value) bool { return v != (absent{}) && v != nil }

// orElse returns an argument, or its default if it is absent.
func orElse(v, otherwise Value) Value {
	if v == (absent{}) {
		return otherwise
	}
	return v
}

// int returns an argument that must be an integer.
func (r *Run) int(v Value, otherwise int) int {
	v = orElse(v, otherwise)
	i, _, ok := Number(v)
	if !ok || isFloat(v) {
		r.FailUndefined(v)
		r.Fail("an argument is %s, expected an integer", TypeName(v))
	}
	return i
}

// string returns an argument that must be a string.
func (r *Run) string(v Value) string {
	s, ok := textOf(v)
	if !ok {
		r.FailUndefined(v)
		r.Fail("an argument is %s, expected a string", TypeName(v))
	}
	return s
}

// Attribute returns object.name: an attribute or a method, or else an item.
func (r *Run) Attribute(object Value, name string) Value {
	if v, ok := r.ownAttribute(object, name); ok {
		return v
	}
	if d, ok := object.(*Dict); ok {
		if v, ok := d.Get(name); ok {
			return v
		}
	}
	return r.noAttribute(object, name)
}

func (r *Run) noAttribute(object Value, name string) Value {
	r.Take(1, 96+maxQuote)
	name = brief(name)
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return &Undefined{"the attribute " + name + " is out of a template's reach", true}
	}
	return &Undefined{Text: TypeName(object) + " has no attribute " + name}
}

// methodsOf has the methods of each type; nil stands for those that change their receiver.
func methodsOf(object Value) map[string]*Builtin {
	switch object := object.(type) {
	case string, markup:
		return stringMethods
	case *Dict:
		return dictMethods
	case *List:
		if object.Kind == listKind {
			return listMethods
		} else if object.isTuple() {
			return tupleMethods
		}
	}
	return nil
}

// ownAttribute returns an attribute that is no item.
func (r *Run) ownAttribute(object Value, name string) (Value, bool) {
	switch o := object.(type) {
	case *Undefined:
		r.FailUndefined(o)
	case *Namespace:
		return o.dict.Get(name)
	case custom:
		return o.Attribute(name)
	case *List:
		if i := slices.Index([]string{"grouper", "list"}, name); o.Kind == groupKind && i >= 0 {
			return o.Items[i], true
		}
	}
	f, ok := methodsOf(object)[name]
	if ok && f == nil {
		return &Undefined{TypeName(object) + "." + name + " changes its " + TypeName(object) +
			", which a template cannot do: use + or a namespace()", true}, true
	}
	if ok {
		r.Take(1, 48)
		return &Method{f, object}, true
	}
	return nil, false
}

// Item returns object[index]: an item, or else an attribute.
func (r *Run) Item(object, index Value) Value {
	r.FailUndefined(object)
	switch o := object.(type) {
	case *Dict:
		if v, ok := o.lookup(r, index); ok {
			return v
		}
	case *List:
		if v, ok := at(o.Items, index); ok && o.sequence() {
			return v
		}
	case *span:
		if i, n, ok := position(index, o.length()); ok && i < n {
			return o.start + i*o.step
		}
	case string, markup:
		s, _ := textOf(object)
		if i, n, ok := position(index, r.runes(s)); ok && i < n {
			return r.cut(s, i, i+1)
		}
	}
	if name, ok := textOf(index); ok {
		if v, ok := r.ownAttribute(object, name); ok {
			return v
		}
		return r.noAttribute(object, name)
	}
	r.Take(1, 96)
	return &Undefined{Text: TypeName(object) + " has no such item"}
}

// position returns an index from the beginning of n items; it is n where there is no item.
func position(index Value, n int) (int, int, bool) {
	i, _, ok := Number(index)
	if !ok || isFloat(index) {
		return 0, 0, false
	}
	if i < 0 {
		i += n
	}
	if i < 0 {
		i = n
	}
	return i, n, true
}

func at(items []Value, index Value) (Value, bool) {
	if i, n, ok := position(index, len(items)); ok && i < n {
		return items[i], true
	}
	return nil, false
}

// Slice returns object[start:stop:step].
func (r *Run) Slice(object Value, bounds [3]Value) Value {
	r.FailUndefined(object)
	n, _ := r.length(object)
	switch o := object.(type) {
	case string, markup:
		s, _ := textOf(o)
		start, stop, step := r.bounds(bounds, n)
		if step == 1 {
			r.Take(1, 16)
			return r.cut(s, start, max(start, stop))
		}
		r.walk(len(s))
		var b strings.Builder
		r.Take(len(s), 4+3)
		characters := []rune(s)
		for _, i := range indices(start, stop, step) {
			b.WriteRune(characters[i])
		}
		return b.String()
	case *List:
		if !o.sequence() {
			break
		}
		start, stop, step := r.bounds(bounds, n)
		r.Take((&span{start, stop, step}).length(), ValueSize+8)
		var items []Value
		for _, i := range indices(start, stop, step) {
			items = append(items, o.Items[i])
		}
		return &List{o.Kind, items}
	case *span:
		start, stop, step := r.bounds(bounds, n)
		return &span{o.start + start*o.step, o.start + stop*o.step, o.step * step}
	}
	r.Fail("%s is sliced, expected a list or a string", TypeName(object))
	return nil
}

// bounds returns the bounds of a slice of n items, as Python's slice.indices.
func (r *Run) bounds(bounds [3]Value, n int) (start, stop, step int) {
	step = 1
	if bounds[2] != nil {
		step = r.int(bounds[2], 1)
	}
	if step == 0 {
		r.Fail("the step of a slice is 0")
	}
	low, high := 0, n
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(v Value, otherwise int) int {
		if v == nil {
			return otherwise
		}
		i := r.int(v, 0)
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	if step < 0 {
		return bound(bounds[0], high), bound(bounds[1], low), max(step, -n-1)
	}
	return bound(bounds[0], low), bound(bounds[1], high), min(step, n+1)
}

func indices(start, stop, step int) []int {
	n := (&span{start, stop, step}).length()
	list := make([]int, n)
	for i := range list {
		list[i] = start + i*step
	}
	return list
}
