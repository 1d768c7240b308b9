package alloc

import (
	"math"
	"testing"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// An expert's errors count as often as tokens reach it: if all reach one, what a type costs is that expert's relative
// error.
func TestExpertCosts(t *testing.T) {
	l, err := runtime.OpenLayers("../../testdata/tiny-phimoe", runtime.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	const name, only = "blk.1.ffn_up_exps.weight", 3
	rows, cols, err := l.Shape(name)
	if err != nil {
		t.Fatal(err)
	}
	experts := l.Experts(name)
	e := stats.Entry{Name: name, Sums: make([]float32, experts*cols), Counts: make([]float32, experts)}
	for c := range cols {
		e.Sums[only*cols+c] = float32(1000 + c*7%13*1000)
	}
	e.Counts[only] = 1000
	x := &estimator{l: l, s: &stats.File{Entries: []stats.Entry{e}}, threads: 2}
	stored := l.Stored(name)
	types := []quant.Type{quant.Q4_0, quant.Q8_0}
	got, _, err := x.tensor(&stored[0], types)
	if err != nil {
		t.Fatal(err)
	}
	n := rows / experts
	w, err := l.Rows(name, only*n, n)
	if err != nil {
		t.Fatal(err)
	}
	importance := e.Importance()[only*cols:][:cols]
	for i, typ := range types {
		blocks, decoded := make([]byte, typ.Size(int64(len(w)))), make([]float32, len(w))
		typ.Quantize(blocks, w, cols, importance)
		typ.Dequantize(decoded, blocks)
		off, energy := 0.0, 0.0
		for k, v := range w {
			weight := float64(importance[k%cols])
			off += weight * math.Pow(float64(v-decoded[k]), 2)
			energy += weight * math.Pow(float64(v), 2)
		}
		if cost := got.Candidates[i].Cost; math.Abs(cost-off/energy) > 1e-9*cost {
			t.Errorf("%s costs %g, expected %g", typ, cost, off/energy)
		}
	}
}
