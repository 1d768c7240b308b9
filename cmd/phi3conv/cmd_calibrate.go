package main

import (
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/job/calibrate"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/report"
)

func calibrateCommand() *cli.Command {
	var files output.Files
	var which calibrationTextFlags
	return &cli.Command{
		Name:      "calibrate",
		Usage:     "gather statistics of a model's activations, for quantize and convert --stats",
		ArgsUsage: "MODEL",
		Description: `Runs the model over text, one layer at a time, and writes an importance matrix that
llama-quantize reads too: the mean square of every column of each linear layer's input.
An output whose name ends in .dat gets llama.cpp's older format.

Without --text, or with --self, the model writes the text itself: samples that start at the
beginning of a text, samples that start with a random token, and questions with answers in its
chat format. Statistics of its own text suit text of any kind. Those of given text suit text of
that kind better, and other text worse.

Texts are plain text. In a file whose name ends in .jsonl, each line is an object with a "text",
or with "messages": a conversation, which the model's chat template renders. Everything is
computed in float32, and the output is the same on every machine. The same command continues an
interrupted run, from OUT.work.

With --fisher each token is weighed by how much the loss depends on the layer's output there (the
Fisher information). The output is still an importance matrix that llama-quantize reads, and
holds the squared gradients besides.

Phi-3-mini takes about 1 h 45 min on two cores for 65,536 tokens of text, 7 h with --fisher, 9 h
without text; about a quarter of that on eight (computed; see README.md). Examples:

   phi3conv calibrate Phi-3-mini-4k-instruct -o phi-3-mini.imatrix.gguf
   phi3conv calibrate Phi-3-mini-4k-instruct --text text.txt --self -o phi-3-mini.imatrix.gguf
   phi3conv calibrate --show phi-3-mini.imatrix.gguf

With --shard several machines share one calibration; see calibrate merge --help.`,
		Flags: slices.Concat(which.flags(), []cli.Flag{
			&cli.StringFlag{Name: "own-text", Usage: "the model's own text is in `FILE`, by calibrate own-text"},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Usage: "write to `FILE`"},
			&cli.BoolFlag{Name: "fisher", DefaultText: "on without --text, off with it",
				Usage: "weigh each token by the squared gradient of the model's own loss at the layer's output, " +
					"at most 20 times the mean; takes about 4 times as long; --fisher=false turns it off"},
			&cli.BoolFlag{Name: "fisher-outputs", DefaultText: "on with --fisher",
				Usage: "with --fisher, also gather what quantize --outputs needs: 255 bytes for each row of q, " +
					"k and v, 75 MB of Phi-3-mini; --fisher-outputs=false turns it off"},
			shardFlag("calibrate with part `I/N` of the sequences, such as 1/3, for calibrate merge", nil),
			&cli.StringSliceFlag{Name: "gradients",
				Usage: "with --shard and --fisher, the gradients of all parts: `FILE`s of the first round"},
			&cli.StringFlag{Name: "max-ram", Value: "4GiB", Usage: "use at most `SIZE` of memory; " +
				"activations for which there is no room are kept in OUT.work; does not change the result"},
			&cli.StringFlag{Name: "show",
				Usage: "print what is in the statistics `FILE`, in either format, and gather nothing"},
			&cli.StringFlag{Name: "against",
				Usage: "warn if the evaluation text in `FILE` occurs in the calibration text; " +
					"with --show this needs MODEL for its tokenizer"},
			&cli.BoolFlag{Name: "json", Usage: "print the summary as JSON"},
			forceFlag(&files),
			modelThreadsFlag(),
		}),
		Subcommands: []*cli.Command{calibrateOwnTextCommand(), calibrateMergeCommand()},
		Action: func(c *cli.Context) error {
			if path := c.String("show"); path != "" {
				return showStats(c, path)
			}
			if err := cmdline.One(c.Command, c.Args().Slice(), "MODEL"); err != nil {
				return err
			}
			return calibrateModel(c, c.Args().First(), &which, &files)
		},
	}
}

// setBool returns the value of a flag on the command line, nil if it is not there.
func setBool(c *cli.Context, name string) *bool {
	if !c.IsSet(name) {
		return nil
	}
	v := c.Bool(name)
	return &v
}

func calibrateModel(c *cli.Context, model string, which *calibrationTextFlags, files *output.Files) error {
	out := c.String("output")
	if out == "" {
		return usagef("calibrate needs --output")
	}
	m := newMonitor(c.App.ErrWriter)
	opt := calibrate.Options{Against: c.String("against"), Monitor: m}
	var err error
	if opt.MaxRAM, err = size("max-ram", c.String("max-ram")); err != nil {
		return err
	}
	if opt.Threads, err = modelThreads(c.Int("threads"), c.IsSet("threads")); err != nil {
		return err
	}
	if opt.Text, err = which.options(c.LocalFlagNames()); err != nil {
		return err
	}
	opt.Own, opt.Gradients = c.String("own-text"), c.StringSlice("gradients")
	formats := []string{output.GGUF, output.Imatrix}
	if i, n, err := shard(c.String("shard")); err != nil {
		return err
	} else if n > 0 {
		opt.Shard, formats = &stats.Shard{I: i, N: n}, []string{output.Shard}
	}
	opt.Fisher, opt.FisherOutputs = setBool(c, "fisher"), setBool(c, "fisher-outputs")
	o := file("--output", &out, formats...)
	o.Beside, files.Machine = []string{".work", ".work.text", ".work.gradients"}, c.Bool("json")
	inputs := slices.Concat(opt.Files, opt.Gradients, []string{model, opt.Against, opt.Own})
	if err := m.checkFiles(files, inputs, o); err != nil {
		return err
	}
	r, err := calibrate.Run(c.Context, model, out, opt)
	if err != nil {
		return err
	}
	m.notes(r.Warnings)
	return report.Print(files.Writer(c.App.Writer, m.w), c.Bool("json"), r)
}

// showStats prints what a statistics file holds.
func showStats(c *cli.Context, path string) error {
	if c.NArg() > 1 {
		return usagef("calibrate --show takes at most one MODEL, got %d arguments", c.NArg())
	}
	sum, err := calibrate.Show(c.Context, path, c.String("against"), c.Args().First())
	if err != nil {
		return err
	}
	return report.Print(c.App.Writer, c.Bool("json"), sum)
}
