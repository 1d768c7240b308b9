// Package bench measures how fast models run, with llama-bench's tests: ppN is the evaluation of a prompt of N
// tokens, tgN that of N tokens one by one.
package bench

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
)

// Options say what is measured.
type Options struct {
	Prompts     []int            // tests ppN
	Gens        []int            // tests tgN
	Threads     []int            // a run of all tests for each number of threads; nil is the runtime's default
	Repetitions int              // of each test, after a warm-up; less than 1 is 1
	Sustain     time.Duration    // decode for this time; no test is repeated, and none is ppN; 0 is off
	Compute     runtime.Options  // but Threads and Progress; a Batch of 0 is 512
	Build       string           // the program's version, for the results
	Monitor     progress.Monitor // may be nil
}

// window is the time after which Sustain reports a result.
const window = 5 * time.Second

// Run does the tests with each model and each number of threads and gives every result to report.
func Run(ctx context.Context, models []string, opt Options, report func(*Result) error) error {
	if opt.Sustain > 0 {
		opt.Prompts = nil
	}
	if len(opt.Prompts)+len(opt.Gens) == 0 {
		return usage.Errorf("there is no test to do")
	}
	opt.Compute.Batch = cmp.Or(opt.Compute.Batch, 512)
	if opt.Threads == nil {
		opt.Threads = []int{runtime.DefaultThreads()}
	}
	b := &bench{Options: opt, report: report}
	for _, path := range models {
		for _, n := range opt.Threads {
			if err := b.model(ctx, path, n); err != nil {
				return err
			}
		}
	}
	return nil
}

type bench struct {
	Options
	report func(*Result) error
	peak   peak
	meter  *model.Meter // of the model
}

// model does the tests of a model with a number of threads.
func (b *bench) model(ctx context.Context, path string, threads int) error {
	b.peak.begin()
	defer b.peak.end()
	start := time.Now()
	opt := b.Compute
	opt.Threads = threads
	b.meter = model.NewMeter(&opt)
	m, err := model.Open(ctx, path, opt, b.Monitor)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }() // only read from
	load := time.Since(start)

	s, err := m.NewSequence(max(1, slices.Max(slices.Concat(b.Prompts, b.Gens))))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	text := &randomText{s, rand.New(rand.NewPCG(1, 0)), m.VocabSize()}
	if err := text.decode(ctx, 1); err != nil {
		return err
	}
	first := time.Since(start)

	size, perToken := m.WeightBytes()
	base := Result{
		Build: b.Build, CPU: machine.CPU(), Path: path, Size: size, Params: m.Params(),
		Backend: "CPU " + kern.Best().Name,
		Batch:   opt.Batch, Threads: threads, Cache: opt.Cache.String(), CacheV: opt.Cache.String(),
		Float32: opt.Float32, NoRepack: opt.NoRepack, Load: load.Seconds(), First: first.Seconds(),
	}
	for _, n := range b.Prompts {
		r := base
		r.Prompt = n
		if err := b.prompt(ctx, text, &r); err != nil {
			return err
		}
	}
	for _, n := range b.Gens {
		r := base
		r.Gen, r.Read = n, perToken
		test := b.generation
		if b.Sustain > 0 {
			test = b.sustained
		}
		if err := test(ctx, text, &r); err != nil {
			return err
		}
	}
	return nil
}

// prompt is the test ppN.
func (b *bench) prompt(ctx context.Context, text *randomText, r *Result) error {
	step := b.watch(fmt.Sprintf("pp%d", r.Prompt), (1+max(1, b.Repetitions))*r.Prompt)
	test := func() error { return text.evaluate(ctx, r.Prompt) }
	err := b.repeat(r, test, test, func() {})
	step.End()
	if err != nil {
		return err
	}
	return b.finish(r)
}

// watch begins a step that shows how many tokens of a test are evaluated.
func (b *bench) watch(test string, tokens int) *model.Watched {
	return model.Watch(b.Monitor, test, int64(tokens), float64(tokens), b.meter)
}

// generation is the test tgN. The machine's bandwidth is measured before the first repetition and after each.
func (b *bench) generation(ctx context.Context, text *randomText, r *Result) error {
	step := b.watch(fmt.Sprintf("tg%d", r.Gen), 1+max(1, b.Repetitions)*r.Gen)
	warm := func() error { return text.decode(ctx, 1) }
	test := func() error { return text.decode(ctx, r.Gen) }
	var bandwidths []float64
	measure := func() { bandwidths = append(bandwidths, b.bandwidth(r.Threads)) }
	err := b.repeat(r, warm, test, measure)
	step.End()
	if err != nil {
		return err
	}
	r.Bandwidth, _ = meanAndDeviation(bandwidths)
	return b.finish(r)
}

// sustained decodes sequences of r.Gen tokens until the time is over, with a result for each window.
func (b *bench) sustained(ctx context.Context, text *randomText, r *Result) error {
	r.Time = now()
	r.Bandwidth = b.bandwidth(r.Threads)
	begin := time.Now()
	for over := false; !over; {
		start, tokens, took := time.Now(), 0, time.Duration(0)
		for ; took < window && !over; tokens++ {
			if len(text.s.Tokens()) == r.Gen {
				text.s.Truncate(0)
			}
			if err := text.append(ctx, 1); err != nil {
				return err
			}
			took = time.Since(start)
			over = time.Since(begin) >= b.Sustain
		}
		r.Elapsed = time.Since(begin).Seconds()
		r.set([]time.Duration{took * time.Duration(r.Gen) / time.Duration(tokens)})
		if err := b.finish(r); err != nil {
			return err
		}
	}
	return nil
}

// repeat does a test as often as the options say, after warm. It calls between before the first repetition and after
// each.
func (b *bench) repeat(r *Result, warm, test func() error, between func()) error {
	r.Time = now()
	if err := warm(); err != nil {
		return err
	}
	between()
	times := make([]time.Duration, max(1, b.Repetitions))
	for i := range times {
		start := time.Now()
		if err := test(); err != nil {
			return err
		}
		times[i] = time.Since(start)
		between()
	}
	r.set(times)
	return nil
}

// finish completes a result and reports it.
func (b *bench) finish(r *Result) error {
	r.Peak = b.peak.read()
	if r.Bandwidth > 0 {
		r.Share = r.Rate / r.Bandwidth
	}
	return b.report(r)
}

// bandwidth measures the machine, in bytes a second. The memory that this takes is not the model's.
func (b *bench) bandwidth(threads int) (w float64) {
	b.peak.without(func() { w = machine.ReadBandwidth(threads) })
	return w
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

// randomText gives a sequence random tokens, the same in every run.
type randomText struct {
	s      *runtime.Sequence
	random *rand.Rand
	vocab  int
}

// evaluate evaluates a prompt of n tokens in an empty context.
func (t *randomText) evaluate(ctx context.Context, n int) error {
	t.s.Truncate(0)
	return t.append(ctx, n)
}

// decode evaluates n tokens one by one, from an empty context on.
func (t *randomText) decode(ctx context.Context, n int) error {
	t.s.Truncate(0)
	for range n {
		if err := t.append(ctx, 1); err != nil {
			return err
		}
	}
	return nil
}

// append evaluates n more tokens together.
func (t *randomText) append(ctx context.Context, n int) error {
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = int32(t.random.IntN(t.vocab))
	}
	_, err := t.s.Eval(ctx, tokens)
	return err
}
