// Package methods has the methods of Python's types, for the values of templates.
package methods

import (
	"math/big"
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// What methods need most of package values.
type (
	Value     = values.Value
	Run       = values.Run
	Builtin   = values.Builtin
	Arguments = values.Arguments
	List      = values.List
	Dict      = values.Dict
	Undefined = values.Undefined
	Output    = values.Output
)

// Of returns the methods of a value's type. A nil entry is a method that changes its receiver, which is refused.
func Of(object Value) map[string]*Builtin {
	switch object := object.(type) {
	case string:
		return stringMethods
	case values.Markup:
		return markupMethods
	case values.Octets:
		return byteMethods
	case bool, int, *big.Int:
		return intMethods
	case float64:
		return floatMethods
	case complex128:
		return complexMethods
	case *values.Span:
		return rangeMethods
	case *Dict:
		return dictMethods
	case *List:
		if object.Kind == values.ListKind {
			return listMethods
		} else if object.IsTuple() {
			return tupleMethods
		}
		return viewMethods[object.Kind] // of sets too
	}
	return nil
}

var dictMethods = values.Table(
	values.Fn("get", "self key default=", func(r *Run, a []Value) Value {
		if v, ok := a[0].(*Dict).Lookup(r, a[1]); ok {
			return v
		}
		if _, ok := r.Hash(a[1]); !ok {
			r.Fail("%s is looked for in a dict, expected a string or a number", values.TypeName(a[1]))
		}
		return values.OrElse(a[2], nil)
	}),
	values.Fn("items", "self", func(r *Run, a []Value) Value {
		return values.View(values.ItemsKind, r.Pairs(a[0].(*Dict)), a[0].(*Dict))
	}),
	values.Fn("keys", "self", func(r *Run, a []Value) Value {
		return values.View(values.KeysKind, a[0].(*Dict).Keys, a[0].(*Dict))
	}),
	values.Fn("values", "self", func(r *Run, a []Value) Value {
		return values.View(values.ValuesKind, a[0].(*Dict).Values, a[0].(*Dict))
	}),
	values.Fn("fromkeys", "self iterable value=", func(r *Run, a []Value) Value { return r.FromKeys(a[1], a[2]) }),
	values.Fn("copy", "self", func(r *Run, a []Value) Value { return r.MakeDict(Arguments{Items: a}) }),
)

// isDisjoint is a method of keys and items.
var isDisjoint = values.Table(values.Fn("isdisjoint", "self other", func(r *Run, a []Value) Value {
	for _, item := range r.Unordered(a[1]) {
		if r.Contains(a[0], item) {
			return false
		}
	}
	return true
}))

// viewMethods are those of views of dicts, by kind.
var viewMethods = map[string]map[string]*Builtin{values.KeysKind: isDisjoint, values.ItemsKind: isDisjoint,
	values.SetKind: setMethods}

var (
	tupleMethods = values.Table(
		values.Fn("index", "self value start= stop=", func(r *Run, a []Value) Value {
			items := a[0].(*List).Items
			start, stop, _ := r.Bounds([3]Value{r.IntArg(a[2], 0), r.IntArg(a[3], len(items)), nil}, len(items))
			for i := start; i < stop; i++ {
				if r.Equal(items[i], a[1]) {
					return i
				}
			}
			r.Fail("%s is not in the list", r.Repr(a[1]))
			return nil
		}),
		values.Fn("count", "self value", func(r *Run, a []Value) Value {
			n := 0
			for _, item := range a[0].(*List).Items {
				if r.Equal(item, a[1]) {
					n++
				}
			}
			return n
		}),
	)
	listMethods = values.Table(tupleMethods["index"], tupleMethods["count"],
		values.Fn("copy", "self", func(r *Run, a []Value) Value { return r.List(a[0].(*List).Items) }))
)

func init() {
	stringMethods = values.Table(append(textMethods(), append(moreTextMethods(), layoutMethods()...)...)...)
	makeMarkupMethods()
	makeByteMethods()
	for _, name := range []string{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"} {
		listMethods[name] = nil
	}
	setMethods["isdisjoint"] = isDisjoint["isdisjoint"]
	for _, name := range []string{"add", "clear", "difference_update", "discard", "intersection_update", "pop",
		"remove", "symmetric_difference_update", "update"} {
		setMethods[name] = nil
	}
	for _, name := range []string{"clear", "pop", "popitem", "setdefault", "update"} {
		dictMethods[name] = nil
	}
	for _, methods := range []map[string]*Builtin{dictMethods, listMethods, tupleMethods, stringMethods, floatMethods} {
		for name, f := range methods {
			if f != nil {
				f.ByPosition(!strings.Contains(" split rsplit splitlines expandtabs encode ", " "+name+" "))
			}
		}
	}
}
