package diff

import (
	"fmt"
	"math"
	"reflect"
	"slices"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
)

// KeyDiff is a key whose value differs.
type KeyDiff struct {
	Key   string      `json:"key"`
	A     inspect.Key `json:"a"`
	B     inspect.Key `json:"b"`
	First *int        `json:"first_difference,omitempty"` // index in two arrays

	a, b any
}

func newKeyDiff(key string, a, b any) KeyDiff {
	d := KeyDiff{Key: key, A: inspect.NewKey(key, a), B: inspect.NewKey(key, b), a: a, b: b}
	ra, rb := reflect.ValueOf(a), reflect.ValueOf(b)
	if ra.Kind() == reflect.Slice && rb.Kind() == reflect.Slice {
		i := 0
		for i < min(ra.Len(), rb.Len()) && reflect.DeepEqual(ra.Index(i).Interface(), rb.Index(i).Interface()) {
			i++
		}
		d.First = &i
	}
	return d
}

// Texts returns both values on a line each; of two arrays the first elements that differ.
func (d *KeyDiff) Texts() (a, b string) {
	if d.First != nil {
		return elementText(d.A.Type, d.a, *d.First), elementText(d.B.Type, d.b, *d.First)
	}
	if a, b = d.A.Text(), d.B.Text(); a == b { // the types differ, or the parts that are cut off
		return d.A.Type + " " + a, d.B.Type + " " + b
	}
	return a, b
}

func elementText(typ string, array any, i int) string {
	v := reflect.ValueOf(array)
	if i >= v.Len() {
		return typ + ", ends"
	}
	return fmt.Sprintf("%s, [%d] %s", typ, i, inspect.NewKey("", v.Index(i).Interface()).Text())
}

func (d *Diff) compareKeys(a, b *inspect.Model) {
	ma, notesA := a.Metadata()
	mb, notesB := b.Metadata()
	d.Notes = slices.Concat(notesA, notesB)
	for key, va := range ma.All() {
		vb, ok := mb.Get(key)
		switch {
		case !ok:
			d.KeysA = append(d.KeysA, inspect.NewKey(key, va))
		case sameValue(ma, mb, key):
			d.EqualKeys++
		default:
			d.Keys = append(d.Keys, newKeyDiff(key, va, vb))
		}
	}
	for key, v := range mb.All() {
		if _, ok := ma.Get(key); !ok {
			d.KeysB = append(d.KeysB, inspect.NewKey(key, v))
		}
	}
}

// sameValue compares a key's values. The width of numbers does not matter, since
// writers disagree about it: a float32 equals the float64 that rounds to it. A NaN
// equals a NaN.
func sameValue(a, b *gguf.Metadata, key string) bool {
	va, _ := a.Get(key)
	vb, _ := b.Get(key)
	if reflect.DeepEqual(va, vb) {
		return true
	}
	if x, ok := a.Int(key); ok {
		y, ok := b.Int(key)
		return ok && x == y
	}
	if x, ok := a.Float(key); ok {
		y, ok := b.Float(key)
		_, narrowA := va.(float32)
		_, narrowB := vb.(float32)
		if narrowA || narrowB {
			x, y = float64(float32(x)), float64(float32(y))
		}
		return ok && (x == y || math.IsNaN(x) && math.IsNaN(y))
	}
	x, okA := a.Int32s(key)
	y, okB := b.Int32s(key)
	return okA && okB && slices.Equal(x, y)
}
