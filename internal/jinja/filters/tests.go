package filters

import (
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/jinja/methods"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// Tests are Jinja's, for {% if x is test %}.
var Tests map[string]*Builtin

func init() { // select uses them
	Tests = values.Table(append(typeTests(), valueTests()...)...)
	for alias, name := range map[string]string{"==": "eq", "equalto": "eq", "!=": "ne", ">": "gt", "greaterthan": "gt",
		">=": "ge", "<": "lt", "lessthan": "lt", "<=": "le"} {
		Tests[alias] = Tests[name]
	}
}

// is makes a test of a value alone.
func is(name string, holds func(r *Run, v Value) bool) *Builtin {
	return fn(name, "value", func(r *Run, a []Value) Value { return holds(r, a[0]) })
}

// isType makes a test of the type of a value.
func isType(name string, types ...string) *Builtin {
	return is(name, func(_ *Run, v Value) bool {
		t := values.TypeName(v)
		for _, want := range types {
			if t == want {
				return true
			}
		}
		return false
	})
}

// named makes a test of whether a value is the name of something.
func named(test string, exists func(name string) bool) *Builtin {
	return is(test, func(r *Run, v Value) bool {
		if _, ok := r.Hash(v); !ok {
			r.Fail("%s is tested for being a %s, expected a string", values.TypeName(v), test)
		}
		name, _ := values.TextOf(v)
		return exists(name)
	})
}

func typeTests() []*Builtin {
	return []*Builtin{
		is("defined", func(_ *Run, v Value) bool { return values.TypeName(v) != "undefined" }),
		isType("undefined", "undefined"), isType("none", "None"), isType("boolean", "bool"), isType("integer", "int"),
		isType("float", "float"), isType("string", "str"), isType("mapping", "dict"),
		isType("number", "int", "float", "bool", "complex"),
		isType("callable", "function", "macro", "loop", "undefined"),
		isType("sequence", "str", "bytes", values.ListKind, values.TupleKind, "dict", "range", "undefined"),
		is("iterable", func(r *Run, v Value) bool {
			switch v.(type) {
			case *values.Generator, *List:
				return true
			}
			_, ok := r.Iterable(v)
			return ok
		}),
		is("true", func(_ *Run, v Value) bool { return v == true }),
		is("false", func(_ *Run, v Value) bool { return v == false }),
		is("escaped", func(_ *Run, v Value) bool {
			_, ok := v.(values.Markup)
			return ok
		}),
		named("filter", func(name string) bool { return Filters[name] != nil }),
		named("test", func(name string) bool { return Tests[name] != nil }),
	}
}

// compares makes a test of an operator.
func compares(name, op string) *Builtin {
	return fn(name, "a b", func(r *Run, a []Value) Value { return r.Compare(op, a[0], a[1]) })
}

func valueTests() []*Builtin {
	return []*Builtin{
		compares("eq", "=="), compares("ne", "!="), compares("gt", ">"), compares("ge", ">="), compares("lt", "<"),
		compares("le", "<="), compares("in", "in"),
		is("odd", func(r *Run, v Value) bool { return r.Equal(r.Arithmetic("%", v, 2), 1) }),
		is("even", func(r *Run, v Value) bool { return r.Equal(r.Arithmetic("%", v, 2), 0) }),
		fn("divisibleby", "value num", func(r *Run, a []Value) Value {
			return r.Equal(r.Arithmetic("%", a[0], a[1]), 0)
		}),
		fn("sameas", "value other", func(r *Run, a []Value) Value {
			return same(r, a[0], a[1])
		}),
		is("lower", func(r *Run, v Value) bool { return methods.HasCase(r, r.Str(v), methods.IsUpper) }),
		is("upper", func(r *Run, v Value) bool { return methods.HasCase(r, r.Str(v), methods.IsLower) }),
	}
}

// same says whether two values are the same one. Values without a place of their own are if they are equal.
func same(r *Run, a, b Value) bool {
	switch a.(type) {
	case *List, *Dict, *Undefined:
		return a == b
	}
	return values.TypeName(a) == values.TypeName(b) && r.Equal(a, b)
}

// SameConstants says whether two constants are the same one. Python has one object of each short integer and text;
// of others, two constants are two.
func SameConstants(r *Run, a, b Value) bool {
	const first, last = -5, 256 // integers that Python has one object of
	unique := false
	switch v := a.(type) {
	case nil, bool:
		unique = true
	case int:
		unique = v >= first && v <= last
	case string:
		c, size := utf8.DecodeRuneInString(v)
		unique = v == "" || size == len(v) && c < last
	case *List:
		other, ok := b.(*List)
		return ok && v.Kind == values.TupleKind && other.Kind == v.Kind && len(v.Items)+len(other.Items) == 0
	}
	return unique && same(r, a, b)
}

// UnknownTest says that there is no test of a name.
func UnknownTest(name string) string {
	return "there is no test " + name + ": use another, or compare with =="
}

// Test applies a test to its first argument.
func Test(r *Run, name string, a Arguments) bool {
	f := Tests[name]
	if f == nil {
		r.Fail("%s", UnknownTest(values.Brief(name)))
	}
	return r.Truth(r.Apply(f, a))
}
