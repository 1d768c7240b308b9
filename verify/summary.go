package verify

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/sample"
)

// Estimate is a figure measured on a sample of tokens. SE, Low and High take the
// tokens as independent draws, as llama-perplexity does; they are NaN or infinite
// where the tokens are too few to say. In JSON, what is not finite is null.
type Estimate struct {
	Value     float64
	SE        float64 // standard error
	Low, High float64 // the 95 % confidence interval
}

type jsonEstimate struct {
	Value *float64 `json:"value"`
	SE    *float64 `json:"se"`
	Low   *float64 `json:"low"`
	High  *float64 `json:"high"`
}

// MarshalJSON writes an object of value, se, low and high.
func (e Estimate) MarshalJSON() ([]byte, error) {
	finite := func(x *float64) *float64 {
		if !floats.Finite(*x) {
			return nil
		}
		return x
	}
	return json.Marshal(jsonEstimate{finite(&e.Value), finite(&e.SE), finite(&e.Low), finite(&e.High)})
}

// UnmarshalJSON reads what MarshalJSON wrote, null as NaN.
func (e *Estimate) UnmarshalJSON(b []byte) error {
	var j jsonEstimate
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	value := func(x *float64) float64 {
		if x == nil {
			return math.NaN()
		}
		return *x
	}
	*e = Estimate{value(j.Value), value(j.SE), value(j.Low), value(j.High)}
	return nil
}

// Summary describes many positions. Percentiles are interpolated linearly.
type Summary struct {
	Count int `json:"count"`

	PPLBase    Estimate `json:"ppl_base"`
	PPL        Estimate `json:"ppl"`       // of the quantized model
	PPLRatio   Estimate `json:"ppl_ratio"` // PPL / PPLBase
	LnPPLRatio Estimate `json:"ln_ppl_ratio"`

	KLD       Estimate `json:"kld"` // mean
	KLDMedian Estimate `json:"kld_median"`
	KLD90     Estimate `json:"kld_p90"`
	KLD95     Estimate `json:"kld_p95"`
	KLD99     Estimate `json:"kld_p99"`
	KLD999    Estimate `json:"kld_p99_9"`
	KLDMax    float64  `json:"kld_max"`

	SameTop Estimate `json:"same_top"` // share of the positions
	Top5    Estimate `json:"top5"`     // mean share of the base's five likeliest tokens

	DeltaP       Estimate `json:"delta_p"` // mean
	RMSDeltaP    Estimate `json:"rms_delta_p"`
	DeltaPMin    float64  `json:"delta_p_min"`
	DeltaP1      Estimate `json:"delta_p_p1"`
	DeltaP5      Estimate `json:"delta_p_p5"`
	DeltaP25     Estimate `json:"delta_p_p25"`
	DeltaPMedian Estimate `json:"delta_p_median"`
	DeltaP75     Estimate `json:"delta_p_p75"`
	DeltaP95     Estimate `json:"delta_p_p95"`
	DeltaP99     Estimate `json:"delta_p_p99"`
	DeltaPMax    float64  `json:"delta_p_max"`
}

// Summarize describes the positions. The logarithm of the PPL ratio and its
// standard error are of the paired differences: both models saw the same tokens.
func Summarize(p []Position) Summary {
	s := Summary{
		Count:      len(p),
		PPLBase:    estimate(sample.Exponential{Mean: meanOf(p, baseNLL)}),
		PPL:        estimate(sample.Exponential{Mean: meanOf(p, quantNLL)}),
		PPLRatio:   estimate(sample.Exponential{Mean: meanOf(p, lnRatio)}),
		LnPPLRatio: estimate(meanOf(p, lnRatio)),
		KLD:        estimate(sample.Positive{Mean: meanOf(p, kld)}),
		SameTop:    estimate(shareOf(p, sameTop, 1)),
		Top5:       estimate(shareOf(p, top5, TopK)),
		DeltaP:     estimate(meanOf(p, deltaP)),
		RMSDeltaP:  estimate(sample.Root{Mean: meanOf(p, squaredDeltaP)}),
	}
	klds := sorted(p, kld)
	for q, e := range map[float64]*Estimate{0.5: &s.KLDMedian, 0.9: &s.KLD90, 0.95: &s.KLD95, 0.99: &s.KLD99,
		0.999: &s.KLD999} {
		*e = estimate(sample.QuantileOf(klds, q))
	}
	deltas := sorted(p, deltaP)
	for q, e := range map[float64]*Estimate{0.01: &s.DeltaP1, 0.05: &s.DeltaP5, 0.25: &s.DeltaP25, 0.5: &s.DeltaPMedian,
		0.75: &s.DeltaP75, 0.95: &s.DeltaP95, 0.99: &s.DeltaP99} {
		*e = estimate(sample.QuantileOf(deltas, q))
	}
	if n := len(p); n > 0 {
		s.KLDMax, s.DeltaPMin, s.DeltaPMax = klds[n-1], deltas[0], deltas[n-1]
	}
	return s
}

// Group is the summary of some of the positions.
type Group struct {
	Name string `json:"name"`
	Summary
}

// ByText summarizes the positions of each text; names has the names of the texts
// in the order of [Position.Text]. A text without a position gives no group.
func ByText(p []Position, names []string) []Group {
	return groups(p, func(p Position) int { return p.Text }, func(i int) string { return names[i] })
}

// contextBuckets is the number of groups of ByContext.
const contextBuckets = 8

// ByContext summarizes the positions in eight groups, by the number of tokens
// that the models saw before. Each covers as many of the numbers that occur,
// "256-287" and so on; a group without a position is left out.
func ByContext(p []Position) []Group {
	if len(p) == 0 {
		return nil
	}
	low, high := p[0].Context, p[0].Context
	for i := range p {
		low, high = min(low, p[i].Context), max(high, p[i].Context)
	}
	width := (high - low + contextBuckets) / contextBuckets
	return groups(p, func(p Position) int { return (p.Context - low) / width }, func(i int) string {
		from := low + i*width
		return fmt.Sprintf("%d-%d", from, min(high, from+width-1))
	})
}

func groups(p []Position, key func(Position) int, name func(int) string) []Group {
	members := map[int][]Position{}
	last := -1
	for i := range p {
		k := key(p[i])
		members[k] = append(members[k], p[i])
		last = max(last, k)
	}
	var g []Group
	for k := range last + 1 {
		if m := members[k]; m != nil {
			g = append(g, Group{name(k), Summarize(m)})
		}
	}
	return g
}

// Worst returns the n positions of the greatest KLD, the greatest first, of
// equals the earlier in the texts.
func Worst(p []Position, n int) []Position {
	p = slices.Clone(p)
	slices.SortFunc(p, func(a, b Position) int {
		return cmp.Or(cmp.Compare(b.KLD, a.KLD), cmp.Compare(a.Text, b.Text), cmp.Compare(a.Index, b.Index))
	})
	return p[:min(n, len(p))]
}
