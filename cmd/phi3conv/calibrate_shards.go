package main

import (
	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/job/calibrate"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/report"
)

// calibrateOwnTextCommand writes the model's own text once for all parts of a calibration.
func calibrateOwnTextCommand() *cli.Command {
	var files output.Files
	var which calibrationTextFlags
	var out, ram string
	return &cli.Command{
		Name:      "own-text",
		Usage:     "let a model write the text that calibrate --own-text takes",
		ArgsUsage: "MODEL",
		Description: `Writes the text that calibrate with the same flags lets the model write: the parts of a
calibration on several machines need it once. Example:

   phi3conv calibrate own-text Phi-3-mini-4k-instruct -o own.json`,
		Flags: append(which.flags(),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Destination: &out, Usage: "write to `FILE`"},
			&cli.StringFlag{Name: "max-ram", Value: "4GiB", Destination: &ram,
				Usage: "use at most `SIZE` of memory; does not change the text"},
			&cli.BoolFlag{Name: "json", Usage: "print what was done as JSON"},
			forceFlag(&files),
			modelThreadsFlag()),
		Action: func(c *cli.Context) error {
			if err := cmdline.One(c.Command, c.Args().Slice(), "MODEL"); err != nil {
				return err
			}
			if out == "" {
				return usagef("calibrate own-text needs --output")
			}
			m := newMonitor(c.App.ErrWriter)
			opt := calibrate.Options{Monitor: m}
			var err error
			if opt.MaxRAM, err = size("max-ram", ram); err != nil {
				return err
			}
			if opt.Threads, err = modelThreads(c.Int("threads"), c.IsSet("threads")); err != nil {
				return err
			}
			if opt.Text, err = which.options(c.LocalFlagNames()); err != nil {
				return err
			}
			o := file("--output", &out, output.JSON)
			o.Beside, files.Machine = []string{".work.text"}, c.Bool("json")
			if err := m.checkFiles(&files, append(opt.Files, c.Args().First()), o); err != nil {
				return err
			}
			r, err := calibrate.WriteText(c.Context, c.Args().First(), out, opt)
			if err != nil {
				return err
			}
			return report.Print(files.Writer(c.App.Writer, m.w), c.Bool("json"), r)
		},
	}
}

func calibrateMergeCommand() *cli.Command {
	var files output.Files
	var out string
	return &cli.Command{
		Name:      "merge",
		Usage:     "put the files of calibrate --shard together",
		ArgsUsage: "FILE…",
		Description: `Makes the statistics of a calibration from the files of all its parts: those of one run, to
the byte. Refuses parts that are missing, that are there twice, or that do not belong together.

   phi3conv calibrate MODEL --text text.txt --shard 1/2 -o 1.shard   # here
   phi3conv calibrate MODEL --text text.txt --shard 2/2 -o 2.shard   # there
   phi3conv calibrate merge 1.shard 2.shard -o stats.gguf

With --fisher there are two rounds, because a token is weighed relative to all others: the first
gathers gradients, the second takes those of all parts with --gradients. The merge takes the
files of both rounds:

   phi3conv calibrate MODEL --text text.txt --fisher --shard 1/2 -o g1.shard
   phi3conv calibrate MODEL --text text.txt --fisher --shard 2/2 -o g2.shard
   phi3conv calibrate MODEL --text text.txt --fisher --shard 1/2 --gradients g1.shard \
       --gradients g2.shard -o 1.shard
   phi3conv calibrate MODEL --text text.txt --fisher --shard 2/2 --gradients g1.shard \
       --gradients g2.shard -o 2.shard
   phi3conv calibrate merge g1.shard g2.shard 1.shard 2.shard -o stats.gguf

The model's own text, without --text or with --self, is the same in each part, and would be
written by each: let calibrate own-text write it once, for --own-text.`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Destination: &out, Usage: "write to `FILE`"},
			&cli.BoolFlag{Name: "json", Usage: "print the summary as JSON"},
			forceFlag(&files),
		},
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 || out == "" {
				return usagef("calibrate merge takes the FILEs of all parts, and --output")
			}
			m := newMonitor(c.App.ErrWriter)
			files.Machine = c.Bool("json")
			o := file("--output", &out, output.GGUF, output.Imatrix)
			if err := m.checkFiles(&files, c.Args().Slice(), o); err != nil {
				return err
			}
			r, err := calibrate.Merge(c.Context, c.Args().Slice(), out)
			if err != nil {
				return err
			}
			m.notes(r.Warnings)
			return report.Print(files.Writer(c.App.Writer, m.w), c.Bool("json"), r)
		},
	}
}
