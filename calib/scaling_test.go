package calib

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
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
			scaleRandomly(t, l, i, r)
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
			x = want
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// scaleRandomly scales all channels of block i that can be.
func scaleRandomly(t *testing.T, l *runtime.Layers, i int, r *rand.Rand) {
	t.Helper()
	weights := map[string][]float32{}
	places := folds(l, i)
	for _, f := range places {
		factors := make([]float32, f.Channels)
		for k := range factors {
			factors[k] = float32(math.Exp2(6*r.Float64() - 3))
		}
		for _, tensor := range []string{f.By, f.Cols} {
			if weights[tensor] == nil {
				var err error
				if weights[tensor], err = l.Weights(tensor); err != nil {
					t.Fatal(err)
				}
			}
		}
		f.Apply(weights[f.By], weights[f.Cols], factors)
	}
	for tensor, w := range weights {
		if err := l.SetWeights(tensor, w); err != nil {
			t.Fatal(err)
		}
	}
	if len(places) != 4 || len(weights) != 6 {
		t.Errorf("%d places of %d tensors", len(places), len(weights))
	}
}

// With scaled channels too, the result does not depend on threads and interruptions, and norms are part of it. A
// channel is not scaled where one of its two sides is no target.
func TestQuantizeAWQ(t *testing.T) {
	s := tinyTokens(t, 4, 80)
	opt := QuantizeOptions{Work: filepath.Join(t.TempDir(), "work")}
	r := recipe(t, solve.Options{Damp: []float64{0.01}, Asymmetric: 0.5})
	r.AWQ = true
	scaled := 0
	opt.Scaled = func(tensor string, share float64) {
		if scaled++; share > 1 {
			t.Errorf("%s: share %g", tensor, share)
		}
	}
	want, err := quantizeTiny(context.Background(), t, s, 1, r, opt)
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
	if _, err := quantizeTiny(ctx, t, s, 3, r, opt); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	resumed := 0
	opt.Progress, opt.Resumed = nil, func(blocks int) { resumed = blocks }
	got, err := quantizeTiny(context.Background(), t, s, 3, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	if resumed != 2 {
		t.Errorf("continued after block %d", resumed)
	}
	sameBlocks(t, "continued, 3 threads", got, want)
	r.AWQ = false
	plain, err := quantizeTiny(context.Background(), t, s, 2, r, opt)
	if err != nil {
		t.Fatal(err)
	}
	norms := 0
	for name := range want {
		if strings.HasSuffix(name, "_norm.weight") {
			norms++
		}
	}
	const qkv = "blk.0.attn_qkv.weight"
	if norms == 0 || len(plain) != len(want)-norms || bytes.Equal(plain[qkv], want[qkv]) {
		t.Errorf("%d norms, %d tensors, %d without AWQ", norms, len(want), len(plain))
	}
}
