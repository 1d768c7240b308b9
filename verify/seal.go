package verify

import (
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/internal/sample"
)

// Bounded is the comparison of a model with what a seal keeps of the base model:
// a [Position] whose KLD is a lower bound of the true one, and whose Base has the
// precision of a float32.
type Bounded struct {
	Position
	Estimated float64 // of the KLD, see [LowerBound]
	Drawn     float64 // of what the KLD has beyond the bound, see [LowerBound]
}

// LowerBound compares an entry of a seal with the logits that the quantized model
// gave for the same place. The errors are those of [Compare].
//
// The KLD of two distributions is not less than that of their sums over the
// parts of any partition (the data processing inequality). Here the parts are
// each likely token, and the tail, that is all other tokens. The entry tells for
// each part an interval in which its p lies; the KLD of the result is the least
// that any p from these intervals with the sum 1 has. It is 0 if that of the
// quantized model is among them, as it is for the base model itself.
//
// Estimated is a guess of the KLD that is right on average: of what the tail has in it tells the
// token that was drawn from the tail, or the row of an entry with the whole vocabulary. How far
// the rounding of codes can move it is in docs/format-seal.md.
//
// Drawn is what the drawn token alone tells of the difference of KLD and bound. It is not negative, and on average not
// more than the difference, however codes were rounded.
func LowerBound(e *seal.Entry, quant []float32) (Bounded, error) {
	ids, err := checkEntry(e, len(quant))
	if err != nil {
		return Bounded{}, err
	}
	topQ, err := top(quant)
	if err != nil {
		return Bounded{}, fmt.Errorf("quantized model: %w", err)
	}

	greatest := float64(quant[topQ[0]])
	sum, tail := expSums(quant, ids, greatest)
	logSum := math.Log(sum + tail)
	lnQ := func(id int32) float64 { return float64(quant[id]) - greatest - logSum } // without cancellation
	if len(e.Top) < len(quant) {
		// exps gives 0 for what is below e^-708 = 3.3e-308; q must not be too small.
		tail += 3.4e-308 * float64(len(quant))
	}
	lnTail := math.Log(tail) - logSum
	b := Bounded{Position: Position{
		Text: e.Text, Index: e.Index, Context: e.Context, Token: e.Token,
		Base:    float64(e.NLL),
		Quant:   -lnQ(e.Token),
		KLD:     leastKLD(partsOf(e, len(quant), lnQ, lnTail)),
		SameTop: int(e.Top[0].ID) == topQ[0],
	}}
	for _, t := range e.Top[:TopK] {
		if slices.Contains(topQ[:], int(t.ID)) {
			b.Top5++
		}
	}
	b.DeltaP = math.Exp(-b.Quant) - math.Exp(-b.Base)
	if e.Drawn != seal.None {
		b.Drawn = drawnKLD(e, lnQ(e.Drawn.ID)-lnTail)
	}
	b.Estimated = estimatedKLD(e, lnQ, lnTail)
	return b, nil
}

// checkEntry returns the entry's likely tokens in ascending order, or an error if it does not belong to a
// vocabulary of so many tokens.
func checkEntry(e *seal.Entry, vocab int) ([]int, error) {
	if vocab < TopK {
		return nil, fmt.Errorf("%d logits, but a comparison needs at least %d", vocab, TopK)
	}
	if e.Token < 0 || int(e.Token) >= vocab {
		return nil, fmt.Errorf("token %d is not among the %d that the model knows", e.Token, vocab)
	}
	if e.Full != nil && len(e.Full) != vocab {
		return nil, fmt.Errorf("vocabularies differ: the seal has %d tokens, the quantized model gives %d logits",
			len(e.Full), vocab)
	}
	ids := make([]int, len(e.Top))
	for i, t := range e.Top {
		ids[i] = int(t.ID)
	}
	slices.Sort(ids)
	if len(ids) < TopK || ids[0] < 0 || ids[len(ids)-1] >= vocab {
		return nil, fmt.Errorf("the entry has %d likely tokens, must have at least %d of the %d that the model knows",
			len(ids), TopK, vocab)
	}
	if d := e.Drawn; d != seal.None && (d.ID < 0 || int(d.ID) >= vocab) {
		return nil, fmt.Errorf("the drawn token %d is not among the %d that the model knows", d.ID, vocab)
	}
	return ids, nil
}

// expSums returns the sums of exp(logit - greatest) over the tokens ids, which are in ascending order, and
// over all others.
func expSums(logits []float32, ids []int, greatest float64) (of, others float64) {
	var block [expBlock]float64
	for from := 0; from < len(logits); from += expBlock {
		row := logits[from:min(from+expBlock, len(logits))]
		exps(&block, row, greatest)
		for ; len(ids) > 0 && ids[0] < from+len(row); ids = ids[1:] {
			of += block[ids[0]-from]
			block[ids[0]-from] = 0
		}
		for _, e := range block[:len(row)] {
			others += e
		}
	}
	return of, others
}

