package verify

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// reportOn returns a report on positions of a text.
func reportOn(p []Position, name string) *Report {
	for i := range p {
		p[i].Quant += 5 // likelihoods are positive
		p[i].Index, p[i].Context, p[i].Token = i+1, i+1, int32(i%100)
	}
	r := NewReport(p, []Text{{Name: "a.txt", SHA256: "aa", Tokens: len(p) + 1, Windows: 1}}, 3)
	r.Tool, r.Tokens = "phi3conv v1", "cc"
	r.Conventions = Conventions{Name: Strided, Context: 512, Stride: 256}
	r.Base, r.Quant = Model{Name: "base", SHA256: "bb"}, Model{Name: name, SHA256: "dd", FileBytes: 1000,
		BitsPerWeight: 4.5}
	return r
}

// pairOf returns reports on an old and a new model: mean KLDs of 0.21 and 0.25, 92 and 91 % agreement.
func pairOf(n int) (old, now *Report) {
	p, q := population{rand.New(rand.NewPCG(15, 16))}.drawPair(n, 0.87)
	return reportOn(p, "old"), reportOn(q, "new")
}

func TestCompare(t *testing.T) {
	for _, c := range []struct {
		name    string
		n       int
		turn    bool // the new model is the baseline
		allowed string
		figure  string
		change  Change
		outcome Outcome
	}{
		{"worse", 10000, false, "", "kld", Worse, Fail},
		{"worse, p99", 10000, false, "", "kld-p99", Worse, Fail},
		{"worse, ln PPL", 10000, false, "", "ln-ppl", Worse, Fail},
		{"worse, top-1", 10000, false, "", "top1", Worse, Fail},
		{"better", 10000, true, "", "kld", Better, Pass},
		{"better, top-1", 10000, true, "", "top1", Better, Pass},
		{"allowed", 10000, false, "kld=0.1", "kld", Same, Fail}, // by other figures
		{"allowed, top-1", 10000, false, "top1=0.05", "top1", Same, Fail},
		{"perhaps allowed", 10000, false, "kld=0.04", "kld", Unknown, Fail},
		{"not allowed", 10000, false, "kld=0.01", "kld", Worse, Fail},
		{"too few for p99", 900, true, "", "kld-p99", Unknown, Undecided},
		{"too few", 29, true, "", "kld", Unknown, Undecided},
		{"too few to see", 200, false, "", "top1", Same, Fail}, // kld is worse
	} {
		t.Run(c.name, func(t *testing.T) {
			old, now := pairOf(c.n)
			if c.turn {
				old, now = now, old
			}
			var allowed []Threshold
			if c.allowed != "" {
				a, err := ParseAllowed(c.allowed)
				if err != nil {
					t.Fatal(err)
				}
				allowed = append(allowed, a)
			}
			if err := now.Compare(old, allowed); err != nil {
				t.Fatal(err)
			}
			b := now.Baseline
			got := b.Checks[slices.IndexFunc(b.Checks, func(r Regression) bool { return r.Name == c.figure })]
			if got.Change != c.change || b.Outcome != c.outcome || now.Outcome() != c.outcome {
				t.Errorf("%s, %s altogether; expected %s, %s: %+v", got.Change, b.Outcome, c.change, c.outcome, got)
			}
			if (got.Enough > c.n) != (c.change == Unknown) {
				t.Errorf("%d tokens of %d are enough: %+v", got.Enough, c.n, got)
			}
		})
	}
	// The number that would be enough is that, to 1 %.
	old, now := pairOf(900)
	if err := now.Compare(old, nil); err != nil || now.Baseline.Checks[1].Enough < 1000 ||
		now.Baseline.Checks[1].Enough > 1010 {
		t.Errorf("error %v, %+v", err, now.Baseline)
	}
}

