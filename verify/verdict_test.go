package verify

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
)

// agreeing returns n positions of which the first `same` have the same likeliest token,
// with KLDs that alternate between 0.01 and 0.03.
func agreeing(n, same int) []Position {
	p := make([]Position, n)
	for i := range p {
		p[i] = Position{SameTop: i < same, Top5: 5, Base: 1, Quant: 1.01, KLD: 0.01 + 0.02*float64(i%2), DeltaP: 0.1}
	}
	return p
}

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name      string
		p         []Position
		threshold Threshold
		want      Outcome
		low, high int // of Enough
	}{
		{"mean KLD far below", agreeing(1000, 900), Threshold{"max-kld", 0.03}, Pass, 0, 0},
		{"mean KLD far above", agreeing(1000, 900), Threshold{"max-kld", 0.01}, Fail, 0, 0},
		// 1.645·0.01/√n = 0.0003
		{"mean KLD near", agreeing(1000, 900), Threshold{"max-kld", 0.0203}, Undecided, 3000, 3040},
		{"mean KLD nearer", agreeing(1000, 900), Threshold{"max-kld", 0.0199}, Undecided, 27000, 27400},
		{"mean KLD on the limit", agreeing(1000, 900), Threshold{"max-kld", 0.02}, Undecided, 0, 0},
		{"KLD 0", make([]Position, 30), Threshold{"max-kld", 1e-9}, Pass, 0, 0},
		{"too few to believe", make([]Position, 29), Threshold{"max-kld", 1e-9}, Undecided, 30, 30},
		{"none", nil, Threshold{"max-kld", 1e-9}, Undecided, 30, 30},
		// Wilson: 1.645·√(p(1-p)/n) where p is the limit.
		{"top-1 above", agreeing(1000, 920), Threshold{"min-top1", 0.9}, Pass, 0, 0},
		{"top-1 below", agreeing(1000, 880), Threshold{"min-top1", 0.9}, Fail, 0, 0},
		{"top-1 just above", agreeing(1000, 910), Threshold{"min-top1", 0.9}, Undecided, 2435, 2460},
		{"top-1 just below", agreeing(1000, 890), Threshold{"min-top1", 0.9}, Undecided, 2435, 2460},
		{"no miss, too few", agreeing(100, 100), Threshold{"min-top1", 0.99}, Undecided, 268, 271},
		{"no miss", agreeing(300, 300), Threshold{"min-top1", 0.99}, Pass, 0, 0},
		{"top-5", agreeing(100, 0), Threshold{"min-top5", 0.95}, Pass, 0, 0},
		// 299 values below the limit show with 95 % that 99 % are.
		{"99 % of 298", agreeing(298, 0), Threshold{"max-kld-p99", 0.05}, Undecided, 299, 302},
		{"99 % of 299", agreeing(299, 0), Threshold{"max-kld-p99", 0.05}, Pass, 0, 0},
		{"99 % of 100, half above", agreeing(100, 0), Threshold{"max-kld-p99", 0.02}, Fail, 0, 0},
		{"99.9 % of 1000", agreeing(1000, 0), Threshold{"max-kld-p99.9", 0.05}, Undecided, 2995, 3026},
		{"median", agreeing(1001, 0), Threshold{"max-kld-median", 0.005}, Fail, 0, 0},
		{"PPL ratio", agreeing(100, 0), Threshold{"max-ppl-ratio", 1.02}, Pass, 0, 0},
		{"PPL ratio above", agreeing(100, 0), Threshold{"max-ppl-ratio", 1.005}, Fail, 0, 0},
		{"PPL", agreeing(100, 0), Threshold{"max-ppl", 2.7}, Fail, 0, 0},
		{"PPL beyond float64", []Position{}, Threshold{"max-ppl", 2.7}, Undecided, 30, 30},
		{"Δp", agreeing(100, 0), Threshold{"max-rms-dp", 0.11}, Pass, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := Judge(c.p, []Threshold{c.threshold})
			if err != nil {
				t.Fatal(err)
			}
			got := v.Checks[0]
			if got.Outcome != c.want || v.Outcome != c.want || got.Enough < c.low || got.Enough > c.high ||
				v.Tokens != len(c.p) {
				t.Errorf("%s, enough are %d, measured %+v; expected %s, %d to %d", got.Outcome, got.Enough,
					got.Measured, c.want, c.low, c.high)
			}
		})
	}
}

