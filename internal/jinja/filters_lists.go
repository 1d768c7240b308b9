package jinja

import (
	"slices"
	"strconv"
	"strings"
)

func listFilters() []*builtin {
	return append([]*builtin{
		fn("default", "value default_value= boolean=", func(r *run, a []Value) Value {
			if _, ok := a[0].(*undefined); ok || r.truth(orElse(a[2], false)) && !r.truth(a[0]) {
				return orElse(a[1], "")
			}
			return a[0]
		}),
		fn("length", "value", func(r *run, a []Value) Value {
			n, ok := r.length(a[0])
			if !ok {
				r.fail("length is applied to %s, expected a list, a dict or a string: apply list before",
					typeName(a[0]))
			}
			return n
		}),
		fn("list", "value", func(r *run, a []Value) Value { return r.list(r.items(a[0])) }),
		fn("first", "value", func(r *run, a []Value) Value {
			g, ok := a[0].(*generator)
			items := r.items(a[0])
			if len(items) == 0 {
				return &undefined{text: "there is no first item", line: r.line}
			}
			if ok {
				g.items = items[1:]
			}
			return items[0]
		}),
		fn("last", "value", func(r *run, a []Value) Value {
			items := r.reversible(a[0])
			if len(items) == 0 {
				return &undefined{text: "there is no last item", line: r.line}
			}
			return items[len(items)-1]
		}),
		fn("reverse", "value", func(r *run, a []Value) Value {
			if s, ok := textOf(a[0]); ok {
				return r.slice(s, [3]Value{nil, nil, -1})
			}
			items := r.items(a[0])
			r.take(len(items), valueSize)
			items = slices.Clone(items)
			slices.Reverse(items)
			return &generator{items}
		}),
		fn("join", "value d= attribute=", func(r *run, a []Value) Value {
			get := r.getter(a[2], absent{})
			d := r.str(orElse(a[1], ""))
			o := &output{run: r}
			for i, item := range r.items(a[0]) {
				if i > 0 {
					o.write(d)
				}
				r.step(1)
				o.write(r.str(get(item)))
			}
			return o.String()
		}),
		fn("items", "value", func(r *run, a []Value) Value {
			d, ok := a[0].(*dict)
			if _, undefined := a[0].(*undefined); undefined {
				return &generator{}
			}
			if !ok {
				r.fail("items is applied to %s, expected a dict", typeName(a[0]))
			}
			return &generator{r.pairs(d)}
		}),
		fn("dictsort", "value case_sensitive= by= reverse=", dictSort),
		fn("sum", "iterable attribute= start=", func(r *run, a []Value) Value {
			total, get := orElse(a[2], 0), r.getter(a[1], absent{})
			if _, ok := textOf(total); ok {
				r.fail("sum starts with a string, expected a number; join joins strings")
			}
			for _, item := range r.items(a[0]) {
				total = r.arithmetic("+", total, get(item))
			}
			return total
		}),
		fn("batch", "value linecount fill_with=", batch),
		fn("slice", "value slices fill_with=", sliceFilter),
	}, selectingFilters()...)
}

func selectingFilters() []*builtin {
	return []*builtin{
		fn("sort", "value reverse= case_sensitive= attribute=", func(r *run, a []Value) Value {
			var keys []func(Value) Value
			attribute, _ := textOf(a[3])
			for _, name := range strings.Split(attribute, ",") {
				key := Value(name)
				if attribute == "" {
					key = a[3]
				}
				keys = append(keys, r.caseless(r.getter(key, absent{}), a[2]))
			}
			return r.list(r.sorted(r.items(a[0]), r.truth(orElse(a[1], false)), func(v Value) Value {
				if len(keys) == 1 {
					return keys[0](v)
				}
				l := r.list(nil)
				for _, key := range keys {
					r.take(1, valueSize)
					l.items = append(l.items, key(v))
				}
				return l
			}))
		}),
		fn("unique", "value case_sensitive= attribute=", func(r *run, a []Value) Value {
			seen, get := newDict(), r.caseless(r.getter(a[2], absent{}), a[1])
			g := &generator{}
			for _, item := range r.items(a[0]) {
				n := len(seen.keys)
				if seen.set(r, get(item), nil); len(seen.keys) > n {
					g.items = append(g.items, item)
				}
			}
			return g
		}),
		fn("min", "value case_sensitive= attribute=", func(r *run, a []Value) Value { return r.extreme(a, "<") }),
		fn("max", "value case_sensitive= attribute=", func(r *run, a []Value) Value { return r.extreme(a, ">") }),
		fn("groupby", "value attribute default= case_sensitive=", groupBy),
		raw("map", mapFilter),
		raw("select", func(r *run, a arguments) Value { return r.selected(a, true, false) }),
		raw("reject", func(r *run, a arguments) Value { return r.selected(a, false, false) }),
		raw("selectattr", func(r *run, a arguments) Value { return r.selected(a, true, true) }),
		raw("rejectattr", func(r *run, a arguments) Value { return r.selected(a, false, true) }),
	}
}

// reversible returns the items of what can be gone through from its end.
func (r *run) reversible(v Value) []Value {
	if _, ok := v.(*generator); ok {
		r.fail("last is applied to a generator, expected a list: apply list before")
	}
	return r.items(v)
}

// getter returns a function that gets an attribute, such as "a.b" or 0, or the value itself if
// there is none; undefined ones are replaced by otherwise if it is given.
func (r *run) getter(attribute, otherwise Value) func(Value) Value {
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
	r.take(len(path), valueSize)
	return func(v Value) Value {
		for _, part := range path {
			r.step(1)
			v = r.item(v, part)
			if _, ok := v.(*undefined); ok && given(otherwise) {
				v = otherwise
			}
		}
		return v
	}
}

