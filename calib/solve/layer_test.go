package solve

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// randomLayer returns weights and the second moments of correlated inputs with columns of
// uneven size, some of which are always 0.
func randomLayer(typ quant.Type, rows, cols, tokens int) *Layer {
	r := rand.New(rand.NewPCG(uint64(rows), uint64(cols)))
	l := &Layer{Rows: rows, Cols: cols, Type: typ, W: make([]float32, rows*cols), H: make([]float32, cols*cols)}
	for i := range l.W {
		l.W[i] = float32(r.NormFloat64() * 0.02)
	}
	x := make([]float64, cols)
	sums := make([]float64, cols*cols)
	for range tokens {
		last := 0.0
		for j := range x {
			last = 0.8*last + r.NormFloat64()
			x[j] = last * float64(1+j%7)
			if j%61 == 60 {
				x[j] = 0
			}
		}
		for i := range x {
			for j := range x {
				sums[i*cols+j] += x[i] * x[j]
			}
		}
	}
	for i, v := range sums {
		l.H[i] = float32(v)
	}
	return l
}

// firstTile returns a tile of a layer's first rows.
func firstTile(s *solver, count int) *tile {
	t := newTile(s, newMultiplier(), count)
	for r := range count {
		copy(t.w.row(r), s.target[r*s.Cols:(r+1)*s.Cols])
	}
	return t
}

func options() Options { return Options{Damp: []float64{0.01}, Sweeps: 3, Threads: 2} }

