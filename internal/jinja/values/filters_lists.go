package values

import (
	"slices"
	"strconv"
	"strings"
)

func listFilters() []*Builtin {
	return append([]*Builtin{
		fn("default", "value default_value= boolean=", func(r *Run, a []Value) Value {
			if _, ok := a[0].(*Undefined); ok || r.Truth(orElse(a[2], false)) && !r.Truth(a[0]) {
				return orElse(a[1], "")
			}
			return a[0]
		}),
		fn("length", "value", func(r *Run, a []Value) Value {
			n, ok := r.length(a[0])
			if !ok {
				r.Fail("length is applied to %s, expected a list, a dict or a string: apply list before",
					TypeName(a[0]))
			}
			return n
		}),
		fn("list", "value", func(r *Run, a []Value) Value { return r.List(r.Items(a[0])) }),
		fn("first", "value", func(r *Run, a []Value) Value {
			g, ok := a[0].(*Generator)
			items := r.Items(a[0])
			if len(items) == 0 {
				return &Undefined{Text: "there is no first item"}
			}
			if ok {
				g.items = items[1:]
			}
			return items[0]
		}),
		fn("last", "value", func(r *Run, a []Value) Value {
			items := r.reversible(a[0])
			if len(items) == 0 {
				return &Undefined{Text: "there is no last item"}
			}
			return items[len(items)-1]
		}),
		fn("reverse", "value", func(r *Run, a []Value) Value {
			if s, ok := textOf(a[0]); ok {
				return r.Slice(s, [3]Value{nil, nil, -1})
			}
			items := r.Items(a[0])
			r.Take(len(items), ValueSize)
			items = slices.Clone(items)
			slices.Reverse(items)
			return &Generator{items: items}
		}),
		fn("join", "value d= attribute=", func(r *Run, a []Value) Value {
			get := r.getter(a[2], absent{})
			d := r.Str(orElse(a[1], ""))
			o := NewOutput(r)
			for i, item := range r.Items(a[0]) {
				if i > 0 {
					o.Write(d)
				}
				r.Step(1)
				o.Write(r.Str(get(item)))
			}
			return o.String()
		}),
		fn("items", "value", generated(func(r *Run, a []Value) []Value {
			d, ok := a[0].(*Dict)
			if _, undefined := a[0].(*Undefined); undefined {
				return nil
			}
			if !ok {
				r.Fail("items is applied to %s, expected a dict", TypeName(a[0]))
			}
			return r.pairs(d)
		})),
	}, append(groupingFilters(), selectingFilters()...)...)
}

func groupingFilters() []*Builtin {
	return []*Builtin{
		fn("dictsort", "value case_sensitive= by= reverse=", dictSort),
		fn("sum", "iterable attribute= start=", func(r *Run, a []Value) Value {
			total, get := orElse(a[2], 0), r.getter(a[1], absent{})
			if _, ok := textOf(total); ok {
				r.Fail("sum starts with a string, expected a number; join joins strings")
			}
			for _, item := range r.Items(a[0]) {
				total = r.Arithmetic("+", total, get(item))
			}
			return total
		}),
		fn("batch", "value linecount fill_with=", generated(batch)),
		fn("slice", "value slices fill_with=", generated(sliceFilter)),
	}
}

