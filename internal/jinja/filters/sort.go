package filters

import (
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/jinja/methods"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

func sortingFilters() []*Builtin {
	return []*Builtin{
		fn("dictsort", "value case_sensitive= by= reverse=", dictSort),
		fn("sort", "value reverse= case_sensitive= attribute=", func(r *Run, a []Value) Value {
			var keys []func(Value) Value
			attribute, _ := values.TextOf(a[3])
			for _, name := range strings.Split(attribute, ",") {
				key := Value(name)
				if attribute == "" {
					key = a[3]
				}
				keys = append(keys, caseless(r, getter(r, key, values.Absent{}), a[2]))
			}
			return r.List(sorted(r, a[0], r.Truth(values.OrElse(a[1], false)), func(v Value) Value {
				l := r.List(nil) // lists are compared by what differs, so that equal values need no order
				for _, key := range keys {
					r.Take(1, values.ValueSize)
					l.Items = append(l.Items, key(v))
				}
				return l
			}))
		}),
		fn("unique", "value case_sensitive= attribute=", values.Generated(func(r *Run, a []Value) func() (Value, bool) {
			seen, get, next := values.NewDict(), caseless(r, getter(r, a[2], values.Absent{}), a[1]), r.Iterate(a[0])
			return func() (Value, bool) {
				for item, ok := next(); ok; item, ok = next() {
					n := len(seen.Keys)
					if seen.Set(r, get(item), nil); len(seen.Keys) > n {
						return item, true
					}
				}
				return nil, false
			}
		})),
		fn("min", "value case_sensitive= attribute=", func(r *Run, a []Value) Value { return extreme(r, a, "<") }),
		fn("max", "value case_sensitive= attribute=", func(r *Run, a []Value) Value { return extreme(r, a, ">") }),
		fn("groupby", "value attribute default= case_sensitive=", groupBy),
	}
}

// caseless returns a getter that gives strings in lower case unless case matters.
func caseless(r *Run, get func(Value) Value, sensitive Value) func(Value) Value {
	if r.Truth(values.OrElse(sensitive, false)) {
		return get
	}
	return func(v Value) Value {
		v = get(v)
		if s, ok := values.TextOf(v); ok {
			r.Take(len(s), 1)
			return methods.Lower(s)
		}
		return v
	}
}

// sorted returns the items of a value in the order of their keys; those with equal keys keep theirs.
func sorted(r *Run, v Value, reverse bool, key func(Value) Value) []Value {
	type keyed struct{ key, item Value }
	items := r.Unordered(v)
	r.Take(len(items), 3*values.ValueSize)
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
		failTie(r, v)
		return 0
	})
	result := make([]Value, len(items))
	for i, k := range list {
		result[i] = k.item
	}
	return result
}

// failTie refuses equal keys of a set's items, which have no order of their own.
func failTie(r *Run, v Value) {
	if l, ok := v.(*List); ok && l.Kind == values.SetKind {
		r.Fail("items of a set are equal in the order that is asked for, and have no other")
	}
}

func dictSort(r *Run, a []Value) Value {
	r.FailUndefined(a[0])
	d, ok := a[0].(*Dict)
	at := slices.Index([]string{"key", "value"}, r.Str(values.OrElse(a[2], "key")))
	if !ok || at < 0 {
		r.Fail("dictsort is applied to %s, expected a dict, and by key or by value", values.TypeName(a[0]))
	}
	key := caseless(r, func(v Value) Value { return v.(*List).Items[at] }, a[1])
	return r.List(sorted(r, r.List(r.Pairs(d)), r.Truth(values.OrElse(a[3], false)), key))
}

// extreme returns the first item with no other before it in an order.
func extreme(r *Run, a []Value, op string) Value {
	get := caseless(r, getter(r, a[2], values.Absent{}), a[1])
	var best, bestKey Value = &Undefined{Text: "there is no item"}, nil
	items := r.Unordered(a[0])
	for i, item := range items {
		if key := get(item); i == 0 || r.Compare(op, key, bestKey) {
			best, bestKey = item, key
		}
	}
	for _, item := range items {
		if item != best && r.Equal(get(item), bestKey) {
			failTie(r, a[0])
		}
	}
	return best
}

func groupBy(r *Run, a []Value) Value {
	get := getter(r, a[1], a[2])
	key := caseless(r, get, a[3])
	groups := r.List(nil)
	var last Value
	for i, item := range sorted(r, a[0], false, key) {
		k := key(item)
		if i == 0 || !r.Equal(k, last) {
			r.Take(1, 160)
			groups.Items = append(groups.Items, &List{Kind: values.GroupKind, Items: []Value{get(item), r.List(nil)}})
		}
		last = k
		members := groups.Items[len(groups.Items)-1].(*List).Items[1].(*List)
		members.Items = append(members.Items, item)
	}
	return groups
}
