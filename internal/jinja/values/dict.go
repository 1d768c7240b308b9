package values

import (
	"fmt"
	"math"
	"math/big"
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

// Hashes of values that cannot be keys of a map themselves.
type (
	tupleKey   string
	integerKey string
)

// Hash returns what equal values have in common, which can be the key of a map. Lists
// and dicts have none.
func (r *Run) Hash(v Value) (any, bool) {
	r.Enter()
	defer r.Leave()
	switch v := v.(type) {
	case bool:
		i, _, _ := Number(v)
		return i, true
	case float64:
		if math.IsInf(v, 0) || v != math.Trunc(v) {
			return v, true
		}
		return r.Hash(r.Truncated(v))
	case complex128:
		if imag(v) == 0 {
			return r.Hash(real(v))
		}
	case *big.Int:
		r.Take(v.BitLen(), 1)
		return integerKey(v.Append(nil, 16)), true
	case Markup:
		return string(v), true
	case *List:
		if !v.IsTuple() {
			return nil, false
		}
		o := NewOutput(r)
		for _, item := range v.Items {
			h, ok := r.Hash(item)
			if !ok {
				return nil, false
			}
			r.Step(1)
			format := "%v"
			if _, isCustom := h.(Custom); isCustom {
				format = "%p"
			}
			text := fmt.Sprintf(format, h)
			r.Take(len(text), 3)
			o.Write(fmt.Sprintf("%T %d %s", h, len(text), text))
		}
		return tupleKey(o.String()), true
	case *Undefined:
		return Undefined{}, true
	case *Dict:
		return nil, false
	}
	return v, true
}

// Set sets the value of a key.
func (d *Dict) Set(r *Run, k, v Value) {
	h, ok := r.Hash(k)
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

// Lookup finds a key; keys that cannot be in a dict are not found.
func (d *Dict) Lookup(r *Run, k Value) (Value, bool) {
	if h, ok := r.Hash(k); ok {
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

// Pairs returns the keys and values of a dict.
func (r *Run) Pairs(d *Dict) []Value {
	r.Take(len(d.Keys), ValueSize)
	items := make([]Value, len(d.Keys))
	for i, k := range d.Keys {
		items[i] = r.Pair(k, d.Values[i])
	}
	return items
}
