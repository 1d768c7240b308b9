package main

import (
	"slices"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/cmdline"
	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// verifyFlags are the flags of verify that other commands have too.
type verifyFlags struct {
	windows windowFlags
	require requirementFlags
	forms   reportFlags
	compute computeFlags
}

func verifyCommand() *cli.Command {
	var f verifyFlags
	return &cli.Command{
		Name:      "verify",
		Usage:     "measure how far quantized models are from the original",
		ArgsUsage: "QUANT…",
		Description: `Runs the models on the same tokens and compares their predictions: perplexity, KL divergence,
agreement on the likeliest token, change in probability; by text and by position. Windows, scored
tokens and BOS are llama-perplexity's, or with --stride those of transformers' documentation.
Logits are compared in float32. With several QUANTs, a table that compares them comes first.

A limit passes or fails with 95 % confidence. Exits with 1 if one fails, or if there are not
enough tokens to tell; the report says how many would be enough. Exits with 3 if a logit is NaN
or infinite. Example:

   phi3conv verify phi-3-mini-Q4_K_M.gguf --base Phi-3-mini-4k-instruct \
       --text wiki.txt --text code.txt --max-kld 0.05 --min-top1 0.9 --junit verify.xml

Phi-3-mini takes about 40 s for a window of 512 tokens on two cores, 10 s on eight (computed; see
README.md).

Memory: all models at once, and 4 bytes for each scored token of a window and token of the
vocabulary. With --one-at-a-time only the largest model is in memory; with --no-repack weights
stay in their files.

With --report the same command continues an interrupted verification; progress is in
FILE.partial. With --shard several machines share one verification; see verify merge --help.`,
		Flags: slices.Concat([]cli.Flag{
			&cli.StringFlag{Name: "seal", DefaultText: "that in QUANT, if it is a .pmap file with one",
				Usage: "verify with the original's seal in `FILE`, made by phi3conv seal, alone or in a .pmap file; " +
					"instead of --base and --text"},
			&cli.StringFlag{Name: "base", Usage: "the original: a checkpoint `DIR` or a GGUF file"},
		}, f.windows.flags(), []cli.Flag{
			shardFlag("evaluate only part `I/N` of the windows, such as 1/4, for verify merge", nil),
			&cli.IntFlag{Name: "worst", Value: 10, Usage: "show the `N` tokens whose predictions changed most"},
			&cli.BoolFlag{Name: "one-at-a-time", Usage: "open one model after the other; " +
				"the original's logits are kept in a temporary file in TMPDIR"},
			&cli.BoolFlag{Name: "no-check", Usage: "do not compare .pmap files with their checksums first"},
			&cli.BoolFlag{Name: "speed",
				Usage: "measure speed, load time and memory of all models too; limits on these turn it on"},
			&cli.IntFlag{Name: "repetitions", Aliases: []string{"r"}, Value: 5, Usage: "measure speed `N` times"},
			f.require.thresholdsFlag(),
			f.require.strictFlag(),
		}, f.require.baselineFlags(), layerFlags(), f.forms.flags(), []cli.Flag{
			modelThreadsFlag(),
			cmdline.OneOf(cacheTypes, &cli.StringFlag{Name: "cache-type", Value: runtime.CacheF16.String(),
				Usage: "`TYPE` of QUANT's cache of keys and values: f16, f32 or q8_0; the original's is f32"}),
			&cli.BoolFlag{Name: "f32", Usage: "compute QUANT in float32 too, so that only its weights differ"},
			f.compute.noRepackFlag(),
		}, f.require.limitFlags()),
		Subcommands: []*cli.Command{verifyMergeCommand()},
		Action:      func(c *cli.Context) error { return verifyAction(c, &f) },
	}
}

// layerFlags ask which layers' quantized weights cost most.
func layerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "by-layer", Usage: "rank the layers by the KL divergence that the quantized weights of " +
			"each add when all other layers are the original's. For every second layer this takes about as long as " +
			"--by-layer-chunks windows of the original. Memory: both models, and 4 bytes for each layer, " +
			"token of a window and element of the residual stream"},
		&cli.BoolFlag{Name: "by-tensor", Usage: "rank single tensors instead; takes four times as long"},
		&cli.BoolFlag{Name: "by-part", Usage: "tell the KL divergence of QUANT's weights from what this program adds " +
			"when it rounds activations and the cache, on --by-layer-chunks windows, by computing in float32, too. " +
			"Memory: both models"},
		&cli.IntFlag{Name: "by-layer-chunks", Value: 4,
			Usage: "use `N` windows for this, spread over all texts"},
	}
}

func verifyAction(c *cli.Context, f *verifyFlags) error {
	switch {
	case c.NArg() == 0:
		return usagef("verify takes one or more QUANTs")
	case c.Int("repetitions") < 1:
		return usagef("--repetitions is %d, expected 1 or more", c.Int("repetitions"))
	}
	m, path := newMonitor(c.App.ErrWriter), sealOf(c)
	inputs := slices.Concat(c.Args().Slice(), f.windows.texts.Value(),
		[]string{path, c.String("base"), f.require.thresholds, f.require.baseline})
	if err := f.forms.check(m, ".partial", inputs...); err != nil {
		return err
	}
	if path != "" {
		return verifySeal(c, f, path)
	}
	if !c.IsSet("base") || !c.IsSet("text") {
		return usagef("verify needs --base and --text, or --seal")
	}
	o, err := verifyOptions(c, f)
	if err != nil {
		return err
	}
	list, err := verifyjob.Run(c.Context, o)
	if err != nil {
		return err
	}
	if err := f.forms.write(c.App.Writer, m.w, list); err != nil {
		return err
	}
	if o.Progress != "" {
		if err := verifyjob.RemoveProgress(o.Progress); err != nil {
			return err
		}
	}
	return verdict(list)
}

