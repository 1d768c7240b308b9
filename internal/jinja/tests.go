package jinja

import (
	"strings"
	"unicode"
)

// tests are Jinja's, for {% if x is test %}.
var tests map[string]*builtin

func init() { // select uses them
	tests = table(append(typeTests(), valueTests()...)...)
	for alias, name := range map[string]string{"==": "eq", "equalto": "eq", "!=": "ne", ">": "gt", "greaterthan": "gt",
		">=": "ge", "<": "lt", "lessthan": "lt", "<=": "le"} {
		tests[alias] = tests[name]
	}
}

// is makes a test of a value alone.
func is(name string, holds func(r *run, v Value) bool) *builtin {
	return fn(name, "value", func(r *run, a []Value) Value { return holds(r, a[0]) })
}

// isType makes a test of the type of a value.
func isType(name string, types ...string) *builtin {
	return is(name, func(_ *run, v Value) bool {
		t := typeName(v)
		for _, want := range types {
			if t == want {
				return true
			}
		}
		return false
	})
}

func typeTests() []*builtin {
	return []*builtin{
		is("defined", func(_ *run, v Value) bool { return typeName(v) != "undefined" }),
		isType("undefined", "undefined"), isType("none", "None"), isType("boolean", "bool"), isType("integer", "int"),
		isType("float", "float"), isType("string", "str"), isType("mapping", "dict"),
		isType("number", "int", "float", "bool"),
		isType("callable", "function", "macro", "loop", "undefined"),
		isType("sequence", "str", listKind, tupleKind, "dict", "range", "undefined"),
		is("iterable", func(r *run, v Value) bool {
			if _, ok := v.(*generator); ok {
				return true
			}
			_, ok := r.iterable(v)
			return ok || typeName(v) == "loop"
		}),
		is("true", func(_ *run, v Value) bool { return v == true }),
		is("false", func(_ *run, v Value) bool { return v == false }),
		is("escaped", func(_ *run, v Value) bool {
			_, ok := v.(markup)
			return ok
		}),
		is("filter", func(r *run, v Value) bool { return filters[r.str(v)] != nil }),
		is("test", func(r *run, v Value) bool { return tests[r.str(v)] != nil }),
	}
}

// compares makes a test of an operator.
func compares(name, op string) *builtin {
	return fn(name, "a b", func(r *run, a []Value) Value { return r.compare(op, a[0], a[1]) })
}

func valueTests() []*builtin {
	return []*builtin{
		compares("eq", "=="), compares("ne", "!="), compares("gt", ">"), compares("ge", ">="), compares("lt", "<"),
		compares("le", "<="), compares("in", "in"),
		is("odd", func(r *run, v Value) bool { return r.equal(r.arithmetic("%", v, 2), 1) }),
		is("even", func(r *run, v Value) bool { return r.equal(r.arithmetic("%", v, 2), 0) }),
		fn("divisibleby", "value num", func(r *run, a []Value) Value {
			return r.equal(r.arithmetic("%", a[0], a[1]), 0)
		}),
		fn("sameas", "value other", func(r *run, a []Value) Value {
			switch a[0].(type) {
			case *list, *dict:
				return a[0] == a[1]
			}
			return typeName(a[0]) == typeName(a[1]) && r.equal(a[0], a[1])
		}),
		is("lower", func(r *run, v Value) bool { return hasCase(r, r.str(v), unicode.IsUpper) }),
		is("upper", func(r *run, v Value) bool { return hasCase(r, r.str(v), unicode.IsLower) }),
	}
}

// hasCase says whether a text has letters with cases and none of the wrong one.
func hasCase(r *run, s string, wrong func(rune) bool) bool {
	r.walk(2 * len(s))
	return strings.IndexFunc(s, isCased) >= 0 &&
		strings.IndexFunc(s, func(c rune) bool { return wrong(c) || unicode.IsTitle(c) }) < 0
}