func mustSolve(t *testing.T, l *Layer, opt Options) *Solution {
	t.Helper()
	s, err := l.Quantize(context.Background(), opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// U·D·Uᵀ is the matrix, and the inverse of a diagonal block is one.
func TestFactorize(t *testing.T) {
	const n = 224 // blocks of 64 and a rest
	l := randomLayer(quant.Q4_0, 1, n, 2*n)
	h := newSquare(n)
	h.fill(l.H, 1)
	mean := 0.0
	for j := range n {
		mean += float64(l.H[j*n+j]) / n
	}
	for j := range n {
		h.data[h.at(j, j)] += float32(0.01 * mean)
	}
	want := append([]float32(nil), h.data...)
	f, err := factorize(h, 2, func(float64) {})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		for j := i; j < n; j++ {
			sum := 0.0
			for k := j; k < n; k++ {
				sum += float64(f.u.data[f.u.at(i, k)]) * float64(f.d[k]) * float64(f.u.data[f.u.at(j, k)])
			}
			scale := math.Sqrt(float64(want[h.at(i, i)]) * float64(want[h.at(j, j)]))
			if got := float64(want[h.at(i, j)]); math.Abs(sum-got) > 3e-6*scale {
				t.Fatalf("element %d,%d is %g, want %g", i, j, sum, got)
			}
		}
	}
	m := &square{n, want}
	g, err := newLocalGroup(m, 64, 32)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 32 {
		for j := range 32 {
			sum := 0.0
			for k := range 32 {
				sum += float64(g.inverse[i][k]) * float64(g.h[k][j])
			}
			if i == j {
				sum--
			}
			if math.Abs(sum) > 1e-3 {
				t.Fatalf("inverse times block is off by %g at %d,%d", sum, i, j)
			}
		}
	}
}

// The codes and the error of GPTQ as its paper has it, with an inverse and in float64.
func TestFeedbackGolden(t *testing.T) {
	var g struct {
		Rows, Cols  int
		Damp, Error float64
		W, H, Scale []float32
		Codes       []int
	}
	b, err := os.ReadFile("../../testdata/golden/gptq.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &g); err != nil {
		t.Fatal(err)
	}
	l := &Layer{Rows: g.Rows, Cols: g.Cols, W: g.W, H: g.H, Type: quant.Q4_0}
	s, err := newSolver(l, g.Damp, &Options{})
	if err != nil {
		t.Fatal(err)
	}
	tile := firstTile(s, g.Rows)
	for r := range g.Rows {
		for at := 0; at < g.Cols; at += 32 {
			var w, x vector
			copy(w[:], tile.w.row(r)[at:])
			x = w
			for k := range at {
				for j := range x {
					x[j] += tile.e.row(r)[k] * s.factor.u.data[s.factor.u.at(k, at+j)]
				}
			}
			var codes [maxGroup]uint8
			block := r*g.Cols/32 + at/32
			s.feed[at/32].feedback(s.levels, &codes, &w, &x, g.Scale[block], 0, noLimit)
			copy(tile.codes[r*g.Cols+at:], codes[:])
			tile.scale[block], tile.d[block] = 1, g.Scale[block]
			tile.errors(r, at, 32)
		}
	}
	wrong := 0
	for i, c := range tile.codes {
		if int(c) != g.Codes[i] {
			wrong++
		}
	}
	if wrong > 0 {
		t.Errorf("%d of %d codes differ", wrong, len(tile.codes))
	}
	_, costs := tile.cost()
	sum := 0.0
	for _, c := range costs {
		sum += c / float64(s.scale)
	}
	if math.Abs(sum-g.Error) > 1e-4*g.Error {
		t.Errorf("error %g, want %g", sum, g.Error)
	}
}

// A type whose blocks cannot be taken apart is refused by name.
func TestWithoutGeometry(t *testing.T) {
	l := randomLayer(quant.Q4_0, 1, 32, 10)
	l.Type = quant.BF16
	if _, err := newSolver(l, 0.01, &Options{}); err == nil || !strings.Contains(err.Error(), "BF16") {
		t.Errorf("a layer of BF16: %v", err)
	}
}

// For every type: error feedback is better than the type's own encoder, refinement never makes a
// row worse, and what Solve reports is the error of the bytes that it returns.
func TestSolve(t *testing.T) {
	for _, typ := range quant.Types() {
		if !typ.HasGeometry() {
			continue
		}
		l := randomLayer(typ, 40, 256, 500)
		s, err := newSolver(l, 0.01, &Options{})
		if err != nil {
			t.Fatal(err)
		}
		tile := firstTile(s, tileRows)
		tile.feedback()
		before, _ := tile.cost()
		for range 3 {
			tile.refine()
			after, _ := tile.cost()
			for r := range after {
				if after[r] > before[r]*(1+1e-5) {
					t.Errorf("%s: refinement raised the error of row %d from %g to %g", typ, r, before[r], after[r])
				}
			}
			before = after
		}

		plain := mustSolve(t, l, Options{Damp: []float64{0.01}})
		refined := mustSolve(t, l, options())
		if !(plain.Error < 0.75*plain.Plain && refined.Error < 0.99*plain.Error) {
			t.Errorf("%s: error %.4g of the encoder, %.4g with feedback, %.4g refined",
				typ, plain.Plain, plain.Error, refined.Error)
		}
		if got := l.Error(refined.Data, l.H, 1); math.Abs(got-refined.Error) > 1e-3*got {
			t.Errorf("%s: the error is %g, reported %g", typ, got, refined.Error)
		}
		if typ.BadScale(refined.Data) >= 0 {
			t.Errorf("%s: bad scale", typ)
		}
	}
}

// fixedLayer depends on no function whose result differs between architectures: integers all through.
func fixedLayer(typ quant.Type, rows, cols int) *Layer {
	r := rand.New(rand.NewPCG(3, 3))
	l := &Layer{Rows: rows, Cols: cols, Type: typ, W: make([]float32, rows*cols), H: make([]float32, cols*cols)}
	for i := range l.W {
		l.W[i] = float32(r.Int64N(2000)+r.Int64N(2000)+r.Int64N(2000)-2997) / 65536
	}
	x, sums := make([]int64, cols), make([]int64, cols*cols)
	for range 300 {
		for j := range x {
			x[j] = r.Int64N(21) - 10
			if j > 0 {
				x[j] += x[j-1] / 2
			}
		}
		for i := range x {
			for j := range x {
				sums[i*cols+j] += x[i] * x[j]
			}
		}
	}
	for i, v := range sums {
		l.H[i] = float32(v)
	}
	return l
}

// The same bytes with any number of threads, from every kernel set, and on every architecture: those of
// testdata/solved.txt. A deliberate change of the result updates that file.
func TestSolveSameBytes(t *testing.T) {
	defer func() { _ = kern.SelectFromEnv() }()
	b, err := os.ReadFile("testdata/solved.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range quant.Types() {
		if !typ.HasGeometry() {
			continue
		}
		l := fixedLayer(typ, 36, 256)
		l.Cross = l.H
		opt := Options{Damp: []float64{0.01, 0.1}, Shrink: 0.1, Asymmetric: 0.05, Sweeps: 1}
		for i, set := range kern.Sets() {
			if i == 0 && typ != quant.Q4_K {
				continue // the portable one is slow
			}
			if err := kern.Select(set.Name); err != nil {
				t.Fatal(err)
			}
			opt.Threads = 1 + i
			line := fmt.Sprintf("%s %x\n", typ, sha256.Sum256(mustSolve(t, l, opt).Data))
			if !strings.Contains(string(b), line) {
				t.Errorf("%s kernels, %d threads: testdata/solved.txt lacks\n%s", set.Name, opt.Threads, line)
			}
		}
	}
}

// The target of the asymmetric correction: W + share·W·C·H⁻¹, by elimination in float64.
func TestCorrect(t *testing.T) {
	l := randomLayer(quant.Q4_0, 40, 96, 400)
	r := rand.New(rand.NewPCG(1, 1))
	l.Cross = make([]float32, len(l.H))
	for i := range l.Cross {
		l.Cross[i] = float32(r.NormFloat64() * 10)
	}
	s, err := newSolver(l, 0.05, &Options{Asymmetric: 0.5, Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	// (target - W)·h = ½·W·Cross
	n := l.Cols
	for row := range l.Rows {
		for j := range n {
			left, right, size := 0.0, 0.0, 0.0
			for k := range n {
				left += float64(s.target[row*n+k]-l.W[row*n+k]) * float64(s.h.data[s.h.at(k, j)])
				p := 0.5 * float64(l.W[row*n+k]) * float64(l.Cross[k*n+j]) * float64(s.scale)
				right += p
				size += math.Abs(p)
			}
			if math.Abs(left-right) > 1e-3*size {
				t.Fatalf("row %d, column %d: %g, want %g", row, j, left, right)
			}
		}
	}
}

// Second moments that are no good end in an error, singular ones in a finite result.
func TestHostileMoments(t *testing.T) {
	const n = 256
	one := func(h []float32) {
		clear(h)
		for i := range n {
			for j := range n {
				h[i*n+j] = float32((1 + i%3) * (1 + j%3))
			}
		}
	}
	for name, c := range map[string]struct {
		edit func(h []float32)
		err  string
	}{
		"zero":     {func(h []float32) { clear(h) }, ""},
		"rank one": {one, ""},
		"huge": {func(h []float32) {
			one(h)
			for i := range h {
				h[i] *= 1e33
			}
		}, ""},
		"tiny": {func(h []float32) {
			one(h)
			for i := range h {
				h[i] *= 1e-36
			}
		}, ""},
		"NaN":        {func(h []float32) { h[7] = float32(math.NaN()) }, "not finite"},
		"infinite":   {func(h []float32) { h[7] = float32(math.Inf(1)) }, "not finite"},
		"negative":   {func(h []float32) { h[3*n+3] = -1 }, "column 3 is -1"},
		"indefinite": {func(h []float32) { h[1] = 1e30; h[n] = 1e30 }, ""},
	} {
		for _, damp := range []float64{0, 0.01} {
			l := randomLayer(quant.Q4_K, 3, n, 20)
			c.edit(l.H)
			s, err := l.Quantize(context.Background(), Options{Damp: []float64{damp}, Sweeps: 2, Threads: 1})
			switch {
			case c.err != "":
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Errorf("%s: error %v", name, err)
				}
			case err != nil:
				if name != "indefinite" {
					t.Errorf("%s: %v", name, err)
				}
			case math.IsNaN(s.Error) || l.Type.BadScale(s.Data) >= 0:
				t.Errorf("%s: not finite", name)
			default:
				values := make([]float32, len(l.W))
				l.Type.Dequantize(values, s.Data)
				for i, v := range values {
					if !(math.Abs(float64(v)) < 1) { // weights of 0.02
						t.Errorf("%s: weight %g became %g", name, l.W[i], v)
						break
					}
				}
			}
		}
	}
	l := randomLayer(quant.Q4_K, 3, n, 20)
	l.W[n+5] = 1e6
	if _, err := l.Quantize(context.Background(), options()); err == nil || !strings.Contains(err.Error(), "[1,5]") {
		t.Errorf("large weight: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := randomLayer(quant.Q4_K, 3, n, 20).Quantize(ctx, options()); err != context.Canceled {
		t.Errorf("cancelled: %v", err)
	}
}

// The nearest of all levels, for every type.
func TestLevels(t *testing.T) {
	for _, typ := range quant.Types() {
		if !typ.HasGeometry() {
			continue
		}
		values := typ.Geometry().Levels
		l := newLevels(values, nil)
		for x := values[0] - 3; x < values[len(values)-1]+3; x += 0.0625 {
			got := values[l.code(x)]
			for _, v := range values {
				if math.Abs(float64(v-x)) < math.Abs(float64(got-x)) {
					t.Fatalf("%s: %g became %g, %g is nearer", typ, x, got, v)
				}
			}
		}
	}
}
