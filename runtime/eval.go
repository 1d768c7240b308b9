package runtime

import (
	"context"
	"fmt"
)

// Request is a part of what [Model.Eval] evaluates: tokens to append to a sequence.
type Request struct {
	Seq    *Sequence
	Tokens []int32
	// Logits, if not nil, is called with the logits after token i of Tokens, one value for each
	// token of the vocabulary, which it must not keep. It is called for the last token only, or if
	// All is set for each token from First on, in order.
	Logits func(i int, logits []float32) error
	// Hidden, in place of Logits, is called with what the output matrix would get: the stream after the last norm.
	Hidden func(i int, row []float32)
	All    bool
	First  int
}

// Eval appends tokens to s and returns the logits after the last, one value for each
// token of the vocabulary. They are valid until the next Eval of s.
func (s *Sequence) Eval(ctx context.Context, tokens []int32) ([]float32, error) {
	s.request[0].Tokens = tokens
	err := s.model.Eval(ctx, s.request[:]...)
	return s.logits, err
}

// Eval runs the model on several sequences at once. Before anything is computed it
// refuses token ids out of range, a sequence that occurs twice, and a [ContextError].
//
// With LongRoPE a sequence that grows beyond the original context is evaluated anew from its first token, since the
// long factors then apply to all its positions. After an error or a cancellation the sequences hold what they held
// before.
func (m *Model) Eval(ctx context.Context, requests ...Request) (err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return fmt.Errorf("%s: the model is closed", m.path)
	}
	for i, r := range requests {
		if err := r.check(m); err != nil {
			return err
		}
		for _, other := range requests[:i] {
			if other.Seq == r.Seq {
				return fmt.Errorf("a sequence occurs twice in a batch")
			}
		}
	}
	b, err := m.batch()
	if err != nil {
		return err
	}
	before := b.before[:0]
	for _, r := range requests {
		before = append(before, len(r.Seq.tokens))
	}
	b.before = before
	defer func() {
		if err != nil {
			for i, r := range requests {
				r.Seq.Truncate(before[i])
			}
		}
	}()
	b.reset()
	for i := range requests {
		r, s := &requests[i], requests[i].Seq
		first := len(s.tokens)
		s.tokens = append(s.tokens, r.Tokens...)
		if err := s.prepare(); err != nil {
			return err
		}
		// Tokens from valid on are not in the cache: the new ones, or all of them.
		for n := s.valid; n < len(s.tokens); n++ {
			b.add(r, n, r.wants(n-first))
			if len(b.tokens) == m.opt.Batch {
				if err := b.flush(ctx); err != nil {
					return err
				}
			}
		}
	}
	return b.flush(ctx)
}

// wants returns n if something is asked for after the n-th of the request's tokens, else -1.
func (r *Request) wants(n int) int {
	if n >= 0 && (r.Logits != nil || r.Hidden != nil) && (n == len(r.Tokens)-1 || r.All && n >= r.First) {
		return n
	}
	return -1
}

// check refuses a request that the model cannot evaluate.
func (r *Request) check(m *Model) error {
	if r.Seq.model != m {
		return fmt.Errorf("a sequence of another model")
	}
	for i, id := range r.Tokens {
		if id < 0 || int(id) >= m.cfg.VocabSize {
			return fmt.Errorf("token %d has id %d, expected 0 to %d", i, id, m.cfg.VocabSize-1)
		}
	}
	if n := len(r.Seq.tokens); n+len(r.Tokens) > r.Seq.context {
		return &ContextError{Have: n, Tokens: len(r.Tokens), Context: r.Seq.context}
	}
	return nil
}

// ContextError is the error of a sequence that would become longer than its context.
type ContextError struct {
	Have, Tokens int // tokens that the sequence has, tokens to append
	Context      int // tokens that it can hold
}

func (e *ContextError) Error() string {
	if e.Have == 0 {
		return fmt.Sprintf("%d tokens do not fit the context of %d", e.Tokens, e.Context)
	}
	return fmt.Sprintf("%d tokens after %d do not fit the context of %d", e.Tokens, e.Have, e.Context)
}
