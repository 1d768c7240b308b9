// Package engine serves many requests with one model: their sequences go through it together, new ones join between
// tokens, and what the beginnings of texts have in common is computed once.
//
// What a request gets does not depend on the others: the same tokens and the same bits of log-probabilities as alone,
// with kept beginnings or without. Open the model with Options.Batched for that.
package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phi3conv/phi3conv/internal/kvcache"
	"github.com/phi3conv/phi3conv/runtime"
)

// Options bound what an engine takes.
type Options struct {
	Parallel int   // requests that run at the same time, 0 for 8; others wait
	Queue    int   // requests that wait, 0 for 4 × Parallel
	Context  int   // tokens of a sequence, 0 for the smaller of 4096 and the model's context
	Bytes    int64 // memory for keys and values, those of kept beginnings included; 0 for Parallel × Context tokens
	Chunk    int   // tokens of prompts that are evaluated between two tokens of running answers, 0 for 64
}

// ErrQueueFull is the error of a request for which there is no room to wait.
var ErrQueueFull = errors.New("too many requests wait: try again later")

// ErrClosed is the error of a request when the engine has been closed.
var ErrClosed = errors.New("the server stops")

// Engine runs requests. Its methods may be called from several goroutines.
type Engine struct {
	model *runtime.Model
	opt   Options
	cache *cache
	score scorer
	pace  pace
	eager bool // guesses are checked whether they pay or not: in tests, which otherwise would depend on speed

	mu     sync.Mutex
	wake   *sync.Cond // there is work, or the engine has been closed
	queue  []*job
	active []*job
	closed bool
	stats  Stats
	ended  chan struct{}

	requests []runtime.Request // of a step
}

// New starts an engine. The model must not be used otherwise until [Engine.Close].
func New(m *runtime.Model, opt Options) (*Engine, error) {
	if opt.Parallel <= 0 {
		opt.Parallel = 8
	}
	if opt.Queue <= 0 {
		opt.Queue = 4 * opt.Parallel
	}
	if opt.Context <= 0 {
		opt.Context = min(4096, m.Context())
	}
	if opt.Context > m.Context() {
		return nil, fmt.Errorf("a context of %d tokens; the model was made for at most %d", opt.Context, m.Context())
	}
	if opt.Chunk <= 0 {
		opt.Chunk = 64
	}
	one := m.CacheBytes(opt.Context)
	if opt.Bytes <= 0 {
		opt.Bytes = int64(opt.Parallel) * one
	}
	if opt.Bytes < one {
		return nil, fmt.Errorf("keys and values of %d tokens take %d bytes, and %d are allowed: "+
			"use a smaller context", opt.Context, one, opt.Bytes)
	}
	e := &Engine{model: m, opt: opt, cache: newCache(worthKeeping), ended: make(chan struct{})}
	e.wake = sync.NewCond(&e.mu)
	go e.run()
	return e, nil
}

// Close ends all requests with [ErrClosed] and releases the keys and values. The model stays open.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.wake.Broadcast()
	e.mu.Unlock()
	<-e.ended
}

// IsLong is [runtime.Model.IsLong] of the engine's model.
func (e *Engine) IsLong(n int) bool { return e.model.IsLong(n) }

// Context returns the greatest number of tokens of a sequence.
func (e *Engine) Context() int { return e.opt.Context }

// Stats is what an engine has done, and does.
type Stats struct {
	Requests, Canceled        int64 // that ended; of these before their end
	PromptTokens, KeptTokens  int64 // of prompts; of these not computed, since they were kept
	Tokens                    int64 // of answers
	DraftTokens, DraftMatched int64 // that were guessed; that were right
	Running, Waiting          int
	CacheBytes                int64 // of keys and values
}

// Stats returns the counts so far.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := e.stats
	s.Running, s.Waiting, s.CacheBytes = len(e.active), len(e.queue), e.model.CacheInUse()
	return s
}

