package main

import (
	"context"
	"io"
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/remote"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant/policy"
)

func quantizeCommand() *cli.Command {
	var f quantizeFlags
	return &cli.Command{
		Name:      "quantize",
		Usage:     "quantize a GGUF file, with llama-quantize's arguments",
		ArgsUsage: "IN.gguf OUT.gguf [TYPE] [THREADS]",
		Description: `IN may also be a checkpoint directory.

` + cmdline.Wrap("File types: "+policy.FileTypeNames()) + `

In place of TYPE there may be a recipe (--recipe) or a budget: --size, --bpw or --max-kld. Within
a budget the types of the tensors are chosen so that the estimated error is least.

Phi-3-mini takes about 35 s on two cores, and with --method gptq 9 h with statistics of 65,536
tokens, 4 h of 16,384; about a quarter of that on eight (computed; see README.md). Examples:

   phi3conv quantize phi-3-mini-F16.gguf phi-3-mini-Q4_K_M.gguf Q4_K_M
   phi3conv quantize Phi-3-mini-4k-instruct out.gguf --size 1.8GB --stats stats.gguf
   phi3conv quantize Phi-3-mini-4k-instruct again.gguf --recipe out.yaml --stats stats.gguf

What a budget has to know before it chooses, the costs of types, can be measured in parts on
several machines, and once for several budgets. With --shard OUT has a part of that:

   phi3conv quantize MODEL 1.shard --size 1.8GB --stats stats.gguf --shard 1/2   # here
   phi3conv quantize MODEL 2.shard --size 1.8GB --stats stats.gguf --shard 2/2   # there
   phi3conv quantize MODEL out.gguf --size 1.8GB --stats stats.gguf --costs 1.shard \
       --costs 2.shard`,
		Flags: append(f.flags(), threadsFlag(), shardFlag("with a budget, write part `I/N` of the costs to OUT, for "+
			"--costs, and quantize nothing", &f.shard)),
		BashComplete: func(c *cli.Context) {
			if c.NArg() == 2 {
				_, _ = io.WriteString(c.App.Writer, policy.FileTypeNames())
			}
		},
		Action: func(c *cli.Context) error {
			in, out, ft, threads, err := quantizeArgs(c)
			if err != nil {
				return err
			}
			opt, err := f.options(c.LocalFlagNames(), ft, threads)
			if err != nil {
				return err
			}
			m := newMonitor(c.App.ErrWriter)
			if f.shard != "" {
				return f.measure(c.Context, in, out, *opt, c.App.Writer, m)
			}
			return f.run(c.Context, in, "OUT", out, *opt, c.App.Writer, m)
		},
	}
}

// quantizeArgs reads the arguments, which are llama-quantize's.
func quantizeArgs(c *cli.Context) (in, out string, ft policy.FileType, n int, err error) {
	args, want := c.Args().Slice(), "IN OUT TYPE [THREADS]"
	isType := func(arg string) bool {
		_, err := policy.FileTypeByName(arg)
		return err == nil
	}
	if by := typesBy(c.LocalFlagNames()); by != "" {
		if want = "IN OUT [THREADS] with " + by; len(args) > 2 && isType(args[2]) {
			return "", "", 0, 0, usagef("%s and the type %s exclude each other: %s", by, args[2], typesHint(by))
		}
	} else if len(args) > 2 {
		if ft, err = policy.FileTypeByName(args[2]); err != nil {
			return "", "", 0, 0, &usage.Error{Err: err}
		}
		args = slices.Delete(args, 2, 3)
	} else {
		if len(args) == 2 && isType(args[1]) {
			want += ", and OUT is missing"
		}
		args = nil
	}
	if len(args) != 2 && len(args) != 3 {
		return "", "", 0, 0, usagef("quantize takes %s, got %d arguments", want, c.NArg())
	}
	n = c.Int("threads")
	if len(args) == 3 {
		if c.IsSet("threads") {
			return "", "", 0, 0, usagef("give --threads or the argument THREADS, not both")
		}
		if n, err = strconv.Atoi(args[2]); err != nil || n < 1 || n > 1024 {
			return "", "", 0, 0, usagef("THREADS is %q, expected a number from 1 to 1024", args[2])
		}
	}
	return args[0], args[1], ft, n, nil
}

