package engine

import (
	"context"

	"github.com/phi3conv/phi3conv/runtime"
)

// How many tokens are guessed: more after guesses that were right, fewer after those that were not.
const (
	firstDraft = 4
	mostDraft  = 16
)

// nextDraft returns how many tokens to guess after right of guessed ones came.
func nextDraft(length, guessed, right int) int {
	switch {
	case right == guessed:
		return min(2*length, mostDraft)
	case right < guessed/2:
		return max(length/2, 1)
	}
	return length
}

// Lookup guesses that a text goes on as it did after the last occurrence of its last tokens.
type Lookup struct {
	after map[[lookupTokens]int32]int // where the text goes on after these tokens
	seen  int                         // tokens of the text that are in after
}

// lookupTokens is how many tokens must have occurred: with fewer, most guesses are wrong.
const lookupTokens = 3

// Draft implements [Drafter].
func (l *Lookup) Draft(tokens []int32, n int) []int32 {
	if l.after == nil {
		l.after = map[[lookupTokens]int32]int{}
	}
	if len(tokens) < lookupTokens {
		return nil
	}
	// The last tokens are looked up before they are entered.
	for i := max(l.seen, lookupTokens); i < len(tokens); i++ {
		l.after[[lookupTokens]int32(tokens[i-lookupTokens:i])] = i
	}
	l.seen = len(tokens)
	at, ok := l.after[[lookupTokens]int32(tokens[len(tokens)-lookupTokens:])]
	if !ok {
		return nil
	}
	return tokens[at:min(at+n, len(tokens))]
}

// ModelDraft guesses with another, smaller model of the same vocabulary.
type ModelDraft struct{ seq *runtime.Sequence }

// NewModelDraft makes a drafter for texts of up to context tokens.
func NewModelDraft(m *runtime.Model, context int) (*ModelDraft, error) {
	seq, err := m.NewSequence(min(context, m.Context()))
	if err != nil {
		return nil, err
	}
	return &ModelDraft{seq}, nil
}

// Draft implements [Drafter]. A text that is too long for the model has no guesses.
func (d *ModelDraft) Draft(tokens []int32, n int) []int32 {
	var guess []int32
	rest := d.seq.Reuse(tokens)
	for len(guess) < n && len(d.seq.Tokens())+len(rest) <= d.seq.Context() {
		logits, err := d.seq.Eval(context.Background(), rest)
		if err != nil {
			return guess
		}
		guess = append(guess, greedy.Sample(logits, nil))
		rest = guess[len(guess)-1:]
	}
	return guess
}

// Close releases the memory of the drafter's sequence.
func (d *ModelDraft) Close() { d.seq.Free() }