func verifyOptions(c *cli.Context, f *verifyFlags) (o verifyjob.Options, err error) {
	o = verifyjob.Options{
		Base: c.String("base"), Quants: c.Args().Slice(), Texts: f.windows.texts.Value(),
		NoCheck: c.Bool("no-check"), OneAtATime: c.Bool("one-at-a-time"), Worst: c.Int("worst"),
		ByLayer: c.Bool("by-layer"), ByTensor: c.Bool("by-tensor"), ByPart: c.Bool("by-part"),
		LayerWindows: c.Int("by-layer-chunks"), Speed: speedOptions(c),
		Tool: "phi3conv " + versionString(), Monitor: newMonitor(c.App.ErrWriter),
	}
	if f.forms.report != "" && !atomicfile.IsStream(f.forms.report) {
		o.Progress = f.forms.report + ".partial"
	}
	if o.LayerWindows < 1 {
		return o, usagef("--by-layer-chunks is %d, expected 1 or more", o.LayerWindows)
	}
	if o.Worst < 0 {
		return o, usagef("--worst is %d, expected 0 or more", o.Worst)
	}
	if o.Requirements, err = f.require.options(c.LocalFlagNames()); err != nil {
		return o, err
	}
	if o.Windows, err = f.windows.options(c.LocalFlagNames()); err != nil {
		return o, err
	}
	if o.Shard, err = verifyShard(c); err != nil {
		return o, err
	}
	o.Compute, err = verifyCompute(c, f.compute.opt)
	return o, err
}

// speedOptions reads how speed is measured.
func speedOptions(c *cli.Context) verifyjob.Speed {
	s := verifyjob.Speed{Always: c.Bool("speed"), Repetitions: c.Int("repetitions"), Bench: verifyjob.BenchProcess}
	if !startsItself {
		s.Bench = verifyjob.BenchHere
	}
	return s
}

// verifyCompute reads how quantized models compute.
func verifyCompute(c *cli.Context, opt runtime.Options) (_ runtime.Options, err error) {
	opt.Float32 = c.Bool("f32")
	if opt.Threads, err = modelThreads(c.Int("threads"), c.IsSet("threads")); err != nil {
		return opt, err
	}
	opt.Cache, err = cacheType(c.String("cache-type"))
	return opt, err
}

// verifyShard returns the part of --shard, nil if it is not set.
func verifyShard(c *cli.Context) (*verify.Shard, error) {
	i, n, err := shard(c.String("shard"))
	if n == 0 {
		return nil, err
	}
	if !c.IsSet("report") {
		return nil, usagef("--shard needs --report, which verify merge takes")
	}
	return &verify.Shard{I: i, N: n}, nil
}

// sealOf returns the path of the seal to verify with: --seal, or a .pmap file that holds one. It
// is "" if there is none.
func sealOf(c *cli.Context) string {
	quant := c.Args().First()
	if !c.IsSet("seal") && !c.IsSet("base") && c.NArg() == 1 && verifyjob.HasSeal(quant) {
		return quant
	}
	return c.String("seal")
}

// verifySeal is verify with a seal in place of the original.
func verifySeal(c *cli.Context, f *verifyFlags, path string) error {
	for _, name := range []string{"base", "text", "ctx-size", "stride", "chunks", "shard", "one-at-a-time"} {
		if c.IsSet(name) {
			return usagef("--%s cannot be used with a seal, which pins the original, the tokens and the windows", name)
		}
	}
	for _, name := range []string{"baseline", "max-regression", "by-layer", "by-tensor", "by-part",
		"by-layer-chunks"} {
		if c.IsSet(name) {
			return usagef("--%s cannot be used with a seal: it needs exact KL divergences, and so the original", name)
		}
	}
	if c.NArg() != 1 {
		return usagef("verify with a seal takes one QUANT, got %d arguments", c.NArg())
	}
	o := verifyjob.SealedOptions{
		Seal: path, Quant: c.Args().First(), NoCheck: c.Bool("no-check"), Worst: c.Int("worst"),
		Strict: f.require.strict,
		Speed:  speedOptions(c),
		Tool:   "phi3conv " + versionString(), Monitor: newMonitor(c.App.ErrWriter),
	}
	if o.Worst < 0 {
		return usagef("--worst is %d, expected 0 or more", o.Worst)
	}
	var err error
	if o.Thresholds, err = f.require.limits(c.LocalFlagNames()); err != nil {
		return err
	}
	if o.Compute, err = verifyCompute(c, f.compute.opt); err != nil {
		return err
	}
	r, err := verifyjob.RunSealed(c.Context, o)
	if err != nil {
		return err
	}
	list := verify.Reports{r}
	if err := f.forms.write(c.App.Writer, c.App.ErrWriter, list); err != nil {
		return err
	}
	return verdict(list)
}
