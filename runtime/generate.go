package runtime

import (
	"context"
	"errors"
	"slices"
	"time"
)

// StopReason says why [Sequence.Generate] ended.
type StopReason string

const (
	StopToken   StopReason = "token"   // a stop id was chosen
	StopLimit   StopReason = "limit"   // as many tokens as wanted
	StopContext StopReason = "context" // the sequence is as long as its context
	StopCaller  StopReason = "caller"  // emit returned false
	StopError   StopReason = "error"   // an error, or a cancellation
)

// Generated is what [Sequence.Generate] did.
type Generated struct {
	Stop   StopReason
	Tokens int // that were given to emit

	// Tokens that were evaluated, and the time: of the prompt, and of the answer.
	PromptTokens, DecodeTokens int
	PromptTime, DecodeTime     time.Duration
}

// Generate appends prompt to s and goes on with tokens that sampler chooses, at most limit
// or, if that is negative, until a stop id or the end of the context. Each but a stop id
// is given to emit, which returns false to end.
//
// The last token given to emit may not be in s yet: see [Sequence.Reuse] for going on.
func (s *Sequence) Generate(
	ctx context.Context, prompt []int32, sampler *Sampler, limit int, stop []int32, emit func(id int32) bool,
) (g Generated, err error) {
	g.Stop = StopError
	if len(prompt) == 0 {
		return g, errors.New("the prompt has no tokens")
	}
	start := time.Now()
	logits, err := s.Eval(ctx, prompt)
	if err != nil {
		return g, err
	}
	g.PromptTokens, g.PromptTime = len(prompt), time.Since(start)
	start = time.Now()
	defer func() { g.DecodeTime = time.Since(start) }()
	for next := make([]int32, 1); g.Tokens != limit; {
		next[0] = sampler.Sample(logits, s.tokens)
		if slices.Contains(stop, next[0]) {
			g.Stop = StopToken
			return g, nil
		}
		g.Tokens++
		if !emit(next[0]) {
			g.Stop = StopCaller
			return g, nil
		}
		if g.Tokens == limit {
			break
		}
		if len(s.tokens) == s.context {
			g.Stop = StopContext
			return g, nil
		}
		if logits, err = s.Eval(ctx, next); err != nil {
			return g, err
		}
		g.DecodeTokens++
	}
	g.Stop = StopLimit
	return g, nil
}
