package engine

import (
	"math"
	"slices"
	"sync"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
)

// An embedding is transformers' mean of last_hidden_state, the same bits among other requests.
func TestEmbed(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{Float32: true, Cache: runtime.CacheF32, Threads: 1})
	e := newEngine(t, m, Options{Chunk: 7})
	prompt := []int32{1}
	for i := range 40 {
		prompt = append(prompt, int32((i*37+5)%m.VocabSize()))
	}
	// AutoModelForCausalLM(…, float32).model(ids).last_hidden_state[0].double().mean(0) of transformers 5.24
	want := []float64{-1.1460585, 0.2874108, 0.2484248, -0.4978345, -0.3844976, 0.1959482}
	first, err := do(t.Context(), e, Request{Prompt: prompt, Embed: true})
	if err != nil || len(first.result.Embedding) != 256 || first.result.Stop != runtime.StopLimit {
		t.Fatalf("%+v, error %v", first.result, err)
	}
	for i, x := range want {
		if got := float64(first.result.Embedding[i]); math.Abs(got-x) > 2e-5 {
			t.Errorf("value %d is %v, expected %v", i, got, x)
		}
	}
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			r := Request{Prompt: prompt, MaxTokens: 3, PromptLogprobs: 1}
			r.Embed = i%2 == 0
			a, err := do(t.Context(), e, r)
			if err != nil || r.Embed && !slices.Equal(a.result.Embedding, first.result.Embedding) {
				t.Errorf("among others: error %v", err)
			}
		})
	}
	all.Wait()
}