// partsOf returns what is known of each likely token, and of all other tokens together.
func partsOf(e *seal.Entry, vocab int, lnQ func(id int32) float64, lnTail float64) []vocabPart {
	parts := make([]vocabPart, 0, len(e.Top)+1)
	for _, t := range e.Top {
		low, high := t.Bounds()
		parts = append(parts, vocabPart{low, high, lnQ(t.ID)})
	}
	if len(e.Top) < vocab {
		low, high := e.TailBounds()
		parts = append(parts, vocabPart{low, high, lnTail})
	}
	return parts
}

// vocabPart is a part of the vocabulary: low ≤ p ≤ high, and ln q.
type vocabPart struct{ low, high, lnQ float64 }

// least returns the p that minimizes p·(ln(p/q) - 1 - x) in the part's range, and
// its logarithm. Without the range that is q·e^x.
func (t *vocabPart) least(x float64) (p, lnP float64) {
	lnP = t.lnQ + x
	switch {
	case lnP >= 0 || math.Exp(lnP) >= t.high:
		return t.high, math.Log(t.high)
	case math.Exp(lnP) <= t.low:
		return t.low, math.Log(t.low)
	}
	return math.Exp(lnP), lnP
}

// leastKLD returns a lower bound of Σ p·ln(p/q) over all p in the parts' ranges
// with Σ p = 1, and the least itself but for rounding.
//
// By Lagrange, for every x and every such p
//
//	Σ p·ln(p/q) = Σ p·(ln(p/q) - 1 - x) + 1 + x ≥ Σ min(p·(ln(p/q) - 1 - x)) + 1 + x,
//
// each minimum being over the part's range alone. The right hand side is greatest,
// and equal to the least KLD, at the x for which the p of the minima have the sum 1.
// The sum grows with x, so bisection finds it; where it ends a little beside, the bound
// is a little lower, not wrong.
func leastKLD(parts []vocabPart) float64 {
	sum := func(x float64) (s float64) {
		for i := range parts {
			p, _ := parts[i].least(x)
			s += p
		}
		return s
	}
	const rounding = 1e-13
	x := 0.0
	if s := sum(0); math.Abs(s-1) > rounding {
		// Bracket the root: outside [from, to] every p is at an end of its range.
		from, to := 0.0, 0.0
		for i := range parts {
			if parts[i].low > 0 {
				from = min(from, math.Log(parts[i].low)-parts[i].lnQ)
			} else {
				from = min(from, -745)
			}
			to = max(to, math.Log(parts[i].high)-parts[i].lnQ)
		}
		if s > 1 {
			to = 0
		} else {
			from = 0
		}
		for range 60 {
			if x = from + (to-from)/2; sum(x) < 1 {
				from = x
			} else {
				to = x
			}
		}
	}
	var kld, total, magnitude float64
	for i := range parts {
		p, lnP := parts[i].least(x)
		if p == 0 {
			continue
		}
		term := p * (lnP - parts[i].lnQ)
		kld += term
		total += p
		magnitude += math.Abs(term)
	}
	kld += (1 + x) * (1 - total)
	// The rounding of a term, of ln q and of the sums is far below this.
	return max(0, kld-rounding*(1+magnitude+math.Abs(x)))
}

// estimatedKLD returns the KLD that the codes of an entry have, the tail being like its drawn token,
// or spread as the row of the whole vocabulary says. lnQTail is that of the tail as a whole.
func estimatedKLD(e *seal.Entry, lnQ func(id int32) float64, lnQTail float64) float64 {
	// With p of any sum, Σ p·ln(p/q) / Σ p - ln Σ p is the KLD of p scaled to the sum 1.
	var sum, kld float64
	for _, t := range e.Top {
		if t.Code > 0 {
			p := float64(t.Code) / seal.Unit
			sum += p
			kld += p * (math.Log(p) - lnQ(t.ID))
		}
	}
	if e.Drawn != seal.None {
		lnTail := -float64(e.Tail) * seal.Step
		tail := math.Exp(lnTail)
		// x is ln(p/q) of the drawn token, p and q scaled to the sum 1 in the tail, whose mean is the
		// KLD there. That of e^-x is 1, so the mean of x + e^-x - 1 is the same. It varies less, and is never negative.
		x := -float64(e.Drawn.Code)*seal.Step - lnTail - (lnQ(e.Drawn.ID) - lnQTail)
		within := x + math.Expm1(-x)
		if e.Full != nil {
			within = rowKLD(e, lnQ) + lnQTail
		}
		sum += tail
		kld += tail * (lnTail - lnQTail + within)
	}
	return max(0, kld/sum-math.Log(sum))
}

