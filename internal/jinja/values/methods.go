package values

import "strings"

var dictMethods = Table(
	Fn("get", "self key default=", func(r *Run, a []Value) Value {
		if v, ok := a[0].(*Dict).lookup(r, a[1]); ok {
			return v
		}
		if _, ok := r.Hash(a[1]); !ok {
			r.Fail("%s is looked for in a dict, expected a string or a number", TypeName(a[1]))
		}
		return OrElse(a[2], nil)
	}),
	Fn("items", "self", func(r *Run, a []Value) Value {
		return &List{itemsKind, r.Pairs(a[0].(*Dict)), a[0].(*Dict)}
	}),
	Fn("keys", "self", func(r *Run, a []Value) Value { return &List{keysKind, a[0].(*Dict).Keys, a[0].(*Dict)} }),
	Fn("values", "self", func(r *Run, a []Value) Value {
		return &List{valuesKind, a[0].(*Dict).Values, a[0].(*Dict)}
	}),
	Fn("fromkeys", "self iterable value=", func(r *Run, a []Value) Value { return r.fromKeys(a[1], a[2]) }),
	Fn("copy", "self", func(r *Run, a []Value) Value { return r.MakeDict(Arguments{Items: a}) }),
)

// fromKeys makes a dict of keys that have one value.
func (r *Run) fromKeys(keys, value Value) Value {
	d := NewDict()
	for _, k := range r.Items(keys) {
		d.Set(r, k, OrElse(value, nil))
	}
	return d
}

// isDisjoint is a method of keys and items.
var isDisjoint = Table(Fn("isdisjoint", "self other", func(r *Run, a []Value) Value {
	for _, item := range r.Unordered(a[1]) {
		if r.contains(a[0], item) {
			return false
		}
	}
	return true
}))

// viewMethods are those of views of dicts, by kind.
var viewMethods = map[string]map[string]*Builtin{keysKind: isDisjoint, itemsKind: isDisjoint, SetKind: setMethods}

// Pairs returns the keys and values of a dict.
func (r *Run) Pairs(d *Dict) []Value {
	r.Take(len(d.Keys), ValueSize)
	items := make([]Value, len(d.Keys))
	for i, k := range d.Keys {
		items[i] = r.pair(k, d.Values[i])
	}
	return items
}

var (
	tupleMethods = Table(
		Fn("index", "self value start= stop=", func(r *Run, a []Value) Value {
			items := a[0].(*List).Items
			start, stop, _ := r.bounds([3]Value{r.IntArg(a[2], 0), r.IntArg(a[3], len(items)), nil}, len(items))
			for i := start; i < stop; i++ {
				if r.Equal(items[i], a[1]) {
					return i
				}
			}
			r.Fail("%s is not in the list", r.Repr(a[1]))
			return nil
		}),
		Fn("count", "self value", func(r *Run, a []Value) Value {
			n := 0
			for _, item := range a[0].(*List).Items {
				if r.Equal(item, a[1]) {
					n++
				}
			}
			return n
		}),
	)
	listMethods = Table(tupleMethods["index"], tupleMethods["count"],
		Fn("copy", "self", func(r *Run, a []Value) Value { return r.List(a[0].(*List).Items) }))
)

func init() {
	stringMethods = Table(append(textMethods(), append(moreTextMethods(), layoutMethods()...)...)...)
	makeMarkupMethods()
	makeByteMethods()
	for _, name := range []string{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"} {
		listMethods[name] = nil
	}
	setMethods["isdisjoint"] = isDisjoint["isdisjoint"]
	for _, name := range []string{"add", "clear", "difference_update", "discard", "intersection_update", "pop", "remove",
		"symmetric_difference_update", "update"} {
		setMethods[name] = nil
	}
	for _, name := range []string{"clear", "pop", "popitem", "setdefault", "update"} {
		dictMethods[name] = nil
	}
	for _, methods := range []map[string]*Builtin{dictMethods, listMethods, tupleMethods, stringMethods, floatMethods} {
		for name, f := range methods {
			if f != nil {
				f.positional = !strings.Contains(" split rsplit splitlines expandtabs encode ", " "+name+" ")
			}
		}
	}
}
