package engine

import (
	"context"
	"sync"

	"github.com/phi3conv/phi3conv/runtime"
)

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
	guess := make([]int32, 0, n)
	for i := at; len(guess) < n; i++ {
		if i < len(tokens) {
			guess = append(guess, tokens[i])
		} else { // what repeats itself goes on to do so
			guess = append(guess, guess[i-len(tokens)])
		}
	}
	return guess
}

// Close implements [Drafter].
func (l *Lookup) Close() {}

// DraftModel guesses with another, smaller model of the same vocabulary.
type DraftModel struct {
	mu   sync.Mutex
	idle []*runtime.Sequence
}

// NewDraftModel makes drafters for texts of up to context tokens, or as many as the model can have, for so many
// requests at the same time. Others get no guesses.
func NewDraftModel(m *runtime.Model, context, parallel int) (*DraftModel, error) {
	d := new(DraftModel)
	for range parallel {
		s, err := m.NewSequence(min(context, m.Context()))
		if err != nil {
			return nil, err
		}
		d.idle = append(d.idle, s)
	}
	return d, nil
}

// Drafter returns the drafter of a request. It draws with the random numbers that sampler will use, so that it often
// draws the same tokens; a nil sampler takes the most likely ones.
func (d *DraftModel) Drafter(sampler *runtime.Sampler) Drafter {
	return &modelDraft{from: d, sampler: sampler, own: new(runtime.Sampler)}
}

type modelDraft struct {
	from         *DraftModel
	seq          *runtime.Sequence
	sampler, own *runtime.Sampler
	text         []int32
}

// catchUp is how many tokens of a text the draft model reads at a time, while the other requests wait.
const catchUp = 256

// Draft implements [Drafter]. A text that is too long for the model has no guesses, and neither has one that it has not
// read yet.
func (d *modelDraft) Draft(tokens []int32, n int) (guess []int32) {
	if d.seq == nil {
		d.seq = d.from.take(tokens)
	}
	if d.seq == nil || len(tokens) > d.seq.Context() {
		return nil
	}
	rest := d.seq.Reuse(tokens)
	if len(rest) > mostDraft+1 {
		_, _ = d.seq.Eval(context.Background(), rest[:min(len(rest), catchUp)]) // without it there is no guess
		return nil
	}
	if d.sampler != nil {
		d.own.Set(d.sampler)
	}
	d.text = append(d.text[:0], tokens...)
	for len(guess) < n && len(d.seq.Tokens())+len(rest) <= d.seq.Context() {
		logits, err := d.seq.Eval(context.Background(), rest)
		if err != nil {
			return guess
		}
		id := d.own.Sample(logits, d.text)
		d.text, guess = append(d.text, id), append(guess, id)
		rest = guess[len(guess)-1:]
	}
	return guess
}

// Close implements [Drafter].
func (d *modelDraft) Close() {
	if d.seq != nil {
		d.from.mu.Lock()
		d.from.idle = append(d.from.idle, d.seq)
		d.from.mu.Unlock()
		d.seq = nil
	}
}

// take returns the idle sequence that has the most of a text already, nil if there is none.
func (d *DraftModel) take(text []int32) *runtime.Sequence {
	d.mu.Lock()
	defer d.mu.Unlock()
	best, most := -1, -1
	for i, s := range d.idle {
		if n := common(s.Tokens(), text); n > most {
			best, most = i, n
		}
	}
	if best < 0 {
		return nil
	}
	s := d.idle[best]
	d.idle = append(d.idle[:best], d.idle[best+1:]...)
	return s
}

// Close releases the memory of the sequences. No request may use the drafts any more; the model stays open.
func (d *DraftModel) Close() {
	for _, s := range d.idle {
		s.Free()
	}
	d.idle = nil
}
