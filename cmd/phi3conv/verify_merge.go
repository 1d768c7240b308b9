package main

import (
	"slices"

	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/urfave/cli/v2"
)

func verifyMergeCommand() *cli.Command {
	var require requirementFlags
	var forms reportFlags
	return &cli.Command{
		Name:      "merge",
		Usage:     "put the reports of verify --shard together",
		ArgsUsage: "REPORT…",
		Description: `Makes one report from those of all parts of a verification, with the same figures as one run.
Refuses parts that are missing, that are there twice, or that do not belong together.
Limits, forms of the report and exit codes are those of verify. Example:

   phi3conv verify Q4.gguf --base DIR --text wiki.txt --shard 1/2 --report 1.json   # here
   phi3conv verify Q4.gguf --base DIR --text wiki.txt --shard 2/2 --report 2.json   # there
   phi3conv verify merge 1.json 2.json --max-kld 0.05 --report all.json`,
		Flags: slices.Concat([]cli.Flag{
			&cli.IntFlag{Name: "worst", DefaultText: "that of the parts",
				Usage: "show the `N` tokens whose predictions changed most, at most as many as the parts have"},
			require.thresholdsFlag(), require.strictFlag(),
		}, require.baselineFlags(), forms.flags(), require.limitFlags()),
		Action: func(c *cli.Context) error {
			if c.NArg() == 0 {
				return usagef("verify merge takes the REPORTs of all parts")
			}
			worst := -1 // as many as the parts have
			if c.IsSet("worst") {
				if worst = c.Int("worst"); worst < 0 {
					return usagef("--worst is %d, expected 0 or more", worst)
				}
			}
			r, err := require.options(c.LocalFlagNames())
			if err != nil {
				return err
			}
			inputs := append(c.Args().Slice(), require.thresholds, require.baseline)
			if err := forms.check(newMonitor(c.App.ErrWriter), "", inputs...); err != nil {
				return err
			}
			list, err := verifyjob.Merge(c.Args().Slice(), worst, r)
			if err != nil {
				return err
			}
			if err := forms.write(c.App.Writer, c.App.ErrWriter, list); err != nil {
				return err
			}
			return verdict(list)
		},
	}
}
