package gguf

import (
	"iter"
	"math"
	"slices"
)

// Metadata is an ordered list of keys and values. The zero value is empty and
// ready to use.
//
// A value is one of the format's thirteen types: uint8, int8, uint16, int16,
// uint32, int32, uint64, int64, float32, float64, bool, string, or an array: a
// slice of one of these twelve, or []any whose elements are themselves arrays.
// [Create] refuses values of any other Go type (plain int among them, whose
// width on disk would be a guess).
//
// Writers disagree about the integer type of many keys, so the getters that name
// a type accept every type that holds the value.
type Metadata struct {
	keys   []string
	values []any
	index  map[string]int // key → its place in keys and values
}

// Len returns the number of keys.
func (m *Metadata) Len() int { return len(m.keys) }

// Set adds a key at the end, or replaces the value of an existing key in its place.
func (m *Metadata) Set(key string, value any) {
	if i, ok := m.index[key]; ok {
		m.values[i] = value
		return
	}
	if m.index == nil {
		m.index = make(map[string]int)
	}
	m.index[key] = len(m.keys)
	m.keys = append(m.keys, key)
	m.values = append(m.values, value)
}

// Get returns the value of a key as it is stored.
func (m *Metadata) Get(key string) (value any, ok bool) {
	i, ok := m.index[key]
	if !ok {
		return nil, false
	}
	return m.values[i], true
}

// Delete removes a key, if it is there.
func (m *Metadata) Delete(key string) {
	i, ok := m.index[key]
	if !ok {
		return
	}
	m.keys = slices.Delete(m.keys, i, i+1)
	m.values = slices.Delete(m.values, i, i+1)
	delete(m.index, key)
	for j, k := range m.keys[i:] {
		m.index[k] = i + j
	}
}

// All yields the keys and values in order.
func (m *Metadata) All() iter.Seq2[string, any] {
	return func(yield func(string, any) bool) {
		for i, k := range m.keys {
			if !yield(k, m.values[i]) {
				return
			}
		}
	}
}

// Clone returns a copy of the list. Arrays are shared with the original.
func (m *Metadata) Clone() *Metadata {
	c := new(Metadata)
	for k, v := range m.All() {
		c.Set(k, v)
	}
	return c
}

// Uint returns a non-negative integer of any integer type. ok is false when the
// key is missing, not an integer or negative.
func (m *Metadata) Uint(key string) (n uint64, ok bool) {
	v, _ := m.Get(key)
	if i, ok := toInt64(v); ok {
		return uint64(i), i >= 0
	}
	n, ok = v.(uint64)
	return n, ok
}

// Int returns an integer of any integer type. ok is false when the key is
// missing, not an integer or above the largest int64.
func (m *Metadata) Int(key string) (n int64, ok bool) {
	v, _ := m.Get(key)
	return toInt64(v)
}

// Float returns a number of any type as float64.
func (m *Metadata) Float(key string) (x float64, ok bool) {
	v, _ := m.Get(key)
	switch v := v.(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	case uint64:
		return float64(v), true
	}
	i, ok := toInt64(v)
	return float64(i), ok
}

// Str returns a string.
func (m *Metadata) Str(key string) (s string, ok bool) { return get[string](m, key) }

// Bool returns a boolean.
func (m *Metadata) Bool(key string) (b, ok bool) { return get[bool](m, key) }

// Strings returns an array of strings; the caller must not change it.
func (m *Metadata) Strings(key string) (s []string, ok bool) { return get[[]string](m, key) }

// Float32s returns an array of float32; the caller must not change it.
func (m *Metadata) Float32s(key string) (x []float32, ok bool) { return get[[]float32](m, key) }

// Int32s returns an array of any integer type as int32. ok is false when the
// key is missing, not such an array, or an element does not fit.
func (m *Metadata) Int32s(key string) (n []int32, ok bool) {
	v, _ := m.Get(key)
	switch v := v.(type) {
	case []int32:
		return v, true
	case []uint8:
		return toInt32s(v)
	case []int8:
		return toInt32s(v)
	case []uint16:
		return toInt32s(v)
	case []int16:
		return toInt32s(v)
	case []uint32:
		return toInt32s(v)
	case []uint64:
		return toInt32s(v)
	case []int64:
		return toInt32s(v)
	}
	return nil, false
}

func get[T any](m *Metadata, key string) (T, bool) {
	v, _ := m.Get(key)
	t, ok := v.(T)
	return t, ok
}

// toInt64 widens an integer value that fits in an int64.
func toInt64(v any) (int64, bool) {
	switch v := v.(type) {
	case uint8:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}

func toInt32s[T uint8 | int8 | uint16 | int16 | uint32 | uint64 | int64](v []T) ([]int32, bool) {
	out := make([]int32, len(v))
	for i, x := range v {
		out[i] = int32(x)
		if T(out[i]) != x || (out[i] < 0) != (x < 0) {
			return nil, false
		}
	}
	return out, true
}
