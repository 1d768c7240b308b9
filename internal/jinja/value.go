package jinja

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
)

// Value is a value of a template: nil, bool, int, float64, string, markup, *undefined,
// *list, *dict, *span, *generator, *namespace, *macro, *builtin, *method, *loop or *cycler.
type Value any

// valueSize is the memory in bytes that is counted for a value in a list or an argument.
const valueSize = 24

// Object is a JSON object whose keys keep their order.
type Object []Member

// Member is a key of an [Object] and its value.
type Member struct {
	Key   string
	Value any
}

// markup is text that is safe in HTML.
type markup string

// undefined is what a name without a value stands for.
type undefined struct {
	text    string // why there is no value
	line    int
	refused bool // there is one, out of reach
}

// failUndefined fails if a value is undefined.
func (r *run) failUndefined(v Value) {
	u, ok := v.(*undefined)
	switch {
	case ok && u.refused:
		r.fail("%s", u.text)
	case ok:
		r.fail("%s: set it, or test it with `is defined` before", u.text)
	}
}

// Kinds of lists.
const (
	listKind   = "list"
	tupleKind  = "tuple"
	groupKind  = "group" // a tuple of groupby, whose items have names
	keysKind   = "dict_keys"
	valuesKind = "dict_values"
	itemsKind  = "dict_items"
)

// list is a list, a tuple, or a view of a dict.
type list struct {
	kind  string
	items []Value
}

// sequence says whether the list can be indexed.
func (l *list) sequence() bool { return l.kind == listKind || l.isTuple() }

func (l *list) isTuple() bool { return l.kind == tupleKind || l.kind == groupKind }

func (r *run) list(items []Value) *list { return &list{listKind, items} }

func (r *run) pair(a, b Value) *list {
	r.take(1, 64)
	return &list{tupleKind, []Value{a, b}}
}

// generator gives its items once.
type generator struct{ items []Value }

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

// dict keeps the order in which keys were set.
type dict struct {
	keys, values []Value
	at           map[any]int // by hash
}

func newDict() *dict { return &dict{at: map[any]int{}} }

// hash returns what equal values have in common, which can be the key of a map. Lists
// and dicts have none.
func (r *run) hash(v Value) (any, bool) {
	r.enter()
	defer r.leave()
	switch v := v.(type) {
	case bool:
		i, _, _ := number(v)
		return i, true
	case float64:
		if math.Abs(v) < 1<<62 && v == math.Trunc(v) {
			return int(v), true
		}
		return v, true
	case markup:
		return string(v), true
	case *list:
		if !v.isTuple() {
			return nil, false
		}
		for _, item := range v.items {
			if _, ok := r.hash(item); !ok {
				return nil, false
			}
		}
		return "tuple " + r.repr(v), true
	case *undefined:
		return undefined{}, true
	case *dict:
		return nil, false
	}
	return v, true
}

func (d *dict) set(r *run, k, v Value) {
	h, ok := r.hash(k)
	if !ok {
		r.fail("%s is the key of a dict, expected a string or a number", typeName(k))
	}
	if i, ok := d.at[h]; ok {
		d.values[i] = v
		return
	}
	r.take(1, 256)
	d.at[h] = len(d.keys)
	d.keys = append(d.keys, k)
	d.values = append(d.values, v)
}

func (d *dict) get(name string) (Value, bool) {
	i, ok := d.at[name]
	if !ok {
		return nil, false
	}
	return d.values[i], true
}

func (d *dict) remove(name string) {
	i, ok := d.at[name]
	if !ok {
		return
	}
	d.keys, d.values = slices.Delete(d.keys, i, i+1), slices.Delete(d.values, i, i+1)
	delete(d.at, name)
	for h, at := range d.at {
		if at > i {
			d.at[h]--
		}
	}
}

// lookup finds a key; keys that cannot be in a dict are not found.
func (d *dict) lookup(r *run, k Value) (Value, bool) {
	if h, ok := r.hash(k); ok {
		if i, ok := d.at[h]; ok {
			return d.values[i], true
		}
	}
	return nil, false
}

// namespace is a dict whose keys a template can set.
type namespace struct{ dict *dict }

func (n *namespace) set(r *run, name string, v Value) {
	if name[0] == '_' {
		r.fail("the attribute %s of a namespace is set, expected a name without _ at its beginning", name)
	}
	n.dict.set(r, name, v)
}

// value returns the template's value for one of Go.
func (r *run) value(v any) Value {
	r.enter()
	defer r.leave()
	switch v := v.(type) {
	case nil, bool, int, float64, string:
		return v
	case int64:
		return int(v)
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return int(i)
		}
		f, _ := v.Float64()
		return f
	case []any:
		r.take(len(v), valueSize)
		items := make([]Value, len(v))
		for i, item := range v {
			items[i] = r.value(item)
		}
		return r.list(items)
	case map[string]any:
		d := newDict()
		for _, k := range slices.Sorted(maps.Keys(v)) {
			d.set(r, k, r.value(v[k]))
		}
		return d
	case Object:
		d := newDict()
		for _, m := range v {
			d.set(r, m.Key, r.value(m.Value))
		}
		return d
	}
	r.fail("a variable is a Go %T, expected what JSON can hold", v)
	return nil
}

// typeName names the type of a value as Python does.
func typeName(v Value) string {
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
	case *list:
		if v.kind == groupKind {
			return tupleKind
		}
		return v.kind
	case *dict:
		return "dict"
	case *span:
		return "range"
	case *generator:
		return "generator"
	case *namespace:
		return "namespace"
	case *macro:
		return "macro"
	case *undefined:
		return "undefined"
	case *loop:
		return "loop"
	}
	return "function"
}

// truth says whether a value counts as true.
func (r *run) truth(v Value) bool {
	switch v := v.(type) {
	case bool:
		return v
	case nil, *undefined:
		return false
	}
	if n, ok := r.length(v); ok {
		return n > 0
	}
	if _, f, ok := number(v); ok {
		return f != 0
	}
	return true
}

// length returns the length of a value that has one.
func (r *run) length(v Value) (int, bool) {
	switch v := v.(type) {
	case string:
		return r.runes(v), true
	case markup:
		return r.length(string(v))
	case *list:
		return len(v.items), true
	case *dict:
		return len(v.keys), true
	case *span:
		return v.length(), true
	case *undefined:
		return 0, true
	case *loop:
		return v.count(), true
	}
	return 0, false
}

// iterable returns the items that a loop over a value goes through. They must not be changed.
func (r *run) iterable(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case *list:
		return v.items, true
	case *dict:
		return v.keys, true
	case *generator:
		items := v.items
		v.items = nil
		return items, true
	case *span:
		n := v.length()
		r.take(n, valueSize)
		items := make([]Value, n)
		for i := range items {
			items[i] = v.start + i*v.step
		}
		return items, true
	case string:
		n := r.runes(v)
		r.take(n, valueSize+8)
		items := make([]Value, 0, n)
		for i, w := 0, 0; i < len(v); i += w {
			w = runeSize(v[i:])
			items = append(items, v[i:i+w])
		}
		return items, true
	case markup:
		return r.iterable(string(v))
	case *undefined:
		return nil, true
	}
	return nil, false
}

// items is iterable for what must be.
func (r *run) items(v Value) []Value {
	items, ok := r.iterable(v)
	if !ok {
		r.fail("%s is gone through, expected a list, a dict or a string", typeName(v))
	}
	r.scan(len(items) * valueSize)
	return items
}
