package main

import (
	"fmt"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/urfave/cli/v2"
)

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "say which program this is",
		Description: `Prints the version, the revision that it was built from, the version of Go, and the kernels in
use. A report of a problem should have them.`,
		Flags: []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
		Action: func(c *cli.Context) error {
			if c.Args().Present() {
				return usagef("version takes no arguments, got %q", c.Args().First())
			}
			b := thisBuild()
			if c.Bool("json") {
				return report.WriteJSON(c.App.Writer, b)
			}
			revision := b.Revision
			if b.Modified {
				revision += ", modified"
			}
			for _, row := range [][2]string{
				{"phi3conv", b.Version}, {"module", b.Module}, {"revision", revision},
				{"go", b.Go + " " + b.Platform}, {"kernels", b.Kernels},
			} {
				if row[1] == "" {
					continue
				}
				if _, err := fmt.Fprintf(c.App.Writer, "%-9s %s\n", row[0], row[1]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}
