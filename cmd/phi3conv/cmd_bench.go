package main

import (
	"slices"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/job/bench"
	"github.com/urfave/cli/v2"
)

func benchCommand() *cli.Command {
	var compute computeFlags
	return &cli.Command{
		Name:      "bench",
		Usage:     "measure how fast models run",
		ArgsUsage: "MODEL…",
		Description: `The tests are llama-bench's: pp512 evaluates a prompt of 512 tokens, tg128 decodes 128 tokens
one by one. The tokens are random and the context is empty at first. After a warm-up each test
runs --repetitions times; t/s is the mean ± the standard deviation. Items of a list are separated
by commas; 0 leaves a test out. llama-bench's -p, -n and -o FORMAT work, too.

--n-depth evaluates so many tokens before each test, as llama-bench's -d (pp512 @ d4096); --npl
decodes so many sequences together, as in llama-batched-bench (tg128 x8): t/s counts all.

Decoding is limited by how fast the weights can be read. The table has the bytes of weights read
per second, and their share of this machine's read bandwidth with as many threads. Several tokens
at a time are limited by multiplying: the last column has the share of the multiply-adds a
second, those of attention included, that the cores do in a loop of nothing else. Bandwidth and
peak are the means of measurements before, between and after the repetitions.

--against runs llama-bench on the same file in turns with the repetitions, where it is installed,
and prints the ratio of the speeds with its 95 % interval: above 1, phi3conv is faster.

--sustain decodes for a given time instead and prints the speed of every five seconds, and the
last as a share of the first, to show whether the machine becomes hot and slow. Example:

   phi3conv bench phi-3-mini-Q4_K_M.gguf --n-prompt 512 --n-gen 128 --threads 1,2`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "n-prompt", Value: "512",
				Usage: "lengths of prompts in tokens, a `LIST`"},
			&cli.StringFlag{Name: "n-gen", Aliases: []string{"n"}, Value: "128",
				Usage: "numbers of tokens to decode, a `LIST`"},
			&cli.StringFlag{Name: "n-depth", Aliases: []string{"d"}, Value: "0",
				Usage: "numbers of tokens before those of a test, a `LIST`"},
			&cli.StringFlag{Name: "npl", Value: "1",
				Usage: "numbers of sequences to decode together, a `LIST`"},
			&cli.StringFlag{Name: "threads", Aliases: []string{"t"}, Usage: "numbers of threads, a `LIST`",
				DefaultText: "the number of physical cores"},
			&cli.IntFlag{Name: "repetitions", Aliases: []string{"r"}, Value: 5, Usage: "run each test `N` times"},
			&cli.StringFlag{Name: "against", DefaultText: "none",
				Usage: "compare with a `PROGRAM`, llama-bench or its path, with further arguments for it after spaces"},
			&cli.DurationFlag{Name: "sustain", DefaultText: "off",
				Usage: "decode for a `TIME`, such as 10m, instead of the tests"},
			cmdline.OneOf(bench.Formats, &cli.StringFlag{Name: "format", Value: "md",
				Usage: "`FORMAT` of the results: md, csv or json, llama-bench's list"}),
			&cli.BoolFlag{Name: "json", Usage: "print the results as an object with a schema"},
		}, compute.flags()...),
		Action: func(c *cli.Context) error { return benchAction(c, &compute) },
	}
}

func benchAction(c *cli.Context, compute *computeFlags) error {
	if c.NArg() == 0 {
		return usagef("bench takes one or more MODELs")
	}
	opt, err := benchOptions(c, compute)
	if err != nil {
		return err
	}
	out, err := bench.NewOutput(c.App.Writer, c.String("format"))
	if err != nil {
		return err
	}
	if c.Bool("json") {
		out = bench.NewDocument(c.App.Writer)
	}
	if err := bench.Run(c.Context, c.Args().Slice(), opt, out.Write); err != nil {
		return err
	}
	return out.Close()
}

func benchOptions(c *cli.Context, compute *computeFlags) (opt bench.Options, err error) {
	opt = bench.Options{
		Repetitions: c.Int("repetitions"),
		Against:     strings.Fields(c.String("against")),
		Sustain:     c.Duration("sustain"),
		Build:       versionString(),
		Monitor:     newMonitor(c.App.ErrWriter),
	}
	if opt.Compute, err = compute.options(); err != nil {
		return opt, err
	}
	if opt.Prompts, err = counts(c, "n-prompt", 0, 1<<20); err != nil {
		return opt, err
	}
	if opt.Gens, err = counts(c, "n-gen", 0, 1<<20); err != nil {
		return opt, err
	}
	if c.IsSet("n-depth") {
		if opt.Depths, err = wholeNumbers(c, "n-depth", 0, 1<<20); err != nil {
			return opt, err
		}
	}
	if c.IsSet("npl") {
		if opt.Parallel, err = counts(c, "npl", 1, 1024); err != nil {
			return opt, err
		}
	}
	if c.IsSet("threads") {
		if opt.Threads, err = counts(c, "threads", 1, 1024); err != nil {
			return opt, err
		}
	}
	if opt.Repetitions < 1 {
		return opt, usagef("--repetitions is %d, expected 1 or more", opt.Repetitions)
	}
	if opt.Sustain < 0 {
		return opt, usagef("--sustain is %s, expected a time such as 10m", opt.Sustain)
	}
	return opt, nil
}

// counts reads a list of numbers; zeros are left out.
func counts(c *cli.Context, flag string, least, most int) ([]int, error) {
	list, err := wholeNumbers(c, flag, least, most)
	return slices.DeleteFunc(list, func(n int) bool { return n == 0 }), err
}

// wholeNumbers reads a list of numbers.
func wholeNumbers(c *cli.Context, flag string, least, most int) (list []int, err error) {
	for _, field := range strings.Split(c.String(flag), ",") {
		n, err := strconv.Atoi(strings.TrimSpace(field))
		if err != nil || n < least || n > most {
			return nil, usagef("--%s: %q, expected numbers from %d to %d, separated by commas",
				flag, field, least, most)
		}
		list = append(list, n)
	}
	return list, nil
}
