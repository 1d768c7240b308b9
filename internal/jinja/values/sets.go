package values

// A set comes of the keys of a dict less others. Python goes through it in an order that depends on a random number
// of each process, so it has no order here: what needs one is refused unless there is only one item.

// Set returns the set of some items.
func (r *Run) Set(items []Value) *List {
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
	isView := func(l *List) bool { return l != nil && (l.Kind == KeysKind || l.Kind == ItemsKind) }
	if isView(l) || isView(m) || isSet(l) && isSet(m) {
		return r.Without(r.Set(r.Unordered(a)), b), true
	}
	return nil, false
}

func (r *Run) Without(s *List, other Value) *List {
	gone := r.Set(r.Unordered(other))
	var rest []Value
	for _, item := range s.Items {
		if _, ok := gone.dict.Lookup(r, item); !ok {
			rest = append(rest, item)
		}
	}
	return r.Set(rest)
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
