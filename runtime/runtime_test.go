package runtime

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/testdata"
)

// golden is a file of logits that transformers computed.
type golden struct {
	VocabSize int `json:"vocab_size"`
	Cases     []struct {
		Name      string
		Tokens    []int32
		Positions []int
		Logits    string // base64 of float32
		Window    *int   `json:"sliding_window"`
	}
}

func readGolden(t testing.TB, name string) golden {
	t.Helper()
	var g golden
	data, err := os.ReadFile(filepath.Join("..", "testdata", "golden", name))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func floats(t testing.TB, s string) []float32 {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	f := make([]float32, len(raw)/4)
	for i := range f {
		f[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return f
}

func open(t testing.TB, path string, opt Options) *Model {
	t.Helper()
	m, err := Open(t.Context(), path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func sequence(t testing.TB, m *Model) *Sequence {
	t.Helper()
	s, err := m.NewSequence(0)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// allLogits returns the logits after every token.
func allLogits(t testing.TB, s *Sequence, tokens []int32) [][]float32 {
	t.Helper()
	var all [][]float32
	keep := func(_ int, l []float32) error {
		all = append(all, slices.Clone(l))
		return nil
	}
	err := s.model.Eval(context.Background(), Request{Seq: s, Tokens: tokens, All: true, Logits: keep})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// nmse is the squared error over the variance of want.
func nmse(got, want []float32) float64 {
	var mean, num, den float64
	for _, w := range want {
		mean += float64(w) / float64(len(want))
	}
	for i, w := range want {
		d, v := float64(got[i])-float64(w), float64(w)-mean
		num, den = num+d*d, den+v*v
	}
	return num / den
}

func argmax(x []float32) int {
	best := 0
	for i, v := range x {
		if v > x[best] {
			best = i
		}
	}
	return best
}

// sameTop reports whether both have the same greatest logit, or the two
// greatest of want are within 1e-3.
func sameTop(got, want []float32) bool {
	a, b := argmax(got), argmax(want)
	return a == b || want[b]-want[a] <= 1e-3
}

// maxNMSE is what float32 on both sides leaves.
const maxNMSE = 1e-6

// The tiny trained model and its window against transformers.
func TestLogitsGolden(t *testing.T) {
	g := readGolden(t, "logits.json")
	modes := []Options{{Float32: true, Cache: CacheF32}, {Float32: true, Cache: CacheF32, NoRepack: true}}
	if testing.Short() {
		modes = modes[:1]
	}
	for _, opt := range modes {
		m := open(t, testmodel.Phi3(t), opt)
		for _, c := range g.Cases {
			if c.Window != nil {
				continue // made without the window, for runtimes that have none
			}
			got := allLogits(t, sequence(t, m), c.Tokens)
			want := floats(t, c.Logits)
			for i, pos := range c.Positions {
				w := want[i*g.VocabSize : (i+1)*g.VocabSize]
				if e := nmse(got[pos], w); !(e <= maxNMSE) || !sameTop(got[pos], w) {
					t.Errorf("%s, position %d: NMSE %.2g, top %d, expected %d",
						c.Name, pos, e, argmax(got[pos]), argmax(w))
				}
			}
		}
	}
}

// Random models of every variant against transformers.
func TestVariantsGolden(t *testing.T) {
	for _, v := range testdata.Variants() {
		t.Run(v.Name, func(t *testing.T) {
			dir := t.TempDir()
			if err := v.Write(dir); err != nil {
				t.Fatal(err)
			}
			m := open(t, dir, Options{Float32: true, Cache: CacheF32})
			worst := 0.0
			for _, c := range v.Cases {
				tokens := make([]int32, len(c.Tokens))
				for i, id := range c.Tokens {
					tokens[i] = int32(id)
				}
				got := allLogits(t, sequence(t, m), tokens)
				vocab := m.VocabSize()
				for i, pos := range c.Positions {
					w := c.Logits[i*vocab : (i+1)*vocab]
					e := nmse(got[pos], w)
					worst = max(worst, e)
					if !(e <= maxNMSE) || !sameTop(got[pos], w) {
						t.Errorf("%s, position %d: NMSE %.2g, top %d, expected %d",
							c.Name, pos, e, argmax(got[pos]), argmax(w))
					}
				}
			}
			t.Logf("greatest NMSE %.2g", worst)
		})
	}
}

// In float32 mode nothing changes the bits: threads, how tokens are split, kernels, several
// sequences in one batch. (LongRoPE's second evaluation: TestLongRopeCrossing.)
func TestSameBits(t *testing.T) {
	tokens := make([]int32, 300)
	for i := range tokens {
		tokens[i] = int32(i * 7919 % 576)
	}
	tokens[0] = 1
	dir := testmodel.Phi3(t)
	if testing.Short() {
		tokens = tokens[:140] // the window is 127
	}
	var want [][]float32
	check := func(name string, got [][]float32) {
		t.Helper()
		if want == nil {
			want = got
			return
		}
		for i := range want {
			if !slices.Equal(got[i], want[i]) {
				t.Fatalf("%s: other bits at position %d: NMSE %.2g", name, i, nmse(got[i], want[i]))
			}
		}
	}
	defer func() { _ = kern.SelectFromEnv() }()
	for _, set := range kern.Sets() {
		if set.Name == "generic" && len(kern.Sets()) > 1 && testing.Short() {
			continue
		}
		if err := kern.Select(set.Name); err != nil {
			t.Fatal(err)
		}
		for _, opt := range []Options{{Threads: 1}, {Threads: 3, Batch: 37}} {
			opt.Float32, opt.Cache = true, CacheF32
			if set.Name == "generic" && opt.Threads == 1 && want != nil {
				continue // slow
			}
			m := open(t, dir, opt)
			check(fmt.Sprint(set.Name, opt), allLogits(t, sequence(t, m), tokens))
		}
	}
	if err := kern.SelectFromEnv(); err != nil {
		t.Fatal(err)
	}
	m := open(t, dir, Options{Threads: 2, Float32: true, Cache: CacheF32})
	s := sequence(t, m)
	var split [][]float32
	for i, n := 0, 1; i < len(tokens); i, n = i+n, n%50+7 {
		split = append(split, allLogits(t, s, tokens[i:min(i+n, len(tokens))])...)
	}
	check("split", split)

	other := sequence(t, m)
	allLogits(t, other, tokens[50:90])
	both := sequence(t, m)
	var got [][]float32
	err := m.Eval(context.Background(),
		Request{Seq: other, Tokens: tokens[:60]},
		Request{Seq: both, Tokens: tokens, All: true, Logits: func(_ int, l []float32) error {
			got = append(got, slices.Clone(l))
			return nil
		}})
	if err != nil {
		t.Fatal(err)
	}
	check("two sequences", got)

	// A prefix that is kept, and a fork of it.
	s = sequence(t, m)
	allLogits(t, s, append(slices.Clone(tokens[:100]), 5, 6, 7))
	rest := s.Reuse(tokens)
	if len(rest) != len(tokens)-100 {
		t.Fatalf("%d tokens are left after reuse, expected %d", len(rest), len(tokens)-100)
	}
	f := s.Fork(len(tokens))
	check("reuse", append(slices.Clone(want[:100]), allLogits(t, s, rest)...))
	check("fork", append(slices.Clone(want[:100]), allLogits(t, f, rest)...))
}

// Greedy text does not depend on the number of threads, and faster ways stay near.
func TestFastModes(t *testing.T) {
	dir := testmodel.Phi3(t)
	tokens := readGolden(t, "logits.json").Cases[len(readGolden(t, "logits.json").Cases)-1].Tokens
	if testing.Short() {
		tokens = tokens[:min(40, len(tokens))]
	}
	want := allLogits(t, sequence(t, open(t, dir, Options{Float32: true, Cache: CacheF32})), tokens)
	for _, c := range []struct {
		opt   Options
		bound float64
	}{
		{Options{Cache: CacheF16}, 2e-3}, // BF16 weights: activations may be rounded to it
		{Options{Cache: CacheQ8_0}, 1e-2},
		{Options{Float32: true, Cache: CacheF16}, 1e-5},
		{Options{Float32: true, Cache: CacheQ8_0}, 1e-2},
	} {
		got := allLogits(t, sequence(t, open(t, dir, c.opt)), tokens)
		worst := 0.0
		for i := range want {
			worst = max(worst, nmse(got[i], want[i]))
		}
		t.Logf("%+v: greatest NMSE %.2g", c.opt, worst)
		if !(worst <= c.bound) {
			t.Errorf("%+v: NMSE %.2g, expected at most %g", c.opt, worst, c.bound)
		}
	}
}

// After warm-up a token allocates nothing.
func TestNoAllocation(t *testing.T) {
	m := open(t, testmodel.Phi3(t), Options{Threads: 2})
	s := sequence(t, m)
	ctx, token := context.Background(), []int32{5}
	eval := func() {
		if _, err := s.Eval(ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	for range 10 {
		eval()
	}
	if n := testing.AllocsPerRun(50, eval); n > 0 {
		t.Errorf("%v allocations for a token", n)
	}
}

func TestErrors(t *testing.T) {
	m := open(t, testmodel.Phi3(t), Options{})
	ctx := context.Background()
	s, err := m.NewSequence(8)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []int32{-1, 576} {
		if _, err := s.Eval(ctx, []int32{1, id}); err == nil {
			t.Errorf("token %d was taken", id)
		}
	}
	var full *ContextError
	if _, err := s.Eval(ctx, make([]int32, 9)); !errors.As(err, &full) || full.Context != 8 {
		t.Errorf("error %v, expected a ContextError", err)
	}
	if _, err := s.Eval(ctx, make([]int32, 8)); err != nil {
		t.Error(err)
	}
	if _, err := s.Eval(ctx, []int32{1}); !errors.As(err, &full) || full.Have != 8 {
		t.Errorf("error %v, expected a ContextError", err)
	}
	for _, n := range []int{-1, 513} {
		if _, err := m.NewSequence(n); err == nil {
			t.Errorf("a context of %d was accepted", n)
		}
	}
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	s.Truncate(2)
	if _, err := s.Eval(canceled, []int32{1, 2}); !errors.Is(err, context.Canceled) || len(s.Tokens()) != 2 {
		t.Errorf("error %v, %d tokens; expected a cancellation that leaves 2", err, len(s.Tokens()))
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Eval(ctx, []int32{1}); err == nil {
		t.Error("a closed model was evaluated")
	}
}
