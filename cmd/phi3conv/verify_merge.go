package main

import (
	"fmt"
	"os"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

var verifyMergeCommand = &cli.Command{
	Name:      "merge",
	Usage:     "put the reports of verify --shard together",
	ArgsUsage: "REPORT…",
	Description: `Makes one report from those of all parts of a verification: the same figures as one
run has. Refuses parts that are missing, that are there twice, or that do not belong together.
Limits, forms of the report and exit codes are those of verify. Example:

   phi3conv verify Q4.gguf --base DIR --text wiki.txt --shard 1/2 --report 1.json   # here
   phi3conv verify Q4.gguf --base DIR --text wiki.txt --shard 2/2 --report 2.json   # there
   phi3conv verify merge 1.json 2.json --max-kld 0.05 --report all.json`,
	Flags: slices.Concat([]cli.Flag{
		&cli.IntFlag{Name: "worst", Usage: "number of tokens to show whose predictions changed most, at most that of the parts", DefaultText: "that of the parts"},
		thresholdsFlag(),
	}, baselineFlags(), reportFlags(), limitFlags()),
	Action: verifyMergeAction,
}

func verifyMergeAction(c *cli.Context) error {
	if c.NArg() == 0 {
		return usagef("verify merge takes the REPORTs of all parts")
	}
	if c.Int("worst") < 0 {
		return usagef("--worst cannot be negative")
	}
	thresholds, err := limits(c)
	if err != nil {
		return err
	}
	worst := -1
	if c.IsSet("worst") {
		worst = c.Int("worst")
	}
	var parts []verify.Reports
	for _, path := range c.Args().Slice() {
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		list, err := verify.ReadReports(path, data)
		if err != nil {
			return err
		}
		if len(parts) > 0 && len(list) != len(parts[0]) {
			return &formats.Error{Path: path, Off: -1, What: fmt.Sprintf("reports on %s, expected %d as in %s",
				plural(len(list), "model"), len(parts[0]), c.Args().First())}
		}
		parts = append(parts, list)
	}
	var merged verify.Reports
	for k := range parts[0] {
		var of []*verify.Report
		for _, p := range parts {
			of = append(of, p[k])
		}
		r, err := verify.Merge(of, worst)
		if err != nil {
			return err
		}
		merged = append(merged, r)
	}
	return finish(c, merged, thresholds, func() error { return nil })
}