func TestStaleBaseline(t *testing.T) {
	for _, c := range []struct {
		want   string
		change func(r *Report)
	}{
		{"original", func(r *Report) { r.Base.SHA256 = "other" }},
		{"text", func(r *Report) { r.Texts[0].SHA256 = "other" }},
		{"texts", func(r *Report) { r.Texts = append(r.Texts, r.Texts[0]) }},
		{"conventions", func(r *Report) { r.Conventions.Stride++ }},
		{"tokenizer", func(r *Report) { r.Tokens = "other" }},
		{"computed", func(r *Report) { r.Compute.Cache = "q8_0" }},
		{"windows", func(r *Report) { r.Texts[0].Windows++ }},
		{"scored", func(r *Report) { r.Positions[7].Token++ }},
		{"scored", func(r *Report) { r.Positions = r.Positions[1:] }},
		{"positions", func(r *Report) { r.Positions = nil }},
		{"", func(r *Report) { r.Tool, r.Quant.SHA256, r.Quant.Name = "phi3conv v2", "other", "another" }},
	} {
		old, now := pairOf(100)
		c.change(old)
		err := now.Compare(old, nil)
		if c.want == "" {
			if err != nil || now.Baseline == nil {
				t.Errorf("error %v", err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.want) || now.Baseline != nil {
			t.Errorf("%v, expected an error with %q", err, c.want)
		}
	}
}

func TestParseAllowed(t *testing.T) {
	for _, text := range []string{"", "kld", "kld=", "kld=-1", "kld=x", "kld=NaN", "kld=1e999", "ppl=1", "=1",
		"kld=0.1 "} {
		if got, err := ParseAllowed(text); err == nil {
			t.Errorf("%q is %+v", text, got)
		}
	}
	if got, err := ParseAllowed("kld-p99=1e-3"); err != nil || got != (Threshold{"kld-p99", 0.001}) {
		t.Errorf("%+v, error %v", got, err)
	}
}

// Sizes and speeds are compared where both reports have them, layers where both have the same.
func TestBaselineCosts(t *testing.T) {
	old, now := pairOf(1000)
	old.Performance = &Performance{Quant: Speed{TG: Estimate{10, 0.3, 9, 11}, RSS: 500}}
	now.Performance = &Performance{Quant: Speed{TG: Estimate{12, 0.4, 10, 14}, RSS: 600}}
	now.Quant.FileBytes = 900
	layer := func(name string, kld float64) LayerKLD { return LayerKLD{Name: name, KLD: Estimate{Value: kld}} }
	old.Layers = []LayerKLD{layer("a", 1), layer("b", 2), layer("c", 3)}
	now.Layers = []LayerKLD{layer("d", 0.5), layer("a", 1.25), layer("c", 3)}
	if err := now.Compare(old, nil); err != nil {
		t.Fatal(err)
	}
	b := now.Baseline
	find := func(name string) Cost {
		return b.Costs[slices.IndexFunc(b.Costs, func(c Cost) bool { return c.Name == name })]
	}
	if c := find("file, bytes"); c.Difference != (Estimate{-100, 0, -100, -100}) {
		t.Errorf("%+v", c)
	}
	if d := find("decode, tok/s").Difference; d.Value != 2 || d.SE != 0.5 ||
		!(d.Low < -0.2 && d.Low > -0.3 && d.High > 4.2 && d.High < 4.3) {
		t.Errorf("%+v", d)
	}
	if want := []LayerChange{{"d", 0, 0.5}, {"a", 1, 1.25}, {"b", 2, 0}}; !slices.Equal(b.Layers, want) {
		t.Errorf("%+v, expected %+v", b.Layers, want)
	}
	now.LayerTokens = 100 // other tokens
	if err := now.Compare(old, nil); err != nil || now.Baseline.Layers != nil {
		t.Errorf("error %v, %+v", err, now.Baseline.Layers)
	}
}

// Every form of the report has the comparison.
func TestBaselineForms(t *testing.T) {
	old, now := pairOf(10000)
	if err := now.Compare(old, nil); err != nil {
		t.Fatal(err)
	}
	var text, markdown, junit, report bytes.Buffer
	for _, err := range []error{now.WriteText(&text), now.WriteMarkdown(&markdown), now.WriteJUnit(&junit),
		now.WriteReport(&report)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct{ form, got, want string }{
		{"text", text.String(), "Against the baseline old dd: fail\n"},
		{"text", text.String(), "  kld-p99  worse"},
		{"Markdown", markdown.String(), "### new against base: fail\n"},
		{"Markdown", markdown.String(), "| kld-p99 | worse |"},
		{"JUnit", junit.String(), `tests="4" failures="4"`},
		{"JUnit", junit.String(), `name="baseline-top1"`},
	} {
		if !strings.Contains(c.got, c.want) {
			t.Errorf("no %q in the %s:\n%s", c.want, c.form, c.got)
		}
	}
	back, err := ReadReports("x.json", report.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(now.Baseline)
	b, _ := json.Marshal(back[0].Baseline)
	if !bytes.Equal(a, b) {
		t.Errorf("the comparison comes back as %s, expected %s", b, a)
	}
	if (Reports{old, now}).Outcome() != Fail {
		t.Error("a regression does not fail")
	}
}
