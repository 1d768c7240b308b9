package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/job/demo"
)

func demoCommand() *cli.Command {
	var opt demo.Options
	return &cli.Command{
		Name:  "demo",
		Usage: "run every stage on a tiny model that is part of the program",
		Description: `Needs no files and no network. Left out are serve, batch, tune, push and pull. The models have
one to three million weights and were trained on text from a small grammar. Each stage is a
command that you could type.`,
		Flags: []cli.Flag{
			cmdline.OneOf(demo.Models(), &cli.StringFlag{Name: "model", Value: "phi3", Destination: &opt.Model,
				Usage: "`NAME` of the model's architecture: " + strings.Join(demo.Models(), ", ")}),
			&cli.StringFlag{Name: "dir", Destination: &opt.Dir,
				Usage:       "work in `DIR` and keep what is written there",
				DefaultText: "a temporary directory, removed at the end"},
			&cli.BoolFlag{Name: "force", Destination: &opt.Force, Usage: "replace files of an earlier demo in DIR"},
		},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("demo takes no arguments, got %q", c.Args().First())
			}
			opt.Out = c.App.Writer
			opt.Run = func(args []string) error {
				app := newApp() // one for each command line
				app.Writer, app.ErrWriter = c.App.Writer, c.App.ErrWriter
				if opt.Force && cmdline.Takes(app.Command(args[0]), "force") {
					args = append(args, "--force")
				}
				return cmdline.Run(c.Context, app, append([]string{app.Name}, args...), nil)
			}
			return demo.Run(opt)
		},
	}
}
