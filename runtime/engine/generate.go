package engine

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/runtime"
)

// Generate appends a prompt to s and goes on, as [runtime.Sequence.Generate] does, with r.Draft's guesses. These do not
// change the tokens if the model is open with Options.Batched. Of r, log-probabilities are not made, and Emit is called
// from the goroutine that calls Generate.
func Generate(ctx context.Context, m *runtime.Model, s *runtime.Sequence, r Request) (runtime.Generated, error) {
	prompt := len(r.Prompt)
	if prompt == 0 {
		return runtime.Generated{Stop: runtime.StopError}, errors.New("the prompt has no tokens")
	}
	r.Prompt = slices.Concat(s.Tokens(), r.Prompt)
	r.PromptLogprobs, r.Logprobs = -1, -1
	j, err := newJob(ctx, m, s.Context(), r)
	if err != nil {
		return runtime.Generated{Stop: runtime.StopError}, err
	}
	defer j.spec.close()
	j.seq, j.alone, j.pace = s, true, new(pace)
	for err == nil && j.result.Stop == "" {
		var next runtime.Request
		if j.answering {
			next = j.next(m, 0)
		} else {
			next = j.part(j.prompt)
		}
		begin := time.Now()
		if err = m.Eval(ctx, next); err != nil {
			break
		}
		if j.answering {
			j.pace.add(len(next.Tokens), time.Since(begin).Seconds())
		}
		j.settle()
		err = j.err
	}
	g := runtime.Generated{Stop: j.result.Stop, Tokens: j.chosen}
	if j.answering {
		g.PromptTokens, g.PromptTime = prompt, j.result.PromptTime
		g.DecodeTokens, g.DecodeTime = max(j.evaluated()-j.prompt, 0), j.result.AnswerTime
	}
	if err != nil {
		g.Stop = runtime.StopError
	}
	return g, err
}
