// Package values has the values of templates, which are Python's, and what can be done with them: operators,
// attributes, methods, Jinja's filters and tests, and the functions of every template. Everything counts what it
// takes, before it takes it.
package values

import (
	"encoding/json"
	"maps"
	"slices"
)

// Value is a value of a template: nil, bool, int, float64, string, markup, *Undefined, *List, *Dict, *span,
// *Generator, *Namespace, *Builtin, *Method, or a custom one.
type Value any

// custom is a value with attributes of its own.
type custom interface {
	TypeName() string
	Attribute(name string) (Value, bool)
	String() string
}

// ValueSize is the memory in bytes that is counted for a value in a list or an argument.
const ValueSize = 24

// Object is a JSON object whose keys keep their order.
type Object []Member

// Member is a key of an [Object] and its value.
type Member struct {
	Key   string
	Value any
}

// markup is text that is safe in HTML.
type markup string

// Undefined is what a name without a value stands for.
type Undefined struct {
	Text    string // why there is no value
	refused bool   // there is one, out of reach
}

// FailUndefined fails if a value is undefined.
func (r *Run) FailUndefined(v Value) {
	u, ok := v.(*Undefined)
	switch {
	case ok && u.refused:
		r.Fail("%s", u.Text)
	case ok:
		r.Fail("%s: set it, or test it with `is defined` before", u.Text)
	}
}

// Kinds of lists.
const (
	listKind   = "list"
	TupleKind  = "tuple"
	groupKind  = "group" // a tuple of groupby, whose items have names
	keysKind   = "dict_keys"
	valuesKind = "dict_values"
	itemsKind  = "dict_items"
)

// List is a list, a tuple, or a view of a dict.
type List struct {
	Kind  string
	Items []Value
}

// sequence says whether the list can be indexed.
func (l *List) sequence() bool { return l.Kind == listKind || l.isTuple() }

func (l *List) isTuple() bool { return l.Kind == TupleKind || l.Kind == groupKind }

// List returns a list with items.
func (r *Run) List(items []Value) *List { return &List{listKind, items} }

func (r *Run) pair(a, b Value) *List {
	r.Take(1, 64)
	return &List{TupleKind, []Value{a, b}}
}

// Generator gives its items once. They are computed when they are asked for.
type Generator struct {
	compute func() []Value
	items   []Value // if compute is nil
}

// take returns the items that were not taken yet.
func (g *Generator) take() []Value {
	if g.compute != nil {
		g.items, g.compute = g.compute(), nil
	}
	items := g.items
	g.items = nil
	return items
}

// generated makes a filter whose result is a generator: it fails only when its items are asked for.
func generated(filter func(r *Run, a []Value) []Value) func(r *Run, a []Value) Value {
	return func(r *Run, a []Value) Value {
		return &Generator{compute: func() []Value { return filter(r, a) }}
	}
}

// span is a range of integers.
type span struct{ start, stop, step int }

func (s *span) length() int {
	if s.step > 0 && s.start < s.stop {
		return (s.stop-s.start-1)/s.step + 1
	}
	if s.step < 0 && s.start > s.stop {
		return (s.start-s.stop-1)/-s.step + 1
	}
	return 0
}

// equal says whether two ranges have the same integers.
func (s *span) equal(t *span) bool {
	n := s.length()
	return n == t.length() && (n == 0 || s.start == t.start && (n == 1 || s.step == t.step))
}

// FromGo returns the template's value for one of Go.
func (r *Run) FromGo(v any) Value {
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case nil, bool, int, float64, string:
		return v
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		f, _ := v.Float64()
		return f
	case []any:
		r.Take(len(v), ValueSize)
		items := make([]Value, len(v))
		for i, item := range v {
			items[i] = r.FromGo(item)
		}
		return r.List(items)
	case map[string]any:
		d := NewDict()
		for _, k := range slices.Sorted(maps.Keys(v)) {
			d.Set(r, k, r.FromGo(v[k]))
		}
		return d
	case Object:
		d := NewDict()
		for _, m := range v {
			d.Set(r, m.Key, r.FromGo(m.Value))
		}
		return d
	}
	r.Fail("a variable is a Go %T, expected what JSON can hold", v)
	return nil
}

// TypeName names the type of a value as Python does.
func TypeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case bool:
		return "bool"
	case int:
		return "int"
	case float64:
		return "float"
	case string, markup:
		return "str"
	case *List:
		if v.Kind == groupKind {
			return TupleKind
		}
		return v.Kind
	case *Dict:
		return "dict"
	case *span:
		return "range"
	case *Generator:
		return "generator"
	case *Namespace:
		return "namespace"
	case *Undefined:
		return "undefined"
	case custom:
		return v.TypeName()
	}
	return "function"
}

// Truth says whether a value counts as true.
func (r *Run) Truth(v Value) bool {
	switch v := v.(type) {
	case bool:
		return v
	case nil, *Undefined:
		return false
	}
	if n, ok := r.length(v); ok {
		return n > 0
	}
	if _, f, ok := Number(v); ok {
		return f != 0
	}
	return true
}

// length returns the length of a value that has one.
func (r *Run) length(v Value) (int, bool) {
	switch v := v.(type) {
	case string:
		return r.runes(v), true
	case markup:
		return r.length(string(v))
	case *List:
		return len(v.Items), true
	case *Dict:
		return len(v.Keys), true
	case *span:
		return v.length(), true
	case *Undefined:
		return 0, true
	}
	return 0, false
}

// iterable returns the items that a loop over a value goes through, and whether the value has items at all. The items
// must not be changed.
func (r *Run) iterable(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case *List:
		return v.Items, true
	case *Dict:
		return v.Keys, true
	case *Generator:
		return v.take(), true
	case *span:
		n := v.length()
		r.Take(n, ValueSize)
		items := make([]Value, n)
		for i := range items {
			items[i] = v.start + i*v.step
		}
		return items, true
	case string:
		n := r.runes(v)
		r.Take(n, ValueSize+8)
		items := make([]Value, 0, n)
		for i, w := 0, 0; i < len(v); i += w {
			w = runeSize(v[i:])
			items = append(items, v[i:i+w])
		}
		return items, true
	case markup:
		return r.iterable(string(v))
	case *Undefined:
		return nil, true
	}
	return nil, false
}

// Items returns the items that a loop over a value goes through, and fails if it has none.
func (r *Run) Items(v Value) []Value {
	items, ok := r.iterable(v)
	if !ok {
		r.Fail("%s is iterated over, expected a list, a dict or a string", TypeName(v))
	}
	r.scan(len(items) * ValueSize)
	return items
}