// drawnKLD returns the least that a tail with probability T and a drawn token with probability p can have for T·(x +
// e^-x - 1), x = ln(p/T) - lnQ, in the ranges of their codes. lnQ is of the drawn token's share of the tail in the
// quantized model.
//
// Over the draws x has the KLD within the tail as its mean, and e^-x at most 1, which is the sum of the shares in
// the quantized model of all tokens with p > 0.
func drawnKLD(e *seal.Entry, lnQ float64) float64 {
	tailLow, tailHigh := e.TailBounds()
	low, high := e.Drawn.Bounds()
	// The function falls to 0 at x = 0, and rises from there. If tailLow is 0, so is the result.
	x := 0.0
	if from := math.Log(low/tailHigh) - lnQ; from > 0 {
		x = from
	} else if to := math.Log(high/tailLow) - lnQ; to < 0 {
		x = to
	}
	if tailLow == 0 || x == 0 {
		return 0
	}
	return tailLow * (x + math.Expm1(-x))
}

// rowKLD returns Σ p·ln(p/q) over the tail, with p scaled to the sum 1 there, as the row of a full
// entry has it.
func rowKLD(e *seal.Entry, lnQ func(id int32) float64) float64 {
	isLikely := make([]bool, len(e.Full))
	for _, t := range e.Top {
		isLikely[t.ID] = true
	}
	var sum, kld float64
	for id, c := range e.Full {
		if !isLikely[id] {
			lnP := -float64(c) * seal.RowStep
			p := math.Exp(lnP)
			sum += p
			kld += p * (lnP - lnQ(int32(id)))
		}
	}
	// Rounding moves ln p by a random amount of variance RowStep²/12, which adds half of that
	// to the expectation.
	return kld/sum - math.Log(sum) - seal.RowStep*seal.RowStep/24
}

// SealedKLD says what a comparison with a seal tells of the mean KLD: an estimate, the share of it that the
// proven bounds have, and what it is at least but for a risk of [LeastRisk], the positions being what
// they are and the drawing of tokens being random. The share is unknown, that is NaN, if all bounds are
// 0, as for a model that is its own base.
func SealedKLD(p []Bounded) (total, share Estimate, least float64) {
	total = estimate(sample.Positive{Mean: meanOf(estimatedPositions(p), kld)})
	bound := meanOf(positionsOf(p), kld).Value()
	least = bound + leastMean(len(p), func(i int) float64 { return p[i].Drawn }, LeastRisk)

	share = Estimate{math.NaN(), math.NaN(), math.Inf(-1), math.Inf(1)}
	if bound > 0 && total.Value > 0 {
		// The variance of a ratio r of means of b and t is that of b - r·t over the square of the mean of t.
		r := bound / total.Value
		se := sample.MeanOf(len(p), func(i int) float64 { return p[i].KLD - r*p[i].Estimated }).SE() / total.Value
		share = Estimate{r, se, r - sample.Z975*se, r + sample.Z975*se}
	}
	return total, share, least
}

// LeastRisk is the probability, over the drawing of tokens, that the mean KLD is less than [SealedKLD] says.
const LeastRisk = 1e-6

// leastMean returns what the mean of the expectations of n independent random numbers, none negative, is at least but
// for a probability of at most risk. They may have any distributions, each its own.
//
// For λ > 0 the expectation of Π (1 + λ·x) is Π (1 + λ·E x) ≤ exp(λ·Σ E x). So by Markov's inequality
//
//	λ·Σ E x ≥ Σ ln(1 + λ·x) - ln(1/risk)
//
// with a probability of at least 1 - risk. The best λ, about √(2·ln(1/risk) / Σ x²), depends on what was drawn;
// so several share the risk, the best of which has at most √2 times that or 1/√2.
func leastMean(n int, x func(i int) float64, risk float64) float64 {
	const from, to = -6, 14 // powers of 2
	least := 0.0
	for e := from; e <= to; e++ {
		lambda := math.Ldexp(1, e)
		sum := 0.0
		for i := range n {
			sum += math.Log1p(lambda * x(i))
		}
		least = max(least, (sum-math.Log((to-from+1)/risk))/(lambda*float64(n)))
	}
	return least
}

// estimatedPositions are the positions with the estimate in place of the bound.
func estimatedPositions(p []Bounded) []Position {
	positions := positionsOf(p)
	for i := range p {
		positions[i].KLD = p[i].Estimated
	}
	return positions
}
