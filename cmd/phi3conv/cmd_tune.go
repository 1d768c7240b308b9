package main

import (
	"time"

	"github.com/phi3conv/phi3conv/internal/job/forms"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/urfave/cli/v2"
)

func tuneCommand() *cli.Command {
	var opt forms.Options
	return &cli.Command{
		Name:      "tune",
		Usage:     "find the fastest forms of the kernels on this machine",
		ArgsUsage: "[MODEL]",
		Description: `Every product of weights and activations can be computed in several forms that give the
same bits: other instructions, other prefetches. Which is the fastest depends on the CPU and its
memory. When a model is opened for the first time, the forms that it needs are timed for at most
0.3 s, and the choice is kept in the user's cache directory; it is made again later if the
machine was busy. This command times them for longer, with the weights of MODEL, and prints all.
A "?" marks what the machine was too busy to tell. Without MODEL it prints what is known.

PHI3CONV_TUNE=off uses the default forms, PHI3CONV_TUNE=force measures at every opening.`,
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "threads", Aliases: []string{"t"}, Destination: &opt.Threads,
				Usage: "`N` threads; forms are chosen for each number", DefaultText: "the number of physical cores"},
			&cli.DurationFlag{Name: "time", Value: 3 * time.Second, Destination: &opt.Time,
				Usage: "measure for a `TIME`"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return usagef("tune takes one MODEL, got %d arguments", c.NArg())
			}
			if opt.Threads < 0 || opt.Threads > 1024 {
				return usagef("--threads is %d, expected 0 to 1024", opt.Threads)
			}
			if opt.Time <= 0 || opt.Time > time.Hour {
				return usagef("--time is %s, expected a time such as 3s", opt.Time)
			}
			r, err := forms.Run(c.Context, c.Args().First(), opt)
			if err != nil {
				return err
			}
			return report.Print(c.App.Writer, c.Bool("json"), &r)
		},
	}
}
