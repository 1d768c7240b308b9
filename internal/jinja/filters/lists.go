package filters

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

func listFilters() []*Builtin {
	return append([]*Builtin{
		fn("default", "value default_value= boolean=", func(r *Run, a []Value) Value {
			if _, ok := a[0].(*Undefined); ok || r.Truth(values.OrElse(a[2], false)) && !r.Truth(a[0]) {
				return values.OrElse(a[1], "")
			}
			return a[0]
		}),
		fn("length", "value", func(r *Run, a []Value) Value {
			n, ok := r.Length(a[0])
			if !ok {
				r.Fail("length is applied to %s, expected a list, a dict or a string: apply list before",
					values.TypeName(a[0]))
			}
			return n
		}),
		fn("list", "value", func(r *Run, a []Value) Value { return r.List(r.Items(a[0])) }),
		fn("first", "value", func(r *Run, a []Value) Value {
			if item, ok := r.Iterate(a[0])(); ok {
				return item
			}
			return &Undefined{Text: "there is no first item"}
		}),
		fn("random", "seq", func(r *Run, a []Value) Value {
			items := reversible(r, a[0])
			switch len(items) {
			case 0:
				return &Undefined{Text: "there is no random item"}
			case 1:
				item := r.Item(a[0], 0)
				r.FailUndefined(item)
				return item
			}
			r.Fail("random is refused where it has a choice: the text would not be the same each time")
			return nil
		}),
		fn("last", "value", func(r *Run, a []Value) Value {
			items := reversible(r, a[0])
			if len(items) == 0 {
				return &Undefined{Text: "there is no last item"}
			}
			last := items[len(items)-1]
			if s, ok := last.(string); ok {
				return values.Like(a[0], s)
			}
			return last
		}),
		fn("reverse", "value", func(r *Run, a []Value) Value {
			if _, ok := values.TextOf(a[0]); ok {
				return r.Slice(a[0], [3]Value{nil, nil, -1})
			}
			items := r.Items(a[0])
			r.Take(len(items), values.ValueSize)
			items = slices.Clone(items)
			slices.Reverse(items)
			l, isList := a[0].(*List)
			switch a[0].(type) {
			case *values.Generator, values.Custom: // Python makes a list of what it cannot go through from its end
				return r.List(items)
			}
			if isList && l.Kind == values.SetKind {
				return r.List(items)
			}
			return values.GeneratorOf(func() []Value { return items })
		}),
		fn("join", "value d= attribute=", join),
		fn("items", "value", values.Generated(func(r *Run, a []Value) func() (Value, bool) {
			d, ok := a[0].(*Dict)
			if _, undefined := a[0].(*Undefined); undefined {
				return nothing
			}
			if !ok {
				r.Fail("items is applied to %s, expected a dict", values.TypeName(a[0]))
			}
			return r.Iterate(r.List(r.Pairs(d)))
		})),
	}, slices.Concat(rowFilters(), sortingFilters(), selectingFilters())...)
}

func rowFilters() []*Builtin {
	return []*Builtin{
		fn("sum", "iterable attribute= start=", func(r *Run, a []Value) Value {
			total, get := values.OrElse(a[2], 0), getter(r, a[1], values.Absent{})
			if _, ok := values.TextOf(total); ok {
				r.Fail("sum starts with a string, expected a number; join joins strings")
			}
			for _, item := range r.Items(a[0]) {
				total = r.Arithmetic("+", total, get(item))
			}
			return total
		}),
		fn("batch", "value linecount fill_with=", values.Generated(batch)),
		fn("slice", "value slices fill_with=", values.Generated(func(r *Run, a []Value) func() (Value, bool) {
			return values.GeneratorOf(func() []Value { return sliceFilter(r, a) }).Next
		})),
	}
}

// reversible returns the items of what can be gone through from its end.
func reversible(r *Run, v Value) []Value {
	l, isList := v.(*List)
	if _, ok := v.(*values.Generator); ok || isList && l.Kind == values.SetKind {
		r.Fail("last is applied to a %s, expected a list: apply list before", values.TypeName(v))
	}
	return r.Items(v)
}

func batch(r *Run, a []Value) func() (Value, bool) {
	next := r.Iterate(a[0])
	var held []Value // the item after a full row
	ended := false
	return func() (Value, bool) {
		row := held
		held = nil
		for !ended {
			item, ok := next()
			if ended = !ok; !ok {
				break
			}
			r.Take(1, 2*values.ValueSize)
			if r.Equal(len(row), a[1]) {
				held = []Value{item}
				return r.List(row), true
			}
			row = append(row, item)
		}
		if len(row) == 0 {
			return nil, false
		}
		if values.Given(a[2]) {
			n := r.IntArg(a[1], 0)
			r.Take(n-len(row), values.ValueSize)
			for len(row) < n {
				row = append(row, a[2])
			}
		}
		return r.List(row), true
	}
}

func sliceFilter(r *Run, a []Value) (rows []Value) {
	items, n := r.Items(a[0]), r.IntArg(a[1], 0)
	if n == 0 {
		r.Fail("slice makes 0 lists, expected at least one")
	}
	r.Take(n, 3*values.ValueSize)
	r.Take(len(items), values.ValueSize)
	each, more := len(items)/max(n, 1), len(items)%max(n, 1)
	for i := range n {
		size := each
		if i < more {
			size++
		}
		row := slices.Clone(items[:size])
		if items = items[size:]; values.Given(a[2]) && i >= more {
			row = append(row, a[2])
		}
		rows = append(rows, r.List(row))
	}
	return rows
}

// join is the filter; where automatic escaping is on, it escapes all if anything is safe in HTML.
func join(r *Run, a []Value) Value {
	get := getter(r, a[2], values.Absent{})
	d := values.OrElse(a[1], "")
	_, safe := d.(values.Markup)
	items := r.Items(a[0])
	r.Take(len(items), values.ValueSize)
	list := make([]Value, len(items))
	for i, item := range items {
		r.Step(1)
		list[i] = get(item)
		_, isSafe := list[i].(values.Markup)
		safe = safe || isSafe
	}
	text := r.Str
	if safe = safe && r.Autoescape; safe {
		text = func(v Value) string { return string(r.Escaped(v)) }
	}
	o := values.NewOutput(r)
	for i, item := range list {
		if i > 0 {
			o.Write(text(d))
		}
		o.Write(text(item))
	}
	if safe {
		return values.Markup(o.String())
	}
	return o.String()
}
