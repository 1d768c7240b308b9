package verify

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/internal/sample"
)

// Every change is that of numpy and scipy.
func TestChangeGolden(t *testing.T) {
	b, err := os.ReadFile("../testdata/golden/baseline.json")
	if err != nil {
		t.Fatal(err)
	}
	var want map[string]json.RawMessage
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	// What golden_baseline.py makes.
	state := uint64(7)
	uniform := func() float64 {
		state = state*6364136223846793005 + 1442695040888963407
		return float64(state>>44) / (1 << 20)
	}
	old, now := make([]Position, 2000), make([]Position, 2000)
	for i := range old {
		u, v, w := uniform(), uniform(), uniform()
		mixed := float64(0.875*u) + float64(0.125*v)
		old[i] = Position{KLD: 1 / (1.0625 - u), Quant: 3 * u, SameTop: w < 0.9}
		now[i] = Position{KLD: 1.125 / (1.0625 - mixed), Quant: float64(3*mixed) + float64(0.0625*v*v),
			SameTop: w < 0.9-float64(0.03125*v) || w > 0.99}
	}
	for _, f := range figures {
		var e Estimate
		if err := json.Unmarshal(want[f.Name], &e); err != nil {
			t.Fatalf("%s: %v", f.Name, err)
		}
		got := estimate(f.change(old, now))
		for _, v := range [][2]float64{{got.Value, e.Value}, {got.SE, e.SE}, {got.Low, e.Low}, {got.High, e.High}} {
			if math.Abs(v[0]-v[1]) > 1e-9*math.Abs(e.Value)+1e-12 {
				t.Errorf("%s is %+v, expected %+v", f.Name, got, e)
				break
			}
		}
		if d := f.value(now) - f.value(old); math.Abs(d-got.Value) > 1e-12 {
			t.Errorf("%s changes by %v, the values by %v", f.Name, got.Value, d)
		}
	}
}

// drawPair draws positions of an old and a new model, of which the true changes are known. KLDs
// are log-normal with a deviation of 1.2, which real ones have, and the logarithms of both
// models' have the given correlation; those of two quantizations of a model have 0.75 to 0.87.
// Log-likelihoods change with heavy tails.
func (r population) drawPair(n int, correlation float64) (old, now []Position) {
	old, now = make([]Position, n), make([]Position, n)
	rest := math.Sqrt(1 - correlation*correlation)
	for i := range old {
		x, y := r.NormFloat64(), r.NormFloat64()
		old[i].KLD = 0.1 * math.Exp(1.2*x)
		now[i].KLD = 0.12 * math.Exp(1.2*(correlation*x+rest*y))
		old[i].Quant = 2 * r.ExpFloat64()
		now[i].Quant = old[i].Quant + 0.01 + 0.1*r.NormFloat64()*math.Exp(0.5*y)
		switch u := r.Float64(); {
		case u < 0.9:
			old[i].SameTop, now[i].SameTop = true, true
		case u < 0.92:
			old[i].SameTop = true
		case u < 0.93:
			now[i].SameTop = true
		}
		old[i].DeltaP = 0.03 * r.NormFloat64()
	}
	return old, now
}

// The 95 % intervals of changes hold the truth in 93 to 97 % of 1,000 experiments of 2,500
// tokens, whether two models are alike or not.
func TestChangeCoverage(t *testing.T) {
	const experiments, tokens = 1000, 2500
	z99 := math.Sqrt2 * math.Erfinv(0.98)
	truth := map[string]float64{
		"kld":     0.02 * math.Exp(0.72),
		"kld-p99": 0.02 * math.Exp(1.2*z99),
		"ln-ppl":  0.01,
		"top1":    -0.01,
	}
	r := population{rand.New(rand.NewPCG(9, 10))}
	percentile := 0
	for _, correlation := range []float64{0.5, 0.87, 0.98} {
		held := map[string]int{}
		for range experiments {
			old, now := r.drawPair(tokens, correlation)
			for _, f := range figures {
				if e := estimate(f.change(old, now)); e.Low <= truth[f.Name] && truth[f.Name] <= e.High {
					held[f.Name]++
				}
			}
			if e := estimate(sample.QuantileOf(sorted(old, deltaP), 0.01)); e.Low <= -0.03*z99 && -0.03*z99 <= e.High {
				percentile++
			}
		}
		for name := range truth {
			c := 100 * float64(held[name]) / experiments
			t.Logf("correlation %v: %-8s %.2f %%", correlation, name, c)
			if c < 93 || c > 97 {
				t.Errorf("correlation %v: the 95 %% interval of the change of %s holds the truth in %.2f %%",
					correlation, name, c)
			}
		}
	}
	if c := 100 * float64(percentile) / (3 * experiments); c < 93 || c > 97 {
		t.Errorf("the 95 %% interval of a low percentile holds the truth in %.2f %%", c)
	}
}

// A model compared with itself has not changed, and of too few tokens nothing is said.
func TestNoChange(t *testing.T) {
	p := population{rand.New(rand.NewPCG(11, 12))}.draw(2500)
	for _, f := range figures {
		e := estimate(f.change(p, p))
		if e.Value != 0 || e.Low > 0 || e.High < 0 || e.High-e.Low > 0.002 {
			t.Errorf("%s of the same positions changes by %+v", f.Name, e)
		}
		if e := estimate(f.change(nil, nil)); e.Low > -1 || e.High < 1 {
			t.Errorf("%s of no positions is known: %+v", f.Name, e)
		}
	}
	q := population{rand.New(rand.NewPCG(13, 14))}.draw(2500)
	p99 := figures[slices.IndexFunc(figures, func(f Figure) bool { return f.Name == "kld-p99" })]
	if e := estimate(p99.change(p[:999], q[:999])); !math.IsInf(e.High, 1) || !math.IsInf(e.Low, -1) ||
		!math.IsNaN(e.SE) {
		t.Errorf("the 99 %% quantile of 999 tokens changes by %+v", e)
	}
	if e := estimate(p99.change(p[:1000], q[:1000])); math.IsInf(e.High, 1) {
		t.Errorf("the 99 %% quantile of 1000 tokens changes by %+v", e)
	}
}
