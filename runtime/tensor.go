package runtime

import (
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/internal/source"
)

// Tensor is a tensor of the model, or a part of one that a GGUF file may hold in its place.
type Tensor struct {
	GGUF, HF string   // names in a GGUF file and in a checkpoint
	Shape    []uint64 // rows, columns; of a vector its length; of stacked experts their number, rows, columns
	First    int      // the row of the whole tensor that its first row is
	Path     string   // the file that holds it

	stored source.Tensor
}

func newTensor(t *source.Tensor) Tensor {
	return Tensor{GGUF: t.GGUF, HF: t.HF, Shape: t.Shape, First: t.First, Path: t.Path, stored: *t}
}

// Role returns the GGUF name of the tensor that t is a part of, or its own if it is none.
func (t *Tensor) Role() string { return t.stored.Role() }

// Rows returns the number of rows, 1 for a vector.
func (t *Tensor) Rows() int { return t.stored.Rows() }

// Cols returns the length of a row.
func (t *Tensor) Cols() int { return t.stored.Cols() }

// Elems returns the number of elements.
func (t *Tensor) Elems() int64 { return t.stored.Elems() }

// Pieces returns the tensors that a GGUF file may hold in place of t, each some of its rows, or nil if t is not divided
// in any file.
func (t *Tensor) Pieces() []Tensor {
	var parts []Tensor
	for _, p := range t.stored.Pieces() {
		parts = append(parts, newTensor(&p))
	}
	return parts
}

// ReadRow sets dst, of Cols values, to a row.
func (t *Tensor) ReadRow(dst []float32, row int) error {
	raw := make([]byte, t.stored.RowBytes())
	if err := t.stored.ReadRows(raw, row); err != nil {
		return err
	}
	t.stored.Decode(dst, raw)
	return nil
}

// Tensors lists the model's tensors, in the order of a GGUF file.
func (l *Layers) Tensors() []Tensor {
	var all []Tensor
	for i := range l.m.src.Tensors {
		all = append(all, newTensor(&l.m.src.Tensors[i]))
	}
	return all
}

// Stored returns the tensors that a file may hold for the tensor of this name: its parts, and the tensor itself.
func (l *Layers) Stored(name string) []Tensor {
	var all []Tensor
	for _, t := range l.m.src.Stored(name) {
		all = append(all, newTensor(&t))
	}
	return all
}

// Weights reads a tensor of the model from its file, row by row.
func (l *Layers) Weights(tensor string) ([]float32, error) {
	t, err := l.tensor(tensor)
	if err != nil {
		return nil, err
	}
	values := make([]float32, t.Elems())
	err = t.EachRows(func(first int, v []float32) error {
		copy(values[first*t.Cols():], v)
		return nil
	})
	return values, err
}

// Rows reads count rows of a tensor of the model from its file, from row first on. A vector is one row.
func (l *Layers) Rows(tensor string, first, count int) ([]float32, error) {
	t, err := l.tensor(tensor)
	if err != nil {
		return nil, err
	}
	if first < 0 || count < 0 || first+count > t.Rows() {
		return nil, fmt.Errorf("rows %d to %d of %s, which has %d", first, first+count, tensor, t.Rows())
	}
	values := make([]float32, count*t.Cols())
	raw := make([]byte, count*t.RowBytes())
	if err := t.ReadRows(raw, first); err != nil {
		return nil, err
	}
	t.Decode(values, raw)
	return values, nil
}

// Shape returns the rows and columns of a tensor, 1 row for a vector.
func (l *Layers) Shape(tensor string) (rows, cols int, err error) {
	t, err := l.tensor(tensor)
	if err != nil {
		return 0, 0, err
	}
	return t.Rows(), t.Cols(), nil
}

func (l *Layers) tensor(name string) (*source.Tensor, error) {
	all := l.m.src.Tensors
	i := slices.IndexFunc(all, func(t source.Tensor) bool { return t.GGUF == name })
	if i < 0 {
		return nil, fmt.Errorf("%s has no tensor %s", l.m.path, name)
	}
	return &all[i], nil
}
