package alloc

import (
	"math"
	"slices"
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
		if cost := got[i].Cost; math.Abs(cost-off/energy) > 1e-9*cost {
			t.Errorf("%s costs %g, expected %g", typ, cost, off/energy)
		}
	}
}

// What a type with a slow encoder costs is near what it costs if all sampled rows are encoded.
func TestSlowTypes(t *testing.T) {
	l, err := runtime.OpenLayers("../../testdata/tiny-phi3", runtime.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	const name = "blk.2.ffn_down.weight"
	rows, cols, err := l.Shape(name)
	if err != nil {
		t.Fatal(err)
	}
	e := stats.Entry{Name: name, Sums: make([]float32, cols), Counts: []float32{1}}
	for c := range cols {
		e.Sums[c] = float32(1 + c*7%13)
	}
	x := &estimator{l: l, s: &stats.File{Entries: []stats.Entry{e}}, threads: 2}
	types := []quant.Type{quant.IQ3_S, quant.IQ2_XS, quant.Q4_K}
	got, _, err := x.tensor(&l.Stored(name)[0], types)
	if err != nil {
		t.Fatal(err)
	}
	w, err := l.Rows(name, 0, rows)
	if err != nil {
		t.Fatal(err)
	}
	all := sample{columns: e.Importance(), weight: 1}
	energy := all.squaresOf(w, cols)
	for i, typ := range types {
		blocks, decoded := make([]byte, typ.Size(int64(len(w)))), make([]float32, len(w))
		typ.Quantize(blocks, w, cols, all.columns)
		typ.Dequantize(decoded, blocks)
		for k, v := range w {
			decoded[k] -= v
		}
		want := all.squaresOf(decoded, cols) / energy
		if cost := got[i].Cost; math.Abs(cost-want) > 0.05*want {
			t.Errorf("%s costs %g, expected %g", typ, cost, want)
		}
	}
}

// squaresOf returns the weighted squares of rows.
func (s *sample) squaresOf(w []float32, cols int) (sum float64) {
	for row := range slices.Chunk(w, cols) {
		sum += s.squares(row)
	}
	return sum
}
