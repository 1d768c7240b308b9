package filters

import (
	"slices"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

func selectingFilters() []*Builtin {
	return []*Builtin{
		lazily("map", mapped),
		lazily("select", func(r *Run, a Arguments) func() (Value, bool) {
			return selected(r, a, true, false)
		}),
		lazily("reject", func(r *Run, a Arguments) func() (Value, bool) {
			return selected(r, a, false, false)
		}),
		lazily("selectattr", func(r *Run, a Arguments) func() (Value, bool) { return selected(r, a, true, true) }),
		lazily("rejectattr", func(r *Run, a Arguments) func() (Value, bool) {
			return selected(r, a, false, true)
		}),
	}
}

func nothing() (Value, bool) { return nil, false }

// lazily makes a filter that takes any arguments, and whose result is a generator.
func lazily(name string, start func(r *Run, a Arguments) func() (Value, bool)) *Builtin {
	return values.Raw(name, func(r *Run, a Arguments) Value {
		return r.Lazy(func() func() (Value, bool) {
			if len(a.Items) == 0 || !r.Truth(a.Items[0]) {
				return nothing
			}
			return start(r, a)
		})
	})
}

// mapped applies a filter to each item, or gets an attribute.
func mapped(r *Run, a Arguments) func() (Value, bool) {
	var apply func(Value) Value
	if len(a.Items) > 1 {
		name := r.StringArg(a.Items[1])
		rest := Arguments{Items: a.Items[1:], Names: a.Names, Named: a.Named}
		apply = func(v Value) Value {
			r.Take(len(rest.Items), values.ValueSize)
			with := rest
			with.Items = slices.Clone(rest.Items)
			with.Items[0] = v
			return Apply(r, name, with)
		}
	} else {
		var attribute, otherwise Value = values.Absent{}, values.Absent{}
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
		if attribute == (values.Absent{}) {
			r.Fail("map has no arguments, expected the name of a filter or attribute=")
		}
		apply = getter(r, attribute, otherwise)
	}
	next := r.Iterate(a.Items[0])
	return func() (Value, bool) {
		item, ok := next()
		if !ok {
			return nil, false
		}
		return apply(item), true
	}
}

// selected returns the items, or those with an attribute, for which a test is as wanted.
func selected(r *Run, a Arguments, want, byAttribute bool) func() (Value, bool) {
	get, rest := getter(r, values.Absent{}, values.Absent{}), a.Items[1:]
	if byAttribute {
		if len(rest) == 0 {
			r.Fail("there is no name of an attribute to select by")
		}
		get, rest = getter(r, rest[0], values.Absent{}), rest[1:]
	}
	passes := r.Truth
	if len(rest) > 0 {
		name := r.StringArg(rest[0])
		passes = func(v Value) bool {
			r.Take(len(rest), values.ValueSize)
			with := Arguments{Items: slices.Clone(rest), Names: a.Names, Named: a.Named}
			with.Items[0] = v
			return Test(r, name, with)
		}
	}
	next := r.Iterate(a.Items[0])
	return func() (Value, bool) {
		for item, ok := next(); ok; item, ok = next() {
			if r.Step(1); passes(get(item)) == want {
				return item, true
			}
		}
		return nil, false
	}
}

// getter returns a function that gets an attribute, such as "a.b" or 0, or the value itself if
// there is none; undefined ones are replaced by otherwise if it is given.
func getter(r *Run, attribute, otherwise Value) func(Value) Value {
	if !values.Given(attribute) {
		return func(v Value) Value { return v }
	}
	path := []Value{attribute}
	if name, ok := values.TextOf(attribute); ok {
		path = nil
		for _, part := range strings.Split(name, ".") {
			if i, err := strconv.Atoi(part); err == nil && part[0] != '-' && part[0] != '+' {
				path = append(path, i)
			} else {
				path = append(path, part)
			}
		}
	}
	r.Take(len(path), values.ValueSize)
	return func(v Value) Value {
		for _, part := range path {
			r.Step(1)
			v = r.Item(v, part)
			if _, ok := v.(*Undefined); ok && values.Given(otherwise) {
				v = otherwise
			}
		}
		return v
	}
}
