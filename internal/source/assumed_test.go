package source

import (
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
)

// Without the keys, numbers are those of the published models: the windows of llama.cpp's pull request 8931, and
// LongRoPE's factor of cos and sin as transformers computes it.
func TestAssumed(t *testing.T) {
	const window, original = "phi3.attention.sliding_window", "phi3.rope.scaling.original_context_length"
	for name, c := range map[string]struct {
		layers, heads, context uint32
		window                 int
		factor                 float64
		original               int
		assumed                []string
	}{
		"mini-4k":     {32, 32, 4096, 2047, 0, 4096, []string{window + " is 2047"}},
		"medium-4k":   {40, 10, 4096, 2047, 0, 4096, []string{window + " is 2047"}},
		"mini-128k":   {32, 32, 131072, 262144, 1.1902380714238083, 4096, nil},
		"medium-128k": {40, 10, 131072, 131072, 1.1902380714238083, 4096, nil},
		"phi-4":       {40, 10, 16384, 0, 0, 16384, nil},
	} {
		m, err := open(small(t, func(md *gguf.Metadata, tensors map[string][]uint64) {
			md.Delete("phi3.rope.scaling.attn_factor")
			md.Delete(original)
			md.Set("phi3.context_length", c.context)
			md.Set("phi3.block_count", c.layers)
			md.Set("phi3.attention.head_count", c.heads)
			md.Set("phi3.attention.head_count_kv", c.heads)
			md.Set("phi3.embedding_length", 4*c.heads)
			h := uint64(4 * c.heads)
			resize(tensors, int(c.layers), h, c.factor > 0)
		}))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		g := m.Config
		if g.SlidingWindow != c.window || g.OriginalContext != c.original || (g.LongRope != nil) != (c.factor > 0) {
			t.Errorf("%s: window %d, original context %d, LongRoPE %v", name, g.SlidingWindow, g.OriginalContext,
				g.LongRope)
		}
		if g.LongRope != nil && (math.Abs(g.LongRope.AttnFactor-c.factor) > 1e-12 || len(g.Assumed) != 3) {
			t.Errorf("%s: factor %v, expected %v; assumed %q", name, g.LongRope.AttnFactor, c.factor, g.Assumed)
		}
		if c.factor == 0 && !slices.Equal(g.Assumed, c.assumed) {
			t.Errorf("%s: assumed %q, expected %q", name, g.Assumed, c.assumed)
		}
	}
}

// resize makes the shapes of a model of width h.
func resize(tensors map[string][]uint64, layers int, h uint64, factors bool) {
	clear(tensors)
	tensors["token_embd.weight"], tensors["output.weight"] = []uint64{h, 10}, []uint64{h, 10}
	tensors["output_norm.weight"] = []uint64{h}
	for l := range layers {
		for name, dims := range map[string][]uint64{
			"attn_norm": {h}, "ffn_norm": {h}, "attn_qkv": {h, 3 * h}, "attn_output": {h, h},
			"ffn_up": {h, 32}, "ffn_down": {16, h},
		} {
			tensors[fmt.Sprintf("blk.%d.%s.weight", l, name)] = dims
		}
	}
	if factors {
		tensors[arch.LongFactors], tensors[arch.ShortFactors] = []uint64{2}, []uint64{2}
	}
}
