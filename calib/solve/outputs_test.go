package solve

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// someOutputs returns n outputs from row first on whose gradients are sums of a few others, and all products of two.
func someOutputs(first, n int) (Outputs, []float64) {
	r := rand.New(rand.NewPCG(5, uint64(first)))
	full := make([]float64, n*n)
	mix := make([]int64, n*4)
	for i := range mix {
		mix[i] = r.Int64N(9) - 4
	}
	for i := range n {
		for j := range n {
			for k := range 4 {
				full[i*n+j] += float64(mix[i*4+k] * mix[j*4+k])
			}
		}
		full[i*n+i]++
	}
	full[0] = 4 * full[0]
	for j := 1; j < n; j++ { // the first output is twice as large
		full[j], full[j*n] = 2*full[j], 2*full[j*n]
	}
	o := Outputs{First: first}
	for i := range n {
		o.Squares = append(o.Squares, float32(full[i*n+i]))
		for j := range i {
			o.Pairs = append(o.Pairs, float32(full[i*n+j]/math.Sqrt(full[i*n+i]*full[j*n+j])))
		}
	}
	return o, full
}

// costTogether returns tr(O·E·H·Eᵀ) of a block of rows.
func costTogether(l *Layer, data []byte, o *Outputs, full []float64) (sum float64) {
	n, cols := len(o.Squares), l.Cols
	q := make([]float32, l.Rows*cols)
	l.Type.Dequantize(q, data)
	h := make([]float64, cols)
	e := func(i, c int) float64 {
		k := (o.First+i)*cols + c
		return float64(l.W[k]) - float64(q[k])
	}
	for i := range n {
		clear(h)
		for j := range n {
			for c := range cols {
				h[c] += full[i*n+j] * e(j, c)
			}
		}
		for a := range cols {
			for c := range cols {
				sum += e(i, a) * float64(l.H[a*cols+c]) * h[c]
			}
		}
	}
	return sum
}

// Errors of rows that go together cost less than without feedback between rows, and other rows stay as they are.
func TestOutputs(t *testing.T) {
	for _, typ := range []quant.Type{quant.Q4_K, quant.Q4_0, quant.IQ3_S} {
		l := randomLayer(typ, 48, 256, 500)
		opt := options()
		alone := mustSolve(t, l, opt)
		o, full := someOutputs(8, 24)
		l.Outputs = []Outputs{o}
		if s := mustSolve(t, l, opt); !bytes.Equal(s.Data, alone.Data) {
			t.Errorf("%s: outputs that count nothing change blocks", typ)
		}
		opt.Outputs = 0.9
		together := mustSolve(t, l, opt)
		before, after := costTogether(l, alone.Data, &o, full), costTogether(l, together.Data, &o, full)
		if !(after < 0.7*before) {
			t.Errorf("%s: cost %g, %g by themselves", typ, after, before)
		}
		if !(together.Error > alone.Error && together.Error < together.Plain) ||
			math.Abs(together.Plain-alone.Plain) > 1e-3*alone.Plain {
			t.Errorf("%s: %g of %g, %g of %g by themselves",
				typ, together.Error, together.Plain, alone.Error, alone.Plain)
		}
		row := len(alone.Data) / l.Rows
		if !bytes.Equal(alone.Data[:8*row], together.Data[:8*row]) ||
			!bytes.Equal(alone.Data[32*row:], together.Data[32*row:]) {
			t.Errorf("%s: rows outside of the block have changed", typ)
		}
	}
}

// An output without gradients is solved by itself.
func TestOutputsWithoutGradients(t *testing.T) {
	l := randomLayer(quant.Q4_K, 16, 256, 500)
	opt := options()
	alone := mustSolve(t, l, opt)
	opt.Outputs = 1
	l.Outputs = []Outputs{{Squares: make([]float32, 16), Pairs: make([]float32, 120)}}
	refined := mustSolve(t, l, opt) // by more passes
	if !(refined.Error <= alone.Error*(1+1e-6)) {
		t.Errorf("%g, %g by themselves", refined.Error, alone.Error)
	}
}

