package methods

import (
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// combined makes a method of sets that makes another.
func combined(name string, combine func(r *Run, s, other *List) *List) *Builtin {
	return values.Raw(name, func(r *Run, a Arguments) Value {
		if len(a.Names) > 0 {
			r.Fail("%s has the argument %s, expected none with a name", name, a.Names[0])
		}
		s := a.Items[0].(*List)
		for _, other := range a.Items[1:] {
			s = combine(r, s, r.Set(r.Unordered(other)))
		}
		return r.Set(s.Items)
	})
}

func related(name, op string) *Builtin {
	return values.Fn(name, "self other", func(r *Run, a []Value) Value {
		return r.Compare(op, a[0], r.Set(r.Unordered(a[1])))
	})
}

var setMethods = values.Table(
	combined("union", func(r *Run, s, other *List) *List {
		return r.Set(append(s.Items[:len(s.Items):len(s.Items)], other.Items...))
	}),
	combined("difference", func(r *Run, s, other *List) *List { return r.Without(s, other) }),
	combined("intersection", func(r *Run, s, other *List) *List { return r.Without(s, r.Without(s, other)) }),
	values.Fn("symmetric_difference", "self other", func(r *Run, a []Value) Value {
		s, other := a[0].(*List), r.Set(r.Unordered(a[1]))
		return r.Set(append(r.Without(s, other).Items, r.Without(other, s).Items...))
	}),
	related("issubset", "<="), related("issuperset", ">="),
	values.Fn("copy", "self", func(r *Run, a []Value) Value { return r.Set(a[0].(*List).Items) }),
)
var rangeMethods = values.Table(
	values.Fn("count", "self value", func(r *Run, a []Value) Value {
		if r.SpanIndex(a[0].(*values.Span), a[1]) >= 0 {
			return 1
		}
		return 0
	}),
	values.Fn("index", "self value", func(r *Run, a []Value) Value {
		i := r.SpanIndex(a[0].(*values.Span), a[1])
		if i < 0 {
			r.Fail("%s is not in the range", r.Repr(a[1]))
		}
		return i
	}),
)
