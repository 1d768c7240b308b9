package values

var dictMethods = table(
	fn("get", "self key default=", func(r *Run, a []Value) Value {
		if v, ok := a[0].(*Dict).lookup(r, a[1]); ok {
			return v
		}
		if _, ok := r.hash(a[1]); !ok {
			r.Fail("%s is looked for in a dict, expected a string or a number", TypeName(a[1]))
		}
		return orElse(a[2], nil)
	}),
	fn("items", "self", func(r *Run, a []Value) Value { return &List{itemsKind, r.pairs(a[0].(*Dict))} }),
	fn("keys", "self", func(r *Run, a []Value) Value { return &List{keysKind, a[0].(*Dict).Keys} }),
	fn("values", "self", func(r *Run, a []Value) Value { return &List{valuesKind, a[0].(*Dict).Values} }),
	fn("copy", "self", func(r *Run, a []Value) Value { return r.makeDict(Arguments{Items: a}) }),
)

// pairs returns the keys and values of a dict.
func (r *Run) pairs(d *Dict) []Value {
	r.Take(len(d.Keys), ValueSize)
	items := make([]Value, len(d.Keys))
	for i, k := range d.Keys {
		items[i] = r.pair(k, d.Values[i])
	}
	return items
}

var (
	tupleMethods = table(
		fn("index", "self value", func(r *Run, a []Value) Value {
			for i, item := range a[0].(*List).Items {
				if r.Equal(item, a[1]) {
					return i
				}
			}
			r.Fail("%s is not in the list", r.Repr(a[1]))
			return nil
		}),
		fn("count", "self value", func(r *Run, a []Value) Value {
			n := 0
			for _, item := range a[0].(*List).Items {
				if r.Equal(item, a[1]) {
					n++
				}
			}
			return n
		}),
	)
	listMethods = table(tupleMethods["index"], tupleMethods["count"],
		fn("copy", "self", func(r *Run, a []Value) Value { return r.List(a[0].(*List).Items) }))
)

func init() {
	stringMethods = table(append(textMethods(), append(moreTextMethods(), layoutMethods()...)...)...)
	for _, name := range []string{"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"} {
		listMethods[name] = nil
	}
	for _, name := range []string{"clear", "pop", "popitem", "setdefault", "update"} {
		dictMethods[name] = nil
	}
	for _, methods := range []map[string]*Builtin{dictMethods, listMethods, tupleMethods, stringMethods} {
		for name, f := range methods {
			if f != nil {
				f.positional = name != "split" && name != "rsplit" && name != "splitlines" && name != "expandtabs"
			}
		}
	}
}
