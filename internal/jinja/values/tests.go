package values

import "unicode"

// Tests are Jinja's, for {% if x is test %}.
var Tests map[string]*Builtin

func init() { // select uses them
	Tests = table(append(typeTests(), valueTests()...)...)
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
		t := TypeName(v)
		for _, want := range types {
			if t == want {
				return true
			}
		}
		return false
	})
}

func typeTests() []*Builtin {
	return []*Builtin{
		is("defined", func(_ *Run, v Value) bool { return TypeName(v) != "undefined" }),
		isType("undefined", "undefined"), isType("none", "None"), isType("boolean", "bool"), isType("integer", "int"),
		isType("float", "float"), isType("string", "str"), isType("mapping", "dict"),
		isType("number", "int", "float", "bool"),
		isType("callable", "function", "macro", "loop", "undefined"),
		isType("sequence", "str", listKind, TupleKind, "dict", "range", "undefined"),
		is("iterable", func(r *Run, v Value) bool {
			if _, ok := v.(*Generator); ok {
				return true
			}
			_, ok := r.iterable(v)
			return ok
		}),
		is("true", func(_ *Run, v Value) bool { return v == true }),
		is("false", func(_ *Run, v Value) bool { return v == false }),
		is("escaped", func(_ *Run, v Value) bool {
			_, ok := v.(markup)
			return ok
		}),
		is("filter", func(r *Run, v Value) bool { return Filters[r.Str(v)] != nil }),
		is("test", func(r *Run, v Value) bool { return Tests[r.Str(v)] != nil }),
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
			switch a[0].(type) {
			case *List, *Dict:
				return a[0] == a[1]
			}
			return TypeName(a[0]) == TypeName(a[1]) && r.Equal(a[0], a[1])
		}),
		is("lower", func(r *Run, v Value) bool { return hasCase(r, r.Str(v), unicode.IsUpper) }),
		is("upper", func(r *Run, v Value) bool { return hasCase(r, r.Str(v), unicode.IsLower) }),
	}
}

// UnknownTest says that there is no test of a name.
func UnknownTest(name string) string {
	return "there is no test " + name + ": use another, or compare with =="
}

// Test applies a test to its first argument.
func (r *Run) Test(name string, a Arguments) bool {
	f := Tests[name]
	if f == nil {
		r.Fail("%s", UnknownTest(brief(name)))
	}
	return r.Truth(r.Apply(f, a))
}
