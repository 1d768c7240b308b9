package testmodel

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Edit is a change of a file in a directory; testdata/make/golden_mutations.py says what its fields mean.
type Edit struct {
	File   string
	Text   *string
	Copy   string
	At     []any
	Value  any
	Remove bool
}

// Apply makes the change.
func (e Edit) Apply(t testing.TB, dir string) {
	t.Helper()
	path := filepath.Join(dir, e.File)
	switch {
	case e.Text != nil:
		Write(t, path, []byte(*e.Text))
	case e.Copy != "":
		Write(t, path, Read(t, filepath.Join(testdata, "..", filepath.FromSlash(e.Copy))))
	case e.At == nil:
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	default:
		var content any
		err := json.Unmarshal(Read(t, path), &content)
		if err == nil {
			content, err = e.in(content, e.At)
		}
		if err != nil {
			t.Fatalf("%s: %v", e.File, err)
		}
		data, err := json.Marshal(content)
		if err != nil {
			t.Fatal(err)
		}
		Write(t, path, data)
	}
}

// in returns content with the change at a path, whose steps are keys, indices, and "+" for the end of a list.
func (e Edit) in(content any, at []any) (any, error) {
	if len(at) == 0 {
		return e.Value, nil
	}
	remove := len(at) == 1 && e.Remove
	switch c := content.(type) {
	case map[string]any:
		key, ok := at[0].(string)
		if !ok {
			break
		}
		if remove {
			delete(c, key)
			return c, nil
		}
		inner, err := e.in(c[key], at[1:])
		c[key] = inner
		return c, err
	case []any:
		if at[0] == "+" {
			return append(c, e.Value), nil
		}
		i, ok := at[0].(float64)
		if !ok || int(i) >= len(c) {
			break
		}
		if remove {
			return slices.Delete(c, int(i), int(i)+1), nil
		}
		inner, err := e.in(c[int(i)], at[1:])
		c[int(i)] = inner
		return c, err
	}
	return nil, fmt.Errorf("no place %v in a %T", at, content)
}
