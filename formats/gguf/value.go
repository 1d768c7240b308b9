package gguf

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// The numbers of the value types in a file.
const (
	typeString = 8
	typeArray  = 9
)

// maxDepth limits arrays in arrays. The format sets no limit; in practice the depth
// is 1.
const maxDepth = 8

// kind is a value type other than array.
type kind struct {
	id    uint32
	size  int // bytes that a value takes in a file, at least
	value func(d *decoder) any
	array func(d *decoder, n int) any

	// encode appends the type of v, and v. ok is false when v is neither of this
	// kind nor an array of it.
	encode func(b []byte, v any) (out []byte, ok bool)
}

// kinds is the table of value types.
var kinds = []kind{
	number[uint8](0),
	number[int8](1),
	number[uint16](2),
	number[int16](3),
	number[uint32](4),
	number[int32](5),
	number[float32](6),
	{7, 1, (*decoder).bool, (*decoder).bools, encoder(7, appendFixed[bool])},
	{typeString, 8, (*decoder).string, (*decoder).strings, encoder(typeString, appendStrings)},
	number[uint64](10),
	number[int64](11),
	number[float64](12),
}

func kindOf(id uint32) *kind {
	for i := range kinds {
		if kinds[i].id == id {
			return &kinds[i]
		}
	}
	return nil
}

// number makes the kind of a fixed-size number.
func number[T any](id uint32) kind {
	var zero T
	size := binary.Size(zero)
	array := func(d *decoder, n int) []T {
		out := make([]T, n)
		for part := out; len(part) > 0; {
			k := min(len(part), bufferSize/size)
			b := d.next(k * size)
			if b == nil {
				break
			}
			_, _ = binary.Decode(b, le, part[:k]) // b is long enough
			part = part[k:]
		}
		return out
	}
	return kind{
		id, size,
		func(d *decoder) any { return array(d, 1)[0] },
		func(d *decoder, n int) any { return array(d, n) },
		encoder(id, appendFixed[T]),
	}
}

// encoder makes a kind's encode from the function that appends bare values.
func encoder[T any](id uint32, appendBare func([]byte, []T) []byte) func([]byte, any) ([]byte, bool) {
	return func(b []byte, v any) ([]byte, bool) {
		switch v := v.(type) {
		case T:
			return appendBare(le.AppendUint32(b, id), []T{v}), true
		case []T:
			return appendBare(appendArrayHead(b, id, len(v)), v), true
		}
		return b, false
	}
}

// appendFixed appends values of a type of fixed size.
func appendFixed[T any](b []byte, v []T) []byte {
	b, _ = binary.Append(b, le, v)
	return b
}

func appendStrings(b []byte, v []string) []byte {
	for _, s := range v {
		b = appendString(b, s)
	}
	return b
}

func appendString(b []byte, s string) []byte {
	return append(le.AppendUint64(b, uint64(len(s))), s...)
}

func appendArrayHead(b []byte, elem uint32, n int) []byte {
	b = le.AppendUint32(b, typeArray)
	b = le.AppendUint32(b, elem)
	return le.AppendUint64(b, uint64(n))
}

// show returns a value for an error, shortened.
func show(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.80q", v)
	case uint8, int8, uint16, int16, uint32, int32, uint64, int64, float32, float64, bool:
		return fmt.Sprint(v)
	}
	return fmt.Sprintf("a %T", v)
}

// checkText refuses strings that are not UTF-8, in arrays too.
func checkText(v any) error {
	switch v := v.(type) {
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("string %.80q is not valid UTF-8", v)
		}
	case []string:
		for i, s := range v {
			if err := checkText(s); err != nil {
				return fmt.Errorf("element %d: %v", i, err)
			}
		}
	}
	return nil
}

// appendValue appends a value's type and the value. depth is the number of arrays around it.
func appendValue(b []byte, v any, depth int) ([]byte, error) {
	if v, ok := v.([]any); ok {
		if depth+1 == maxDepth { // its elements are arrays too
			return nil, fmt.Errorf("arrays nested more than %d deep", maxDepth)
		}
		b = appendArrayHead(b, typeArray, len(v))
		for _, x := range v {
			at := len(b)
			var err error
			if b, err = appendValue(b, x, depth+1); err != nil {
				return nil, err
			}
			if le.Uint32(b[at:]) != typeArray {
				return nil, fmt.Errorf("element of type %T in a []any, which holds arrays only", x)
			}
			b = append(b[:at], b[at+4:]...) // only the outer array says that its elements are arrays
		}
		return b, nil
	}
	if err := checkText(v); err != nil {
		return nil, err
	}
	for i := range kinds {
		if out, ok := kinds[i].encode(b, v); ok {
			return out, nil
		}
	}
	return nil, fmt.Errorf("value of type %T, which the format does not have", v)
}
