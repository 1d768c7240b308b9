package calib

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/runtime"
)

// The gradient at an output that is divided by a factor is multiplied by it, and its correlations stay.
func TestOutputsScaled(t *testing.T) {
	dir, o := fisherModel(t)
	path := filepath.Join(t.TempDir(), "stats.gguf")
	if err := (fisherRun{threads: 2, memory: 1 << 30}).run(t, dir, path, o); err != nil {
		t.Fatal(err)
	}
	s, err := stats.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	l, err := runtime.OpenLayers(dir, runtime.Options{Batch: BatchTokens})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	name := l.Linear(0)[0]
	rows, _, err := l.Shape(name)
	if err != nil {
		t.Fatal(err)
	}
	q := &quantizer{stream: &stream{l: l}, stats: s}
	plain := mustOutputs(t, q, name, 0, rows)
	for i := range l.Folds(0) {
		f := l.Folds(0)[i]
		for _, m := range f.Makers {
			if m.Tensor != name {
				continue
			}
			factors := make([]float32, f.Channels)
			for k := range factors {
				factors[k] = float32(1 + k%3)
			}
			q.scalings = []*solve.Scaling{{Fold: f, Factors: factors}}
			for b, o := range mustOutputs(t, q, name, 0, rows) {
				for i, v := range o.Squares {
					want := plain[b].Squares[i]
					if k := o.First + i - m.First; k >= 0 && k < m.Rows {
						want *= factors[k] * factors[k]
					}
					if math.Abs(float64(v-want)) > 1e-6*float64(want) {
						t.Errorf("row %d: %g, expected %g", o.First+i, v, want)
					}
				}
			}
		}
	}
	if q.scalings == nil || len(plain) == 0 {
		t.Error("nothing was scaled")
	}
	if some := mustOutputs(t, q, name, plain[0].First+1, rows); len(some) != len(plain)-1 {
		t.Errorf("%d blocks without the first row, %d in all", len(some), len(plain))
	}
}

func mustOutputs(t *testing.T, q *quantizer, name string, first, end int) []solve.Outputs {
	t.Helper()
	all, err := q.outputsOf(name, first, end)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
