package main

import (
	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/report"
)

func reproduceCommand() *cli.Command {
	var files output.Files
	return &cli.Command{
		Name:      "reproduce",
		Usage:     "make a quantized file again from what it says about itself, and compare",
		ArgsUsage: "FILE",
		Description: `The metadata of FILE hold the recipe that it was made by, and the SHA-256 hashes of the weights
and statistics that it was made from. This command builds it again from --model and --stats and
compares all bytes; of split sets and .pmap files, all tensors and metadata. It exits with 1 if
anything differs, and names the first tensor and the keys that differ, and the inputs that are
not the recorded ones. The machine and the number of threads do not matter. Files have a recipe
if they were made with --method, --stats, --recipe or a budget. Example:

   phi3conv reproduce phi-3-mini-Q4_K_M.gguf --model Phi-3-mini-4k-instruct --stats stats.gguf`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "model", Usage: "the original: a checkpoint `DIR` or a GGUF file"},
			statsFlag(nil),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"},
				Usage: "keep what is built in `FILE`", DefaultText: "a temporary file in TMPDIR"},
			&cli.BoolFlag{Name: "json", Usage: "print the result as JSON"},
			maxRAMFlag(nil),
			forceFlag(&files),
			threadsFlag(),
		},
		Action: func(c *cli.Context) error { return reproduceAction(c, &files) },
	}
}

func reproduceAction(c *cli.Context, files *output.Files) error {
	if c.NArg() != 1 || !c.IsSet("model") {
		return usagef("reproduce takes one FILE and --model")
	}
	opt := quantize.ReproduceOptions{Model: c.String("model"), Stats: c.String("stats"), Output: c.String("output")}
	var err error
	if opt.Limits, err = readLimits(c.String("max-ram"), c.Int("threads")); err != nil {
		return err
	}
	m := newMonitor(c.App.ErrWriter)
	out := file("--output", &opt.Output, output.GGUF, output.PMAP)
	out.Beside, out.ReadBack = []string{".work"}, true
	if err := m.checkFiles(files, []string{c.Args().First(), opt.Model, opt.Stats}, out); err != nil {
		return err
	}
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
	err = report.Print(c.App.Writer, c.Bool("json"), r)
	if err == nil && !r.Same {
		err = failure.ErrCheck
	}
	return err
}