// Do runs a request and returns when it has ended, or when ctx is done. Waiting included, a request ends within a token
// of its cancellation. The error is [ErrQueueFull], [ErrClosed], that of ctx, a *[runtime.ContextError] or of r itself.
func (e *Engine) Do(ctx context.Context, r Request) (Result, error) {
	j, err := newJob(ctx, e.model, e.opt.Context, r)
	if err != nil {
		return Result{}, err
	}
	e.mu.Lock()
	switch {
	case e.closed:
		err = ErrClosed
	case len(e.queue) >= e.opt.Queue+e.opt.Parallel-len(e.active): // those for which there is room do not wait
		err = ErrQueueFull
	default:
		e.queue = append(e.queue, j)
		e.wake.Signal()
	}
	e.mu.Unlock()
	if err != nil {
		return Result{}, err
	}
	stop := context.AfterFunc(ctx, func() { // a waiting request is found when the engine looks for work
		e.mu.Lock()
		e.wake.Signal()
		e.mu.Unlock()
	})
	defer stop()
	return j.deliver()
}

// run is the engine's goroutine, the only one that uses the model and the sequences.
func (e *Engine) run() {
	defer close(e.ended)
	for e.admit() {
		e.step()
	}
	e.mu.Lock()
	rest := append(e.active, e.queue...)
	e.active, e.queue = nil, nil
	e.mu.Unlock()
	for _, j := range rest {
		if j.seq != nil {
			j.seq.Free()
		}
		j.spec.close()
		j.finish(ErrClosed)
	}
	e.cache.clear()
}

// admit waits for work and starts requests for which there is room. It returns false when the engine has been closed.
func (e *Engine) admit() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	for !e.closed {
		e.dropCanceled()
		for i := 0; i < len(e.queue) && len(e.active) < e.opt.Parallel; {
			j := e.queue[i]
			if !e.fits(j) {
				break // those after it wait too: a long request gets its turn
			}
			kept, from, wait := e.beginning(j)
			if wait {
				i++
				continue
			}
			if err := j.start(e, kept, from); err != nil {
				e.end(j, err)
			} else {
				e.active = append(e.active, j)
			}
			e.queue = append(e.queue[:i], e.queue[i+1:]...)
		}
		if len(e.active) > 0 {
			return true
		}
		e.wake.Wait()
	}
	return false
}

// dropCanceled ends the waiting requests whose callers have gone.
func (e *Engine) dropCanceled() {
	kept := e.queue[:0]
	for _, j := range e.queue {
		if err := j.ctx.Err(); err != nil {
			e.end(j, err)
			continue
		}
		kept = append(kept, j)
	}
	clear(e.queue[len(kept):])
	e.queue = kept
}

// fits reports whether there is memory for j beside the running requests, kept beginnings being given up.
func (e *Engine) fits(j *job) bool {
	need := e.model.CacheBytes(j.most)
	for _, a := range e.active {
		need += e.model.CacheBytes(a.most)
	}
	return need <= e.opt.Bytes
}

// worthWaiting is how many tokens a running prompt must have in common with a waiting request, beyond what is kept, for
// that to wait until they are computed.
const worthWaiting = 32

// beginning finds the sequence that has the most tokens of j's prompt, and how many of them are of use. wait says that
// a running request is about to compute more.
func (e *Engine) beginning(j *job) (kept int, from source, wait bool) {
	most := j.prompt - 1 // tokens that need no evaluation
	if j.req.Rows != nil {
		most = j.req.FirstRow - 1
	}
	if j.req.Embed {
		most = 0
	}
	kept, from = e.cache.find(j.long, j.text, j.req.PromptLogprobs)
	kept = min(kept, most)
	for _, a := range e.active {
		if a.long != j.long || j.req.PromptLogprobs > a.req.PromptLogprobs {
			continue
		}
		n := common(a.text, j.text)
		if j.req.PromptLogprobs >= 0 {
			n = min(n, a.prompt) - 1 // what comes after it must be known too, which it is of prompts
		}
		n = min(n, most)
		if done := min(n, a.evaluated()); done > kept {
			kept, from = done, source{seq: a.seq, known: a.known}
		}
		wait = wait || a.evaluated() < n && n > kept+worthWaiting
	}
	return kept, from, wait
}

