package main

import (
	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/job/diff"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/urfave/cli/v2"
)

func inspectCommand() *cli.Command {
	return &cli.Command{
		Name:      "inspect",
		Usage:     "show what is in a model, a seal or statistics, or how two models differ",
		ArgsUsage: "FILE|DIR, --check FILE, or --diff A B",
		Description: `FILE is a GGUF file of any architecture (or any part of a split one), a .pmap file or a
.safetensors file; DIR is a checkpoint directory. Shapes are [rows, columns], for GGUF files too.
Of a seal it shows what it pins, of statistics (calibrate's and llama-imatrix's, in GGUF or .dat)
what they cover and what stands out. Long arrays and texts are shortened.

` + cmdline.Wrap("Tensors of a GGUF file can have the types "+quant.TypeNames()+".") + `

--tensor reads the values of a tensor and shows their statistics. The name is that of the
checkpoint or that of a GGUF file.

--check reads all of a .pmap file and compares it with its checksums. It names the tensors and
sections that are damaged and exits with 1 if there are any.

--diff compares two models: keys, tensors, and the values of every tensor in both. The first
model is the reference. A checkpoint directory has the keys and names of the GGUF file that its
conversion gives, except general.file_type and general.quantization_version. With --json,
sqnr_db is null where it is infinite or not a number; tensors are equal if rmse is 0. The exit
code is 0 even if the models differ. Examples:

   phi3conv inspect Phi-3-mini-4k-instruct
   phi3conv inspect phi-3-mini-Q4_K_M.gguf --tensor blk.0.ffn_down.weight
   phi3conv inspect --diff Phi-3-mini-4k-instruct phi-3-mini-Q4_K_M.gguf`,
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "tensor", Usage: "show statistics of the tensor `NAME`"},
			&cli.BoolFlag{Name: "check", Usage: "compare a .pmap file with its checksums"},
			&cli.BoolFlag{Name: "diff", Usage: "compare two models"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			threadsFlag(),
		},
		Action: inspectAction,
	}
}

func inspectAction(c *cli.Context) error {
	names := c.StringSlice("tensor")
	threads, err := threads(c.Int("threads"))
	if err != nil {
		return err
	}
	switch {
	case c.Bool("diff") && (c.NArg() != 2 || len(names) > 0):
		return usagef("inspect --diff takes two models and no --tensor, got %d arguments", c.NArg())
	case c.Bool("diff"):
		return inspectDiff(c, threads)
	case c.Bool("check") && len(names) > 0:
		return usagef("inspect takes --check or --tensor")
	}
	if err := cmdline.One(c.Command, c.Args().Slice(), "FILE or DIR"); err != nil {
		return err
	}
	if c.Bool("check") {
		return inspectCheck(c, threads)
	}
	if len(names) > 0 {
		return inspectTensors(c, names, threads)
	}
	r, err := inspect.Show(c.Context, c.Args().First())
	if err != nil {
		return err
	}
	return report.Print(c.App.Writer, c.Bool("json"), r)
}

func inspectTensors(c *cli.Context, names []string, threads int) error {
	m, err := inspect.Open(c.Args().First())
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }() // only read from
	all, err := m.Statistics(c.Context, names, threads)
	if err != nil {
		return err
	}
	return report.Print(c.App.Writer, c.Bool("json"), all)
}

func inspectDiff(c *cli.Context, threads int) error {
	a, err := inspect.Open(c.Args().Get(0))
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // only read from
	b, err := inspect.Open(c.Args().Get(1))
	if err != nil {
		return err
	}
	defer func() { _ = b.Close() }() // only read from
	d, err := diff.Compare(c.Context, a, b, diff.Options{Threads: threads, Monitor: newMonitor(c.App.ErrWriter)})
	if err != nil {
		return err
	}
	return report.Print(c.App.Writer, c.Bool("json"), d)
}

func inspectCheck(c *cli.Context, threads int) error {
	r, err := inspect.Check(c.Context, c.Args().First(), threads, newMonitor(c.App.ErrWriter))
	if err != nil {
		return err
	}
	err = report.Print(c.App.Writer, c.Bool("json"), r)
	if err == nil && len(r.Damage) > 0 {
		err = failure.ErrCheck
	}
	return err
}
