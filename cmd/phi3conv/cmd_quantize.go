package main

import (
	"slices"
	"strconv"

	"github.com/urfave/cli/v2"

	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant/policy"
)

var quantizeCommand = &cli.Command{
	Name:      "quantize",
	Usage:     "quantize a GGUF file, with llama-quantize's arguments",
	ArgsUsage: "IN.gguf OUT.gguf [TYPE] [THREADS]",
	Description: `IN may also be a checkpoint directory.

File types: ` + fileTypeLines() + `

In place of TYPE there may be a recipe (--recipe) or a budget: --size, --bpw or --max-kld. Within
a budget the types of the tensors are chosen so that the estimated error is least. Examples:

   phi3conv quantize phi-3-mini-F16.gguf phi-3-mini-Q4_K_M.gguf Q4_K_M
   phi3conv quantize Phi-3-mini-4k-instruct out.gguf --size 1.8GB --stats stats.gguf
   phi3conv quantize Phi-3-mini-4k-instruct again.gguf --recipe out.yaml --stats stats.gguf`,
	Flags: quantizeFlags,
	Action: func(c *cli.Context) error {
		args, want := c.Args().Slice(), "IN OUT TYPE [THREADS]"
		var ft policy.FileType
		if c.IsSet("recipe") || budgeted(c) {
			want = "IN OUT [THREADS] with --recipe, --size, --bpw or --max-kld"
		} else if len(args) > 2 {
			var err error
			if ft, err = policy.FileTypeByName(args[2]); err != nil {
				return &usage.Error{Err: err}
			}
			args = slices.Delete(args, 2, 3)
		} else {
			args = nil
		}
		if len(args) != 2 && len(args) != 3 {
			return usagef("quantize takes %s, got %d arguments", want, c.NArg())
		}
		threads := defaultThreads()
		if len(args) == 3 {
			var err error
			if threads, err = strconv.Atoi(args[2]); err != nil {
				return usagef("THREADS is %q, expected a number", args[2])
			}
		}
		return runQuantize(c, args[0], args[1], ft, threads)
	},
}

// runQuantize makes out from in, for convert and quantize.
func runQuantize(c *cli.Context, in, out string, ft policy.FileType, threads int) error {
	opt, err := quantizeOptions(c, ft, threads)
	if err != nil {
		return err
	}
	job, err := quantize.Prepare(c.Context, in, out, *opt, monitor{c.App.ErrWriter})
	if err != nil {
		return err
	}
	defer job.Close()
	if job.Budget != nil && !c.Bool("json") {
		if err := printAllocation(c.App.Writer, job.Budget); err != nil {
			return err
		}
	}
	if path := c.String("write-recipe"); path != "" {
		if err := job.WriteRecipe(path); err != nil {
			return err
		}
	}
	printNotes(c, job.Notes())
	if c.Bool("dry-run") {
		r, err := job.Describe()
		if err != nil {
			return err
		}
		if c.Bool("json") {
			return report.WriteJSON(c.App.Writer, r)
		}
		return printPlan(c.App.Writer, r)
	}
	r, err := job.Run(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		r.Tensors = nil
		return report.WriteJSON(c.App.Writer, r)
	}
	return printSummary(c.App.Writer, r)
}

// printNotes prints what a user of the output should know.
func printNotes(c *cli.Context, notes []string) {
	for _, note := range notes {
		monitor{c.App.ErrWriter}.Note("%s", note)
	}
}