func TestJudgeMany(t *testing.T) {
	pass, fail, undecided := Threshold{"max-kld", 0.03}, Threshold{"max-kld", 0.01}, Threshold{"max-kld", 0.0201}
	p := agreeing(1000, 900)
	for _, c := range []struct {
		thresholds []Threshold
		want       Outcome
	}{
		{[]Threshold{}, Pass}, {[]Threshold{pass, pass}, Pass}, {[]Threshold{pass, undecided, pass}, Undecided},
		{[]Threshold{fail, undecided, pass}, Fail}, {[]Threshold{undecided, fail}, Fail},
	} {
		if v, err := Judge(p, c.thresholds); err != nil || v.Outcome != c.want || len(v.Checks) != len(c.thresholds) {
			t.Errorf("%v: %+v, %v, expected %s", c.thresholds, v, err, c.want)
		}
	}
	if v, err := Judge(p, []Threshold{pass, {"max-kdl", 1}}); err == nil || v.Outcome != "" {
		t.Errorf("unknown threshold: %+v, %v", v, err)
	}
	if v, err := Judge(p, []Threshold{{"min-top1", 1}}); err == nil || v.Outcome != "" {
		t.Errorf("limit 1: %+v, %v", v, err)
	}
}

// The number of tokens that a large sample says decides does decide, half of the time:
// the figures of smaller samples are off either way.
func TestEnough(t *testing.T) {
	r := population{rand.New(rand.NewPCG(9, 10))}
	large := r.draw(200_000)
	for _, threshold := range []Threshold{{"max-kld", 0.036}, {"min-top1", 0.915}, {"max-kld-p95", 0.112},
		{"max-ppl-ratio", 1.02}} {
		m, err := metricNamed(threshold.Name)
		if err != nil {
			t.Fatal(err)
		}
		s := m.of(&Report{Positions: large})
		n := leastTokens
		for decide(threshold, s, n) == Undecided {
			n += n/20 + 1
		}
		passed := 0
		for range 200 {
			if decide(threshold, m.of(&Report{Positions: r.draw(n)}), n) == Pass {
				passed++
			}
		}
		if passed < 70 || passed > 130 {
			t.Errorf("%v: %d tokens decide %d times of 200, expected about 100", threshold, n, passed)
		}
	}
}

func TestReadThresholds(t *testing.T) {
	got, err := ReadThresholds("", []byte("# of the release\nmin-top1: 0.9\nmax-kld: 5e-2 # nats\nmax-ppl: 12\n"))
	want := []Threshold{{"min-top1", 0.9}, {"max-kld", 0.05}, {"max-ppl", 12}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, expected %v", got, err, want)
	}
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "no thresholds"},
		{"comment", "# nothing\n", "no thresholds"},
		{"null", "~\n", "line 1: want lines such as"},
		{"empty mapping", "{}\n", "line 1: want lines such as"},
		{"list", "- max-kld\n", "line 1: want lines such as"},
		{"unknown", "max-kld: 0.1\nmax-kdl: 0.1\n", `line 2: unknown threshold "max-kdl", want one of max-kld, `},
		{"unknown with text", "\n\nsize: small\n", `line 3: unknown threshold "size"`},
		{"twice", "max-kld: 0.1\nmin-top1: 0.9\nmax-kld: 0.1\n", "line 3: max-kld is there twice"},
		{"text", "max-kld: small\n", `line 1: max-kld is "small", want a number`},
		{"quoted", "max-kld: \"0.1\"\n", `line 1: max-kld is "0.1", want a number`},
		{"mapping", "max-kld:\n  mean: 1\n", `line 2: max-kld is "", want a number`},
		{"nothing", "max-kld:\n", `line 1: max-kld is "", want a number`},
		{"NaN", "max-kld: .nan\n", "line 1: max-kld is NaN, want a finite number greater than 0"},
		{"infinite", "max-kld: .inf\n", "line 1: max-kld is +Inf"},
		{"zero", "max-kld: 0\n", "line 1: max-kld is 0, want a finite number greater than 0"},
		{"PPL", "max-ppl: 1\n", "line 1: max-ppl is 1, want a finite number greater than 1"},
		{"percent", "min-top1: 90\n", "line 1: min-top1 is 90, want a number between 0 and 1"},
		{"one", "min-top1: 1\n", "line 1: min-top1 is 1"},
		{"two documents", "max-kld: 1\n---\nmax-ppl: 2\n", "a second YAML document"},
		{"syntax", "max-kld: [\n", "line 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ReadThresholds("limits.yaml", []byte(c.text))
			var e *formats.Error
			if !errors.As(err, &e) || e.Path != "limits.yaml" || !strings.Contains(err.Error(), c.want) || got != nil {
				t.Errorf("got %v, %v, expected an error with %q", got, err, c.want)
			}
		})
	}
}

func FuzzReadThresholds(f *testing.F) {
	for _, s := range []string{"max-kld: 0.05\nmin-top1: 0.9\n", "{max-ppl: 3}", "max-kld: &a [*a]\n", "<<: *x",
		"? [a]\n: 1\n", "a: !!float x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := ReadThresholds("f", data)
		if err == nil && len(list) == 0 {
			t.Error("no thresholds, no error")
		}
		for _, v := range list {
			if err := v.Validate(); err != nil || math.IsNaN(v.Limit) {
				t.Errorf("%+v: %v", v, err)
			}
		}
	})
}
