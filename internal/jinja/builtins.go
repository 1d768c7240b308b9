package jinja

import (
	"slices"
	"strings"
)

// builtin is a filter, test, method or function of Jinja or Python. Filters and tests get
// their value, methods their receiver, as first argument.
type builtin struct {
	name       string
	parameters []string
	required   int // parameters without a default
	positional bool
	function   func(r *run, a []Value) Value
	raw        func(r *run, a arguments) Value // in place of function: takes any arguments
}

// absent stands for an argument that is not given.
type absent struct{}

// fn makes a builtin of a function. Parameters are separated by spaces; those with "=" at their
// end have defaults, and are absent if they are not given.
func fn(name, parameters string, function func(r *run, a []Value) Value) *builtin {
	f := &builtin{name: name, function: function}
	for _, p := range strings.Fields(parameters) {
		name, optional := strings.CutSuffix(p, "=")
		if !optional {
			f.required++
		}
		f.parameters = append(f.parameters, name)
	}
	return f
}

// raw makes a builtin of a function that takes any arguments.
func raw(name string, function func(r *run, a arguments) Value) *builtin {
	return &builtin{name: name, raw: function}
}

// table returns builtins by name.
func table(list ...*builtin) map[string]*builtin {
	t := map[string]*builtin{}
	for _, f := range list {
		t[f.name] = f
	}
	return t
}

// builtin calls a builtin.
func (r *run) builtin(f *builtin, a arguments) Value {
	r.step(1)
	if f.raw != nil {
		return f.raw(r, a)
	}
	r.take(len(f.parameters), valueSize)
	values := make([]Value, len(f.parameters))
	for i := range values {
		values[i] = absent{}
	}
	if len(a.items) > len(values) {
		r.fail("%s has %d arguments too many", f.name, len(a.items)-len(values))
	}
	copy(values, a.items)
	for i, name := range a.names {
		at := slices.Index(f.parameters, name)
		if at < 0 || f.positional || values[at] != (absent{}) {
			r.fail("%s has the argument %s, expected one of %q, once", f.name, name, f.parameters)
		}
		values[at] = a.named[i]
	}
	for i, v := range values[:f.required] {
		if v == (absent{}) {
			r.fail("%s has no argument %s", f.name, f.parameters[i])
		}
	}
	return f.function(r, values)
}

// method is a method with its receiver.
type method struct {
	function *builtin
	receiver Value
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
func (r *run) int(v Value, otherwise int) int {
	v = orElse(v, otherwise)
	i, _, ok := number(v)
	if !ok || isFloat(v) {
		r.failUndefined(v)
		r.fail("an argument is %s, expected an integer", typeName(v))
	}
	return i
}

// string returns an argument that must be a string.
func (r *run) string(v Value) string {
	s, ok := textOf(v)
	if !ok {
		r.failUndefined(v)
		r.fail("an argument is %s, expected a string", typeName(v))
	}
	return s
}

// attribute returns object.name: an attribute or a method, or else an item.
func (r *run) attribute(object Value, name string) Value {
	if v, ok := r.ownAttribute(object, name); ok {
		return v
	}
	if d, ok := object.(*dict); ok {
		if v, ok := d.get(name); ok {
			return v
		}
	}
	return r.noAttribute(object, name)
}

func (r *run) noAttribute(object Value, name string) Value {
	r.take(1, 96+len(name))
	if strings.HasPrefix(name, "__") && strings.HasSuffix(name, "__") {
		return &undefined{"the attribute " + name + " is out of a template's reach", r.line, true}
	}
	return &undefined{text: typeName(object) + " has no attribute " + name, line: r.line}
}

// methodsOf has the methods of each type; nil stands for those that change their receiver.
func methodsOf(object Value) map[string]*builtin {
	switch object := object.(type) {
	case string, markup:
		return stringMethods
	case *dict:
		return dictMethods
	case *list:
		if object.kind == listKind {
			return listMethods
		} else if object.isTuple() {
			return tupleMethods
		}
	case *cycler:
		return cyclerMethods
	}
	return nil
}

// ownAttribute returns an attribute that is no item.
func (r *run) ownAttribute(object Value, name string) (Value, bool) {
	switch o := object.(type) {
	case *undefined:
		r.failUndefined(o)
	case *namespace:
		return o.dict.get(name)
	case *loop:
		return o.attribute(name)
	case *macro:
		if name == "name" {
			return o.name, true
		}
	case *list:
		if i := slices.Index([]string{"grouper", "list"}, name); o.kind == groupKind && i >= 0 {
			return o.items[i], true
		}
	case *cycler:
		if name == "current" {
			return o.items[o.at], true
		}
	}
	f, ok := methodsOf(object)[name]
	if ok && f == nil {
		return &undefined{typeName(object) + "." + name + " changes its " + typeName(object) +
			", which a template cannot do: use + or a namespace()", r.line, true}, true
	}
	if ok {
		r.take(1, 48)
		return &method{f, object}, true
	}
	return nil, false
}

// item returns object[index]: an item, or else an attribute.
func (r *run) item(object, index Value) Value {
	r.failUndefined(object)
	switch o := object.(type) {
	case *dict:
		if v, ok := o.lookup(r, index); ok {
			return v
		}
	case *list:
		if v, ok := at(o.items, index); ok && o.sequence() {
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
	r.take(1, 96)
	return &undefined{text: typeName(object) + " has no such item", line: r.line}
}

// position returns an index from the beginning of n items; it is n where there is no item.
func position(index Value, n int) (int, int, bool) {
	i, _, ok := number(index)
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

// slice returns object[start:stop:step].
func (r *run) slice(object Value, bounds [3]Value) Value {
	r.failUndefined(object)
	for i := range bounds {
		if _, _, ok := number(bounds[i]); bounds[i] != nil && (!ok || isFloat(bounds[i])) {
			return &undefined{text: "the bounds of a slice are no integers", line: r.line}
		}
	}
	n, _ := r.length(object)
	switch o := object.(type) {
	case string, markup:
		s, _ := textOf(o)
		start, stop, step := r.bounds(bounds, n)
		if step == 1 {
			r.take(1, 16)
			return r.cut(s, start, max(start, stop))
		}
		r.walk(len(s))
		var b strings.Builder
		r.take(len(s), 4+3)
		characters := []rune(s)
		for _, i := range indices(start, stop, step) {
			b.WriteRune(characters[i])
		}
		return b.String()
	case *list:
		if !o.sequence() {
			break
		}
		start, stop, step := r.bounds(bounds, n)
		r.take((&span{start, stop, step}).length(), valueSize+8)
		var items []Value
		for _, i := range indices(start, stop, step) {
			items = append(items, o.items[i])
		}
		return &list{o.kind, items}
	case *span:
		start, stop, step := r.bounds(bounds, n)
		return &span{o.start + start*o.step, o.start + stop*o.step, o.step * step}
	}
	return &undefined{text: typeName(object) + " has no slices", line: r.line}
}

// bounds returns the bounds of a slice of n items, as Python's slice.indices.
func (r *run) bounds(bounds [3]Value, n int) (start, stop, step int) {
	step = 1
	if bounds[2] != nil {
		step = r.int(bounds[2], 1)
	}
	if step == 0 {
		r.fail("the step of a slice is 0")
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
