package values

import (
	"math"
	"slices"
	"strings"
)

// Dict keeps the order in which keys were set.
type Dict struct {
	Keys, Values []Value
	at           map[any]int // by hash
}

// NewDict returns an empty dict.
func NewDict() *Dict { return &Dict{at: map[any]int{}} }

// hash returns what equal values have in common, which can be the key of a map. Lists
// and dicts have none.
func (r *Run) hash(v Value) (any, bool) {
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case bool:
		i, _, _ := Number(v)
		return i, true
	case float64:
		if math.Abs(v) < 1<<62 && v == math.Trunc(v) {
			return int(v), true
		}
		return v, true
	case markup:
		return string(v), true
	case *List:
		if !v.isTuple() {
			return nil, false
		}
		for _, item := range v.Items {
			if _, ok := r.hash(item); !ok {
				return nil, false
			}
		}
		return "tuple " + r.Repr(v), true
	case *Undefined:
		return Undefined{}, true
	case *Dict:
		return nil, false
	}
	return v, true
}

// Set sets the value of a key.
func (d *Dict) Set(r *Run, k, v Value) {
	h, ok := r.hash(k)
	if !ok {
		r.Fail("%s is the key of a dict, expected a string or a number", TypeName(k))
	}
	if i, ok := d.at[h]; ok {
		d.Values[i] = v
		return
	}
	r.Take(1, 256)
	d.at[h] = len(d.Keys)
	d.Keys = append(d.Keys, k)
	d.Values = append(d.Values, v)
}

// Get returns the value of a key that is a string.
func (d *Dict) Get(name string) (Value, bool) {
	i, ok := d.at[name]
	if !ok {
		return nil, false
	}
	return d.Values[i], true
}

// Remove removes a key that is a string.
func (d *Dict) Remove(r *Run, name string) {
	r.Step(len(d.Keys))
	i, ok := d.at[name]
	if !ok {
		return
	}
	d.Keys, d.Values = slices.Delete(d.Keys, i, i+1), slices.Delete(d.Values, i, i+1)
	delete(d.at, name)
	for h, at := range d.at {
		if at > i {
			d.at[h]--
		}
	}
}

// lookup finds a key; keys that cannot be in a dict are not found.
func (d *Dict) lookup(r *Run, k Value) (Value, bool) {
	if h, ok := r.hash(k); ok {
		if i, ok := d.at[h]; ok {
			return d.Values[i], true
		}
	}
	return nil, false
}

// Namespace is a dict whose keys a template can set.
type Namespace struct{ dict *Dict }

// Set sets an attribute.
func (n *Namespace) Set(r *Run, name string, v Value) {
	if strings.HasPrefix(name, "_") {
		r.Fail("the attribute %s of a namespace is set, expected a name without _ at its beginning", name)
	}
	n.dict.Set(r, name, v)
}
