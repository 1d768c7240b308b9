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
