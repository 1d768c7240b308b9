package seal

import "math"

// Codes of probabilities. The code c of a likely token stands for p ≈ c / [Unit],
// since what an error of p adds to a KLD is proportional to the error itself. The
// code c of the tail and of a drawn token stands for -ln p ≈ c·[Step], and that of a token in
// a full row for -ln p ≈ c·[RowStep].
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
	// Drawn is a token of the tail, drawn with the probabilities that the model gives them, or
	// [None]. Means over drawn tokens estimate means over tails.
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

// possible reports whether there are probabilities with these codes.
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
