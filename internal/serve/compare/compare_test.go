package compare

import (
	"strconv"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/engine"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/testdata"
)

// A model compared with itself has a divergence of 0 at each token, beyond LongRoPE's original context too, where keys
// are others: whoever writes and whoever reads.
func TestLongRope(t *testing.T) {
	dir := t.TempDir()
	for _, v := range testdata.Variants() {
		if v.Name != "longrope_su" {
			continue
		}
		if err := v.Write(dir); err != nil {
			t.Fatal(err)
		}
	}
	tok, err := tokenizer.Open(testmodel.Phi3(t)) // the variant has none
	if err != nil {
		t.Fatal(err)
	}
	served := func(id string) Model {
		m, err := runtime.Open(t.Context(), dir, runtime.Options{Batched: true})
		if err != nil {
			t.Fatal(err)
		}
		e, err := engine.New(m, engine.Options{Parallel: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close(); _ = m.Close() })
		return Model{id, e, tok, func(id int32) string { return strconv.Itoa(int(id)) }}
	}
	a, b := served("a"), served("b")
	prompt := []int32{5, 9, 3}
	if n := a.Engine.Context(); a.Engine.IsLong(len(prompt)) || !a.Engine.IsLong(n) {
		t.Fatalf("a context of %d tokens does not cross the original one", n)
	}
	for _, force := range []bool{true, false} {
		task := Task{Original: a, Quantized: []Model{b}, Prompt: prompt, Force: force, MaxTokens: -1,
			Sampler: func() (*runtime.Sampler, error) { return runtime.NewSampler(runtime.SamplerOptions{}) }}
		positions := 0
		err := task.Run(t.Context(), func(e Event) error {
			if p := e.Position; p != nil {
				positions++
				if p.KLD != 0 {
					t.Errorf("force %v, token %d: %v nats", force, p.Index, p.KLD)
				}
			}
			return nil
		})
		if want := a.Engine.Context() + 1 - len(prompt); err != nil || positions != want {
			t.Errorf("force %v: %d positions, expected %d: %v", force, positions, want, err)
		}
	}
}
