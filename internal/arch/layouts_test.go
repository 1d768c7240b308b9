package arch

import (
	"strings"
	"testing"
)

// Where a config.json of Llama's layout says nothing, other defaults hold than in a Phi-3's.
func TestLlamaDefaults(t *testing.T) {
	config := func(class, more string) string {
		return `{"architectures":["` + class + `"],"hidden_size":256,"num_hidden_layers":1,"num_attention_heads":4,
			"intermediate_size":512,"vocab_size":576,"max_position_embeddings":8192` + more + `}`
	}
	for _, c := range []struct {
		class, more string
		eps         float64
		window      int
	}{
		{"Phi3ForCausalLM", ``, 1e-5, 0},
		{"Phi3ForCausalLM", `,"sliding_window":2047`, 1e-5, 2047},
		{"LlamaForCausalLM", ``, 1e-6, 0},
		{"LlamaForCausalLM", `,"rms_norm_eps":1e-5,"sliding_window":2047`, 1e-5, 0},
		{"MistralForCausalLM", ``, 1e-6, 4096},
		{"MistralForCausalLM", `,"sliding_window":null`, 1e-6, 0},
		{"MistralForCausalLM", `,"sliding_window":2048`, 1e-6, 2048},
	} {
		got := mustParse(t, config(c.class, c.more))
		if got.NormEps != c.eps || got.SlidingWindow != c.window || got.Class != c.class {
			t.Errorf("%s%s: ε %g, window %d", c.class, c.more, got.NormEps, got.SlidingWindow)
		}
	}
	for more, want := range map[string]string{
		`,"partial_rotary_factor":0.75`:                     "expected 1: a LlamaForCausalLM turns all of each head",
		`,"attention_bias":true`:                            "attention_bias is true",
		`,"rope_scaling":{"rope_type":"llama3","factor":8}`: `rope_type "llama3" is not supported`,
	} {
		if _, err := ParseConfig([]byte(config("LlamaForCausalLM", more))); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, expected %q", more, err, want)
		}
	}
}
