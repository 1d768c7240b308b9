package verify

import (
	"testing"

	"github.com/phi3conv/phi3conv/verify"
)

// Layers are ranked whole, and several models each.
func TestByLayer(t *testing.T) {
	o := eightWindows(models.q4, models.q8)
	o.ByLayer, o.LayerWindows = true, 1
	list := verified(t, o)
	for _, r := range list {
		names := map[string]bool{}
		for _, l := range r.Layers {
			names[l.Name] = true
		}
		if len(names) != 6 || !names["blk.0"] || !names["blk.3"] || !names["token_embd"] || !names["output"] {
			t.Errorf("%s: %v", r.Quant.Name, names) // the norms are the original's
		}
	}
	a, b := list[0].AllLayers, list[1].AllLayers
	if a.Type != "Q4_K Q6_K" || b.Type != "Q8_0" || !(a.KLD.Value > b.KLD.Value) {
		t.Errorf("%+v and %+v", a, b)
	}
}

// Tensors that do more harm come first, and all at once do about as much as together.
func TestByTensor(t *testing.T) {
	r := verified(t, byTensor(models.q4))[0]
	if len(r.Layers) != 18 || r.LayerTokens != 2*63 {
		t.Fatalf("%d tensors of %d tokens", len(r.Layers), r.LayerTokens)
	}
	sum := 0.0
	for i, l := range r.Layers {
		sum += l.KLD.Value
		if !(l.KLD.Value > 0) || i > 0 && l.KLD.Value > r.Layers[i-1].KLD.Value || l.Type == "" || l.Bytes == 0 {
			t.Errorf("%d: %+v", i, l)
		}
	}
	if all := r.AllLayers.KLD.Value; !(all > sum/2 && all < 2*sum) {
		t.Errorf("all at once %v, one at a time %v", all, sum)
	}
}

func TestTensorGroups(t *testing.T) {
	for tensor, want := range map[string]string{
		"blk.12.ffn_up.weight": "blk.12", "token_embd.weight": "token_embd", "output.weight": "output", "blk": "blk",
	} {
		if got := layerOf(tensor); got != want {
			t.Errorf("%s is of %s, expected %s", tensor, got, want)
		}
	}
	g := tensorGroup{name: "all", bytes: 2, weights: 8, types: []typeBytes{{"F32", 2}}}
	g.add(tensorGroup{tensors: []string{"a"}, bytes: 500, weights: 1000, types: []typeBytes{{"Q4_K", 500}}})
	both := []typeBytes{{"Q4_K", 100}, {"Q8_0", 400}}
	g.add(tensorGroup{tensors: []string{"a", "b"}, bytes: 500, weights: 992, types: both})
	want := verify.LayerKLD{Name: "all", Type: "Q4_K Q8_0", Bytes: 1002, BitsPerWeight: 8 * 1002.0 / 2000}
	if got := g.describe(); got != want || len(g.tensors) != 2 {
		t.Errorf("%+v of %q, expected %+v", got, g.tensors, want)
	}
}
