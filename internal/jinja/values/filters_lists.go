package values

import "slices"

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
	}, slices.Concat(rowFilters(), sortingFilters(), selectingFilters())...)
}

func rowFilters() []*Builtin {
	return []*Builtin{
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

// reversible returns the items of what can be gone through from its end.
func (r *Run) reversible(v Value) []Value {
	if _, ok := v.(*Generator); ok {
		r.Fail("last is applied to a generator, expected a list: apply list before")
	}
	return r.Items(v)
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
