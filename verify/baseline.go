package verify

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/sample"
)

// Change is what happened to a figure since a baseline.
type Change string

// Changes, with 95 % confidence each.
const (
	Worse   Change = "worse"     // by more than is allowed
	Same    Change = "same"      // no change is seen, or none of more than is allowed
	Better  Change = "better"    // the figure has improved
	Unknown Change = "undecided" // not enough tokens to tell
)

// Baseline is the comparison of a quantized model with an earlier one on the same tokens.
type Baseline struct {
	Outcome Outcome      `json:"outcome"` // fail if a figure is worse, pass if none is worse or undecided
	Tool    string       `json:"tool"`    // that measured the baseline
	Quant   Model        `json:"quant"`   // the baseline's quantized model
	Tokens  int          `json:"tokens"`
	Checks  []Regression `json:"checks"`
	// Costs are sizes and speeds where both reports have them. They decide nothing: speeds were
	// measured at different times, and perhaps on different machines.
	Costs []Cost `json:"costs"`
	// Layers are those whose KLD has changed where both reports ranked the same layers on the same
	// tokens. As that is computed in the same way down to the bit, their weights have changed.
	Layers []LayerChange `json:"layers,omitempty"`
}

// Regression is the test of one figure.
type Regression struct {
	Name       string   `json:"name"`    // "kld", "kld-p99", "ln-ppl" or "top1"
	Allowed    float64  `json:"allowed"` // worsening, in the figure's unit
	Baseline   float64  `json:"baseline"`
	Now        float64  `json:"now"`
	Difference Estimate `json:"difference"` // now - baseline, on the same tokens
	Change     Change   `json:"change"`
	// Enough is the number of tokens, like those measured, that would decide what is
	// undecided: 0 if that is more than 100 million, or if it is decided.
	Enough int `json:"enough,omitempty"`
}

// Cost is a size or a speed.
type Cost struct {
	Name       string   `json:"name"`
	Baseline   Estimate `json:"baseline"`
	Now        Estimate `json:"now"`
	Difference Estimate `json:"difference"`
}

// LayerChange is the KLD that a layer's weights added, alone in the original.
type LayerChange struct {
	Name     string  `json:"name"`
	Baseline float64 `json:"baseline"`
	Now      float64 `json:"now"`
}

// Figure is one that is compared with a baseline.
type Figure struct {
	Name  string // "kld", …
	Usage string // what it is, with its unit

	higher bool // is better
	value  func(p []Position) float64
	change func(old, now []Position) sample.Statistic
}

// Figures returns all figures that are compared with a baseline.
func Figures() []Figure { return slices.Clone(figures) }

var figures = []Figure{
	{Name: "kld", Usage: "mean KL divergence, in nats",
		value:  func(p []Position) float64 { return meanOf(p, kld).Value() },
		change: func(old, now []Position) sample.Statistic { return sample.MeanOf(len(now), changeOf(old, now, kld)) }},
	{Name: "kld-p99", Usage: "KL divergence that 99 % of the tokens do not exceed, in nats",
		value: func(p []Position) float64 { return sample.QuantileOf(sorted(p, kld), 0.99).Value() },
		change: func(old, now []Position) sample.Statistic {
			return sample.QuantileChangeOf(len(now), of(old, kld), of(now, kld), 0.99)
		}},
	{Name: "ln-ppl", Usage: "logarithm of the perplexity: 0.01 is 1 % of perplexity",
		value: func(p []Position) float64 { return meanOf(p, quantNLL).Value() },
		change: func(old, now []Position) sample.Statistic {
			return sample.MeanOf(len(now), changeOf(old, now, quantNLL))
		}},
	{Name: "top1", Usage: "share of the tokens for which the likeliest token is the original's, from 0 to 1",
		higher: true,
		value:  func(p []Position) float64 { return meanOf(p, sameTop).Value() },
		change: func(old, now []Position) sample.Statistic {
			return sample.ShareChange{Difference: sample.DifferenceOf(len(now), changeOf(old, now, sameTop))}
		}},
}

// ParseAllowed reads how much worse a figure may become, such as "kld=0.001".
func ParseAllowed(text string) (Threshold, error) {
	name, value, _ := strings.Cut(text, "=")
	names := make([]string, len(figures))
	for i, f := range figures {
		names[i] = f.Name
	}
	if !slices.Contains(names, name) {
		return Threshold{}, fmt.Errorf("%q, want one of %s, = and a number", text, strings.Join(names, ", "))
	}
	t := Threshold{Name: name}
	var err error
	if t.Limit, err = strconv.ParseFloat(value, 64); err != nil || !(t.Limit >= 0 && t.Limit < inf) {
		return Threshold{}, fmt.Errorf("%q, want a finite number of 0 or more after %s=", text, name)
	}
	return t, nil
}

