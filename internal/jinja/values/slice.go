package values

import (
	"strings"
)

// Slice returns object[start:stop:step].
func (r *Run) Slice(object Value, bounds [3]Value) Value {
	r.FailUndefined(object)
	n, _ := r.Length(object)
	switch o := object.(type) {
	case string, Markup:
		s, _ := TextOf(o)
		start, stop, step := r.Bounds(bounds, n)
		if step == 1 {
			r.Take(1, 16)
			return Like(o, r.Cut(s, start, max(start, stop)))
		}
		r.Walk(len(s))
		var b strings.Builder
		r.Take(len(s), 4+3)
		characters := []rune(s)
		for _, i := range indices(start, stop, step) {
			b.WriteRune(characters[i])
		}
		return Like(o, b.String())
	case Octets:
		start, stop, step := r.Bounds(bounds, n)
		r.Walk(len(o))
		r.Take(len(o), 9)
		var b []byte
		for _, i := range indices(start, stop, step) {
			b = append(b, o[i])
		}
		return Octets(b)
	case *List:
		if !o.Sequence() {
			break
		}
		start, stop, step := r.Bounds(bounds, n)
		r.Take(steps(start, stop, step), ValueSize+8)
		var items []Value
		for _, i := range indices(start, stop, step) {
			items = append(items, o.Items[i])
		}
		return &List{Kind: o.Kind, Items: items}
	case *Span:
		start, stop, step := r.Bounds(bounds, n)
		return r.newSpan(r.spanItem(o, start), r.spanItem(o, stop), r.Ints("*", o.step, step))
	}
	r.Fail("%s is sliced, expected a list or a string", TypeName(object))
	return nil
}

// Sliceable says whether a value has slices.
func (r *Run) Sliceable(v Value) bool {
	switch v := v.(type) {
	case string, Markup, Octets, *Span:
		return true
	case *List:
		return v.Sequence()
	}
	return false
}

// Bounds returns the bounds of a slice of n items, as Python's slice.indices.
func (r *Run) Bounds(bounds [3]Value, n int) (start, stop, step int) {
	step = 1
	if bounds[2] != nil {
		step = r.IntArg(bounds[2], 1)
	}
	if step == 0 {
		r.Fail("the step of a slice is 0")
	}
	low, high := 0, n
	if step < 0 {
		low, high = -1, n-1
	}
	bound := func(v Value, otherwise int) int {
		if v == nil {
			return otherwise
		}
		i := r.IntArg(v, 0)
		if i < 0 {
			i += n
		}
		return min(max(i, low), high)
	}
	if step < 0 {
		return bound(bounds[0], high), bound(bounds[1], low), max(step, -n-1)
	}
	return bound(bounds[0], low), bound(bounds[1], high), min(step, n+1)
}

func indices(start, stop, step int) []int {
	list := make([]int, steps(start, stop, step))
	for i := range list {
		list[i] = start + i*step
	}
	return list
}
