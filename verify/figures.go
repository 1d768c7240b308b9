package verify

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/sample"
)

// estimate is the statistic with its 95 % interval.
func estimate(s sample.Statistic) Estimate {
	low, high := s.Interval(sample.Z975, s.Count())
	return Estimate{s.Value(), s.SE(), low, high}
}

// of returns a figure of the i-th position.
func of(p []Position, f func(*Position) float64) func(i int) float64 {
	return func(i int) float64 { return f(&p[i]) }
}

// changeOf returns how a figure of the i-th position has changed. Both models saw the same tokens: what a
// token is like moves both figures, and most of that cancels in the change.
func changeOf(old, now []Position, f func(*Position) float64) func(i int) float64 {
	return func(i int) float64 { return f(&now[i]) - f(&old[i]) }
}

func meanOf(p []Position, f func(*Position) float64) sample.Mean {
	return sample.MeanOf(len(p), of(p, f))
}

// shareOf is of values that are each the share of yes among k questions.
func shareOf(p []Position, f func(*Position) float64, k float64) sample.Share {
	return sample.ShareOf(len(p), of(p, f), k)
}

func sorted(p []Position, f func(*Position) float64) []float64 {
	return sample.Sorted(len(p), of(p, f))
}

// The figures of one position that summaries and thresholds are made of.
func baseNLL(p *Position) float64       { return p.Base }
func quantNLL(p *Position) float64      { return p.Quant }
func lnRatio(p *Position) float64       { return p.Quant - p.Base }
func kld(p *Position) float64           { return p.KLD }
func top5(p *Position) float64          { return float64(p.Top5) / TopK }
func deltaP(p *Position) float64        { return p.DeltaP }
func squaredDeltaP(p *Position) float64 { return p.DeltaP * p.DeltaP }
func sameTop(p *Position) float64 {
	if p.SameTop {
		return 1
	}
	return 0
}

// sameTokens reports whether two verifications compared the same tokens.
func sameTokens(a, b []Position) bool {
	return slices.EqualFunc(a, b, func(p, q Position) bool {
		return p.Text == q.Text && p.Index == q.Index && p.Context == q.Context && p.Token == q.Token
	})
}
