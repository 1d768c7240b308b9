package main

import (
	"slices"

	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

var verifyCommand = &cli.Command{
	Name:      "verify",
	Usage:     "measure how far quantized models are from the original",
	ArgsUsage: "QUANT…",
	Description: `Runs the models on the same tokens and compares their predictions: perplexity, KL
divergence, agreement on the likeliest token, change in probability; by text and by
position. Windows, scored tokens and BOS are llama-perplexity's, or with --stride those of
transformers' documentation. Logits are compared in float32. Of several QUANTs there is a
table that compares them first.

A limit passes or fails with 95 % confidence. Exits with 1 if one fails, or if there
are not enough tokens to tell; the report says how many would be. A logit that is NaN or
infinite ends it with 3. Example:

   phi3conv verify phi-3-mini-Q4_K_M.gguf --base Phi-3-mini-4k-instruct \
       --text wiki.txt --text code.txt --max-kld 0.05 --min-top1 0.9 --junit verify.xml

Memory: all models at once, and 4 bytes for each token of the vocabulary and scored token
of a window. --one-at-a-time needs that of the greatest model only, --no-repack leaves weights in
their files.

With --report an interrupted verification goes on when the same command is given again;
progress is in FILE.partial. With --shard several machines share one; see verify merge --help.`,
	Flags: slices.Concat([]cli.Flag{
		&cli.StringFlag{Name: "seal", Usage: "`FILE` that \"phi3conv seal\" made of the original, alone or in a .pmap file; instead of --base and --text (default: that in QUANT, if it is a .pmap file with one)"},
		&cli.StringFlag{Name: "base", Usage: "the original: a checkpoint `DIR` or a GGUF file"},
		&cli.StringSliceFlag{Name: "text", Aliases: []string{"f"}, Usage: "`FILE` with text to predict; may be given several times"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Value: 512, Usage: "tokens in a window"},
		&cli.IntFlag{Name: "stride", Usage: "tokens from one window to the next; windows overlap and every token is scored once (default: off, windows follow each other and their second halves are scored)"},
		&cli.IntFlag{Name: "chunks", Usage: "windows of each text at most (default: all)"},
		&cli.StringFlag{Name: "shard", Usage: "evaluate only the `I/N`th part of the windows, such as 1/4, for verify merge"},
		&cli.IntFlag{Name: "worst", Value: 10, Usage: "number of tokens to show whose predictions changed most"},
		&cli.BoolFlag{Name: "one-at-a-time", Usage: "open one model after the other; the original's logits are kept in a temporary file (in TMPDIR)"},
		&cli.BoolFlag{Name: "speed", Usage: "measure speed, load time and memory of all models too (done for limits on them)"},
		&cli.IntFlag{Name: "repetitions", Aliases: []string{"r"}, Value: 5, Usage: "how often to measure speed"},
		thresholdsFlag(),
	}, baselineFlags(), layerFlags(), reportFlags(), []cli.Flag{
		modelThreadsFlag(),
		&cli.StringFlag{Name: "cache-type", Value: runtime.CacheF16.String(), Usage: "`TYPE` of QUANT's keys and values: f16, f32 or q8_0; the original's are f32"},
		&cli.BoolFlag{Name: "f32", Usage: "compute QUANT in float32 too, which leaves only what its weights lost"},
		noRepackFlag(),
	}, limitFlags()),
	Subcommands: []*cli.Command{verifyMergeCommand},
	Action:      verifyAction,
}

func thresholdsFlag() cli.Flag {
	return &cli.StringFlag{Name: "thresholds", Usage: "YAML `FILE` with limits, such as max-kld: 0.05; flags go before it"}
}

// limitFlags are one flag for each metric.
func limitFlags() []cli.Flag {
	var flags []cli.Flag
	for _, m := range verify.Metrics() {
		usage := "limit of the " + m.Usage
		if m.Size {
			flags = append(flags, &cli.StringFlag{Name: m.Name, Usage: usage, DefaultText: "none"})
		} else {
			flags = append(flags, &cli.Float64Flag{Name: m.Name, Usage: usage, DefaultText: "none"})
		}
	}
	return flags
}

func verifyAction(c *cli.Context) error {
	if c.NArg() == 0 {
		return usagef("verify takes one or more QUANTs")
	}
	if c.Int("repetitions") < 1 {
		return usagef("--repetitions is %d, expected 1 or more", c.Int("repetitions"))
	}
	if path := sealOf(c); path != "" {
		return verifySeal(c, path)
	}
	if !c.IsSet("base") || !c.IsSet("text") {
		return usagef("verify needs --base and --text, or --seal")
	}
	thresholds, err := limits(c)
	if err != nil {
		return err
	}
	if _, err := allowedRegressions(c); err != nil {
		return err
	}
	byLayer, err := layerMode(c)
	if err != nil {
		return err
	}
	v := &verification{c: c, base: c.String("base"), quants: c.Args().Slice()}
	if v.conv, err = conventions(c); err != nil {
		return err
	}
	if v.shard, err = shard(c); err != nil {
		return err
	}
	v.opt = runtime.Options{Float32: c.Bool("f32"), NoRepack: c.Bool("no-repack"), Batch: min(v.conv.Context, defaultBatch)}
	if v.opt.Threads, err = modelThreads(c); err != nil {
		return err
	}
	if v.opt.Cache, err = cacheType(c); err != nil {
		return err
	}
	if err := v.run(); err != nil {
		return err
	}
	list, err := v.reports()
	if err != nil {
		return err
	}
	if err := v.weights(list); err != nil {
		return err
	}
	if byLayer {
		if err := v.byLayer(list); err != nil {
			return err
		}
	}
	if err := addSpeed(c, list, thresholds, v.base, v.quants, v.opt); err != nil {
		return err
	}
	return finish(c, list, thresholds, v.forget)
}

// finish judges the reports and writes them, and calls written between that and the verdict.
func finish(c *cli.Context, list verify.Reports, thresholds []verify.Threshold, written func() error) error {
	if len(thresholds) > 0 {
		for _, r := range list {
			if err := r.Judge(thresholds); err != nil {
				return err
			}
		}
	}
	if err := compareBaseline(c, list, false); err != nil {
		return err
	}
	return finishJudged(c, list, written)
}

// finishJudged is finish for reports that were judged.
func finishJudged(c *cli.Context, list verify.Reports, written func() error) error {
	if err := writeReports(c, list); err != nil {
		return err
	}
	if err := written(); err != nil {
		return err
	}
	if list.Outcome() != verify.Pass {
		return errCheckFailed
	}
	return nil
}
