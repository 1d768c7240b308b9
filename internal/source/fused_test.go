package source

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
)

// fused describes a Phi-2 of one layer, with q, k and v in one tensor.
func fused(md *gguf.Metadata, tensors map[string][]uint64) {
	md.Set("general.architecture", "phi2")
	for key, v := range map[string]uint32{
		"context_length": 64, "embedding_length": 8, "feed_forward_length": 16, "block_count": 1,
		"attention.head_count": 2, "attention.head_count_kv": 1, "rope.dimension_count": 2,
	} {
		md.Set("phi2."+key, v)
	}
	md.Set("phi2.attention.layer_norm_epsilon", float32(1e-5))
	clear(tensors)
	maps.Copy(tensors, map[string][]uint64{
		"token_embd.weight": {8, 10}, "output.weight": {8, 10}, "output.bias": {10},
		"output_norm.weight": {8}, "output_norm.bias": {8}, "blk.0.attn_norm.weight": {8}, "blk.0.attn_norm.bias": {8},
		"blk.0.attn_qkv.weight": {8, 16}, "blk.0.attn_qkv.bias": {16},
		"blk.0.attn_output.weight": {8, 8}, "blk.0.attn_output.bias": {8},
		"blk.0.ffn_up.weight": {8, 16}, "blk.0.ffn_up.bias": {16},
		"blk.0.ffn_down.weight": {16, 8}, "blk.0.ffn_down.bias": {8},
	})
}

// Old files of Phi-2 have attn_qkv: its rows are those of q, then k, then v.
func TestFusedQKV(t *testing.T) {
	m, err := open(small(t, fused))
	if err != nil {
		t.Fatal(err)
	}
	// The values of each tensor count from 1 on.
	want := map[string][2]float32{ // first value, number of values
		"blk.0.attn_q.weight": {1, 64}, "blk.0.attn_k.weight": {65, 32}, "blk.0.attn_v.weight": {97, 32},
		"blk.0.attn_q.bias": {1, 8}, "blk.0.attn_k.bias": {9, 4}, "blk.0.attn_v.bias": {13, 4},
	}
	for i := range m.Tensors {
		x := &m.Tensors[i]
		w, ok := want[x.GGUF]
		if !ok {
			continue
		}
		delete(want, x.GGUF)
		next, n := w[0], float32(0)
		err := x.EachRows(func(_ int, values []float32) error {
			for _, v := range values {
				if v != next {
					t.Fatalf("%s has %g where %g was expected", x.GGUF, v, next)
				}
				next, n = next+1, n+1
			}
			return nil
		})
		if err != nil || n != w[1] {
			t.Errorf("%s: %g values, expected %g; %v", x.GGUF, n, w[1], err)
		}
	}
	if len(want) > 0 {
		t.Errorf("no %v", want)
	}
	for name, bad := range map[string]struct {
		change func(tensors map[string][]uint64)
		want   string
	}{
		"without a bias": {
			func(tensors map[string][]uint64) { delete(tensors, "blk.0.attn_qkv.bias") },
			"3 of 17 tensors are missing: blk.0.attn_q.bias, blk.0.attn_k.bias, blk.0.attn_v.bias",
		},
		"a shape": {
			func(tensors map[string][]uint64) { tensors["blk.0.attn_qkv.weight"] = []uint64{8, 24} },
			"tensor blk.0.attn_qkv.weight has shape [24 8], expected [16 8]",
		},
		"both": {
			func(tensors map[string][]uint64) {
				for _, name := range []string{"q", "k", "v"} {
					tensors["blk.0.attn_"+name+".weight"] = []uint64{8, map[string]uint64{"q": 8, "k": 4, "v": 4}[name]}
				}
			},
			"blk.0.attn_qkv.weight does not belong",
		},
	} {
		data := small(t, func(md *gguf.Metadata, tensors map[string][]uint64) {
			fused(md, tensors)
			bad.change(tensors)
		})
		if _, err := open(data); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("%s: %v, expected %q", name, err, bad.want)
		}
	}
}

// The files that hold a tensor's rows, each once; zeros are in none.
func TestPaths(t *testing.T) {
	for _, c := range []struct {
		tensor Tensor
		want   []string
	}{
		{Tensor{Path: "a"}, []string{"a"}},
		{Tensor{Path: "a", spans: []span{{path: "a"}, {path: "b"}, {path: "a"}}}, []string{"a", "b"}},
		{Tensor{Path: "zeros", R: zeros{}}, nil},
	} {
		if got := c.tensor.Paths(); !slices.Equal(got, c.want) {
			t.Errorf("%q, expected %q", got, c.want)
		}
	}
}
