package arch

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// reader reads typed fields of config.json or of GGUF metadata. The first
// error sticks; later reads return harmless values.
type reader struct {
	prefix string
	class  string // the name of config.json's "architectures" that was found
	get    func(key string) (any, bool)
	fields map[string]any // of a JSON object
	err    error
}

// newReader parses a JSON object. Numbers stay json.Number.
func newReader(data []byte) (*reader, error) {
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var fields map[string]any
	if err := dec.Decode(&fields); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("data after the JSON object")
	}
	return object(fields), nil
}

func object(fields map[string]any) *reader {
	return &reader{fields: fields, get: func(key string) (any, bool) {
		v, ok := fields[key]
		return v, ok && v != nil
	}}
}

func (r *reader) errorf(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf(format, args...)
	}
}

func (r *reader) has(key string) bool {
	_, ok := r.get(r.prefix + key)
	return ok
}

func (r *reader) wrong(key string, v any, expected string) {
	if b, err := json.Marshal(v); err == nil && len(b) <= 80 {
		r.errorf("%s%s is %s, expected %s", r.prefix, key, b, expected)
		return
	}
	r.errorf("%s%s is a %T, expected %s", r.prefix, key, v, expected)
}

// number returns the field as a float64 and reports whether it is there.
func (r *reader) number(key, expected string) (float64, bool) {
	v, ok := r.get(r.prefix + key)
	if !ok {
		return 0, false
	}
	x, ok := toFloat(v)
	if !ok {
		r.wrong(key, v, expected)
	}
	return x, true
}

func toFloat(v any) (float64, bool) {
	var x float64
	switch v := v.(type) {
	case json.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return 0, false
		}
		x = f
	case float32:
		x = float64(v)
	case float64:
		x = v
	case uint8:
		x = float64(v)
	case int8:
		x = float64(v)
	case uint16:
		x = float64(v)
	case int16:
		x = float64(v)
	case uint32:
		x = float64(v)
	case int32:
		x = float64(v)
	case uint64:
		x = float64(v)
	case int64:
		x = float64(v)
	default:
		return 0, false
	}
	return x, floats.Finite(x)
}

// integer returns a field between low and high, or fallback where it is missing;
// a negative fallback makes the field required.
func (r *reader) integer(key string, low, high, fallback int) int {
	expected := fmt.Sprintf("an integer from %d to %d", low, high)
	x, ok := r.number(key, expected)
	switch {
	case !ok && fallback < 0:
		r.errorf("%s%s is missing, expected %s", r.prefix, key, expected)
		return low
	case !ok:
		return fallback
	case x != math.Trunc(x) || x < float64(low) || x > float64(high):
		v, _ := r.get(r.prefix + key)
		r.wrong(key, v, expected)
		return low
	}
	return int(x)
}

// positive returns a field above 0, or fallback where it is missing; fallback 0
// makes the field required.
func (r *reader) positive(key string, fallback float64) float64 {
	const expected = "a number above 0"
	x, ok := r.number(key, expected)
	switch {
	case !ok && fallback == 0:
		r.errorf("%s%s is missing, expected %s", r.prefix, key, expected)
		return 1
	case !ok:
		return fallback
	case x <= 0 || float32(x) == 0 || x > math.MaxFloat32:
		v, _ := r.get(r.prefix + key)
		r.wrong(key, v, expected)
		return 1
	}
	return x
}

// factor returns x, which follows from a field, if a float32 above 0 can hold it.
func (r *reader) factor(key string, x float64) float64 {
	if !(float32(x) > 0) || x > math.MaxFloat32 {
		v, _ := r.get(r.prefix + key)
		r.wrong(key, v, fmt.Sprintf("another number: %g follows from it", x))
		return 1
	}
	return x
}

// notNegative returns a field from 0 on, or fallback where it is missing.
func (r *reader) notNegative(key string, fallback float64) float64 {
	const expected = "a number from 0 on"
	x, ok := r.number(key, expected)
	switch {
	case !ok:
		return fallback
	case x < 0 || x > math.MaxFloat32:
		v, _ := r.get(r.prefix + key)
		r.wrong(key, v, expected)
		return 0
	}
	return x
}

func (r *reader) boolean(key string, fallback bool) bool {
	v, ok := r.get(r.prefix + key)
	if !ok {
		return fallback
	}
	b, ok := v.(bool)
	if !ok {
		r.wrong(key, v, "true or false")
	}
	return b
}

func (r *reader) booleans(key string) []bool {
	v, _ := r.get(r.prefix + key)
	list, ok := v.([]bool)
	if !ok {
		r.wrong(key, v, "a list of true and false")
	}
	return list
}

func (r *reader) str(key string) string {
	v, ok := r.get(r.prefix + key)
	if !ok {
		return ""
	}
	s, ok := v.(string)
	if !ok {
		r.wrong(key, v, "a string")
	}
	return s
}

func (r *reader) strings(key string) []string {
	v, ok := r.get(r.prefix + key)
	if !ok {
		return nil
	}
	list, ok := v.([]any)
	var all []string
	for _, e := range list {
		s, isString := e.(string)
		ok = ok && isString
		all = append(all, s)
	}
	if !ok {
		r.wrong(key, v, "a list of strings")
	}
	return all
}

// factors returns a list of n numbers above 0.
func (r *reader) factors(key string, n int) []float32 {
	v, _ := r.get(r.prefix + key)
	list, ok := v.([]any)
	expected := fmt.Sprintf("a list of %d numbers above 0", n)
	if !ok || len(list) != n {
		if ok {
			r.errorf("%s%s has %d numbers, expected %d, one for each pair of rotary dimensions",
				r.prefix, key, len(list), n)
		} else {
			r.wrong(key, v, expected)
		}
		return nil
	}
	all := make([]float32, n)
	for i, e := range list {
		x, ok := toFloat(e)
		if all[i] = float32(x); !ok || !(all[i] > 0) || x > math.MaxFloat32 {
			r.wrong(fmt.Sprintf("%s[%d]", key, i), e, "a number above 0")
			return nil
		}
	}
	return all
}

// child returns the reader of a nested object, nil where it is missing.
func (r *reader) child(key string) *reader {
	v, ok := r.get(r.prefix + key)
	if !ok {
		return nil
	}
	fields, ok := v.(map[string]any)
	if !ok {
		r.wrong(key, v, "an object")
		return nil
	}
	return object(fields)
}
