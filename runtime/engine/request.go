package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/phi3conv/phi3conv/runtime"
)

// Request is a text to go on with.
type Request struct {
	Prompt    []int32
	MaxTokens int     // of the answer; 0 for none, negative for as many as fit
	Stop      []int32 // ids that end the answer
	// Sampler chooses tokens; nil chooses the most likely one. It belongs to the request.
	Sampler *runtime.Sampler
	Bias    map[int32]float32 // is added to logits
	// Constraint, if not nil, says which tokens may come next. It belongs to the request.
	Constraint Constraint
	// Logprobs and PromptLogprobs are the numbers of candidates that come with each token of the answer and of the
	// prompt: 0 for the token's own log-probability alone, negative for none at all.
	Logprobs, PromptLogprobs int
	// Rows, if not nil, is called with the logits that say which token comes at a place of the text, for each place
	// from FirstRow on, in order. It must not keep or change them, and all requests wait until it returns.
	Rows     func(at int, logits []float32)
	FirstRow int // 1 to the length of the prompt
	// Embed asks for [Result.Embedding] in place of an answer.
	Embed bool
	// Draft guesses tokens, which are then checked together: the first of them that has a guess. That changes the time
	// only. They belong to the request and are closed at its end.
	Draft []Drafter
	// Emit is called with each token of the answer but a stop id, from the goroutine that calls Do. It returns false to
	// end the answer.
	Emit func(Token) bool
}

// Constraint restricts an answer.
type Constraint interface {
	// Allow sets the bit of each token that may come next, id%64 of allowed[id/64], and clears the others. Stop ids may
	// come where the answer is complete. An error, that no token may come for instance, ends the request.
	Allow(allowed []uint64) error
	// Accept tells which token came, one that was allowed.
	Accept(id int32)
}

// Drafter guesses how a text goes on.
type Drafter interface {
	// Draft returns at most n tokens that may follow tokens, which each time are a longer part of the same text.
	Draft(tokens []int32, n int) []int32
	// Close tells that no guesses are wanted any more.
	Close()
}

// Candidate is a token and the natural logarithm of its probability, before sampling changes that.
type Candidate struct {
	ID      int32
	Logprob float32
}

// Token is a token that came, or one of a prompt. The first of a prompt has no probability: its Logprob is NaN.
type Token struct {
	Candidate
	Top []Candidate // the most likely ones, in order
}

// Result is how a request ended.
type Result struct {
	Stop   runtime.StopReason
	StopID int32   // with StopToken
	Last   Token   // with StopToken: the stop id's
	Prompt []Token // if its log-probabilities were asked for
	// Embedding is the mean over the prompt's tokens of the stream after the last norm.
	Embedding []float32
	Tokens    int // that were given to Emit
	Kept      int // tokens of the prompt that were not computed

	Wait, PromptTime, AnswerTime time.Duration
}

// job is a request on its way.
type job struct {
	req  Request
	ctx  context.Context
	most int  // tokens that the sequence may have at the end
	long bool // whether LongRoPE's long factors apply to the prompt

	prompt    int     // tokens of the prompt
	text      []int32 // prompt and answer
	known     []Token // of the prompt's tokens, as far as log-probabilities were asked for
	seq       *runtime.Sequence
	answering bool // the prompt has been evaluated
	spec      speculation
	before    int   // tokens of text before what is being evaluated
	err       error // of a choice
	score     *scorer
	pace      *pace
	logits    []float32 // changed ones
	allowed   []uint64
	chosen    int       // tokens of the answer
	sum       []float64 // of the stream, with Embed
	alone     bool      // without an engine, in the caller's goroutine
	result    Result
	begin     time.Time // of waiting, then of the prompt, then of the answer

	mu    sync.Mutex
	ready *sync.Cond
	out   []Token
	gone  bool // Emit returned false
	done  bool
	last  error
}

// newJob checks a request with a sequence of up to room tokens.
func newJob(ctx context.Context, m *runtime.Model, room int, r Request) (*job, error) {
	if len(r.Prompt) == 0 {
		return nil, errors.New("the prompt has no tokens")
	}
	vocab := m.VocabSize()
	for i, id := range r.Prompt {
		if id < 0 || int(id) >= vocab {
			return nil, fmt.Errorf("token %d of the prompt has id %d, expected 0 to %d", i, id, vocab-1)
		}
	}
	for id := range r.Bias {
		if id < 0 || int(id) >= vocab {
			return nil, fmt.Errorf("logit_bias has id %d, expected 0 to %d", id, vocab-1)
		}
	}
	n := len(r.Prompt)
	if r.Embed {
		r.MaxTokens, r.PromptLogprobs = 0, -1
	}
	if r.Rows != nil && (r.FirstRow < 1 || r.FirstRow > n) {
		return nil, fmt.Errorf("the first row is %d, expected 1 to %d", r.FirstRow, n)
	}
	// A prompt that fills the context is answered by one token, which is chosen and not evaluated.
	if n > room {
		return nil, &runtime.ContextError{Tokens: n, Context: room}
	}
	most := room
	if r.MaxTokens >= 0 {
		most = min(most, n+r.MaxTokens)
	}
	j := &job{
		req: r, ctx: ctx, most: most, long: m.IsLong(n), prompt: n, text: slices.Clone(r.Prompt),
		spec: newSpeculation(r.Draft), before: n, begin: time.Now(),
	}
	j.ready = sync.NewCond(&j.mu)
	return j, nil
}

// deliver hands tokens to the caller until the request has ended.
func (j *job) deliver() (Result, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	given := 0
	for {
		for len(j.out) > 0 && !j.gone {
			t := j.out[0]
			j.out = j.out[1:]
			j.mu.Unlock()
			more := j.req.Emit == nil || j.req.Emit(t)
			j.mu.Lock()
			j.gone = !more
			given++
		}
		if j.done {
			break
		}
		j.ready.Wait()
	}
	j.result.Tokens = given
	if j.gone && j.last == nil {
		j.result.Stop = runtime.StopCaller
	}
	return j.result, j.last
}

// emit gives a token to the caller's goroutine. It returns false if that wants no more.
func (j *job) emit(t Token) bool {
	if j.alone {
		return j.req.Emit == nil || j.req.Emit(t)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if !j.gone {
		j.out = append(j.out, t)
		j.ready.Signal()
	}
	return !j.gone
}

// finish lets the caller's goroutine return.
func (j *job) finish(err error) {
	if err != nil {
		j.result.Stop = runtime.StopError
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.done, j.last = true, err
	j.ready.Signal()
}