func selectingFilters() []*Builtin {
	return []*Builtin{
		fn("sort", "value reverse= case_sensitive= attribute=", func(r *Run, a []Value) Value {
			var keys []func(Value) Value
			attribute, _ := textOf(a[3])
			for _, name := range strings.Split(attribute, ",") {
				key := Value(name)
				if attribute == "" {
					key = a[3]
				}
				keys = append(keys, r.caseless(r.getter(key, absent{}), a[2]))
			}
			return r.List(r.sorted(r.Items(a[0]), r.Truth(orElse(a[1], false)), func(v Value) Value {
				l := r.List(nil) // lists are compared by what differs, so that equal values need no order
				for _, key := range keys {
					r.Take(1, ValueSize)
					l.Items = append(l.Items, key(v))
				}
				return l
			}))
		}),
		fn("unique", "value case_sensitive= attribute=", generated(func(r *Run, a []Value) (items []Value) {
			seen, get := NewDict(), r.caseless(r.getter(a[2], absent{}), a[1])
			for _, item := range r.Items(a[0]) {
				n := len(seen.Keys)
				if seen.Set(r, get(item), nil); len(seen.Keys) > n {
					items = append(items, item)
				}
			}
			return items
		})),
		fn("min", "value case_sensitive= attribute=", func(r *Run, a []Value) Value { return r.extreme(a, "<") }),
		fn("max", "value case_sensitive= attribute=", func(r *Run, a []Value) Value { return r.extreme(a, ">") }),
		fn("groupby", "value attribute default= case_sensitive=", groupBy),
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

// reversible returns the items of what can be gone through from its end.
func (r *Run) reversible(v Value) []Value {
	if _, ok := v.(*Generator); ok {
		r.Fail("last is applied to a generator, expected a list: apply list before")
	}
	return r.Items(v)
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

// caseless returns a getter that gives strings in lower case unless case matters.
func (r *Run) caseless(get func(Value) Value, sensitive Value) func(Value) Value {
	if r.Truth(orElse(sensitive, false)) {
		return get
	}
	return func(v Value) Value {
		v = get(v)
		if s, ok := textOf(v); ok {
			r.Take(len(s), 1)
			return lower(s)
		}
		return v
	}
}

// sorted returns items in the order of their keys; those with equal keys keep theirs.
func (r *Run) sorted(items []Value, reverse bool, key func(Value) Value) []Value {
	type keyed struct{ key, item Value }
	r.Take(len(items), 3*ValueSize)
	list := make([]keyed, len(items))
	for i, item := range items {
		list[i] = keyed{key(item), item}
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		if reverse {
			a, b = b, a
		}
		switch {
		case r.Compare("<", a.key, b.key):
			return -1
		case r.Compare("<", b.key, a.key):
			return 1
		}
		return 0
	})
	result := make([]Value, len(items))
	for i, k := range list {
		result[i] = k.item
	}
	return result
}

func dictSort(r *Run, a []Value) Value {
	r.FailUndefined(a[0])
	d, ok := a[0].(*Dict)
	at := slices.Index([]string{"key", "value"}, r.Str(orElse(a[2], "key")))
	if !ok || at < 0 {
		r.Fail("dictsort is applied to %s, expected a dict, and by key or by value", TypeName(a[0]))
	}
	key := r.caseless(func(v Value) Value { return v.(*List).Items[at] }, a[1])
	return r.List(r.sorted(r.pairs(d), r.Truth(orElse(a[3], false)), key))
}

// extreme returns the first item with no other before it in an order.
func (r *Run) extreme(a []Value, op string) Value {
	get := r.caseless(r.getter(a[2], absent{}), a[1])
	var best, bestKey Value = &Undefined{Text: "there is no item"}, nil
	for i, item := range r.Items(a[0]) {
		if key := get(item); i == 0 || r.Compare(op, key, bestKey) {
			best, bestKey = item, key
		}
	}
	return best
}

func batch(r *Run, a []Value) (rows []Value) {
	n := r.int(a[1], 0)
	items := r.Items(a[0])
	r.Take(len(items), 2*ValueSize)
	for len(items) > 0 {
		size := min(len(items), n)
		if size <= 0 { // as Python does: all in one
			size = len(items)
		}
		row := slices.Clone(items[:size])
		if items = items[size:]; given(a[2]) {
			r.Take(n-len(row), ValueSize)
			for len(row) < n {
				row = append(row, a[2])
			}
		}
		rows = append(rows, r.List(row))
	}
	return rows
}

func sliceFilter(r *Run, a []Value) (rows []Value) {
	items, n := r.Items(a[0]), r.int(a[1], 0)
	if n == 0 {
		r.Fail("slice makes 0 lists, expected at least one")
	}
	r.Take(n, 3*ValueSize)
	r.Take(len(items), ValueSize)
	each, more := len(items)/max(n, 1), len(items)%max(n, 1)
	for i := range n {
		size := each
		if i < more {
			size++
		}
		row := slices.Clone(items[:size])
		if items = items[size:]; given(a[2]) && i >= more {
			row = append(row, a[2])
		}
		rows = append(rows, r.List(row))
	}
	return rows
}

func groupBy(r *Run, a []Value) Value {
	get := r.getter(a[1], a[2])
	key := r.caseless(get, a[3])
	groups := r.List(nil)
	var last Value
	for i, item := range r.sorted(r.Items(a[0]), false, key) {
		k := key(item)
		if i == 0 || !r.Equal(k, last) {
			r.Take(1, 160)
			groups.Items = append(groups.Items, &List{groupKind, []Value{get(item), r.List(nil)}})
		}
		last = k
		members := groups.Items[len(groups.Items)-1].(*List).Items[1].(*List)
		members.Items = append(members.Items, item)
	}
	return groups
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
