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
	attributes map[string]Value
}

// Arguments are the arguments of a call.
type Arguments struct {
	Items []Value
	Names []string
	Named []Value
}

// Absent stands for an argument that is not given.
type Absent struct{}

// Fn makes a builtin of a function. Parameters are separated by spaces; those with "=" at their
// end have defaults, and are absent if they are not given. A "/" makes a name that no argument can have.
func Fn(name, parameters string, function func(r *Run, a []Value) Value) *Builtin {
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

// ByPosition says whether arguments have no names.
func (f *Builtin) ByPosition(only bool) { f.positional = only }

// Raw makes a builtin of a function that takes any arguments.
func Raw(name string, function func(r *Run, a Arguments) Value) *Builtin {
	return &Builtin{name: name, raw: function}
}

// Table returns builtins by name.
func Table(list ...*Builtin) map[string]*Builtin {
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
		values[i] = Absent{}
	}
	if len(a.Items) > len(values) {
		r.Fail("%s has %d arguments too many", f.name, len(a.Items)-len(values))
	}
	copy(values, a.Items)
	for i, name := range a.Names {
		at := slices.Index(f.parameters, name)
		if at < 0 || f.positional || values[at] != (Absent{}) {
			r.Fail("%s has the argument %s, expected one of %q, once", f.name, name, f.parameters)
		}
		values[at] = a.Named[i]
	}
	for i, v := range values[:f.required] {
		if v == (Absent{}) {
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

// Given says whether an argument is given and not None.
func Given(v Value) bool { return v != (Absent{}) && v != nil }

// OrElse returns an argument, or its default if it is absent.
func OrElse(v, otherwise Value) Value {
	if v == (Absent{}) {
		return otherwise
	}
	return v
}

// IntArg returns an argument that must be an integer.
func (r *Run) IntArg(v Value, otherwise int) int {
	v = OrElse(v, otherwise)
	i, _, ok := Number(v)
	if !ok || IsFloat(v) {
		r.FailUndefined(v)
		r.Fail("an argument is %s, expected an integer", TypeName(v))
	}
	return i
}

// StringArg returns an argument that must be a string.
func (r *Run) StringArg(v Value) string {
	s, ok := TextOf(v)
	if !ok {
		r.FailUndefined(v)
		r.Fail("an argument is %s, expected a string", TypeName(v))
	}
	return s
}
