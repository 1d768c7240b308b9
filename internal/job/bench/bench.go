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
	Depths      []int            // tokens before those of a test: a run of the tests for each; nil is 0
	Parallel    []int            // sequences that tests tgN decode together, a test for each number; nil is 1
	Threads     []int            // a run of all tests for each number of threads; nil is the runtime's default
	Repetitions int              // of each test, after a warm-up; less than 1 is 1
	Against     []string         // llama-bench and arguments for it, run in turns with the repetitions; nil is off
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
		if opt.Depths != nil || opt.Parallel != nil {
			return usage.Errorf("a sustained test has no depth and no parallel sequences")
		}
		opt.Prompts = nil
	}
	if len(opt.Prompts)+len(opt.Gens) == 0 {
		return usage.Errorf("there is no test to do")
	}
	if err := checkPeer(&opt, models); err != nil {
		return err
	}
	opt.Compute.Batch = cmp.Or(opt.Compute.Batch, 512)
	if opt.Depths == nil {
		opt.Depths = []int{0}
	}
	if opt.Parallel == nil {
		opt.Parallel = []int{1}
	}
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

	longest := slices.Max(b.Depths) + max(1, slices.Max(slices.Concat(b.Prompts, b.Gens)))
	text := &randomText{m: m, random: rand.New(rand.NewPCG(1, 0)), context: longest}
	defer text.free()
	if err := text.begin(ctx, 1, 0); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if err := text.append(ctx, 1); err != nil {
		return err
	}
	first := time.Since(start)

	size, perToken := m.WeightBytes()
	base := Result{
		Build: b.Build, CPU: machine.CPU(), Path: path, Size: size, Params: m.Params(),
		Backend: "CPU " + kern.Best().Name, Kernels: m.Kernels(),
		Batch: opt.Batch, Threads: threads, Cache: opt.Cache.String(), CacheV: opt.Cache.String(),
		Float32: opt.Float32, NoRepack: opt.NoRepack, Load: load.Seconds(), First: first.Seconds(), Parallel: 1,
	}
	for _, base.Depth = range b.Depths {
		for _, n := range b.Prompts {
			r := base
			r.Prompt = n
			if err := b.prompt(ctx, text, &r); err != nil {
				return err
			}
		}
		if err := b.generations(ctx, text, &base, perToken); err != nil {
			return err
		}
	}
	return nil
}

// generations does the tests tgN at the depth of base.
func (b *bench) generations(ctx context.Context, text *randomText, base *Result, perToken int64) error {
	for _, n := range b.Gens {
		for _, parallel := range b.Parallel {
			r := *base
			r.Gen, r.Parallel, r.Read = n, parallel, perToken
			test := b.generation
			if b.Sustain > 0 {
				test = b.sustained
			}
			if err := test(ctx, text, &r); err != nil {
				return err
			}
		}
	}
	return nil
}