// caseless returns a getter that gives strings in lower case unless case matters.
func (r *run) caseless(get func(Value) Value, sensitive Value) func(Value) Value {
	if r.truth(orElse(sensitive, false)) {
		return get
	}
	return func(v Value) Value {
		v = get(v)
		if s, ok := textOf(v); ok {
			r.take(len(s), 1)
			return lower(s)
		}
		return v
	}
}

// sorted returns items in the order of their keys; those with equal keys keep theirs.
func (r *run) sorted(items []Value, reverse bool, key func(Value) Value) []Value {
	type keyed struct{ key, item Value }
	r.take(len(items), 3*valueSize)
	list := make([]keyed, len(items))
	for i, item := range items {
		list[i] = keyed{key(item), item}
	}
	slices.SortStableFunc(list, func(a, b keyed) int {
		if reverse {
			a, b = b, a
		}
		switch {
		case r.less(a.key, b.key):
			return -1
		case r.less(b.key, a.key):
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

func dictSort(r *run, a []Value) Value {
	r.failUndefined(a[0])
	d, ok := a[0].(*dict)
	at := slices.Index([]string{"key", "value"}, r.str(orElse(a[2], "key")))
	if !ok || at < 0 {
		r.fail("dictsort is applied to %s, expected a dict, and by key or by value", typeName(a[0]))
	}
	key := r.caseless(func(v Value) Value { return v.(*list).items[at] }, a[1])
	return r.list(r.sorted(r.pairs(d), r.truth(orElse(a[3], false)), key))
}

// extreme returns the first item with no other before it in an order.
func (r *run) extreme(a []Value, op string) Value {
	get := r.caseless(r.getter(a[2], absent{}), a[1])
	var best, bestKey Value = &undefined{text: "there is no item", line: r.line}, nil
	for i, item := range r.items(a[0]) {
		if key := get(item); i == 0 || r.compare(op, key, bestKey) {
			best, bestKey = item, key
		}
	}
	return best
}

func batch(r *run, a []Value) Value {
	n := r.int(a[1], 0)
	items := r.items(a[0])
	r.take(len(items), 2*valueSize)
	g := &generator{}
	for len(items) > 0 {
		size := min(len(items), n)
		if size <= 0 { // as Python does: all in one
			size = len(items)
		}
		row := slices.Clone(items[:size])
		if items = items[size:]; given(a[2]) {
			r.take(n-len(row), valueSize)
			for len(row) < n {
				row = append(row, a[2])
			}
		}
		g.items = append(g.items, r.list(row))
	}
	return g
}

func sliceFilter(r *run, a []Value) Value {
	items, n := r.items(a[0]), r.int(a[1], 0)
	if n == 0 {
		r.fail("slice makes 0 lists, expected at least one")
	}
	r.take(n, 3*valueSize)
	r.take(len(items), valueSize)
	g := &generator{}
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
		g.items = append(g.items, r.list(row))
	}
	return g
}

func groupBy(r *run, a []Value) Value {
	get := r.getter(a[1], a[2])
	key := r.caseless(get, a[3])
	groups := r.list(nil)
	var last Value
	for i, item := range r.sorted(r.items(a[0]), false, key) {
		k := key(item)
		if i == 0 || !r.equal(k, last) {
			r.take(1, 160)
			groups.items = append(groups.items, &list{groupKind, []Value{get(item), r.list(nil)}})
		}
		last = k
		members := groups.items[len(groups.items)-1].(*list).items[1].(*list)
		members.items = append(members.items, item)
	}
	return groups
}

// mapFilter applies a filter to each item, or gets an attribute.
func mapFilter(r *run, a arguments) Value {
	if len(a.items) == 0 {
		r.fail("map has no value")
	}
	var apply func(Value) Value
	if len(a.items) > 1 {
		name := r.string(a.items[1])
		rest := arguments{a.items[1:], a.names, a.named}
		apply = func(v Value) Value {
			r.take(len(rest.items), valueSize)
			with := rest
			with.items = slices.Clone(rest.items)
			with.items[0] = v
			return r.filter(name, with)
		}
	} else {
		var attribute, otherwise Value = absent{}, absent{}
		for i, name := range a.names {
			switch name {
			case "attribute":
				attribute = a.named[i]
			case "default":
				otherwise = a.named[i]
			default:
				r.fail("map has the argument %s, expected attribute or default", name)
			}
		}
		if attribute == (absent{}) {
			r.fail("map has no arguments, expected the name of a filter or attribute=")
		}
		apply = r.getter(attribute, otherwise)
	}
	items := r.items(a.items[0])
	r.take(len(items), valueSize)
	g := &generator{make([]Value, len(items))}
	for i, item := range items {
		g.items[i] = apply(item)
	}
	return g
}

// selected returns the items, or those with an attribute, for which a test is as wanted.
func (r *run) selected(a arguments, want, byAttribute bool) Value {
	get, rest := r.getter(absent{}, absent{}), a.items[1:]
	if byAttribute {
		if len(rest) == 0 {
			r.fail("there is no name of an attribute to select by")
		}
		get, rest = r.getter(rest[0], absent{}), rest[1:]
	}
	passes := r.truth
	if len(rest) > 0 {
		name := r.string(rest[0])
		passes = func(v Value) bool {
			r.take(len(rest), valueSize)
			with := arguments{slices.Clone(rest), a.names, a.named}
			with.items[0] = v
			return r.test(name, with)
		}
	}
	g := &generator{}
	for _, item := range r.items(a.items[0]) {
		r.step(1)
		if passes(get(item)) == want {
			r.take(1, 2*valueSize)
			g.items = append(g.items, item)
		}
	}
	return g
}
