package seal

import (
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// Codes of probabilities. The code c of a likely token stands for p ≈ c / [Unit]: an
// error of p changes a KL divergence in proportion. The code c of the tail and of a
// drawn token stands for -ln p ≈ c·[Step], and that of a token in a full row for
// -ln p ≈ c·[RowStep].
const (
	Unit    = 1 << 16
	Step    = 1.0 / 256 // nats
	RowStep = 1.0 / 8   // nats

	maxCode = math.MaxUint16

	// half is the greatest rounding error of a code: a half, and room for the
	// float64 arithmetic before the rounding, in writers and readers.
	half = 0.5 + 1.0/(1<<20)
)

// Entry is what the base model predicted for one token of a text.
type Entry struct {
	Text    int     // which text
	Index   int     // index of the predicted token in the text's tokens
	Context int     // tokens that the model saw before it: its window begins at Index - Context
	Token   int32   // the token that comes
	NLL     float32 // -ln p(Token), nats

	// Top holds the likely tokens, the likeliest first, of equals the lower id.
	Top []Likely
	// Tail is the code of the probability of all other tokens together. If there
	// are none it has no meaning.
	Tail uint16
	// Drawn is a token of the tail, drawn by its probability, or [None]. Means over drawn tokens
	// estimate means over tails.
	Drawn Drawn
	// Full is nil, or holds the code of every token of the vocabulary.
	Full []uint8
}

// Likely is a token and the code of its probability.
type Likely struct {
	ID   int32
	Code uint16
}

// Drawn is a token and the code of its probability.
type Drawn struct {
	ID   int32
	Code uint16
}

// None is what is drawn where there is no tail.
var None = Drawn{-1, 0}

// Bounds returns the range in which the token's probability lies.
func (t Likely) Bounds() (low, high float64) {
	low = max(0, (float64(t.Code)-half)/Unit)
	high = (float64(t.Code) + half) / Unit
	if t.Code == maxCode {
		high = 1
	}
	return low, high
}

// TailBounds returns the range in which the probability of the tail lies.
func (e *Entry) TailBounds() (low, high float64) { return logBounds(e.Tail) }

// Bounds returns the range in which the probability of the drawn token lies.
func (d Drawn) Bounds() (low, high float64) { return logBounds(d.Code) }

// logBounds returns the range of the probabilities that have a code of ln p.
func logBounds(code uint16) (low, high float64) {
	high = math.Exp(min(0, -(float64(code)-half)*Step))
	if code < maxCode {
		low = math.Exp(-(float64(code) + half) * Step)
	}
	return low, high
}

// fill sets the prediction that logits stand for, of position i of the seal: -ln p of the token, the likely tokens,
// which are at most k, and at least [MinTopK] even if their probability is less than minP, the tail, and if full is
// set the whole vocabulary.
func (e *Entry) fill(logits []float32, k int, minP float64, i int, full bool) error {
	greatest := logits[0]
	for id, x := range logits {
		if !floats.Finite(x) {
			return fmt.Errorf("the logit of token %d is %v, must be a finite number", id, x)
		}
		greatest = max(greatest, x)
	}
	sum := 0.0
	for _, x := range logits {
		sum += exp(float64(x) - float64(greatest))
	}
	logSum, origin := ln(sum), float64(greatest)
	nll := func(x float32) float64 { return logSum + (origin - float64(x)) } // of a token with logit x
	e.NLL = float32(max(0, min(nll(logits[e.Token]), math.MaxFloat32)))
	for i, id := range likeliest(logits, k) {
		p := exp(-nll(logits[id]))
		if i >= MinTopK && p < minP {
			break
		}
		e.Top = append(e.Top, Likely{id, uint16(min(maxCode, math.Round(p*Unit)))})
	}

	// The tail's sum is relative to its own greatest logit, which may be far below that of the likely tokens.
	last := e.Top[len(e.Top)-1].ID
	inTail := func(id int, x float32) bool { return x < logits[last] || x == logits[last] && int32(id) > last }
	greatest = float32(math.Inf(-1))
	for id, x := range logits {
		if inTail(id, x) {
			greatest = max(greatest, x)
		}
	}
	e.Tail, e.Drawn = maxCode, None
	if len(e.Top) < len(logits) {
		sum = 0
		for id, x := range logits {
			if inTail(id, x) {
				sum += exp(float64(x) - float64(greatest))
			}
		}
		e.Tail = logCode(nll(greatest) - ln(sum))
		left := uniform(i) * sum
		for id, x := range logits {
			if inTail(id, x) {
				e.Drawn = Drawn{int32(id), max(e.Tail, logCode(nll(x)))}
				if left -= exp(float64(x) - float64(greatest)); left < 0 {
					break
				}
			}
		}
	}
	if full {
		e.Full = make([]uint8, len(logits))
		for id, x := range logits {
			e.Full[id] = uint8(math.Round(max(0, min(math.MaxUint8, nll(x)/RowStep))))
		}
	}
	return nil
}

// logCode returns the code of -ln p, in steps of [Step].
func logCode(nll float64) uint16 {
	return uint16(math.Round(max(0, min(maxCode, nll/Step))))
}

// likeliest returns the ids of the k greatest logits in descending order, of
// equals the lower id first.
func likeliest(logits []float32, k int) []int32 {
	ids := make([]int32, 0, k)
	for id, x := range logits {
		if len(ids) == k {
			if x <= logits[ids[k-1]] {
				continue
			}
			ids = ids[:k-1]
		}
		at, _ := slices.BinarySearchFunc(ids, x, func(id int32, x float32) int {
			if logits[id] >= x {
				return -1
			}
			return 1
		})
		ids = slices.Insert(ids, at, int32(id))
	}
	return ids
}

// possible reports whether there are probabilities with these codes whose sum is 1.
func (e *Entry) possible(vocab int) bool {
	var least, most float64
	for _, t := range e.Top {
		low, high := t.Bounds()
		least += low
		most += high
	}
	if len(e.Top) < vocab {
		low, high := e.TailBounds()
		least += low
		most += high
	}
	const rounding = 1e-12
	return least <= 1+rounding && most >= 1-rounding
}
