// Package diff compares two models of any formats and types: metadata, and the values of every tensor that both
// have.
package diff

import (
	"context"
	"math"

	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
)

// Diff is how model B differs from model A, the reference.
type Diff struct {
	A          string         `json:"a"`
	B          string         `json:"b"`
	Notes      []string       `json:"notes,omitempty"` // what was left out
	EqualKeys  int            `json:"equal_keys"`
	KeysA      []inspect.Key  `json:"keys_only_a"`
	KeysB      []inspect.Key  `json:"keys_only_b"`
	Keys       []KeyDiff      `json:"keys_different"`
	TensorsA   []string       `json:"tensors_only_a"`
	TensorsB   []string       `json:"tensors_only_b"`
	Unlike     []Incomparable `json:"tensors_not_compared"`
	Tensors    []TensorDiff   `json:"tensors"`
	Overall    Metrics        `json:"overall"`
	Parameters int64          `json:"parameters_compared"`
	Weights    verify.Weights `json:"rows"`
}

// Incomparable is a tensor that both models have but that was not compared.
type Incomparable struct {
	Name string `json:"name"`
	Why  string `json:"why"`
}

// TensorDiff compares a tensor, or the part of a matrix that is a tensor in the other model.
type TensorDiff struct {
	Name  string   `json:"name"` // in a GGUF file
	TypeA string   `json:"type_a"`
	TypeB string   `json:"type_b"`
	Shape []uint64 `json:"shape"`
	Metrics
}

// Metrics are those of tensorstats.Diff. In JSON they are null where a value is NaN, and for an SQNR that is infinite:
// +Inf of equal tensors, -Inf where only the reference is zero. Tensors are equal if the RMSE is 0.
type Metrics struct {
	RMSE   report.Number `json:"rmse"`
	MaxErr report.Number `json:"max_error"`
	Cosine report.Number `json:"cosine"`
	SQNR   report.Number `json:"sqnr_db"`
}

func metrics(d *tensorstats.Diff) Metrics {
	return Metrics{
		report.Number(d.RMSE()), report.Number(d.MaxAbs()), report.Number(d.Cosine()), report.Number(d.SQNR()),
	}
}

// Equal reports whether the values are the same.
func (m *Metrics) Equal() bool { return math.IsInf(float64(m.SQNR), 1) }

// Options say how to compare. The zero value has the defaults.
type Options struct {
	Threads int              // tensors that are compared at the same time, 0 for the number of CPUs
	Monitor progress.Monitor // may be nil
}

// Compare compares b with the reference a.
func Compare(ctx context.Context, a, b *inspect.Model, opt Options) (*Diff, error) {
	d := newDiff(a, b)
	d.compareKeys(a, b)
	return d, d.compareTensors(ctx, a, b, opt)
}

// Weights compares the rows of b's matrices with those of the reference a. It finds the few that are damaged
// or swapped.
func Weights(ctx context.Context, a, b *inspect.Model, opt Options) (*verify.Weights, error) {
	d := newDiff(a, b)
	err := d.compareTensors(ctx, a, b, opt)
	return &d.Weights, err
}

// newDiff has no nil slices, which JSON writes as null.
func newDiff(a, b *inspect.Model) *Diff {
	return &Diff{
		A: a.Path, B: b.Path,
		KeysA: []inspect.Key{}, KeysB: []inspect.Key{}, Keys: []KeyDiff{},
		TensorsA: []string{}, TensorsB: []string{}, Unlike: []Incomparable{}, Tensors: []TensorDiff{},
		Weights: verify.Weights{Unlike: []tensorstats.UnlikeRow{}},
	}
}