// prompt is the test ppN. The multiply-add peak is measured before the first repetition and after each.
func (b *bench) prompt(ctx context.Context, text *randomText, r *Result) error {
	step := b.watch(r.Test(), r.Depth+(1+max(1, b.Repetitions))*r.Prompt)
	r.macs = text.m.MultiplyAdds(r.Depth, r.Prompt)
	test := func() error { return text.append(ctx, r.Prompt) }
	err := b.repeat(ctx, text, r, test, test)
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

// generation is the test tgN. The machine's bandwidth, too, is measured before the first repetition and after each.
func (b *bench) generation(ctx context.Context, text *randomText, r *Result) error {
	step := b.watch(r.Test(), (r.Depth+1+max(1, b.Repetitions)*r.Gen)*r.Parallel)
	for i := range r.Gen {
		r.macs += float64(r.Parallel) * text.m.MultiplyAdds(r.Depth+i, 1)
	}
	warm := func() error { return text.append(ctx, 1) }
	test := func() error {
		for range r.Gen {
			if err := text.append(ctx, 1); err != nil {
				return err
			}
		}
		return nil
	}
	err := b.repeat(ctx, text, r, warm, test)
	step.End()
	if err != nil {
		return err
	}
	return b.finish(r)
}

// sustained decodes sequences of r.Gen tokens until the time is over, with a result for each window.
func (b *bench) sustained(ctx context.Context, text *randomText, r *Result) error {
	r.Time = now()
	r.Bandwidth = b.bandwidth(r.Threads)
	begin, first := time.Now(), 0.0
	for over := false; !over; {
		start, tokens, took := time.Now(), 0, time.Duration(0)
		for ; took < window && !over; tokens++ {
			if tokens%r.Gen == 0 {
				if err := text.begin(ctx, 1, 0); err != nil {
					return err
				}
			}
			if err := text.append(ctx, 1); err != nil {
				return err
			}
			took = time.Since(start)
			over = time.Since(begin) >= b.Sustain
		}
		r.Elapsed = time.Since(begin).Seconds()
		r.set([]time.Duration{took * time.Duration(r.Gen) / time.Duration(tokens)})
		first = cmp.Or(first, r.Avg)
		r.OfFirst = r.Avg / first
		if err := b.finish(r); err != nil {
			return err
		}
	}
	return nil
}

// repeat does a test as often as the options say, after warm, each time after the tokens of the result's depth. Before
// the first repetition and after each it measures the machine.
func (b *bench) repeat(ctx context.Context, text *randomText, r *Result, warm, test func() error) error {
	r.Time = now()
	var bandwidths, peaks []float64
	measure := func() {
		if r.Gen > 0 {
			bandwidths = append(bandwidths, b.bandwidth(r.Threads))
		}
		peaks = append(peaks, text.m.MultiplyPeak())
	}
	if err := text.begin(ctx, r.Parallel, r.Depth); err != nil {
		return err
	}
	if err := warm(); err != nil {
		return err
	}
	measure()
	times := make([]time.Duration, max(1, b.Repetitions))
	var peers []float64
	for i := range times {
		if err := text.begin(ctx, r.Parallel, r.Depth); err != nil {
			return err
		}
		start := time.Now()
		if err := test(); err != nil {
			return err
		}
		times[i] = time.Since(start)
		measure()
		if len(b.Against) > 0 {
			rate, err := b.peer(ctx, r)
			if err != nil {
				return err
			}
			peers = append(peers, rate)
		}
	}
	r.set(times)
	if peers != nil {
		r.setPeer(b.Against[0], peers)
	}
	r.Bandwidth, _ = meanAndDeviation(bandwidths)
	r.MACPeak, _ = meanAndDeviation(peaks)
	return nil
}

// finish completes a result and reports it.
func (b *bench) finish(r *Result) error {
	r.Peak = b.peak.read()
	if r.Bandwidth > 0 {
		r.Share = r.Rate / r.Bandwidth
	}
	if r.MACPeak > 0 {
		r.MACShare = r.MACRate / r.MACPeak
	}
	return b.report(r)
}

// bandwidth measures the machine, in bytes a second. The memory that this takes is not the model's.
func (b *bench) bandwidth(threads int) (w float64) {
	b.peak.without(func() { w = machine.ReadBandwidth(threads) })
	return w
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

// randomText gives sequences random tokens, the same in every run.
type randomText struct {
	m       *runtime.Model
	random  *rand.Rand
	context int                 // of the sequences
	all     []*runtime.Sequence // that were made
	use     []*runtime.Sequence // those of the test
}

// begin makes that many sequences, each of as many tokens, those in use from now on.
func (t *randomText) begin(ctx context.Context, sequences, tokens int) error {
	for len(t.all) < sequences {
		s, err := t.m.NewSequence(t.context)
		if err != nil {
			return err
		}
		t.all = append(t.all, s)
	}
	t.use = t.all[:sequences]
	for i, s := range t.use {
		s.Truncate(min(len(s.Tokens()), tokens))
		if missing := tokens - len(s.Tokens()); missing > 0 {
			if err := t.eval(ctx, t.use[i:i+1], missing); err != nil {
				return err
			}
		}
	}
	return nil
}

func (t *randomText) free() {
	for _, s := range t.all {
		s.Free()
	}
}

// append evaluates n more tokens of each sequence together.
func (t *randomText) append(ctx context.Context, n int) error { return t.eval(ctx, t.use, n) }

func (t *randomText) eval(ctx context.Context, sequences []*runtime.Sequence, n int) error {
	requests := make([]runtime.Request, len(sequences))
	for i, s := range sequences {
		tokens := make([]int32, n)
		for k := range tokens {
			tokens[k] = int32(t.random.IntN(t.m.VocabSize()))
		}
		requests[i] = runtime.Request{Seq: s, Tokens: tokens, Logits: func(int, []float32) error { return nil }}
	}
	return t.m.Eval(ctx, requests...)
}
