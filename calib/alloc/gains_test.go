package alloc

import (
	"math"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/quant"
)

// Costs are multiplied by the share of their kind and type; where that was not measured, by the mean of other kinds.
func TestApplyGains(t *testing.T) {
	list := []Gain{
		{"attn_qkv.weight", "Q4_K", 0.5}, {"attn_qkv.weight", "Q3_K", 0.25}, {"ffn_up.weight", "Q4_K", 0.75},
	}
	candidates := func() []Candidate {
		return []Candidate{{Type: quant.Q3_K, Cost: 8}, {Type: quant.Q4_K, Cost: 4}, {Type: quant.Q6_K, Cost: 1}}
	}
	all := []TensorCost{
		{Tensor: "token_embd.weight", layer: "token_embd.weight", Candidates: candidates()},
		{Tensor: "blk.1.attn_q.weight", layer: "blk.1.attn_qkv.weight", Linear: true, Candidates: candidates()},
		{Tensor: "blk.12.ffn_up.weight", layer: "blk.12.ffn_up.weight", Linear: true, Candidates: candidates()},
		{Tensor: "blk.12.ffn_down.weight", layer: "blk.12.ffn_down.weight", Linear: true, Candidates: candidates()},
		{Tensor: "output.weight", layer: "output.weight", Candidates: candidates()},
	}
	apply(list, all)
	for i, want := range [][]float64{{8, 4, 1}, {2, 2, 1}, {2, 3, 1}, {2, 2.5, 1}, {2, 2.5, 1}} {
		for k, c := range all[i].Candidates {
			if math.Abs(c.Cost-want[k]) > 1e-12 {
				t.Errorf("%s as %s costs %g, expected %g", all[i].Tensor, c.Type, c.Cost, want[k])
			}
		}
	}
	for count, want := range map[int][]int{1: {0}, 2: {0, 1}, 4: {1, 3}, 32: {8, 24}} {
		if got := gainedBlocks(count); !slices.Equal(got, want) {
			t.Errorf("of %d blocks: %v, expected %v", count, got, want)
		}
	}
}

// --outputs and --asymmetric at their defaults leave what was measured of them, halves of these half as much less.
func TestLeft(t *testing.T) {
	opt := solve.DefaultOptions()
	share := opt.Asymmetric
	for _, c := range []struct{ outputs, asymmetric, want float64 }{
		{0, 0, 1},
		{solve.DefaultOutputs, 0, leftByOutputs},
		{solve.DefaultOutputs / 2, 0, (1 + leftByOutputs) / 2},
		{1, share, leftByOutputs * leftByAsymmetric},
	} {
		opt.Outputs, opt.Asymmetric = c.outputs, c.asymmetric
		if got := left(&opt); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("outputs %g, asymmetric %g leave %g, expected %g", c.outputs, c.asymmetric, got, c.want)
		}
	}
}