// Outputs that hardly matter make up for others, but stay like the original: verify would call them damaged.
func TestOutputsOfSmallGradients(t *testing.T) {
	least := map[quant.Type]float64{quant.Q4_K: 0.95, quant.Q2_K: 0.76}
	for _, small := range []float64{1e-2, 1e-3, 1e-5} {
		for typ := range least {
			testSmallGradients(t, typ, small, least[typ])
		}
	}
}

func testSmallGradients(t *testing.T, typ quant.Type, small, least float64) {
	t.Helper()
	l := randomLayer(typ, 32, 256, 500)
	o, _ := someOutputs(0, 32)
	for i := 20; i < 28; i++ {
		o.Squares[i] *= float32(small)
	}
	l.Outputs = []Outputs{o}
	opt := options()
	opt.Outputs = 0.9
	q := make([]float32, len(l.W))
	l.Type.Dequantize(q, mustSolve(t, l, opt).Data)
	for r := range l.Rows {
		var dot, w2, q2 float64
		for c := range l.Cols {
			a, b := float64(l.W[r*l.Cols+c]), float64(q[r*l.Cols+c])
			dot, w2, q2 = dot+a*b, w2+a*a, q2+b*b
		}
		if like := dot / math.Sqrt(w2*q2); like < least {
			t.Errorf("%s, squares of %g: row %d has cosine %.3f with the original", typ, small, r, like)
		}
	}
}

// Outputs with next to no gradients do not make up for others, whatever a file says, and what is no sum of squares is
// refused.
func TestOutputsHostile(t *testing.T) {
	l := randomLayer(quant.Q4_K, 16, 256, 500)
	opt := options()
	alone := mustSolve(t, l, opt)
	opt.Outputs = 0.9
	o, _ := someOutputs(0, 16)
	for i := range o.Squares {
		o.Squares[i] = 1e-38
	}
	o.Squares[0] = math.MaxFloat32
	l.Outputs = []Outputs{o}
	if s := mustSolve(t, l, opt); !(s.Error <= alone.Error*(1+1e-6)) {
		t.Errorf("%g, %g by themselves", s.Error, alone.Error)
	}
	o, _ = someOutputs(0, 16)
	for i := range o.Pairs {
		o.Pairs[i] = -1
	}
	l.Outputs = []Outputs{o}
	if _, err := l.Quantize(t.Context(), opt); err == nil {
		t.Error("16 outputs that all go against each other were taken")
	}
}

// The same bytes with any number of threads, from every kernel set and on every architecture: those of
// testdata/outputs.txt.
func TestOutputsSameBytes(t *testing.T) {
	defer func() { _ = kern.SelectFromEnv() }()
	b, err := os.ReadFile("testdata/outputs.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []quant.Type{quant.Q4_K, quant.Q4_0, quant.IQ4_NL, quant.Q6_K} {
		l := fixedLayer(typ, 60, 256)
		one, _ := someOutputs(3, 20)
		two, _ := someOutputs(23, 33)
		l.Outputs = []Outputs{one, two}
		opt := Options{Damp: []float64{0.1}, Shrink: 0.1, Sweeps: 1, Outputs: 0.5}
		for i, set := range kern.Sets() {
			if i == 0 && typ != quant.Q4_0 {
				continue // the portable one is slow
			}
			if err := kern.Select(set.Name); err != nil {
				t.Fatal(err)
			}
			opt.Threads = 1 + i
			s := mustSolve(t, l, opt)
			line := fmt.Sprintf("%s %x\n", typ, sha256.Sum256(s.Data))
			if !strings.Contains(string(b), line) {
				t.Errorf("%s kernels: testdata/outputs.txt lacks\n%s", set.Name, line)
			}
		}
	}
}
