package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/rss"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/urfave/cli/v2"
)

var benchCommand = &cli.Command{
	Name:      "bench",
	Usage:     "measure how fast models run",
	ArgsUsage: "MODEL…",
	Description: `The tests are llama-bench's: pp512 is the evaluation of a prompt of 512 tokens, tg128 that
of 128 tokens one by one, random ones from an empty context on. Each test is done as
often as --repetitions says, after a warm-up; t/s is the mean ± the standard deviation.
Lists are separated by commas; 0 leaves a test out.

Generation is limited by how fast weights can be read. Beside its speed stand the
bytes of weights read a second and how large a part that is of what this machine
reads with as many threads, the mean of measurements before, between and after the
repetitions.

--sustain decodes for a time instead and prints the speed of every five seconds, to
show a machine that becomes hot and slow. Example:

   phi3conv bench phi-3-mini-Q4_K_M.gguf -p 512 -n 128 -t 1,2`,
	Flags: append([]cli.Flag{
		&cli.StringFlag{Name: "n-prompt", Aliases: []string{"p"}, Value: "512", Usage: "numbers of tokens of prompts"},
		&cli.StringFlag{Name: "n-gen", Aliases: []string{"n"}, Value: "128", Usage: "numbers of tokens to decode"},
		&cli.StringFlag{Name: "threads", Aliases: []string{"t"}, Usage: "numbers of threads", DefaultText: "the number of physical cores"},
		&cli.IntFlag{Name: "repetitions", Aliases: []string{"r"}, Value: 5, Usage: "how often to do each test"},
		&cli.DurationFlag{Name: "sustain", Usage: "decode for this long, such as 10m, instead of the tests", DefaultText: "off"},
		&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "md", Usage: "`FORM` of the results: md, csv or json"},
		&cli.BoolFlag{Name: "json", Usage: "the same as --output json"},
	}, computeFlags()...),
	Action: func(c *cli.Context) error {
		if c.NArg() == 0 {
			return usagef("bench takes one or more MODELs")
		}
		b := &bench{c: c, repetitions: c.Int("repetitions"), sustain: c.Duration("sustain")}
		var err error
		if b.opt, err = computeOptions(c); err != nil {
			return err
		}
		if b.prompts, err = counts(c, "n-prompt", 0, 1<<20); err != nil {
			return err
		}
		if b.gens, err = counts(c, "n-gen", 0, 1<<20); err != nil {
			return err
		}
		threads := []int{runtime.DefaultThreads()}
		if c.IsSet("threads") {
			if threads, err = counts(c, "threads", 1, 1024); err != nil {
				return err
			}
		}
		if b.repetitions < 1 {
			return usagef("--repetitions is %d, expected 1 or more", b.repetitions)
		}
		if b.sustain < 0 {
			return usagef("--sustain is %s, expected a time such as 10m", b.sustain)
		}
		if b.sustain > 0 {
			b.prompts = nil
		}
		if len(b.prompts)+len(b.gens) == 0 {
			return usagef("there is no test to do")
		}
		form := c.String("output")
		if c.Bool("json") {
			form = "json"
		}
		switch form {
		case "md":
			b.out = &benchTable{w: c.App.Writer}
		case "csv":
			b.out = &benchCSV{w: csv.NewWriter(c.App.Writer)}
		case "json":
			b.out = &benchJSON{w: c.App.Writer}
		default:
			return usagef("--output is %q, expected md, csv or json", form)
		}
		for _, path := range c.Args().Slice() {
			for _, n := range threads {
				if err := b.model(c.Context, path, n); err != nil {
					return err
				}
			}
		}
		return b.out.end()
	},
}

// counts reads a list of numbers; zeros are left out.
func counts(c *cli.Context, flag string, least, most int) (list []int, err error) {
	for _, field := range strings.Split(c.String(flag), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < least || n > most {
			return nil, usagef("--%s: %q, expected numbers from %d to %d, separated by commas", flag, field, least, most)
		}
		if n > 0 {
			list = append(list, n)
		}
	}
	return list, nil
}

// bench is the bench command.
type bench struct {
	c             *cli.Context
	opt           runtime.Options
	prompts, gens []int
	repetitions   int
	sustain       time.Duration
	out           benchOutput
	random        *rand.Rand
	vocab         int
	peak          int64
	peakEnds      bool // what the system says counts other memory too
}

