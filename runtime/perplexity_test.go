package runtime

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// The tiny model's perplexity on its evaluation text against transformers'.
func TestPerplexityGolden(t *testing.T) {
	if testing.Short() {
		t.Skip("30,000 tokens")
	}
	dir := testmodel.Phi3(t)
	tokens := evalTokens(t, dir, tokenizer.EncodeOptions{})
	var g struct {
		Tokens int
		Cases  []struct {
			Context, First int
			Window         int `json:"sliding_window"`
			Scored         int
			NLL            float64
		}
	}
	data, err := os.ReadFile(filepath.Join("..", "testdata", "golden", "perplexity.json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(tokens) != g.Tokens {
		t.Fatalf("%d tokens, expected %d", len(tokens), g.Tokens)
	}
	m := open(t, dir, Options{Float32: true, Cache: CacheF32})
	for _, c := range g.Cases {
		if c.Window == 0 || c.First == 0 {
			continue // another model, or the same positions again
		}
		var sum float64
		scored := 0
		for at := 0; at+c.Context <= len(tokens); at += c.Context {
			chunk := tokens[at : at+c.Context]
			s := sequence(t, m)
			add := func(i int, l []float32) error {
				if i >= c.First && i < c.Context-1 {
					sum += nll(l, chunk[i+1])
					scored++
				}
				return nil
			}
			err := m.Eval(context.Background(), Request{Seq: s, Tokens: chunk, All: true, Logits: add})
			if err != nil {
				t.Fatal(err)
			}
		}
		got := sum / float64(scored)
		t.Logf("context %d: %.6f", c.Context, got)
		if scored != c.Scored || math.Abs(got-c.NLL) > 2e-6 {
			t.Errorf("context %d from %d: %.7f over %d positions, expected %.7f over %d",
				c.Context, c.First, got, scored, c.NLL, c.Scored)
		}
	}
}

// nll is -ln of the probability that logits give the token.
func nll(logits []float32, token int32) float64 {
	top := float64(logits[argmax(logits)])
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v) - top)
	}
	return math.Log(sum) + top - float64(logits[token])
}
