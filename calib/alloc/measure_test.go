package alloc

import (
	"encoding/json"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// Whatever a file says was measured, it is refused or gives costs that can be compared.
func FuzzMeasured(f *testing.F) {
	l, err := runtime.OpenLayers("../../testdata/tiny-phi3", runtime.Options{Threads: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = l.Close() })
	how := solve.DefaultOptions()
	opt := Options{
		Candidates: func(string, int) []quant.Type { return []quant.Type{quant.Q3_K, quant.Q4_K} },
		Solving:    &how,
		Scale:      true,
	}
	origin := &stats.Origin{Tokens: []int32{1, 2, 3, 4, 5}, Lengths: []int32{2, 3}}
	estimator := func(o *stats.Origin) *estimator {
		e, err := newEstimator(l, &stats.File{Origin: o}, opt)
		if err != nil {
			f.Fatal(err)
		}
		return e
	}
	m := Measured{Options: estimator(origin).options(&opt), Divergences: true}
	for _, c := range estimator(origin).costs {
		for i, typ := range []string{"Q3_K", "Q4_K"} {
			set(&m.Costs, c.Tensor, typ, [2]float64{0.2 / float64(1+i), 0})
			if c.Linear {
				set(&m.Errors, c.layer, typ, [2]float64{0.1, 0.05})
			}
		}
	}
	for _, kind := range []string{kindLinear, kindRounding, "token_embd.weight"} {
		for i := range origin.Lengths {
			set(&m.Probes, kind, i, 0.01)
		}
	}
	if _, err := estimator(origin).estimation(&m, opt); err != nil {
		f.Fatal(err)
	}
	whole, err := json.Marshal(m)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, true)
	f.Add(whole, false)
	f.Add([]byte("{}"), true)
	f.Fuzz(func(t *testing.T, data []byte, tokens bool) {
		var got Measured
		if json.Unmarshal(data, &got) != nil {
			return
		}
		got.Options = m.Options // a hash, which no mutation finds
		e := estimator(nil)
		if tokens {
			e = estimator(origin)
		}
		found, err := e.estimation(&got, opt)
		if err != nil {
			return
		}
		for _, x := range found.Tensors {
			for _, c := range x.Candidates {
				if !(c.Cost >= 0) {
					t.Fatalf("%s as %s costs %g", x.Tensor, c.Type, c.Cost)
				}
			}
		}
		NewFrontier(found.Tensors).AtCost(1)
	})
}
