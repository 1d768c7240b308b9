package arch

import (
	"strings"
	"testing"
)

func TestDifference(t *testing.T) {
	long := &LongRope{Short: []float32{1, 1}, Long: []float32{2, 3}, AttnFactor: 1.2, AttnFactorShort: 1.2}
	base := Config{Arch: &phi3, VocabSize: 10, Hidden: 8, Intermediate: 16, Layers: 2, Heads: 2, KVHeads: 2,
		HeadDim: 4, Context: 32, NormEps: 1e-5,
		RotaryDims: 4, RopeTheta: 10000, RopeScale: 1, LongRope: long, OriginalContext: 16, SlidingWindow: 8}
	same := base
	same.Tied, same.NormEps = true, float64(float32(1e-5)) // as a GGUF file has it
	same.LongRope = &LongRope{Short: []float32{1, 1}, Long: []float32{2, 3}, AttnFactor: 1.2, AttnFactorShort: 1.2}
	if d := same.Difference(&base); d != "" {
		t.Errorf("the same model: %s", d)
	}
	for want, edit := range map[string]func(c *Config){
		"phi3.rope.freq_base is 500000, expected 10000": func(c *Config) { c.RopeTheta = 5e5 },
		"phi3.block_count is 3, expected 2":             func(c *Config) { c.Layers = 3 },
		"it has 11 tokens, expected 10":                 func(c *Config) { c.VocabSize = 11 },
		"epsilon is 1e-06, expected 1e-05":              func(c *Config) { c.NormEps = 1e-6 },
		"sliding_window is 0, expected 8":               func(c *Config) { c.SlidingWindow = 0 },
		"it has no phi3.rope.scaling.":                  func(c *Config) { c.LongRope = nil },
		"other rope_factors_long.weight": func(c *Config) {
			c.LongRope = &LongRope{long.Short, []float32{2, 4}, 1.2, 1.2}
		},
		"general.architecture is \"other\"": func(c *Config) { c.Arch = &Arch{Name: "other"} },
	} {
		c := base
		edit(&c)
		if d := c.Difference(&base); !strings.Contains(d, want) {
			t.Errorf("%q, expected %q", d, want)
		}
	}
	other := base
	other.LongRope = nil
	if d := base.Difference(&other); !strings.HasSuffix(d, ", expected none") {
		t.Errorf("%q", d)
	}
}
