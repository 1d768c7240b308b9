package gguf

import (
	"fmt"
	"math"
	"reflect"
	"slices"
	"testing"
)

func TestMetadataOrder(t *testing.T) {
	var m Metadata
	keys := func() (k []string) {
		for key := range m.All() {
			k = append(k, key)
		}
		return k
	}
	for i, k := range []string{"a", "b", "c", "d"} {
		m.Set(k, i)
	}
	c := m.Clone()
	m.Set("b", "new")
	m.Delete("a")
	m.Delete("none")
	m.Set("e", 5)
	m.Set("a", 6)
	if got := keys(); !slices.Equal(got, []string{"b", "c", "d", "e", "a"}) || m.Len() != 5 {
		t.Errorf("keys %v, length %d", got, m.Len())
	}
	for k, want := range map[string]any{"a": 6, "b": "new", "c": 2, "d": 3, "e": 5} {
		if v, ok := m.Get(k); !ok || v != want {
			t.Errorf("%s = %v, want %v", k, v, want)
		}
	}
	if _, ok := m.Get("none"); ok {
		t.Error("Get finds what is not there")
	}
	if v, _ := c.Get("b"); v != 1 || c.Len() != 4 {
		t.Error("the clone changed with the original")
	}
	for range m.All() {
		break // the iterator must stop
	}
}

func TestMetadataGetters(t *testing.T) {
	type want struct {
		uint, int, float, str, boolean any // the value, or nil for not ok
	}
	tests := []struct {
		value any
		want  want
	}{
		{uint8(200), want{uint: uint64(200), int: int64(200), float: 200.0}},
		{int8(-3), want{int: int64(-3), float: -3.0}},
		{uint16(7), want{uint: uint64(7), int: int64(7), float: 7.0}},
		{int16(7), want{uint: uint64(7), int: int64(7), float: 7.0}},
		{
			uint32(math.MaxUint32),
			want{uint: uint64(math.MaxUint32), int: int64(math.MaxUint32), float: float64(math.MaxUint32)},
		},
		{int32(-1), want{int: int64(-1), float: -1.0}},
		{int64(5), want{uint: uint64(5), int: int64(5), float: 5.0}},
		{uint64(math.MaxUint64), want{uint: uint64(math.MaxUint64), float: float64(math.MaxUint64)}},
		{float32(0.5), want{float: 0.5}},
		{float64(0.1), want{float: 0.1}},
		{"text", want{str: "text"}},
		{true, want{boolean: true}},
		{[]int32{1}, want{}},
		{nil, want{}},
	}
	orNil := func(v any, ok bool) any {
		if !ok {
			return nil
		}
		return v
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%T", tt.value), func(t *testing.T) {
			var m Metadata
			if tt.value != nil {
				m.Set("k", tt.value)
			}
			var got want
			u, ok := m.Uint("k")
			got.uint = orNil(u, ok)
			i, ok := m.Int("k")
			got.int = orNil(i, ok)
			f, ok := m.Float("k")
			got.float = orNil(f, ok)
			s, ok := m.Str("k")
			got.str = orNil(s, ok)
			b, ok := m.Bool("k")
			got.boolean = orNil(b, ok)
			if got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}

func TestMetadataArrays(t *testing.T) {
	var m Metadata
	m.Set("s", []string{"a"})
	m.Set("f", []float32{1})
	if s, ok := m.Strings("s"); !ok || !slices.Equal(s, []string{"a"}) {
		t.Errorf("Strings: %v", s)
	}
	if f, ok := m.Float32s("f"); !ok || !slices.Equal(f, []float32{1}) {
		t.Errorf("Float32s: %v", f)
	}
	if _, ok := m.Strings("f"); ok {
		t.Error("Strings accepts numbers")
	}
	for _, tt := range []struct {
		value any
		want  []int32 // nil: not ok
	}{
		{[]int32{-1, 2}, []int32{-1, 2}},
		{[]uint8{255}, []int32{255}},
		{[]int8{-128}, []int32{-128}},
		{[]uint16{65535}, []int32{65535}},
		{[]int16{-5}, []int32{-5}},
		{[]uint32{math.MaxInt32}, []int32{math.MaxInt32}},
		{[]uint32{math.MaxUint32}, nil},
		{[]uint64{math.MaxUint64}, nil},
		{[]uint64{1}, []int32{1}},
		{[]int64{math.MinInt32}, []int32{math.MinInt32}},
		{[]int64{math.MaxInt32 + 1}, nil},
		{[]float32{1}, nil},
		{int32(1), nil},
	} {
		m.Set("i", tt.value)
		if got, ok := m.Int32s("i"); ok != (tt.want != nil) || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Int32s of %T %v: %v", tt.value, tt.value, got)
		}
	}
}