// Stale returns an error that names the first thing in which the conditions of two
// reports differ, so that one cannot be the baseline of the other: the original, the texts, the
// conventions, the tokens that the models saw, how they compute. The quantized models and the
// versions of the program may differ. A baseline without positions is an error too, and a seal in
// either; the positions of the report itself are not looked at.
func (r *Report) Stale(baseline *Report) error {
	if r.Seal != nil || baseline.Seal != nil {
		return errors.New("a report with a seal has lower bounds of the KL divergence, whose change tells nothing")
	}
	now := *r
	now.Tool, now.Quant = baseline.Tool, baseline.Quant
	if err := baseline.SameRun(&now); err != nil {
		return fmt.Errorf("a stale baseline: %w", err)
	}
	if len(baseline.Positions) == 0 {
		return errors.New("the baseline has no positions: it must have been written by --report")
	}
	return nil
}

// Compare compares the report with that of an earlier quantized model and sets its Baseline. A
// figure is worse if the 95 % interval of its change, on the same tokens, lies wholly above
// what is allowed, 0 for figures that are not named. Where something is allowed, the interval must lie
// wholly below that to pass. A baseline that is stale or without positions is an error.
func (r *Report) Compare(baseline *Report, allowed []Threshold) error {
	if err := r.Stale(baseline); err != nil {
		return err
	}
	if !sameTokens(baseline.Positions, r.Positions) {
		return errors.New("a stale baseline: other tokens were scored")
	}
	b := &Baseline{Outcome: Pass, Tool: baseline.Tool, Quant: baseline.Quant, Tokens: len(r.Positions),
		Checks: []Regression{}, Costs: costs(baseline, r)}
	for _, f := range figures {
		s := f.change(baseline.Positions, r.Positions)
		c := Regression{Name: f.Name, Baseline: f.value(baseline.Positions), Now: f.value(r.Positions),
			Difference: estimate(s)}
		for _, t := range allowed {
			if t.Name == f.Name {
				c.Allowed = t.Limit
			}
		}
		change := func(n int) Change {
			low, high := s.Interval(sample.Z975, n)
			if f.higher { // turn the axis round
				low, high = -high, -low
			}
			return changed(low, high, c.Allowed, n)
		}
		c.Change = change(s.Count())
		if c.Change == Unknown {
			c.Enough = sample.LeastNumber(max(leastTokens, s.Count()), most,
				func(n int) bool { return change(n) != Unknown })
		}
		b.Checks = append(b.Checks, c)
		switch {
		case c.Change == Worse:
			b.Outcome = Fail
		case c.Change == Unknown && b.Outcome == Pass:
			b.Outcome = Undecided
		}
	}
	if r.LayerTokens == baseline.LayerTokens {
		b.Layers = layerChanges(baseline.Layers, r.Layers)
	}
	r.Baseline = b
	return nil
}

// changed judges the interval of a worsening that n tokens gave.
func changed(low, high, allowed float64, n int) Change {
	switch {
	case n < leastTokens || math.IsInf(low, -1) || math.IsInf(high, 1):
		return Unknown
	case low > allowed:
		return Worse
	case high < 0:
		return Better
	case allowed > 0 && high > allowed:
		return Unknown
	}
	return Same
}

// costs compares sizes and speeds that both reports have.
func costs(old, now *Report) []Cost {
	list := []Cost{}
	add := func(name string, old, now Estimate) {
		// The bounds of the difference of independent figures (Zou and Donner, Statistics in Medicine 27, 2008).
		d := Estimate{Value: now.Value - old.Value, SE: math.Hypot(now.SE, old.SE)}
		d.Low = d.Value - math.Hypot(now.Value-now.Low, old.High-old.Value)
		d.High = d.Value + math.Hypot(now.High-now.Value, old.Value-old.Low)
		list = append(list, Cost{name, old, now, d})
	}
	known := func(x float64) Estimate { return Estimate{x, 0, x, x} }
	add("file, bytes", known(float64(old.Quant.FileBytes)), known(float64(now.Quant.FileBytes)))
	add("bits per weight", known(old.Quant.BitsPerWeight), known(now.Quant.BitsPerWeight))
	if p, q := old.Performance, now.Performance; p != nil && q != nil {
		add("decode, tok/s", p.Quant.TG, q.Quant.TG)
		add("prompt, tok/s", p.Quant.PP, q.Quant.PP)
		if p.Quant.RSS > 0 && q.Quant.RSS > 0 {
			add("peak RSS, bytes", known(float64(p.Quant.RSS)), known(float64(q.Quant.RSS)))
		}
	}
	return list
}

