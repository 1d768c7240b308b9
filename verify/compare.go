package verify

import (
	"fmt"
	"math"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// TopK is the number of likeliest tokens that [Position.Top5] compares, and so
// the least vocabulary that can be compared.
const TopK = 5

// Position is the comparison of two models' predictions of one token of a text.
// Logarithms are natural: Base, Quant and KLD are in nats.
type Position struct {
	Text    int     `json:"text"`    // which text
	Index   int     `json:"index"`   // index of the predicted token among the tokens of that text
	Context int     `json:"context"` // tokens that the models saw before it in its window
	Token   int32   `json:"token"`   // the token that comes
	Base    float64 `json:"base"`    // -ln p(token) under the base model
	Quant   float64 `json:"quant"`   // -ln p(token) under the quantized model
	KLD     float64 `json:"kld"`     // Σ p_base·(ln p_base - ln p_quant) over the vocabulary
	SameTop bool    `json:"same_top"`
	Top5    int     `json:"top5"`    // how many of the base's five likeliest are among the other's five
	DeltaP  float64 `json:"delta_p"` // p_quant(token) - p_base(token)
}

// Compare compares the rows of logits that two models gave for the same place,
// where token came next. Text, Index and Context of the result are left for the
// caller. Of tokens with equal logits the lower id counts as the likelier. A row
// compared with itself has a KLD of exactly 0. It is safe for concurrent use.
//
// It is an error if a logit is not finite, if the rows differ in length or have
// fewer than [TopK] logits, or if token is not in the vocabulary.
func Compare(base, quant []float32, token int32) (Position, error) {
	if len(base) != len(quant) {
		return Position{}, fmt.Errorf("vocabularies differ: the base model gives %d logits, the quantized model %d",
			len(base), len(quant))
	}
	if len(base) < TopK {
		return Position{}, fmt.Errorf("%d logits, but a comparison needs at least %d", len(base), TopK)
	}
	if token < 0 || int(token) >= len(base) {
		return Position{}, fmt.Errorf("token %d is not among the %d that the models know", token, len(base))
	}
	topB, err := top(base)
	if err != nil {
		return Position{}, fmt.Errorf("base model: %w", err)
	}
	topQ, err := top(quant)
	if err != nil {
		return Position{}, fmt.Errorf("quantized model: %w", err)
	}

	// With b, q the logits less their maximum and Z = Σ exp, ln p = b - ln Z, so
	// KLD = Σ exp(b)·(b-q) / Zb - (ln Zb - ln Zq).
	maxB, maxQ := float64(base[topB[0]]), float64(quant[topQ[0]])
	var sumB, sumQ, sumD float64
	var eb, eq [expBlock]float64
	for from := 0; from < len(base); from += expBlock {
		to := min(from+expBlock, len(base))
		rowB, rowQ := base[from:to], quant[from:to]
		exps(&eb, rowB, maxB)
		exps(&eq, rowQ, maxQ)
		for i, x := range rowB {
			d := (float64(x) - maxB) - (float64(rowQ[i]) - maxQ)
			sumB += eb[i]
			sumQ += eq[i]
			sumD += eb[i] * d
		}
	}
	logB, logQ := math.Log(sumB), math.Log(sumQ)
	p := Position{
		Token:   token,
		Base:    logB - (float64(base[token]) - maxB),
		Quant:   logQ - (float64(quant[token]) - maxQ),
		KLD:     max(0, sumD/sumB-(logB-logQ)), // rounding may leave -1e-16
		SameTop: topB[0] == topQ[0],
	}
	for _, t := range topB {
		for _, u := range topQ {
			if t == u {
				p.Top5++
			}
		}
	}
	p.DeltaP = math.Exp(-p.Quant) - math.Exp(-p.Base)
	return p, nil
}

// NLL returns -ln p(token) under a row of logits, as [Compare] does and with the
// same errors.
func NLL(logits []float32, token int32) (float64, error) {
	if token < 0 || int(token) >= len(logits) {
		return 0, fmt.Errorf("token %d is not among the %d that the model knows", token, len(logits))
	}
	greatest := logits[0]
	for i, x := range logits {
		if !floats.Finite(x) {
			return 0, notFinite(x, i)
		}
		greatest = max(greatest, x)
	}
	sum := 0.0
	var e [expBlock]float64
	for from := 0; from < len(logits); from += expBlock {
		row := logits[from:min(from+expBlock, len(logits))]
		exps(&e, row, float64(greatest))
		for _, v := range e[:len(row)] {
			sum += v
		}
	}
	return math.Log(sum) - (float64(logits[token]) - float64(greatest)), nil
}

func notFinite(x float32, token int) error {
	return fmt.Errorf("the logit of token %d is %v, want a finite number", token, x)
}

// top returns the tokens of the greatest logits, the greatest first.
func top(logits []float32) ([TopK]int, error) {
	var ids [TopK]int
	var best [TopK]float32
	for i := range best {
		best[i] = float32(math.Inf(-1))
	}
	for i, x := range logits {
		if !floats.Finite(x) {
			return ids, notFinite(x, i)
		}
		if x <= best[TopK-1] {
			continue
		}
		j := TopK - 1
		for ; j > 0 && best[j-1] < x; j-- {
			best[j], ids[j] = best[j-1], ids[j-1]
		}
		best[j], ids[j] = x, i
	}
	return ids, nil
}

// Constants of exps: x = (64k + j)·ln2/64 + r, |r| ≤ ln2/128.
const (
	expSteps = 64
	expBlock = 256 // values at a time
	// roundMagic pushes the fraction out of a float64: x + roundMagic - roundMagic
	// is the integer nearest to x, and the bits of x + roundMagic are those of
	// roundMagic plus it.
	roundMagic = 3 << 51
	roundBits  = 0x433<<52 + 1<<51
	// ln2/64 in two parts. The high one has 33 bits, so that its product with an
	// integer below 2^20 is exact.
	ln2High = 0x1.62e42fefp-7
	ln2Low  = math.Ln2/expSteps - ln2High
)

// powers holds 2^(j/64).
var powers = func() (t [expSteps]float64) {
	for j := range t {
		t[j] = math.Exp2(float64(j) / expSteps)
	}
	return t
}()

// exps sets e to e^(x-greatest) for the values of row, at most expBlock and none
// above greatest: within 2 units of the last place, 0 below e^-708. It takes half
// the time of math.Exp.
func exps(e *[expBlock]float64, row []float32, greatest float64) {
	for i, v := range row[:min(len(row), expBlock)] {
		x := float64(v) - greatest
		if x < -708 {
			e[i] = 0
			continue
		}
		n := x*(expSteps/math.Ln2) + roundMagic
		k := int64(math.Float64bits(n)) - roundBits
		n -= roundMagic
		r := (x - n*ln2High) - n*ln2Low
		// The series to r^5; the next term is below 2^-54 of the sum.
		r2 := r * r
		odd := 1.0/6 + r2*(1.0/120)
		even := 0.5 + r2*(1.0/24)
		p := r + r2*(even+r*odd)
		t := powers[k&(expSteps-1)]
		e[i] = math.Float64frombits(math.Float64bits(t+t*p) + uint64(k>>6)<<52)
	}
}
