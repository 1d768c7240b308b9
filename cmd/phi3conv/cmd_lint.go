package main

import (
	"io"
	"strings"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/lint"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/urfave/cli/v2"
)

func lintCommand() *cli.Command {
	var forms reportFlags
	return &cli.Command{
		Name:      "lint",
		Usage:     "find what makes a Phi model wrong",
		ArgsUsage: "FILE|DIR",
		Description: `FILE is a GGUF file (or any part of a split one). DIR is a checkpoint directory as
published on the Hugging Face hub; a single .safetensors file of it is refused.

Checks the file format, the configuration, LongRoPE factors and sliding window, the tokenizer,
stop ids and chat template, the list of tensors, and their values. Each finding has an
explanation, a fix, a code that is the same in every release, and a severity:

   error    runtimes refuse the model or give wrong output
   warning  some runtimes go wrong, or something is lost
   info     worth knowing

Exits with 1 if there is an error, else with 0. Example:

   phi3conv lint phi-3-mini-Q4_K_M.gguf`,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "fast", Usage: "leave out the checks that read tensor data"},
			forms.jsonFlag("print the report as JSON"), forms.markdownFlag(),
			forms.junitFlag("write a test case for each check to `FILE` as JUnit XML"),
			&cli.StringFlag{Name: "sarif", Destination: &forms.sarif,
				Usage: "write the report to `FILE` as SARIF 2.1.0, for code scanning"},
			forceFlag(&forms.files), threadsFlag(),
		},
		Action: func(c *cli.Context) error {
			if err := cmdline.One(c.Command, c.Args().Slice(), "FILE or DIR"); err != nil {
				return err
			}
			threads, err := threads(c.Int("threads"))
			if err != nil {
				return err
			}
			m := newMonitor(c.App.ErrWriter)
			if err := forms.check(m, "", c.Args().First()); err != nil {
				return err
			}
			progress, end := progress.Late(m, "checking", progress.Bytes)
			r, err := lint.Run(c.Context, c.Args().First(), lint.Options{
				Fast:     c.Bool("fast"),
				Threads:  threads,
				Progress: progress,
			})
			end()
			if err != nil {
				return err
			}
			err = forms.writeForms(c.App.Writer, m.w, r.WriteText, r.WriteJSON,
				output.Form{Path: forms.markdown, Write: r.WriteMarkdown},
				output.Form{Path: forms.junit, Write: r.WriteJUnit},
				output.Form{Path: forms.sarif, Write: func(w io.Writer) error {
					return r.WriteSARIF(w, strings.TrimPrefix(versionString(), "v"))
				}})
			if err != nil {
				return err
			}
			if r.Count(lint.Error) > 0 {
				return failure.ErrCheck
			}
			return nil
		},
	}
}
