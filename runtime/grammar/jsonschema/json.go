package jsonschema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"strings"
)

// object is a JSON object whose members keep their order.
type object struct {
	id     int // in a document
	keys   []string
	values map[string]any
	path   string // JSON pointer
}

// document is JSON text: nil, bool, string, json.Number, []any and *object.
type document struct {
	root    any
	objects int
	anchors map[string]*object
}

// What bounds a schema's text.
const (
	maxBytes = 1 << 20
	maxDepth = 200
)

func parse(text []byte) (*document, error) {
	if len(text) > maxBytes {
		return nil, fmt.Errorf("the schema has %d bytes, expected at most %d", len(text), maxBytes)
	}
	d := &document{anchors: map[string]*object{}}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var err error
	if d.root, err = d.value(dec, "#", 0); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, fmt.Errorf("the schema is no JSON: %w", err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, fmt.Errorf("there is more than one value in the schema")
	}
	return d, nil
}

func (d *document) value(dec *json.Decoder, path string, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("it is nested more than %d deep", maxDepth)
	}
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t {
	case json.Delim('['):
		list := []any{}
		for dec.More() {
			v, err := d.value(dec, fmt.Sprintf("%s/%d", path, len(list)), depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		_, err = dec.Token()
		return list, err
	case json.Delim('{'):
		return d.object(dec, path, depth)
	}
	return t, nil
}

func (d *document) object(dec *json.Decoder, path string, depth int) (*object, error) {
	d.objects++
	o := &object{id: d.objects, values: map[string]any{}, path: path}
	for dec.More() {
		t, err := dec.Token()
		if err != nil {
			return nil, err
		}
		key := t.(string) // the decoder has seen to that
		if _, ok := o.values[key]; ok {
			return nil, fmt.Errorf("%s has %q twice", path, key)
		}
		v, err := d.value(dec, path+"/"+escape(key), depth+1)
		if err != nil {
			return nil, err
		}
		o.keys = append(o.keys, key)
		o.values[key] = v
	}
	if a, ok := o.values["$anchor"].(string); ok {
		d.anchors[a] = o
	}
	_, err := dec.Token()
	return o, err
}

func escape(key string) string {
	return strings.ReplaceAll(strings.ReplaceAll(key, "~", "~0"), "/", "~1")
}

// text writes a scalar as JSON.
func text(v any) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return "null" // of scalars there is no error
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// equal compares values as JSON Schema does: 1 and 1.0 are one number.
func equal(a, b any) bool {
	switch a := a.(type) {
	case json.Number:
		b, ok := b.(json.Number)
		if !ok {
			return false
		}
		x, errA := decimalOf(a)
		y, errB := decimalOf(b)
		return errA == nil && errB == nil && x.rat().Cmp(y.rat()) == 0
	case []any:
		b, ok := b.([]any)
		if !ok || len(a) != len(b) {
			return false
		}
		for i := range a {
			if !equal(a[i], b[i]) {
				return false
			}
		}
		return true
	case *object:
		b, ok := b.(*object)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		for key, v := range a.values {
			if w, ok := b.values[key]; !ok || !equal(v, w) {
				return false
			}
		}
		return true
	}
	return a == b
}

// decimal is ±digits·10^-places, exactly.
type decimal struct {
	negative bool
	digits   string // without zeros in front; "" for 0
	places   int    // 0 or more; the last of them is not 0
}

// maxDigits bounds the digits of a bound.
const maxDigits = 400

func decimalOf(n json.Number) (decimal, error) {
	var d decimal
	s := string(n)
	s, d.negative = strings.CutPrefix(s, "-")
	s, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	whole, part, _ := strings.Cut(s, ".")
	d.digits, d.places = whole+part, len(part)
	if exponent != "" {
		e, ok := new(big.Int).SetString(exponent, 10)
		if !ok || !e.IsInt64() || e.Int64() > maxDigits || e.Int64() < -maxDigits {
			return d, fmt.Errorf("the number %s is too large or too small", n)
		}
		d.places -= int(e.Int64())
	}
	if d.places < 0 {
		d.digits, d.places = d.digits+strings.Repeat("0", -d.places), 0
	}
	for d.places > 0 && strings.HasSuffix(d.digits, "0") {
		d.digits, d.places = d.digits[:len(d.digits)-1], d.places-1
	}
	d.digits = strings.TrimLeft(d.digits, "0")
	if d.digits == "" {
		d = decimal{}
	}
	if len(d.digits)+d.places > 2*maxDigits {
		return d, fmt.Errorf("the number %s has too many digits", n)
	}
	return d, nil
}

func (d decimal) rat() *big.Rat {
	n, ok := new(big.Int).SetString("0"+d.digits, 10)
	if !ok {
		return new(big.Rat)
	}
	r := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(d.places)), nil))
	if d.negative {
		r.Neg(r)
	}
	return r
}

// split returns the digits before the point, at least one, and after it.
func (d decimal) split() (whole, part string) {
	s := d.digits
	if len(s) <= d.places {
		s = strings.Repeat("0", d.places+1-len(s)) + s
	}
	return s[:len(s)-d.places], s[len(s)-d.places:]
}