// check checks the output, which was given as name. It may change out.
func (f *quantizeFlags) check(
	in, name string, out *string, seal string, w io.Writer, m monitor,
) (io.Writer, error) {
	f.files.Machine = f.json
	outputs := []output.Output{file("--write-recipe", &f.writeRecipe, output.YAML)}
	if !f.dryRun {
		o := file(name, out, output.GGUF, output.PMAP)
		o.Beside, o.Split = []string{".work"}, f.splitMaxSize != "" && !convert.IsPMAP(*out)
		outputs = append(outputs, o)
	}
	inputs := append(f.costs.Value(), in, f.opt.Stats, f.recipe, seal, f.opt.Lora)
	err := m.checkFiles(&f.files, inputs, outputs...)
	return f.files.Writer(w, m.w), err
}

// open opens a model that is elsewhere. What reads its weights more than once gets them from the cache.
func (f *quantizeFlags) open(ctx context.Context, in string, opt *quantize.Options, m monitor) (string, error) {
	if f.cache || !opt.ReadsOnce() || convert.IsPMAP(in) {
		path, origin, err := remote.Fetch(ctx, in, remote.Everything, remoteOptions(m))
		opt.Origin = origin
		return path, err
	}
	s, err := remote.Open(ctx, in, remoteOptions(m))
	if err != nil {
		return "", err
	}
	opt.Files, opt.Origin = s.Files, s.Origin
	return s.Path, nil
}

// run makes out, which was given as name, from in, and prints what was done to w.
func (f *quantizeFlags) run(
	ctx context.Context, in, name, out string, opt quantize.Options, w io.Writer, m monitor,
) error {
	w, err := f.check(in, name, &out, opt.Seal, w, m)
	if err != nil {
		return err
	}
	if remote.Is(in) {
		if in, err = f.open(ctx, in, &opt, m); err != nil {
			return err
		}
	}
	job, err := quantize.Prepare(ctx, in, out, opt, m)
	if err != nil {
		return err
	}
	defer job.Close()
	if job.Budget != nil && !f.json {
		if err := job.Budget.WriteText(w); err != nil {
			return err
		}
	}
	if f.writeRecipe != "" {
		if err := job.WriteRecipe(f.writeRecipe); err != nil {
			return err
		}
	}
	m.notes(job.Notes())
	if f.dryRun {
		r, err := job.Describe()
		if err != nil {
			return err
		}
		return report.Print(w, f.json, r)
	}
	r, err := job.Run(ctx)
	if err != nil {
		return err
	}
	return report.Print(w, f.json, r)
}

// measure writes a part of the costs to out.
func (f *quantizeFlags) measure(
	ctx context.Context, in, out string, opt quantize.Options, w io.Writer, m monitor,
) error {
	i, n, err := shard(f.shard)
	if err != nil {
		return err
	}
	if f.dryRun || f.writeRecipe != "" {
		return usagef("--shard chooses no types: leave out --dry-run and --write-recipe")
	}
	f.files.Machine = f.json
	err = m.checkFiles(&f.files, append(f.costs.Value(), in, f.opt.Stats), file("OUT", &out, output.Shard))
	if err != nil {
		return err
	}
	if remote.Is(in) {
		if in, err = f.open(ctx, in, &opt, m); err != nil {
			return err
		}
	}
	r, err := quantize.Measure(ctx, in, out, work.Part{I: i, N: n}, opt, m)
	if err != nil {
		return err
	}
	return report.Print(f.files.Writer(w, m.w), f.json, r)
}
