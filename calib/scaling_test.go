package calib

import (
	"bytes"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/testdata"
)

// Whatever the factors, scaled models compute what the original does, up to rounding: with grouped heads, partly
// rotated ones, windows, long factors, tied embeddings, parallel blocks and experts.
func TestFoldsChangeNothing(t *testing.T) {
	all := slices.Clone(models)
	for _, v := range testdata.Variants() {
		dir := filepath.Join(t.TempDir(), v.Name)
		if err := v.Write(dir); err != nil {
			t.Fatal(err)
		}
		all = append(all, dir)
	}
	for _, path := range all {
		l := openLayers(t, path, 2)
		lengths := []int{min(40, l.Config().Context), 3}
		tokens := make([]int32, lengths[0]+lengths[1])
		r := rand.New(rand.NewPCG(7, 7))
		for i := range tokens {
			tokens[i] = int32(r.IntN(l.Config().VocabSize))
		}
		want := logits(t, l, tokens, lengths, func(int) {})
		got := logits(t, l, tokens, lengths, func(i int) { scaleRandomly(t, l, i, r) })
		most := 0.0
		for _, v := range want {
			if v > -math.MaxFloat32 { // not masked
				most = max(most, math.Abs(float64(v)))
			}
		}
		for k := range want {
			if d := math.Abs(float64(got[k] - want[k])); !(d <= 1e-5*most) {
				t.Fatalf("%s, logit %d: %g, want %g", path, k, got[k], want[k])
			}
		}
	}
}

// logits runs a model over sequences; change may change the weights of each block.
func logits(t *testing.T, l *runtime.Layers, tokens []int32, lengths []int, change func(block int)) (all []float32) {
	t.Helper()
	x := make([]float32, len(tokens)*l.Hidden())
	if err := l.Embed(x, tokens); err != nil {
		t.Fatal(err)
	}
	for i := range l.Count() {
		if err := l.Load(t.Context(), i); err != nil {
			t.Fatal(err)
		}
		change(i)
		if err := l.Forward(t.Context(), x, lengths, runtime.Pass{}); err != nil {
			t.Fatal(err)
		}
	}
	err := l.Finish(t.Context(), x, lengths, nil, func(_ int, logits []float32) error {
		all = append(all, logits...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The places of each architecture: those that nothing in it forbids.
func TestFolds(t *testing.T) {
	for i, want := range []string{
		"attn_norm>attn_qkv attn_qkv>attn_output ffn_norm>ffn_up ffn_up>ffn_down",
		"attn_norm,attn_norm>attn_q,attn_k,attn_v,ffn_up attn_v,attn_v>attn_output",
		"attn_norm,attn_norm>attn_q,attn_k,attn_v attn_v,attn_v>attn_output ffn_norm,ffn_norm>ffn_gate,ffn_up",
		"attn_norm,attn_norm>attn_q,attn_k,attn_v attn_v,attn_v>attn_output " +
			"ffn_norm,ffn_norm>ffn_gate_inp,ffn_gate_exps,ffn_up_exps" +
			strings.Repeat(" ffn_up_exps>ffn_down_exps", 8),
	} {
		l := openLayers(t, models[i], 1)
		names := func(list []runtime.Span) string {
			var all []string
			for _, s := range list {
				all = append(all, strings.Split(s.Tensor, ".")[2])
			}
			return strings.Join(all, ",")
		}
		var got []string
		for _, f := range l.Folds(1) {
			got = append(got, names(f.Makers)+">"+names(f.Readers))
		}
		if got := strings.Join(got, " "); got != want {
			t.Errorf("%s: %s, expected %s", models[i], got, want)
		}
	}
}

// scaleRandomly scales all channels of block i that can be.
func scaleRandomly(t *testing.T, l *runtime.Layers, i int, r *rand.Rand) {
	t.Helper()
	weights := map[string][]float32{}
	for _, f := range l.Folds(i) {
		s := solve.Scaling{Fold: f, Factors: make([]float32, f.Channels)}
		for k := range s.Factors {
			s.Factors[k] = float32(math.Exp2(6*r.Float64() - 3))
		}
		for _, span := range slices.Concat(f.Makers, f.Readers) {
			if weights[span.Tensor] == nil {
				var err error
				if weights[span.Tensor], err = l.Weights(span.Tensor); err != nil {
					t.Fatal(err)
				}
			}
		}
		for tensor, w := range weights {
			s.Apply(tensor, 0, w)
		}
	}
	for tensor, w := range weights {
		if err := l.SetWeights(tensor, w); err != nil {
			t.Fatal(err)
		}
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
	opt.Progress = func(int64, int64) {
		if savedSteps(t, opt.Work) == 2 {
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
