package main

import (
	"io"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/report"
)

func reproduceCommand() *cli.Command {
	return &cli.Command{
		Name:      "reproduce",
		Usage:     "make a quantized file again from what it says about itself, and compare",
		ArgsUsage: "FILE",
		Description: `The metadata of FILE hold the recipe that it was made by, and the SHA-256 hashes of the weights
and statistics that it was made from. This command builds it again from --model and --stats and
compares all bytes; of split sets and .pmap files, all tensors and metadata. It exits with 1 if
anything differs, and names the first tensor and the keys that differ, and the inputs that are
not the recorded ones. The machine and the number of threads do not matter. Example:

   phi3conv reproduce phi-3-mini-Q4_K_M.gguf --model Phi-3-mini-4k-instruct --stats stats.gguf`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "model", Usage: "the original: a checkpoint `DIR` or a GGUF file"},
			statsFlag(nil),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"},
				Usage: "keep what is built in `FILE`", DefaultText: "a temporary file in TMPDIR"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
			maxRAMFlag(nil),
			threadsFlag(),
		},
		Action: reproduceAction,
	}
}

func reproduceAction(c *cli.Context) error {
	if c.NArg() != 1 || !c.IsSet("model") {
		return usagef("reproduce takes one FILE and --model")
	}
	opt := quantize.ReproduceOptions{Model: c.String("model"), Stats: c.String("stats"), Output: c.String("output")}
	var err error
	if opt.Limits, err = readLimits(c.String("max-ram"), c.Int("threads")); err != nil {
		return err
	}
	m := monitor{c.App.ErrWriter}
	job, err := quantize.PrepareReproduction(c.Context, c.Args().First(), opt, m)
	if err != nil {
		return err
	}
	defer job.Close()
	m.notes(job.Notes())
	r, err := job.Run(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = report.WriteJSON(c.App.Writer, r)
	} else {
		err = printComparison(c.App.Writer, r)
	}
	if err == nil && !r.Same {
		err = errCheckFailed
	}
	return err
}

// printComparison prints what reproduce found.
func printComparison(w io.Writer, r *quantize.Comparison) error {
	p := &report.Printer{W: w}
	for _, in := range r.Inputs {
		if in.Same {
			p.Printf("%s %s: the one it was made from\n", in.Input, in.Path)
		} else {
			p.Printf("%s %s: another one than it was made from: SHA-256 %s, recorded %s\n",
				in.Input, in.Path, in.SHA256, in.Recorded)
		}
	}
	for _, key := range r.Keys {
		p.Printf("key %s differs\n", report.Printable(key))
	}
	switch {
	case r.Same && r.Whole:
		p.Printf("%s: the same bytes\n", r.File)
	case r.Same:
		p.Printf("%s: the same tensors and metadata\n", r.File)
	case r.Tensor != "":
		p.Printf("%s: the first tensor that differs is %s: %s\n", r.File, report.Printable(r.Tensor), r.Why)
	case r.Why != "":
		p.Printf("%s: differs: %s\n", r.File, r.Why)
	default:
		p.Printf("%s: the same tensors, other metadata\n", r.File)
	}
	return p.Err
}
