package values

import (
	"slices"
	"strconv"
	"strings"
)

func selectingFilters() []*Builtin {
	return []*Builtin{
		lazily("map", (*Run).mapped),
		lazily("select", func(r *Run, a Arguments) []Value { return r.selected(a, true, false) }),
		lazily("reject", func(r *Run, a Arguments) []Value { return r.selected(a, false, false) }),
		lazily("selectattr", func(r *Run, a Arguments) []Value { return r.selected(a, true, true) }),
		lazily("rejectattr", func(r *Run, a Arguments) []Value { return r.selected(a, false, true) }),
	}
}

// lazily makes a filter that takes any arguments, and whose result is a generator.
func lazily(name string, filter func(r *Run, a Arguments) []Value) *Builtin {
	return Raw(name, func(r *Run, a Arguments) Value {
		return &Generator{compute: func() []Value {
			if len(a.Items) == 0 || !r.Truth(a.Items[0]) {
				return nil
			}
			return filter(r, a)
		}}
	})
}

// mapped applies a filter to each item, or gets an attribute.
func (r *Run) mapped(a Arguments) []Value {
	var apply func(Value) Value
	if len(a.Items) > 1 {
		name := r.string(a.Items[1])
		rest := Arguments{a.Items[1:], a.Names, a.Named}
		apply = func(v Value) Value {
			r.Take(len(rest.Items), ValueSize)
			with := rest
			with.Items = slices.Clone(rest.Items)
			with.Items[0] = v
			return r.Filter(name, with)
		}
	} else {
		var attribute, otherwise Value = absent{}, absent{}
		for i, name := range a.Names {
			switch name {
			case "attribute":
				attribute = a.Named[i]
			case "default":
				otherwise = a.Named[i]
			default:
				r.Fail("map has the argument %s, expected attribute or default", name)
			}
		}
		if attribute == (absent{}) {
			r.Fail("map has no arguments, expected the name of a filter or attribute=")
		}
		apply = r.getter(attribute, otherwise)
	}
	items := r.Items(a.Items[0])
	r.Take(len(items), ValueSize)
	results := make([]Value, len(items))
	for i, item := range items {
		results[i] = apply(item)
	}
	return results
}

// selected returns the items, or those with an attribute, for which a test is as wanted.
func (r *Run) selected(a Arguments, want, byAttribute bool) (items []Value) {
	get, rest := r.getter(absent{}, absent{}), a.Items[1:]
	if byAttribute {
		if len(rest) == 0 {
			r.Fail("there is no name of an attribute to select by")
		}
		get, rest = r.getter(rest[0], absent{}), rest[1:]
	}
	passes := r.Truth
	if len(rest) > 0 {
		name := r.string(rest[0])
		passes = func(v Value) bool {
			r.Take(len(rest), ValueSize)
			with := Arguments{slices.Clone(rest), a.Names, a.Named}
			with.Items[0] = v
			return r.Test(name, with)
		}
	}
	for _, item := range r.Items(a.Items[0]) {
		r.Step(1)
		if passes(get(item)) == want {
			r.Take(1, 2*ValueSize)
			items = append(items, item)
		}
	}
	return items
}

// getter returns a function that gets an attribute, such as "a.b" or 0, or the value itself if
// there is none; undefined ones are replaced by otherwise if it is given.
func (r *Run) getter(attribute, otherwise Value) func(Value) Value {
	if !given(attribute) {
		return func(v Value) Value { return v }
	}
	path := []Value{attribute}
	if name, ok := textOf(attribute); ok {
		path = nil
		for _, part := range strings.Split(name, ".") {
			if i, err := strconv.Atoi(part); err == nil && part[0] != '-' && part[0] != '+' {
				path = append(path, i)
			} else {
				path = append(path, part)
			}
		}
	}
	r.Take(len(path), ValueSize)
	return func(v Value) Value {
		for _, part := range path {
			r.Step(1)
			v = r.Item(v, part)
			if _, ok := v.(*Undefined); ok && given(otherwise) {
				v = otherwise
			}
		}
		return v
	}
}