// layerChanges returns the layers whose KLD differs, the greatest growth first; nil if one report is
// of layers and the other of tensors. A layer that is not listed has the original's weights.
func layerChanges(old, now []LayerKLD) []LayerChange {
	before := map[string]float64{}
	for _, l := range old {
		before[l.Name] = l.KLD.Value
	}
	var list []LayerChange
	common := false
	for _, l := range now {
		was, ok := before[l.Name]
		common = common || ok
		delete(before, l.Name)
		if was != l.KLD.Value {
			list = append(list, LayerChange{l.Name, was, l.KLD.Value})
		}
	}
	if !common {
		return nil
	}
	for _, l := range old {
		if was, gone := before[l.Name]; gone && was != 0 {
			list = append(list, LayerChange{l.Name, was, 0})
		}
	}
	slices.SortStableFunc(list, func(a, b LayerChange) int {
		switch growth := (b.Now - b.Baseline) - (a.Now - a.Baseline); {
		case growth > 0:
			return 1
		case growth < 0:
			return -1
		}
		return 0
	})
	return list
}

// Outcome is that of thresholds, baseline, weights and, if strict, texts together: fail if one fails, undecided if one
// is, and empty without limits and baseline where no weights fail.
func (r *Report) Outcome() Outcome {
	var all Outcome
	if w := r.Weights; w != nil && len(w.Unlike) > 0 || r.FailsSeen() {
		return Fail
	}
	if v := r.Verdict; v != nil {
		all = v.Outcome
	}
	if b := r.Baseline; b != nil && (b.Outcome == Fail || all == "" || all == Pass) {
		all = b.Outcome
	}
	return all
}

// tables returns the tables of the comparison, none without one.
func (b *Baseline) tables() []report.Table {
	if b == nil {
		return nil
	}
	return []report.Table{b.checksTable(), b.layersTable(), b.costsTable()}
}

func (b *Baseline) checksTable() report.Table {
	title := fmt.Sprintf("Against the baseline %s %s: %s",
		report.Printable(b.Quant.Name), short(b.Quant.SHA256), b.Outcome)
	t := report.Table{Title: title, Left: 2,
		Rows: [][]string{{"", "", "allowed", "baseline", "now", "change", "± SE", "95 % from", "to"}}}
	for _, c := range b.Checks {
		se := c.Difference.SE
		row := []string{c.Name, c.Explain(b.Tokens), fmt.Sprint(c.Allowed), Digits(c.Baseline, se), Digits(c.Now, se)}
		t.Rows = append(t.Rows, append(row, c.Difference.Cells()...))
	}
	return t
}

func (b *Baseline) layersTable() report.Table {
	t := report.Table{Title: "KLD of layers that have changed since the baseline", Left: 1,
		Rows: [][]string{{"", "baseline", "now"}}}
	for _, c := range b.Layers {
		t.Rows = append(t.Rows,
			[]string{report.Printable(c.Name), Digits(c.Baseline, c.Baseline), Digits(c.Now, c.Now)})
	}
	return t
}

func (b *Baseline) costsTable() report.Table {
	t := report.Table{Title: "Size and speed against the baseline (not judged)", Left: 1,
		Rows: [][]string{{"", "baseline", "± SE", "now", "± SE", "change", "± SE", "95 % from", "to"}}}
	exact := func(x float64) string { return strconv.FormatFloat(math.Round(1000*x)/1000, 'f', -1, 64) }
	for _, c := range b.Costs {
		row := []string{c.Name}
		if c.Difference.SE == 0 {
			row = append(row, exact(c.Baseline.Value), "", exact(c.Now.Value), "", exact(c.Difference.Value))
			row = append(row, "", "", "")
		} else {
			row = slices.Concat(row, c.Baseline.Cells()[:2], c.Now.Cells()[:2], c.Difference.Cells())
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// Explain says the outcome in words; tokens is how many were compared.
func (c *Regression) Explain(tokens int) string {
	switch {
	case c.Change != Unknown:
		return string(c.Change)
	case c.Enough > 0:
		return fmt.Sprintf("not enough tokens to tell: about %d would be, here are %d", c.Enough, tokens)
	}
	return fmt.Sprintf("too close to what is allowed to tell, however many tokens; here are %d", tokens)
}

// cases returns a test case for each figure. Undecided ones have failed, as nothing shows that they are not worse.
func (b *Baseline) cases(class string) []report.Case {
	if b == nil {
		return nil
	}
	outcomes := map[Change]Outcome{Worse: Fail, Unknown: Undecided, Same: Pass, Better: Pass}
	var list []report.Case
	for _, c := range b.Checks {
		se := c.Difference.SE
		words := fmt.Sprintf("the change from %s to %s: %s", Digits(c.Baseline, se), Digits(c.Now, se),
			c.Explain(b.Tokens))
		check := Check{Threshold: Threshold{"baseline-" + c.Name, c.Allowed}, Measured: c.Difference,
			Outcome: outcomes[c.Change]}
		list = append(list, report.Case{Class: class, Name: check.Name, Failure: check.failure(words)})
	}
	return list
}
