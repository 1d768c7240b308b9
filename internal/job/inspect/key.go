package inspect

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/report"
)

// Key is a metadata key with its value, of a long array the first elements.
type Key struct {
	Key   string `json:"key"`
	Type  string `json:"type"` // such as "uint32" or "string[32064]"
	Value any    `json:"value"`
	Cut   bool   `json:"shortened,omitempty"`
}

const (
	maxArray = 16 // elements of an array that are shown
	maxText  = 60 // characters of a text that are shown
)

// NewKey describes a key.
func NewKey(key string, v any) Key {
	rv := reflect.ValueOf(v)
	if rv.Kind() != reflect.Slice {
		return Key{Key: key, Type: fmt.Sprintf("%T", v), Value: jsonValue(v)}
	}
	typ := rv.Type().Elem().String()
	if _, ok := v.([]any); ok {
		typ = "array"
	}
	k := Key{Key: key, Type: fmt.Sprintf("%s[%d]", typ, rv.Len()), Cut: rv.Len() > maxArray}
	first := make([]any, min(rv.Len(), maxArray))
	for i := range first {
		first[i] = jsonValue(rv.Index(i).Interface())
	}
	k.Value = first
	return k
}

// jsonValue returns a metadata value in a form that JSON has.
func jsonValue(v any) any {
	switch v := v.(type) {
	case float32:
		if !floats.Finite(v) {
			return nil
		}
	case float64:
		return report.Number(v)
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Slice { // an array in an array
		return NewKey("", v).Value
	}
	return v
}

// Text returns the value on one line, shortened.
func (k Key) Text() string {
	switch v := k.Value.(type) {
	case nil:
		return "not finite"
	case string:
		return quoteShort(v)
	case []any:
		var b strings.Builder
		b.WriteString("[")
		for i, x := range v {
			if i > 0 {
				b.WriteString(", ")
			}
			text := Key{Value: x}.Text()
			if b.Len()+len(text) > maxText {
				b.WriteString("…")
				break
			}
			b.WriteString(text)
			if i == len(v)-1 && k.Cut {
				b.WriteString(", …")
			}
		}
		b.WriteString("]")
		return b.String()
	}
	return fmt.Sprint(k.Value)
}

// firstRunes returns the first characters of a text, all of them or more than maxText.
func firstRunes(s string) []rune {
	return []rune(s[:min(len(s), (maxText+1)*utf8.UTFMax)])
}

// quoteShort quotes a text and cuts it.
func quoteShort(s string) string {
	if runes := firstRunes(s); len(runes) > maxText {
		return fmt.Sprintf("%q… (%d bytes)", string(runes[:maxText]), len(s))
	}
	return strconv.Quote(s)
}

// Shorten cuts a text of one line to what is shown of it.
func Shorten(s string) string {
	if runes := firstRunes(s); len(runes) > maxText {
		s = string(runes[:maxText]) + "…"
	}
	return report.Printable(s)
}
