package verify

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// Every figure of the golden summary is that of numpy and scipy.
func TestSummaryGolden(t *testing.T) {
	p, _ := goldenPositions(t)
	var want map[string]any
	if err := json.Unmarshal(readGolden(t).Summary, &want); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(Summarize(p))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	close := func(what string, got, want any) {
		t.Helper()
		if what == "top5.low" || what == "top5.high" {
			return // not a figure of scipy's
		}
		x, y := got, want
		if g, ok := got.(float64); ok {
			if w, ok := want.(float64); ok && math.Abs(g-w) <= 1e-10*math.Abs(w) {
				return
			}
		}
		if x != y {
			t.Errorf("%s is %v, expected %v", what, got, want)
		}
	}
	for name, w := range want {
		if m, ok := w.(map[string]any); ok {
			g, _ := got[name].(map[string]any)
			for k, v := range m {
				close(name+"."+k, g[k], v)
			}
		} else {
			close(name, got[name], w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d figures, expected %d", len(got), len(want))
	}
}

// population draws positions of which the truth is known: log-normal KLDs, of
// skewness 6, differences of -ln p with a mean of 0.01, and so on.
type population struct{ *rand.Rand }

func (r population) draw(n int) []Position {
	p := make([]Position, n)
	for i := range p {
		q := &p[i]
		q.KLD = 0.02 * math.Exp(r.NormFloat64())
		q.Base = 2 * r.ExpFloat64()
		q.Quant = q.Base + 0.01 + 0.1*r.NormFloat64()
		q.SameTop = r.Float64() < 0.93
		// The five answers of a position are correlated: its share is 0.8 or 0.96.
		yes := 0.8 + 0.16*float64(r.IntN(2))
		for range 5 {
			if r.Float64() < yes {
				q.Top5++
			}
		}
		q.DeltaP = 0.03 * r.NormFloat64()
	}
	return p
}

func logNormalQuantile(q float64) float64 { return 0.02 * math.Exp(math.Sqrt2*math.Erfinv(2*q-1)) }

// The 95 % intervals hold the truth in 93 to 97 % of 2,000 experiments of 2,500
// tokens, and a threshold that is the truth itself is judged wrongly, either way,
// in at most 6.5 %: one-sided 5 %, where the standard error is 0.5 %.
func TestCoverage(t *testing.T) {
	const experiments, tokens = 2000, 2500
	truth := map[string]float64{
		"max-kld":        0.02 * math.Exp(0.5),
		"max-kld-median": 0.02,
		"max-kld-p90":    logNormalQuantile(0.9),
		"max-kld-p95":    logNormalQuantile(0.95),
		"max-kld-p99":    logNormalQuantile(0.99),
		"min-top1":       0.93,
		"min-top5":       0.88,
		"max-ppl":        math.Exp(2.01),
		"max-ppl-ratio":  math.Exp(0.01),
		"max-rms-dp":     0.03,
	}
	var thresholds []Threshold
	for _, m := range Metrics() {
		if v, ok := truth[m.Name]; ok {
			thresholds = append(thresholds, Threshold{m.Name, v})
		}
	}
	held, passed, failed := map[string]int{}, map[string]int{}, map[string]int{}
	r := population{rand.New(rand.NewPCG(5, 6))}
	for range experiments {
		v, err := Judge(r.draw(tokens), thresholds)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range v.Checks {
			if e := c.Measured; e.Low <= c.Limit && c.Limit <= e.High {
				held[c.Name]++
			}
			switch c.Outcome {
			case Pass:
				passed[c.Name]++
			case Fail:
				failed[c.Name]++
			}
		}
	}
	for name := range truth {
		percent := func(n int) float64 { return 100 * float64(n) / experiments }
		t.Logf("%-15s interval holds in %.2f %%; at the limit passes %.2f %%, fails %.2f %%", name, percent(held[name]),
			percent(passed[name]), percent(failed[name]))
		if c := percent(held[name]); c < 93 || c > 97 {
			t.Errorf("%s: the 95 %% interval holds the truth in %.2f %%", name, c)
		}
		if c := percent(passed[name]); c > 6.5 {
			t.Errorf("%s: passes in %.2f %% where it is just the limit", name, c)
		}
		if c := percent(failed[name]); c > 6.5 {
			t.Errorf("%s: fails in %.2f %% where it is just the limit", name, c)
		}
	}
}

// What cannot be said of few positions is NaN or infinite, and null in JSON.
func TestSummaryOfFew(t *testing.T) {
	for n := range 3 {
		p := population{rand.New(rand.NewPCG(7, 8))}.draw(n)
		s := Summarize(p)
		if s.Count != n || n < 2 && (s.KLD.SE == s.KLD.SE || s.KLD.High < math.Inf(1)) || s.KLD99.High < math.Inf(1) {
			t.Errorf("%d positions: %+v", n, s)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Summary
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if n > 0 && back.KLD.Value != p[0].KLD && n == 1 || !math.IsNaN(back.KLD99.High) {
			t.Errorf("%d positions come back from JSON as %+v", n, back.KLD)
		}
	}
	broken := []Position{{Quant: 1e38}, {Quant: 2e38}}
	if s := Summarize(broken); !math.IsInf(s.PPL.Value, 1) {
		t.Errorf("PPL is %v", s.PPL.Value)
	}
}

func TestGroups(t *testing.T) {
	var p []Position
	for text := range 3 {
		for i := 256; i < 511 && text != 1; i++ {
			p = append(p, Position{Text: text, Index: i, Context: i, KLD: float64(text*1000 + i)})
		}
	}
	var names []string
	total := 0
	for _, g := range ByContext(p) {
		names = append(names, fmt.Sprintf("%s:%d", g.Name, g.Count))
		total += g.Count
	}
	want := []string{"256-287:64", "288-319:64", "320-351:64", "352-383:64", "384-415:64", "416-447:64", "448-479:64",
		"480-510:62"}
	if !slices.Equal(names, want) || total != len(p) {
		t.Errorf("by context: %v", names)
	}
	names = nil
	for _, g := range ByText(p, []string{"a", "b", "c"}) {
		names = append(names, fmt.Sprintf("%s:%d:%v", g.Name, g.Count, g.KLDMax))
	}
	if !slices.Equal(names, []string{"a:255:510", "c:255:2510"}) {
		t.Errorf("by text: %v", names)
	}
	if got := ByContext(p[:1]); len(got) != 1 || got[0].Name != "256-256" {
		t.Errorf("one position: %v", got)
	}
	if got := ByContext(nil); got != nil {
		t.Errorf("no position: %v", got)
	}
}

func TestWorst(t *testing.T) {
	p := []Position{{Index: 1, KLD: 2}, {Index: 2, KLD: 5}, {Index: 3, KLD: 2}, {Text: 1, KLD: 5}}
	before := slices.Clone(p)
	if got, want := Worst(p, 3), []Position{p[1], p[3], p[0]}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, expected %+v", got, want)
	}
	if got := Worst(p, 9); len(got) != 4 || !reflect.DeepEqual(p, before) {
		t.Errorf("got %+v, and the positions are %+v", got, p)
	}
	if got := Worst(nil, 2); len(got) != 0 {
		t.Errorf("got %+v of none", got)
	}
}
