package runtime

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/testdata"
)

// variant writes the random model of that name and returns its directory.
func variant(t testing.TB, name string) string {
	t.Helper()
	for _, v := range testdata.Variants() {
		if v.Name == name {
			return writeVariant(t, v)
		}
	}
	t.Fatalf("no variant %s", name)
	return ""
}

func writeVariant(t testing.TB, v testdata.Variant) string {
	t.Helper()
	dir := t.TempDir()
	if err := v.Write(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

// counting returns n tokens below vocab.
func counting(n, vocab int) []int32 {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32((i*37 + 5) % vocab)
	}
	return tokens
}

func last(t testing.TB, s *Sequence, tokens ...int32) []float32 {
	t.Helper()
	l, err := s.Eval(t.Context(), tokens)
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(l)
}

// Head dimensions, column counts and groupings of every kind with every type of cache.
func TestVariantsCaches(t *testing.T) {
	for _, v := range testdata.Variants() {
		dir := writeVariant(t, v)
		m := open(t, dir, Options{Float32: true, Cache: CacheF32})
		tokens := counting(70, m.VocabSize())
		want := allLogits(t, sequence(t, m), tokens)
		for _, c := range []struct {
			opt   Options
			bound float64
		}{
			{Options{Float32: true, Cache: CacheF32, NoRepack: true, Threads: 3, Batch: 7}, 0},
			{Options{Float32: true, Cache: CacheF16}, 1e-5},
			{Options{Float32: true, Cache: CacheQ8_0, Batch: 19}, 4e-3},
			{Options{Cache: CacheF32, Batch: 1}, 1e-5},
			{Options{Cache: CacheQ8_0, NoRepack: true}, 4e-3},
		} {
			got := allLogits(t, sequence(t, open(t, dir, c.opt)), tokens)
			mean := 0.0
			for i := range want {
				mean += nmse(got[i], want[i]) / float64(len(want))
			}
			t.Logf("%s %+v: mean NMSE %.2g", v.Name, c.opt, mean)
			if !(mean <= c.bound) {
				t.Errorf("%s %+v: mean NMSE %.2g, expected at most %g", v.Name, c.opt, mean, c.bound)
			}
		}
	}
}

// Wherever a sequence passes the original context of LongRoPE, token by token or in the midst of
// a batch with others, it has the logits of its whole text evaluated at once.
func TestLongRopeCrossing(t *testing.T) {
	for _, name := range []string{"longrope_su", "longrope_window", "phi4mini"} {
		dir := variant(t, name)
		m := open(t, dir, Options{Float32: true, Cache: CacheF32, Batch: 10})
		tokens := counting(60, m.VocabSize()) // the original context is 24
		once := func(n int) []float32 { return last(t, sequence(t, m), tokens[:n]...) }
		s := sequence(t, m)
		for i, id := range tokens[:40] {
			if got := last(t, s, id); !slices.Equal(got, once(i+1)) {
				t.Fatalf("%s: other bits after token %d", name, i)
			}
		}
		// Back to the short factors, and to the long ones in a fork.
		s.Truncate(20)
		f := s.Fork(20)
		if !slices.Equal(last(t, s, tokens[20:24]...), once(24)) ||
			!slices.Equal(last(t, f, tokens[20:33]...), once(33)) {
			t.Errorf("%s: other bits after going back", name)
		}
		// Two sequences cross in a batch, another one does not.
		a, b, c := sequence(t, m), sequence(t, m), sequence(t, m)
		last(t, a, tokens[:23]...)
		last(t, b, tokens[:7]...)
		last(t, c, tokens[:3]...)
		got := map[string][]float32{}
		keep := func(of string) func(int, []float32) error {
			return func(i int, l []float32) error {
				got[fmt.Sprint(of, i)] = slices.Clone(l)
				return nil
			}
		}
		if err := m.Eval(t.Context(), Request{Seq: a, Tokens: tokens[23:25], All: true, Logits: keep("a")},
			Request{Seq: c, Tokens: tokens[3:9], Logits: keep("c")}, Request{
				Seq: b, Tokens: tokens[7:60], Logits: keep("b"),
			}); err != nil {
			t.Fatal(err)
		}
		for key, n := range map[string]int{"a1": 25, "b52": 60, "c5": 9} {
			if !slices.Equal(got[key], once(n)) {
				t.Errorf("%s: other bits of %s in a batch", name, key)
			}
		}
		if len(got) != 4 {
			t.Errorf("%s: %d logits, expected 4", name, len(got))
		}
	}
}

// After an error a sequence goes on as if the evaluation had not been.
func TestEvalRollback(t *testing.T) {
	const bad = 7 // a token whose embedding is not a number
	nan := edit(t, convertTo(t, testmodel.Phi3(t), policy.AllF32), nil, func(name string, data []byte) bool {
		if name == "token_embd.weight" {
			copy(data[bad*256*4:], []byte{0, 0, 0xc0, 0x7f})
		}
		return false
	})
	for _, cache := range []CacheType{CacheF32, CacheF16, CacheQ8_0} {
		m := open(t, nan, Options{Cache: cache})
		s := sequence(t, m)
		last(t, s, 1, 2, 3)
		if _, err := s.Eval(t.Context(), []int32{4, bad, 5, 6}); err == nil ||
			!strings.Contains(err.Error(), "not finite") || len(s.Tokens()) != 3 {
			t.Fatalf("error %v, %d tokens", err, len(s.Tokens()))
		}
		if !slices.Equal(last(t, s, 4), last(t, sequence(t, m), 1, 2, 3, 4)) {
			t.Errorf("%s: other logits after an evaluation that failed", cache)
		}
	}

	// While the sequence crosses LongRoPE's original context, in its second batch.
	m := open(t, variant(t, "longrope_window"), Options{Float32: true, Cache: CacheF32, Batch: 16})
	tokens := counting(40, m.VocabSize())
	s, other := sequence(t, m), sequence(t, m)
	last(t, s, tokens[:20]...)
	full := errors.New("full")
	err := m.Eval(t.Context(), Request{Seq: other, Tokens: tokens[:5]},
		Request{Seq: s, Tokens: tokens[20:], All: true, Logits: func(i int, _ []float32) error {
			if i == 9 {
				return full
			}
			return nil
		}})
	if !errors.Is(err, full) || len(s.Tokens()) != 20 || len(other.Tokens()) != 0 {
		t.Fatalf("error %v, %d and %d tokens", err, len(s.Tokens()), len(other.Tokens()))
	}
	for _, n := range []int{24, 25, 40} {
		if got := last(t, s, tokens[len(s.Tokens()):n]...); !slices.Equal(got, last(t, sequence(t, m), tokens[:n]...)) {
			t.Errorf("other bits after %d tokens", n)
		}
	}
}

// A sequence that gave its memory back begins anew, and forks of it keep theirs.
func TestFree(t *testing.T) {
	m := open(t, testmodel.Phi3(t), Options{})
	tokens := counting(300, m.VocabSize()) // two chunks
	s := sequence(t, m)
	want := last(t, s, tokens...)
	f := s.Fork(300)
	if got, want := m.CacheInUse(), m.CacheBytes(300); got != want {
		t.Errorf("a sequence and its fork take %d bytes, expected %d", got, want)
	}
	s.Free()
	if len(s.Tokens()) != 0 || len(s.chunks) != 0 {
		t.Errorf("%d tokens and %d chunks are left", len(s.Tokens()), len(s.chunks))
	}
	goruntime.GC()
	if got := last(t, s, tokens...); !slices.Equal(got, want) {
		t.Errorf("other logits after Free: NMSE %.2g", nmse(got, want))
	}
	if !slices.Equal(last(t, f, 5), last(t, s, 5)) {
		t.Error("other logits from a fork")
	}
}

// With Batched, tokens have the same bits one by one and together, with BF16 weights too.
func TestBatched(t *testing.T) {
	for _, arch := range append([]string{"tiny-phi3"}, family...) {
		m := open(t, testmodel.Copy(t, arch), Options{Batched: true})
		tokens := counting(40, m.VocabSize())
		together := allLogits(t, sequence(t, m), tokens)
		s := sequence(t, m)
		for i, id := range tokens {
			if !slices.Equal(last(t, s, id), together[i]) {
				t.Fatalf("%s: other bits after token %d alone", arch, i)
			}
		}
	}
}

// What a fork or its origin changes, the other does not see, wherever they part.
func TestForkIsACopy(t *testing.T) {
	m := open(t, testmodel.Phi3(t), Options{})
	tokens := counting(500, m.VocabSize()) // two chunks
	once := func(tokens []int32) []float32 { return last(t, sequence(t, m), tokens...) }
	for _, n := range []int{1, 255, 256, 257, 499, 500} {
		s := sequence(t, m)
		last(t, s, tokens...)
		f := s.Fork(n)
		for _, c := range []*Sequence{f, s} {
			c.Truncate(n - n/100)
			own := append(slices.Clone(c.Tokens()), int32(n%50), 7)
			if got := last(t, c, own[len(own)-2:]...); !slices.Equal(got, once(own)) {
				t.Errorf("%d tokens in common: other bits", n)
			}
		}
		s.Free()
		f.Free()
	}
}

// The tap sees the input of every linear layer for every token, and of the output for those whose logits
// are asked for: with a matrix's rows, all that a product is made of.
func TestTap(t *testing.T) {
	counts := map[string]int{}
	var wrong string
	m := open(t, variant(t, "gqa"), Options{Threads: 2, Batch: 8, Tap: func(tensor string, x []float32) {
		counts[tensor]++
		want := 96
		if strings.HasSuffix(tensor, "ffn_down.weight") {
			want = 128
		}
		if len(x) != want {
			wrong = fmt.Sprintf("%s: %d values", tensor, len(x))
		}
	}})
	tokens := counting(20, m.VocabSize())
	if err := m.Eval(t.Context(), Request{Seq: sequence(t, m), Tokens: tokens}); err != nil {
		t.Fatal(err)
	}
	if _, ok := counts["output.weight"]; ok {
		t.Error("the output was computed though no logits are asked for")
	}
	allLogits(t, sequence(t, m), tokens)
	last(t, sequence(t, m), tokens...)
	if len(counts) != 3*4+1 || wrong != "" {
		t.Errorf("%d tensors, expected 13; %s", len(counts), wrong)
	}
	for name, n := range counts {
		want := 60
		if name == "output.weight" {
			want = 21
		}
		if n != want {
			t.Errorf("%s: %d rows, expected %d", name, n, want)
		}
	}
}

// Memory that is not there is refused before it is taken.
func TestHugeBatch(t *testing.T) {
	config, err := json.Marshal(map[string]any{
		"architectures": []string{"Phi3ForCausalLM"}, "vocab_size": 32, "hidden_size": 32,
		"intermediate_size": 32, "num_hidden_layers": 1,
		"num_attention_heads": 1, "num_key_value_heads": 1, "max_position_embeddings": 1 << 30, "rms_norm_eps": 1e-5,
	})
	if err != nil {
		t.Fatal(err)
	}
	m := open(t, writeVariant(t, testdata.Variant{Name: "long", DType: "F32", Config: config}), Options{Batch: 1 << 30})
	if _, err := sequence(t, m).Eval(t.Context(), []int32{1}); err == nil ||
		!strings.Contains(err.Error(), "a batch of 1073741824 tokens takes") {
		t.Errorf("error %v, expected one that says what a batch takes", err)
	}
}

// Opening ends when its context does.
func TestOpenCanceled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m, err := Open(ctx, testmodel.Phi3(t), Options{Threads: 2, Progress: func(done, total int64) {
		if done > total {
			t.Errorf("%d of %d bytes", done, total)
		}
		cancel()
	}})
	if m != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, expected a cancellation", err)
	}
}
