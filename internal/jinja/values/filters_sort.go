package values

import (
	"slices"
	"strings"
)

func sortingFilters() []*Builtin {
	return []*Builtin{
		fn("dictsort", "value case_sensitive= by= reverse=", dictSort),
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
