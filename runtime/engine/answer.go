package engine

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
)

// start gives j its sequence, with the beginning that from has.
func (j *job) start(e *Engine, kept int, from source) error {
	now := time.Now()
	j.result.Wait, j.begin = now.Sub(j.begin), now
	if err := j.ctx.Err(); err != nil {
		return err
	}
	if kept > 0 {
		j.seq = from.seq.Fork(kept)
		if j.req.PromptLogprobs >= 0 {
			j.known = append(j.known, from.known[:min(kept+1, j.prompt)]...)
		}
	} else {
		var err error
		if j.seq, err = e.model.NewSequence(e.opt.Context); err != nil {
			return err
		}
		if j.req.PromptLogprobs >= 0 {
			first := Token{Candidate: Candidate{j.text[0], float32(math.NaN())}}
			j.known = append(j.known, first)
		}
	}
	j.result.Kept = kept
	j.seq.Expect(j.prompt)
	j.score, j.pace, j.spec.eager = &e.score, &e.pace, e.eager
	return nil
}

// evaluated returns the number of tokens whose keys and values are known.
func (j *job) evaluated() int { return len(j.seq.Tokens()) }

// part is the next n tokens of the prompt, or what is left of them.
func (j *job) part(n int) runtime.Request {
	first := j.evaluated()
	end := min(first+n, j.prompt)
	r := runtime.Request{Seq: j.seq, Tokens: j.text[first:end]}
	if j.req.Embed {
		r.All, r.Hidden = true, j.addHidden
		return r
	}
	scored := j.req.PromptLogprobs >= 0
	if !scored && j.req.Rows == nil && end < j.prompt {
		return r
	}
	r.All = scored || j.req.Rows != nil
	if !scored {
		r.First = max(j.req.FirstRow-1-first, 0)
	}
	r.Logits = func(i int, logits []float32) error {
		at := first + i + 1
		if at == j.prompt {
			j.choose(logits)
			return nil
		}
		if j.req.Rows != nil && at >= j.req.FirstRow {
			j.req.Rows(at, logits)
		}
		if scored {
			j.known = append(j.known, j.score.token(logits, j.text[at], j.req.PromptLogprobs))
		}
		return nil
	}
	return r
}

// addHidden adds a token's row of the stream to the sum.
func (j *job) addHidden(_ int, row []float32) {
	if j.sum == nil {
		j.sum = make([]float64, len(row))
	}
	for i, x := range row {
		j.sum[i] += float64(x)
	}
}

// embed ends a request for an embedding.
func (j *job) embed() {
	for _, x := range j.sum {
		j.result.Embedding = append(j.result.Embedding, float32(x/float64(j.prompt)))
	}
	j.result.Stop = runtime.StopLimit
}

// next is the last token of the answer, and what is guessed after it. others is how many tokens go along.
func (j *job) next(m *runtime.Model, others int) runtime.Request {
	first := j.evaluated()
	room := j.most - len(j.text)
	if !m.IsLong(len(j.text)) && m.IsLong(len(j.text)+mostDraft) {
		room = 0 // a guess must not bring LongRoPE's long factors about
	}
	guess := j.spec.next(j.text, room, others, j.pace)
	j.before = len(j.text)
	tokens := append(j.text[first:len(j.text):len(j.text)], guess...)
	matching := true
	return runtime.Request{Seq: j.seq, Tokens: tokens, All: true, Logits: func(i int, logits []float32) error {
		if !matching || j.result.Stop != "" || j.err != nil {
			return nil
		}
		j.choose(logits)
		matching = i < len(guess) && j.text[len(j.text)-1] == guess[i]
		return nil
	}}
}

// settle notes what an evaluation gave, and takes back what was guessed and did not come.
func (j *job) settle() {
	if j.evaluated() < j.prompt {
		return
	}
	if !j.answering {
		j.answering = true
		now := time.Now()
		j.result.PromptTime, j.begin = now.Sub(j.begin), now
		for _, t := range j.known { // some may have been kept, with more candidates
			t.Top = t.Top[:min(len(t.Top), j.req.PromptLogprobs)]
			j.result.Prompt = append(j.result.Prompt, t)
		}
	}
	if j.req.Embed {
		j.embed()
		return
	}
	j.result.AnswerTime = time.Since(j.begin)
	j.spec.came(j.text[j.before:], j.pace)
	if j.result.Stop == runtime.StopToken { // which all of the text comes before
		j.seq.Truncate(len(j.text))
	} else {
		j.seq.Truncate(len(j.text) - 1)
	}
}

// choose takes the next token of the answer, given the logits before it.
func (j *job) choose(logits []float32) {
	if j.req.Rows != nil {
		j.req.Rows(len(j.text), logits)
	}
	if j.chosen == j.req.MaxTokens {
		j.result.Stop = runtime.StopLimit
		return
	}
	id, err := j.sample(logits)
	if err != nil {
		j.err = err
		return
	}
	t := Token{Candidate: Candidate{ID: id}}
	if j.req.Logprobs >= 0 {
		t = j.score.token(logits, id, j.req.Logprobs)
	}
	if slices.Contains(j.req.Stop, id) {
		j.result.Stop, j.result.StopID, j.result.Last = runtime.StopToken, id, t
		return
	}
	j.text = append(j.text, id)
	j.chosen++
	if c := j.req.Constraint; c != nil {
		c.Accept(id)
	}
	switch {
	case !j.emit(t):
		j.result.Stop = runtime.StopCaller
	case j.chosen == j.req.MaxTokens:
		j.result.Stop = runtime.StopLimit
	case len(j.text) > j.most:
		j.result.Stop = runtime.StopContext
	}
}

// sample chooses a token.
func (j *job) sample(logits []float32) (int32, error) {
	if len(j.req.Bias) > 0 || j.req.Constraint != nil {
		j.logits = append(j.logits[:0], logits...)
		logits = j.logits
		for id, b := range j.req.Bias {
			logits[id] += b
		}
	}
	if c := j.req.Constraint; c != nil {
		j.allowed = work.Resize(j.allowed, (len(logits)+63)/64)
		if err := c.Allow(j.allowed); err != nil {
			return 0, err
		}
		if !restrict(logits, j.allowed) {
			return 0, fmt.Errorf("no token of the vocabulary continues the answer as its format demands")
		}
	}
	if j.req.Sampler == nil {
		return greedy.Sample(logits, nil), nil
	}
	return j.req.Sampler.Sample(logits, j.text), nil
}

// restrict makes tokens that are not allowed impossible. It returns false if that is all of them.
func restrict(logits []float32, allowed []uint64) (some bool) {
	never := float32(math.Inf(-1))
	for i, set := range allowed {
		part := logits[64*i : min(64*i+64, len(logits))]
		if some = some || set != 0; set == math.MaxUint64 {
			continue
		}
		for k := range part {
			if set>>k&1 == 0 {
				part[k] = never
			}
		}
	}
	return some
}

// greedy chooses the most likely token. It keeps nothing, so requests may share it.
var greedy = &runtime.Sampler{}