// step evaluates the next tokens of all running requests.
func (e *Engine) step() {
	e.makeRoom()
	tokens, prompts := e.plan()
	ctx, done := context.Background(), func() {}
	if prompts > 0 { // which may take long
		ctx, done = untilAll(e.active)
	}
	begin := time.Now()
	err := e.model.Eval(ctx, e.requests...)
	done()
	if err == nil && prompts == 0 {
		e.pace.add(tokens, time.Since(begin).Seconds())
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	kept := e.active[:0]
	for _, j := range e.active {
		if err == nil {
			j.settle()
		}
		end := j.ctx.Err()
		if end == nil {
			end = err
		}
		if end == nil && j.err != nil {
			end = j.err
		}
		if end != nil || j.result.Stop != "" {
			e.end(j, end)
			continue
		}
		kept = append(kept, j)
	}
	clear(e.active[len(kept):])
	e.active = kept
}

// untilAll returns a context that is done when those of all jobs are, so that nothing is computed for nobody. The
// function releases it.
func untilAll(jobs []*job) (context.Context, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var left atomic.Int64
	left.Store(int64(len(jobs)))
	release := []func() bool{}
	for _, j := range jobs {
		release = append(release, context.AfterFunc(j.ctx, func() {
			if left.Add(-1) == 0 {
				cancel()
			}
		}))
	}
	return ctx, func() {
		for _, f := range release {
			f()
		}
		cancel()
	}
}

// plan sets the requests of a step: the next token of each answer, with guesses, and parts of the prompts. It returns
// how many tokens that are, and how many prompts.
func (e *Engine) plan() (tokens, prompts int) {
	for _, j := range e.active {
		if !j.answering {
			prompts++
		}
	}
	budget := e.opt.Chunk
	if prompts == len(e.active) {
		budget = max(budget, 512) // nobody waits for the next token of an answer
	}
	e.requests = e.requests[:0]
	left := prompts
	for _, j := range e.active {
		if j.answering {
			continue
		}
		r := j.part(max(budget/left, 1))
		budget, left = budget-len(r.Tokens), left-1
		tokens += len(r.Tokens)
		e.requests = append(e.requests, r)
	}
	answers := len(e.active) - prompts
	for _, j := range e.active {
		if j.answering {
			answers--
			r := j.next(e.model, tokens+answers)
			tokens += len(r.Tokens)
			e.requests = append(e.requests, r)
		}
	}
	return tokens, prompts
}

// makeRoom gives up kept beginnings, those not used for the longest time first, so that there is memory for all that
// the running requests may still need.
func (e *Engine) makeRoom() {
	need := int64(0)
	for _, j := range e.active {
		// The last chunk of its tokens may be shared, and copied when it is written to.
		need += e.model.CacheBytes(j.most) - e.model.CacheBytes(max(j.evaluated()-kvcache.ChunkLen+1, 0))
	}
	for e.model.CacheInUse()+need > e.opt.Bytes && e.cache.dropOldest() {
	}
}

// end ends a request and keeps what it has computed.
func (e *Engine) end(j *job, err error) {
	e.stats.Requests++
	if err != nil && j.ctx.Err() != nil {
		e.stats.Canceled++
	}
	if j.seq != nil {
		e.stats.PromptTokens += int64(min(j.evaluated(), j.prompt))
		e.stats.KeptTokens += int64(j.result.Kept)
		e.stats.Tokens += int64(j.chosen)
		e.stats.DraftTokens += j.spec.drafted
		e.stats.DraftMatched += j.spec.matched
		if err == nil || j.ctx.Err() != nil {
			long, known := j.long, j.known
			if !long && e.model.IsLong(j.evaluated()) {
				long, known = true, nil // known is for the short factors
			}
			e.cache.add(long, j.seq, known)
		} else {
			j.seq.Free()
		}
	}
	j.spec.close()
	j.finish(err)
}
