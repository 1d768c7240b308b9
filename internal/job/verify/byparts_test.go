package verify

import (
	"math"
	"testing"

	"github.com/phi3conv/phi3conv/runtime"
)

// The part of the weights is what a verification in float32 finds on the same windows, and both parts together are
// what the report finds there.
func TestByPart(t *testing.T) {
	o := eightWindows(models.q4, models.q8)
	o.ByPart, o.LayerWindows = true, 8
	list := verified(t, o)
	o = eightWindows(models.q4, models.q8)
	o.Compute.Float32, o.Compute.Cache = true, runtime.CacheF32
	alone := verified(t, o)
	for i, r := range list {
		p, want := r.Parts, alone[i].Summary.KLD
		if p.Tokens != r.Summary.Count || p.Weights != want {
			t.Errorf("%s: %+v, expected %+v", r.Quant.Name, p, want)
		}
		sum := p.Weights.Value + p.Runtime.Value
		if all := r.Summary.KLD.Value; math.Abs(sum-all) > 1e-12*all || p.Runtime.SE == 0 {
			t.Errorf("%s: parts %+v, together %v, expected %v", r.Quant.Name, p, sum, all)
		}
	}
	if a, b := list[0].Parts, list[1].Parts; !(a.Weights.Value > 10*b.Weights.Value) {
		t.Errorf("%+v of Q4_K, %+v of Q8_0", a, b)
	}
}

// Some of the windows have a part of the report's tokens.
func TestByPartOfWindows(t *testing.T) {
	o := eightWindows(models.q4)
	o.ByPart, o.LayerWindows = true, 3
	r := verified(t, o)[0]
	if p := r.Parts; 8*p.Tokens != 3*r.Summary.Count {
		t.Errorf("parts of %d tokens, of %d in all", p.Tokens, r.Summary.Count)
	}
	some := r.Positions[:5]
	r.Positions = r.Positions[5:]
	if err := r.ByPart(some); err == nil {
		t.Error("tokens that the report does not have are no error")
	}
}
