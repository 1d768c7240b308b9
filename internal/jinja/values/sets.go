package values

// A set comes of the keys of a dict less others. Python goes through it in an order that depends on a random number
// of each process, so it has no order here: what needs one is refused unless there is only one item.

// set returns the set of some items.
func (r *Run) set(items []Value) *List {
	d := NewDict()
	for _, item := range items {
		d.Set(r, item, nil)
	}
	return &List{Kind: SetKind, Items: d.Keys, dict: d}
}

// difference returns the set of what is in one value and not in another, if one of them is a view of a dict or both
// are sets.
func (r *Run) difference(a, b Value) (Value, bool) {
	l, _ := a.(*List)
	m, _ := b.(*List)
	isSet := func(l *List) bool { return l != nil && l.Kind == SetKind }
	isView := func(l *List) bool { return l != nil && (l.Kind == keysKind || l.Kind == itemsKind) }
	if !isView(l) && !isView(m) && !(isSet(l) && isSet(m)) {
		return nil, false
	}
	return r.without(r.set(r.Unordered(a)), b), true
}

func (r *Run) without(s *List, other Value) *List {
	gone := r.set(r.Unordered(other))
	var rest []Value
	for _, item := range s.Items {
		if _, ok := gone.dict.lookup(r, item); !ok {
			rest = append(rest, item)
		}
	}
	return r.set(rest)
}

// Unordered returns the items of a value where their order does not matter.
func (r *Run) Unordered(v Value) []Value {
	if l, ok := v.(*List); ok && l.Kind == SetKind {
		r.Scan(len(l.Items) * ValueSize)
		return l.Items
	}
	return r.Items(v)
}

// failUnordered refuses what needs the order of a set.
func (r *Run) failUnordered(l *List) {
	if l.Kind == SetKind && len(l.Items) > 1 {
		r.Fail("a set is gone through, whose order is another one each time: apply sort to it")
	}
}

// combined makes a method of sets that makes another.
func combined(name string, combine func(r *Run, s, other *List) *List) *Builtin {
	return Raw(name, func(r *Run, a Arguments) Value {
		if len(a.Names) > 0 {
			r.Fail("%s has the argument %s, expected none with a name", name, a.Names[0])
		}
		s := a.Items[0].(*List)
		for _, other := range a.Items[1:] {
			s = combine(r, s, r.set(r.Unordered(other)))
		}
		return r.set(s.Items)
	})
}

func related(name, op string) *Builtin {
	return Fn(name, "self other", func(r *Run, a []Value) Value { return r.Compare(op, a[0], r.set(r.Unordered(a[1]))) })
}

var setMethods = Table(
	combined("union", func(r *Run, s, other *List) *List {
		return r.set(append(s.Items[:len(s.Items):len(s.Items)], other.Items...))
	}),
	combined("difference", func(r *Run, s, other *List) *List { return r.without(s, other) }),
	combined("intersection", func(r *Run, s, other *List) *List { return r.without(s, r.without(s, other)) }),
	Fn("symmetric_difference", "self other", func(r *Run, a []Value) Value {
		s, other := a[0].(*List), r.set(r.Unordered(a[1]))
		return r.set(append(r.without(s, other).Items, r.without(other, s).Items...))
	}),
	related("issubset", "<="), related("issuperset", ">="),
	Fn("copy", "self", func(r *Run, a []Value) Value { return r.set(a[0].(*List).Items) }),
)
