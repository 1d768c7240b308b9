package main

import (
	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/internal/cmdline"
	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/urfave/cli/v2"
)

func sealCommand() *cli.Command {
	var windows windowFlags
	var files output.Files
	return &cli.Command{
		Name:      "seal",
		Usage:     "keep what a model predicts for a text, to verify quantized models without it",
		ArgsUsage: "ORIGINAL",
		Description: `Evaluates ORIGINAL, a checkpoint directory or a GGUF file, in float32. For each scored token it
writes the likely tokens with their probabilities, the probability of all others together, and
one of these others drawn at random; for a few tokens, the whole vocabulary. With the seal,
"verify QUANT --seal FILE" needs neither the original nor the text. It gives a proven lower bound
of the KL divergence, a higher lower bound that the drawn tokens prove up to one chance in a
million, and an estimate.

A seal is the same, byte for byte, on every machine. docs/format-seal.md describes the format.
Windows, scored tokens and BOS are those of verify. Examples:

   phi3conv seal Phi-3-mini-4k-instruct --text wiki.txt -o phi-3-mini.seal
   phi3conv verify phi-3-mini-Q4_K_M.gguf --seal phi-3-mini.seal --max-kld 0.05`,
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`"},
			&cli.IntFlag{Name: "top-k", Value: 1024, Usage: "keep at most `N` likely tokens of a position"},
			&cli.Float64Flag{Name: "min-p", Value: 2.5e-4,
				Usage: "a likely token has at least probability `P`; the five likeliest are always kept"},
			&cli.IntFlag{Name: "full", Value: 24, Usage: "keep the whole vocabulary of `N` tokens"},
			&cli.BoolFlag{Name: "json", Usage: "print a summary as JSON"},
			forceFlag(&files),
			modelThreadsFlag(),
		}, windows.flags()...),
		Action: func(c *cli.Context) error { return sealAction(c, &windows, &files) },
	}
}

func sealAction(c *cli.Context, windows *windowFlags, files *output.Files) error {
	if err := cmdline.One(c.Command, c.Args().Slice(), "ORIGINAL"); err != nil {
		return err
	}
	if !c.IsSet("output") || !c.IsSet("text") {
		return usagef("seal needs --text and --output")
	}
	o, err := sealOptions(c, windows)
	if err != nil {
		return err
	}
	m := newMonitor(c.App.ErrWriter)
	files.Machine = c.Bool("json")
	if err := m.checkFiles(files, append(o.Texts, o.Model), file("--output", &o.Output, output.Seal)); err != nil {
		return err
	}
	s, err := verifyjob.Seal(c.Context, o)
	if err != nil {
		return err
	}
	return report.Print(files.Writer(c.App.Writer, m.w), c.Bool("json"), s)
}

func sealOptions(c *cli.Context, windows *windowFlags) (o verifyjob.SealOptions, err error) {
	o = verifyjob.SealOptions{
		Model: c.Args().First(), Texts: windows.texts.Value(), Output: c.String("output"),
		TopK: c.Int("top-k"), MinP: c.Float64("min-p"), Full: c.Int("full"), Monitor: newMonitor(c.App.ErrWriter),
	}
	if o.Windows, err = windows.options(c.LocalFlagNames()); err != nil {
		return o, err
	}
	if o.Threads, err = modelThreads(c.Int("threads"), c.IsSet("threads")); err != nil {
		return o, err
	}
	switch {
	case o.TopK < seal.MinTopK || o.TopK > seal.MaxTopK:
		return o, usagef("--top-k is %d, expected %d to %d", o.TopK, seal.MinTopK, seal.MaxTopK)
	case !(o.MinP >= 0 && o.MinP < 1):
		return o, usagef("--min-p is %v, expected at least 0 and less than 1", o.MinP)
	case o.Full < 0:
		return o, usagef("--full is %d, expected 0 or more", o.Full)
	}
	return o, nil
}
