package calib

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/testdata"
)

// Whatever the factors, scaled models compute what the original does, up to rounding: with grouped heads, partly
// rotated ones, windows, long factors, and tied embeddings.
func TestFoldsChangeNothing(t *testing.T) {
	models := map[string]string{"tiny": tinyModel}
	for _, v := range testdata.Variants() {
		dir := filepath.Join(t.TempDir(), v.Name)
		if err := v.Write(dir); err != nil {
			t.Fatal(err)
		}
		models[v.Name] = dir
	}
	ctx := context.Background()
	for name, path := range models {
		l, err := runtime.OpenLayers(path, runtime.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(7, 7))
		lengths := []int{min(40, l.Config().Context), 3}
		x := make([]float32, (lengths[0]+lengths[1])*l.Hidden())
		tokens := make([]int32, lengths[0]+lengths[1])
		for i := range tokens {
			tokens[i] = int32(r.IntN(l.Config().VocabSize))
		}
		if err := l.Embed(x, tokens); err != nil {
			t.Fatal(err)
		}
		for i := range l.Count() {
			if err := l.Load(ctx, i); err != nil {
				t.Fatal(err)
			}
			want := append([]float32(nil), x...)
			if err := l.Forward(ctx, want, lengths, runtime.Pass{}); err != nil {
				t.Fatal(err)
			}
			weights := map[string][]float32{}
			places := folds(l, i)
			for _, f := range places {
				factors := make([]float32, f.channels)
				for k := range factors {
					factors[k] = float32(math.Exp2(6*r.Float64() - 3))
				}
				for _, tensor := range []string{f.by, f.cols} {
					if weights[tensor] == nil {
						if weights[tensor], err = l.Weights(tensor); err != nil {
							t.Fatal(err)
						}
					}
				}
				f.apply(weights[f.by], weights[f.cols], factors)
			}
			for tensor, w := range weights {
				if err := l.SetWeights(tensor, w); err != nil {
					t.Fatal(err)
				}
			}
			got := append([]float32(nil), x...)
			if err := l.Forward(ctx, got, lengths, runtime.Pass{}); err != nil {
				t.Fatal(err)
			}
			most := 0.0
			for k := range want {
				most = max(most, math.Abs(float64(want[k]-x[k])))
			}
			for k := range want {
				if d := math.Abs(float64(got[k] - want[k])); !(d <= 1e-5*most) {
					t.Fatalf("%s, block %d, value %d: %g, want %g", name, i, k, got[k], want[k])
				}
			}
			if len(places) != 4 || len(weights) != 6 {
				t.Errorf("%d places of %d tensors", len(places), len(weights))
			}
			x = want
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// always is the type of every row.
func always(t quant.Type) func(int) quant.Type { return func(int) quant.Type { return t } }

// identity is a fold in which each column reads a channel of its own.
func identity(cols int) *fold {
	f := newFold("", 0, 1, "", cols, cols, func(c int) int { return c })
	return &f
}

// The loss is the error of the scaled weights under the scaled inputs' second moments, but for the sampling of rows.
func TestScalingLoss(t *testing.T) {
	for _, typ := range []quant.Type{quant.Q4_K, quant.Q4_0, quant.Q3_K} {
		l := randomLayer(typ, 40, 256, 500)
		s := newScaling(identity(256), always(typ), l.W, l.H, 2)
		factors := s.factors(2, 8)
		for i, f := range factors { // to powers of two, with which scaling is exact: else rounding decides between equally good scales
			factors[i] = float32(math.Exp2(math.Round(math.Log2(float64(f)))))
		}
		unit := float64(s.imp[0] / l.H[0])
		ones := make([]float32, 256)
		for i := range ones {
			ones[i] = 1
		}
		s.apply(ones, l.W, factors)
		for i := range 256 {
			for j := range 256 {
				l.H[i*256+j] /= factors[i] * factors[j]
			}
		}
		got, want := s.loss(factors)/unit, mustSolve(t, l, SolveOptions{Encoder: true, Threads: 2}).Error
		if math.Abs(got-want) > 1e-5*want {
			t.Errorf("%s: loss %g, want %g", typ, got, want)
		}
		for i, f := range factors {
			if dead := i%61 == 60; dead && f != 1 || math.Abs(float64(ones[i]*f)-1) > 1e-6 {
				t.Errorf("factor %d is %g, the other side's %g", i, f, ones[i])
			}
		}
	}
}

// Channels of which some matter much more are rounded in finer steps.
func TestScalingGains(t *testing.T) {
	l := randomLayer(quant.Q4_0, 40, 256, 500)
	for r := range l.Rows {
		for c := range l.Cols {
			if c%9 == 0 {
				l.W[r*l.Cols+c] *= 0.2
			}
		}
	}
	for i := range l.Cols {
		for j := range l.Cols {
			for _, k := range []int{i, j} {
				if k%9 == 0 {
					l.H[i*l.Cols+j] *= 10
				}
			}
		}
	}
	factors, share := newScaling(identity(256), always(l.Type), l.W, l.H, 1).search()
	if share > 0.7 || !(factors[9] > 2*factors[10]) {
		t.Errorf("share %g, factors %g and %g", share, factors[9], factors[10])
	}
	for _, h := range []float32{0, 1e-38, 1e35} {
		for i := range l.H {
			l.H[i] = h
		}
		factors, share := newScaling(identity(256), always(l.Type), l.W, l.H, 1).search()
		if math.IsNaN(share) || share > 1 || !kern.Best().Below(factors, 2*maxFactor) {
			t.Errorf("moments of %g: share %g", h, share)
		}
	}
}

// The same factors from every kernel set and on every architecture: those of testdata/scaled.txt.
func TestScalingSameBytes(t *testing.T) {
	defer func() { _ = kern.SelectFromEnv() }()
	b, err := os.ReadFile("testdata/scaled.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, typ := range []quant.Type{quant.Q4_K, quant.Q4_0, quant.IQ4_NL} {
		l := fixedLayer(typ, 36, 256)
		for i, set := range kern.Sets() {
			if i == 0 && typ != quant.Q4_0 {
				continue // the portable one is slow
			}
			if err := kern.Select(set.Name); err != nil {
				t.Fatal(err)
			}
			factors, share := newScaling(identity(256), always(typ), l.W, l.H, 1+i).search()
			hash := sha256.New()
			_ = binary.Write(hash, binary.LittleEndian, factors) // a hash takes everything
			line := fmt.Sprintf("%s %.12g %x\n", typ, share, hash.Sum(nil))
			if !strings.Contains(string(b), line) {
				t.Errorf("%s kernels: testdata/scaled.txt lacks\n%s", set.Name, line)
			}
		}
	}
}

// With scaled channels too, the result does not depend on threads and interruptions, and norms are part of it. A channel
// is not scaled where one of its two sides is no target.
func TestQuantizeAWQ(t *testing.T) {
	s := tinyTokens(t, 4, 80)
	opt := QuantizeOptions{SolveOptions: options(), AWQ: true, Work: filepath.Join(t.TempDir(), "work")}
	opt.Asymmetric, opt.Sweeps = 0.5, 0
	scaled := 0
	opt.Scaled = func(tensor string, share float64) {
		if scaled++; share > 1 {
			t.Errorf("%s: share %g", tensor, share)
		}
	}
	want, err := quantizeTiny(context.Background(), t, s, 1, opt)
	if err != nil {
		t.Fatal(err)
	}
	if scaled == 0 {
		t.Error("nothing was scaled")
	}
	ctx, cancel := context.WithCancel(context.Background())
	opt.Progress = func(done, _ int) {
		if done == 2 {
			cancel()
		}
	}
	if _, err := quantizeTiny(ctx, t, s, 3, opt); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	resumed := 0
	opt.Progress, opt.Resumed = nil, func(blocks int) { resumed = blocks }
	got, err := quantizeTiny(context.Background(), t, s, 3, opt)
	if err != nil {
		t.Fatal(err)
	}
	if resumed != 2 {
		t.Errorf("continued behind block %d", resumed)
	}
	sameBlocks(t, "continued, 3 threads", got, want)
	opt.AWQ = false
	plain, err := quantizeTiny(context.Background(), t, s, 2, opt)
	if err != nil {
		t.Fatal(err)
	}
	norms := 0
	for name := range want {
		if strings.HasSuffix(name, "_norm.weight") {
			norms++
		}
	}
	if norms == 0 || len(plain) != len(want)-norms || bytes.Equal(plain["blk.0.attn_qkv.weight"], want["blk.0.attn_qkv.weight"]) {
		t.Errorf("%d norms, %d tensors, %d without AWQ", norms, len(want), len(plain))
	}
}
