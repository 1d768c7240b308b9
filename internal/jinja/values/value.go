// Package values has the values of templates, which are Python's, and what can be done with them: operators,
// attributes, methods, and the functions of every template. Everything counts the steps and the memory that it takes,
// before it takes them. Filters and tests are in package filters.
package values

import (
	"encoding/json"
	"maps"
	"math/big"
	"slices"
)

// Value is a value of a template: nil, bool, int, *big.Int, float64, complex128, string, Markup, Octets, *Undefined,
// *List, *Dict, *Span, *Generator, *Namespace, *Builtin, *Method, or a custom one.
type Value any

// Custom is a value with attributes of its own.
type Custom interface {
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

// Markup is text that is safe in HTML.
type Markup string

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
	ListKind   = "list"
	TupleKind  = "tuple"
	GroupKind  = "group" // a tuple of groupby, whose items have names
	KeysKind   = "dict_keys"
	ValuesKind = "dict_values"
	ItemsKind  = "dict_items"
	SetKind    = "set"
)

// List is a list, a tuple, a view of a dict, or a set.
type List struct {
	Kind  string
	Items []Value
	dict  *Dict // of a view, or of the items of a set
}

// View returns a view of a dict.
func View(kind string, items []Value, d *Dict) *List { return &List{kind, items, d} }

// Sequence says whether the list can be indexed.
func (l *List) Sequence() bool { return l.Kind == ListKind || l.IsTuple() }

// isSet says whether the list is a set, or a view that compares as one.
func (l *List) isSet() bool { return l.Kind == KeysKind || l.Kind == ItemsKind || l.Kind == SetKind }

func (l *List) IsTuple() bool { return l.Kind == TupleKind || l.Kind == GroupKind }

// List returns a list with items.
func (r *Run) List(items []Value) *List { return &List{Kind: ListKind, Items: items} }

func (r *Run) Pair(a, b Value) *List {
	r.Take(1, 64)
	return &List{Kind: TupleKind, Items: []Value{a, b}}
}

// Generator gives its items once, each when it is asked for.
type Generator struct{ next func() (Value, bool) }

// Next returns the next item, if there is one.
func (g *Generator) Next() (Value, bool) { return g.next() }

// GeneratorOf returns a generator of items, which are computed when the first is asked for.
func GeneratorOf(compute func() []Value) *Generator {
	var items []Value
	return &Generator{func() (Value, bool) {
		if compute != nil {
			items, compute = compute(), nil
		}
		if len(items) == 0 {
			return nil, false
		}
		item := items[0]
		items = items[1:]
		return item, true
	}}
}

// drain returns all items that there are.
func (r *Run) drain(next func() (Value, bool)) (items []Value) {
	for item, ok := next(); ok; item, ok = next() {
		r.Step(1)
		r.Take(1, 2*ValueSize)
		items = append(items, item)
	}
	return items
}

// Iterate returns a function that gives the items of a value one by one, and fails if it has none.
func (r *Run) Iterate(v Value) func() (Value, bool) {
	if g, ok := v.(interface{ Next() (Value, bool) }); ok {
		return g.Next
	}
	return GeneratorOf(func() []Value { return r.Items(v) }).Next
}

// Generated makes a filter whose result is a generator: it does nothing until an item is asked for. start returns
// the function that gives the items.
func Generated(start func(r *Run, a []Value) func() (Value, bool)) func(r *Run, a []Value) Value {
	return func(r *Run, a []Value) Value { return r.Lazy(func() func() (Value, bool) { return start(r, a) }) }
}

// Lazy returns a generator that starts when its first item is asked for.
func (r *Run) Lazy(start func() func() (Value, bool)) *Generator {
	r.Take(1, 128)
	var next func() (Value, bool)
	return &Generator{func() (Value, bool) {
		r.Step(1)
		r.Enter()
		defer r.Leave()
		if next == nil {
			next = start()
		}
		return next()
	}}
}

// FromGo returns the template's value for one of Go.
func (r *Run) FromGo(v any) Value {
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case nil, bool, int, float64:
		return v
	case string:
		r.Seen(v)
		return v
	case json.Number:
		if i, ok := ParseInteger(v.String(), 10); ok {
			return i
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
			d.Set(r, r.FromGo(k), r.FromGo(v[k]))
		}
		return d
	case Object:
		d := NewDict()
		for _, m := range v {
			d.Set(r, r.FromGo(m.Key), r.FromGo(m.Value))
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
	case int, *big.Int:
		return "int"
	case float64:
		return "float"
	case complex128:
		return "complex"
	case string, Markup:
		return "str"
	case Octets:
		return "bytes"
	case *List:
		if v.Kind == GroupKind {
			return TupleKind
		}
		return v.Kind
	case *Dict:
		return "dict"
	case *Span:
		return "range"
	case *Generator:
		return "generator"
	case *Namespace:
		return "namespace"
	case *Undefined:
		return "undefined"
	case Custom:
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
	case complex128:
		return v != 0
	}
	if n, ok := r.Length(v); ok {
		return n > 0
	}
	if _, f, ok := Number(v); ok {
		return f != 0
	}
	return true
}

// Length returns the length of a value that has one.
func (r *Run) Length(v Value) (int, bool) {
	switch v := v.(type) {
	case string:
		return r.Runes(v), true
	case Markup:
		return r.Length(string(v))
	case Octets:
		return len(v), true
	case *List:
		return len(v.Items), true
	case *Dict:
		return len(v.Keys), true
	case *Span:
		return v.length, true
	case *Undefined:
		return 0, true
	case interface{ Length() int }:
		return v.Length(), true
	}
	return 0, false
}

// Iterable returns the items that a loop over a value goes through, and whether the value has items at all. The items
// must not be changed.
func (r *Run) Iterable(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case *List:
		r.failUnordered(v)
		return v.Items, true
	case *Dict:
		return v.Keys, true
	case *Generator:
		return r.drain(v.Next), true
	case interface{ Next() (Value, bool) }:
		return r.drain(v.Next), true
	case Octets:
		return r.byteItems(v), true
	case *Span:
		r.Take(v.length, ValueSize)
		r.Step(v.length)
		items := make([]Value, v.length)
		for i := range items {
			items[i] = r.spanItem(v, i)
		}
		return items, true
	case string:
		n := r.Runes(v)
		r.Take(n, ValueSize+8)
		items := make([]Value, 0, n)
		for i, w := 0, 0; i < len(v); i += w {
			w = RuneSize(v[i:])
			items = append(items, v[i:i+w])
		}
		return items, true
	case Markup:
		return r.Iterable(string(v))
	case *Undefined:
		return nil, true
	}
	return nil, false
}

// Items returns the items that a loop over a value goes through, and fails if it has none.
func (r *Run) Items(v Value) []Value {
	items, ok := r.Iterable(v)
	if !ok {
		r.Fail("%s is iterated over, expected a list, a dict or a string", TypeName(v))
	}
	r.Scan(len(items) * ValueSize)
	return items
}