// model does the tests of a model with a number of threads.
func (b *bench) model(ctx context.Context, path string, threads int) error {
	b.peak = 0
	if rss.Reset() {
		b.peakEnds = false
	}
	defer func() { b.peakEnds = true }()
	opt := b.opt
	opt.Threads = threads
	start := time.Now()
	m, err := open(b.c, path, opt)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }() // only read from
	load := time.Since(start)

	length := 1
	for _, n := range slices.Concat(b.prompts, b.gens) {
		length = max(length, n)
	}
	s, err := m.NewSequence(length)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	b.random, b.vocab = rand.New(rand.NewPCG(1, 0)), m.VocabSize()
	if err := b.decode(ctx, s, 1); err != nil {
		return err
	}
	first := time.Since(start)

	size, perToken := m.WeightBytes()
	base := measured{
		Build: versionString(), CPU: cpuName(), Path: path, Size: size, Params: m.Params(), Backend: "CPU " + kern.Best().Name, Batch: opt.Batch, Threads: threads,
		Cache: opt.Cache.String(), CacheV: opt.Cache.String(), Float32: opt.Float32, NoRepack: opt.NoRepack, Load: load.Seconds(), First: first.Seconds(),
	}
	for _, n := range b.prompts {
		r := base
		r.Prompt, r.Time = n, now()
		test := func() error { return b.evaluate(ctx, s, n) }
		if err := b.repeat(&r, test, test, func() {}); err != nil {
			return err
		}
		if err := b.print(&r); err != nil {
			return err
		}
	}
	for _, n := range b.gens {
		r := base
		r.Gen, r.Read, r.Time = n, perToken, now()
		if b.sustain > 0 {
			r.Bandwidth = b.bandwidth(threads)
			if err := b.sustained(ctx, s, &r); err != nil {
				return err
			}
			continue
		}
		warm := func() error { return b.decode(ctx, s, 1) }
		var bandwidths []float64
		measure := func() { bandwidths = append(bandwidths, b.bandwidth(threads)) }
		if err := b.repeat(&r, warm, func() error { return b.decode(ctx, s, n) }, measure); err != nil {
			return err
		}
		r.Bandwidth, _ = meanAndDeviation(bandwidths)
		if err := b.print(&r); err != nil {
			return err
		}
	}
	return nil
}

func now() string { return time.Now().UTC().Format(time.RFC3339) }

// cpuName returns what the CPU calls itself, if it does.
func cpuName() string {
	if info, err := cpu.Info(); err == nil && len(info) > 0 {
		return info[0].ModelName
	}
	return ""
}

func (b *bench) print(r *measured) error {
	if !b.peakEnds {
		b.peak = max(b.peak, rss.Peak())
	}
	r.Peak = b.peak
	if r.Bandwidth > 0 {
		r.Share = r.Rate / r.Bandwidth
	}
	return b.out.print(r)
}

// bandwidth measures the machine, without counting the memory that it takes for that.
func (b *bench) bandwidth(threads int) float64 {
	if !b.peakEnds {
		b.peak = max(b.peak, rss.Peak())
	}
	w := runtime.ReadBandwidth(threads)
	b.peakEnds = !rss.Reset()
	return w
}

// repeat does a test as often as wanted, after warm. It calls between before the first repetition and after each.
func (b *bench) repeat(r *measured, warm, test func() error, between func()) error {
	if err := warm(); err != nil {
		return err
	}
	between()
	times := make([]time.Duration, b.repetitions)
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

func (b *bench) token() int32 { return int32(b.random.IntN(b.vocab)) }

// evaluate is a prompt of n tokens.
func (b *bench) evaluate(ctx context.Context, s *runtime.Sequence, n int) error {
	s.Truncate(0)
	tokens := make([]int32, n)
	for i := range tokens {
		tokens[i] = b.token()
	}
	_, err := s.Eval(ctx, tokens)
	return err
}

// decode is n tokens one by one.
func (b *bench) decode(ctx context.Context, s *runtime.Sequence, n int) error {
	s.Truncate(0)
	token := make([]int32, 1)
	for range n {
		token[0] = b.token()
		if _, err := s.Eval(ctx, token); err != nil {
			return err
		}
	}
	return nil
}

// window is how long --sustain counts tokens for a figure.
const window = 5 * time.Second

// sustained decodes sequences of r.Gen tokens until the time is over.
func (b *bench) sustained(ctx context.Context, s *runtime.Sequence, r *measured) error {
	token := make([]int32, 1)
	begin := time.Now()
	for over := false; !over; {
		start, tokens, took := time.Now(), 0, time.Duration(0)
		for ; took < window && !over; tokens++ {
			if len(s.Tokens()) == r.Gen {
				s.Truncate(0)
			}
			token[0] = b.token()
			if _, err := s.Eval(ctx, token); err != nil {
				return err
			}
			took = time.Since(start)
			over = time.Since(begin) >= b.sustain
		}
		r.Elapsed = time.Since(begin).Seconds()
		r.set([]time.Duration{took * time.Duration(r.Gen) / time.Duration(tokens)})
		if err := b.print(r); err != nil {
			return err
		}
	}
	return nil
}
