package verify

import (
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/formats/seal"
)

// Bounded is the comparison of a model with what a seal keeps of the base model:
// a [Position] whose KLD is a lower bound of the true one, and whose Base has the
// precision of a float32.
type Bounded struct {
	Position
	Full bool    // the entry has the whole vocabulary
	True float64 // the KLD itself, if Full; see [LowerBound]
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
// True comes from rounded codes too. How far they can move it is in docs/format-seal.md: on
// average by far less, since their errors have random signs.
func LowerBound(e *seal.Entry, quant []float32) (Bounded, error) {
	if len(quant) < TopK {
		return Bounded{}, fmt.Errorf("%d logits, but a comparison needs at least %d", len(quant), TopK)
	}
	if e.Token < 0 || int(e.Token) >= len(quant) {
		return Bounded{}, fmt.Errorf("token %d is not among the %d that the model knows", e.Token, len(quant))
	}
	if e.Full != nil && len(e.Full) != len(quant) {
		return Bounded{}, fmt.Errorf("vocabularies differ: the seal has %d tokens, the quantized model gives %d logits", len(e.Full), len(quant))
	}
	ids := make([]int, len(e.Top))
	for i, t := range e.Top {
		ids[i] = int(t.ID)
	}
	slices.Sort(ids)
	if len(ids) < TopK || ids[0] < 0 || ids[len(ids)-1] >= len(quant) {
		return Bounded{}, fmt.Errorf("the entry has %d likely tokens, must have at least %d of the %d that the model knows", len(ids), TopK, len(quant))
	}
	topQ, err := top(quant)
	if err != nil {
		return Bounded{}, fmt.Errorf("quantized model: %w", err)
	}

	greatest := float64(quant[topQ[0]])
	var sum, tail float64 // of exp(logit - greatest): of the likely tokens, and of all others
	var block [expBlock]float64
	likely := ids
	for from := 0; from < len(quant); from += expBlock {
		row := quant[from:min(from+expBlock, len(quant))]
		exps(&block, row, greatest)
		for ; len(likely) > 0 && likely[0] < from+len(row); likely = likely[1:] {
			sum += block[likely[0]-from]
			block[likely[0]-from] = 0
		}
		for _, e := range block[:len(row)] {
			tail += e
		}
	}
	sum += tail
	logSum := math.Log(sum)
	lnQ := func(x float32) float64 { return float64(x) - greatest - logSum } // without cancellation

	parts := make([]part, 0, len(e.Top)+1)
	for _, t := range e.Top {
		low, high := t.Bounds()
		parts = append(parts, part{low, high, lnQ(quant[t.ID])})
	}
	if len(e.Top) < len(quant) {
		low, high := e.TailBounds()
		// exps gives 0 for what is below e^-708 = 3.3e-308; q must not be too small.
		tail += 3.4e-308 * float64(len(quant))
		parts = append(parts, part{low, high, math.Log(tail) - logSum})
	}
	b := Bounded{Position: Position{
		Text: e.Text, Index: e.Index, Context: e.Context, Token: e.Token,
		Base:    float64(e.NLL),
		Quant:   -lnQ(quant[e.Token]),
		KLD:     leastKLD(parts),
		SameTop: int(e.Top[0].ID) == topQ[0],
	}}
	for _, t := range e.Top[:TopK] {
		if slices.Contains(topQ[:], int(t.ID)) {
			b.Top5++
		}
	}
	b.DeltaP = math.Exp(-b.Quant) - math.Exp(-b.Base)
	if e.Full != nil {
		b.Full, b.True = true, fullKLD(e, func(id int) float64 { return lnQ(quant[id]) })
	}
	return b, nil
}

// part is a part of the vocabulary: low ≤ p ≤ high, and ln q.
type part struct{ low, high, lnQ float64 }

// least returns the p that minimizes p·(ln(p/q) - 1 - x) in the part's range, and
// its logarithm. Without the range that is q·e^x.
func (t *part) least(x float64) (p, lnP float64) {
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
func leastKLD(parts []part) float64 {
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

// fullKLD returns the KLD from the codes of all tokens: the likely ones have finer codes; the
// row tells how the tail is spread over the others.
func fullKLD(e *seal.Entry, lnQ func(id int) float64) float64 {
	// With p of any sum, Σ p·ln(p/q) / Σ p - ln Σ p is the KLD of p scaled to the sum 1.
	var sum, kld float64
	isLikely := make([]bool, len(e.Full))
	for _, t := range e.Top {
		isLikely[t.ID] = true
		if t.Code > 0 {
			p := float64(t.Code) / seal.Unit
			sum += p
			kld += p * (math.Log(p) - lnQ(int(t.ID)))
		}
	}
	var rowSum, rowKLD float64
	for id, c := range e.Full {
		if !isLikely[id] {
			lnP := -float64(c) * seal.RowStep
			p := math.Exp(lnP)
			rowSum += p
			rowKLD += p * (lnP - lnQ(id))
		}
	}
	if rowSum > 0 {
		tail := math.Exp(-float64(e.Tail) * seal.Step)
		scaled := rowKLD/rowSum - math.Log(rowSum) // Σ p·ln(p/q) of the row scaled to the sum 1
		// Rounding moves ln p by a random amount of variance RowStep²/12, which adds half of that
		// to the expectation.
		scaled -= seal.RowStep * seal.RowStep / 24
		sum += tail
		kld += tail * (math.Log(tail) + scaled)
	}
	return max(0, kld/sum-math.Log(sum))
}

// SealedKLD estimates from the full entries among p which share of the true KLD the bounds have,
// and from that and all bounds the mean true KLD. Both are unknown, that is NaN, if fewer
// than two entries are full. If the bounds of the full entries are all 0, as for a model that is
// its own base, the share is unknown, and the KLD is the mean bound plus what the full entries have
// above their bounds.
func SealedKLD(p []Bounded) (share, total Estimate) {
	unknown := Estimate{math.NaN(), math.NaN(), math.Inf(-1), math.Inf(1)}
	var n, b, t float64
	for i := range p {
		if p[i].Full {
			n++
			b += p[i].KLD
			t += p[i].True
		}
	}
	if n < 2 {
		return unknown, unknown
	}
	// Ratio estimator: with r = Σb/Σt, the variance of r is that of b - r·t over
	// the entries, divided by n and by the square of the mean of t. Without a ratio the estimate
	// is a difference.
	all := meanOf(positionsOf(p), kld)
	known := b > 0 && t > 0
	r := 1.0
	if known {
		r = b / t
	}
	residual := 0.0
	for i := range p {
		if p[i].Full {
			d := p[i].KLD - r*p[i].True
			if !known {
				d += (t - b) / n
			}
			residual += d * d
		}
	}
	se := math.Sqrt(residual / (n * (n - 1)))
	if !known {
		m := all.value() + (t-b)/n
		se = math.Hypot(all.se(), se)
		return unknown, Estimate{m, se, max(0, m-z975*se), m + z975*se}
	}
	se /= t / n
	share = Estimate{r, se, r - z975*se, r + z975*se}
	m := all.value() / r
	se = math.Hypot(all.se()/r, m*se/r)
	return share, Estimate{m, se, max(0, m-z975*se), m + z975*se}
}
