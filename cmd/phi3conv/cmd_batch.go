package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/job/batch"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/objects"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/urfave/cli/v2"
)

func batchCommand() *cli.Command {
	return &cli.Command{
		Name:  "batch",
		Usage: "make, check and publish many models, on any number of machines",
		Description: `JOBS.yaml says which models are made with which types and methods, how they are checked and
where they are published; docs/batch.md describes it. Each step is known by a hash of all that it
depends on. Its outputs are kept in the store that JOBS.yaml names, and it is done once: what is
interrupted goes on, workers share what there is to do, and what a lost worker had is taken over.

   phi3conv batch plan jobs.yaml      # what would be done
   phi3conv batch run jobs.yaml       # do it; on any number of machines at the same time
   phi3conv batch report jobs.yaml    # KL divergence, size, limits of all files`,
		Subcommands: []*cli.Command{
			batchRunCommand(), batchPlanCommand(), batchStatusCommand(), batchReportCommand(), batchEmitCommand(),
		},
		Action: func(c *cli.Context) error {
			return usagef("batch takes a command: run, plan, status, report or emit")
		},
	}
}

// dirFlag is a flag of all commands that read a batch file.
func dirFlag() cli.Flag {
	return &cli.StringFlag{Name: "dir", DefaultText: "its own directory",
		Usage: "paths in JOBS.yaml are relative to `DIR`"}
}

// readBatch reads the one argument of a command, a batch file.
func readBatch(c *cli.Context) (*batch.Spec, error) {
	if c.NArg() != 1 {
		return nil, usagef("batch %s takes one JOBS.yaml, got %d arguments", c.Command.Name, c.NArg())
	}
	return batch.Read(c.Args().First(), c.String("dir"))
}

// openBatch returns the plan that workers have begun, and the store.
func openBatch(c *cli.Context) (*batch.Plan, objects.Store, error) {
	s, err := readBatch(c)
	if err != nil {
		return nil, nil, err
	}
	store, err := batch.OpenStore(c.Context, s.Store)
	if err != nil {
		return nil, nil, err
	}
	p, err := batch.Last(c.Context, s, store, batch.Find, batch.PinNow)
	return p, store, err
}

func batchPlanCommand() *cli.Command {
	return &cli.Command{
		Name:      "plan",
		Usage:     "print the steps of a batch and their commands",
		ArgsUsage: "JOBS.yaml",
		Description: `Prints the command of each step, in an order in which they could be done. ID/FILE is the output
of the step with that ID. Nothing is done, and the store is not asked.`,
		Flags: []cli.Flag{dirFlag(), &cli.BoolFlag{Name: "json", Usage: "print JSON"}},
		Action: func(c *cli.Context) error {
			s, err := readBatch(c)
			if err != nil {
				return err
			}
			p, err := batch.Now(c.Context, s, batch.Find, batch.PinNow)
			if err != nil {
				return err
			}
			status := p.Undone()
			if c.Bool("json") {
				return report.Print(c.App.Writer, true, status)
			}
			for _, s := range status.Steps {
				if _, err := fmt.Fprintf(c.App.Writer, "%s  %s\n", s.ID[:8], strings.Join(s.Command, " ")); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func batchStatusCommand() *cli.Command {
	return &cli.Command{
		Name:      "status",
		Usage:     "print how far the steps of a batch are",
		ArgsUsage: "JOBS.yaml",
		Flags:     []cli.Flag{dirFlag(), &cli.BoolFlag{Name: "json", Usage: "print JSON"}},
		Action: func(c *cli.Context) error {
			p, store, err := openBatch(c)
			if err != nil {
				return err
			}
			status, err := batch.Look(c.Context, p, store)
			if err != nil {
				return err
			}
			return report.Print(c.App.Writer, c.Bool("json"), status)
		},
	}
}

func leaseFlag(lease *time.Duration) cli.Flag {
	return &cli.DurationFlag{Name: "lease", Value: time.Minute, Destination: lease,
		Usage: "take a step over from a worker that has been silent for a `TIME`"}
}

func batchRunCommand() *cli.Command {
	opt := batch.Options{Exec: batch.Process, Copy: batch.CopyFile}
	if !startsItself {
		opt.Exec = runHere
	}
	return &cli.Command{
		Name:      "run",
		Usage:     "do the steps of a batch that are not done",
		ArgsUsage: "JOBS.yaml",
		Description: `Several of these, on any machines that reach the store, share the steps. It ends when there is
nothing left that can be done, with 1 if a step failed. A step whose command ends with 4 or is
killed is tried again; 1, 2 and 3 are final, and steps that need it are not done.

In arrays of Slurm and Indexed Jobs of Kubernetes, workers begin at different steps.`,
		Flags: []cli.Flag{
			dirFlag(),
			leaseFlag(&opt.Lease),
			&cli.IntFlag{Name: "attempts", Value: 3, Destination: &opt.Attempts,
				Usage: "try a step at most `N` times if it fails for a reason that may pass, or its worker is lost"},
			&cli.BoolFlag{Name: "retry-failed", Destination: &opt.Retry, Usage: "do steps again that failed"},
			&cli.BoolFlag{Name: "log-json", Usage: "print what happens as JSON lines on standard error"},
			&cli.BoolFlag{Name: "json", Usage: "print the status at the end as JSON"},
		},
		Action: func(c *cli.Context) error {
			if opt.Lease < time.Second || opt.Attempts < 1 {
				return usagef("--lease %s, --attempts %d: expected at least 1s and 1", opt.Lease, opt.Attempts)
			}
			s, err := readBatch(c)
			if err != nil {
				return err
			}
			if opt.Store, err = batch.OpenStore(c.Context, s.Store); err != nil {
				return err
			}
			opt.Build = versionString()
			opt.Index, _, _ = machine.ArrayIndex()
			host, err := os.Hostname()
			if err != nil {
				return err
			}
			opt.Worker = fmt.Sprintf("%s-%d", host, os.Getpid())
			opt.Event = func(e batch.Event) {
				e.Time, e.Worker = time.Now().UTC(), opt.Worker
				printEvent(c.App.ErrWriter, e, c.Bool("log-json"))
			}
			p, err := batch.Join(c.Context, s, opt.Store, batch.Find, batch.PinNow, opt.Event)
			if err != nil {
				return err
			}
			status, err := batch.Run(c.Context, p, opt)
			if err != nil {
				return err
			}
			if err := report.Print(c.App.Writer, c.Bool("json"), status); err != nil {
				return err
			}
			if status.Count[batch.Failed] > 0 {
				return failure.ErrCheck
			}
			return nil
		},
	}
}

// printEvent prints a line.
func printEvent(w io.Writer, e batch.Event, asJSON bool) {
	if asJSON {
		_ = json.NewEncoder(w).Encode(e) // as with all that is said on the way
		return
	}
	line := fmt.Sprintf("%s %s %s", e.Time.Local().Format(time.TimeOnly), e.Event, e.Name)
	if e.Seconds > 0 {
		line += fmt.Sprintf(" (%.1f s)", e.Seconds)
	}
	if e.Message != "" {
		line += ": " + report.Printable(e.Message)
	}
	_, _ = fmt.Fprintln(w, line)
}

func batchReportCommand() *cli.Command {
	var html, saved, against string
	var files output.Files
	return &cli.Command{
		Name:      "report",
		Usage:     "print what became of all files of a batch",
		ArgsUsage: "JOBS.yaml",
		Flags: []cli.Flag{
			dirFlag(),
			&cli.StringFlag{Name: "html", Destination: &html, Usage: "write a page to `FILE`"},
			&cli.StringFlag{Name: "report", Destination: &saved, Usage: "write the report to `FILE` as JSON"},
			&cli.StringFlag{Name: "against", Destination: &against,
				Usage: "show how the KL divergence has changed since the report in `FILE`, written by --report"},
			forceFlag(&files),
			&cli.BoolFlag{Name: "json", Usage: "print the report as JSON"},
		},
		Action: func(c *cli.Context) error {
			p, store, err := openBatch(c)
			if err != nil {
				return err
			}
			m := newMonitor(c.App.ErrWriter)
			if err := m.checkFiles(&files, []string{c.Args().First(), against},
				file("--html", &html, output.HTML), file("--report", &saved, output.JSON)); err != nil {
				return err
			}
			var before *batch.Report
			if against != "" {
				if before, err = batch.ReadReport(against); err != nil {
					return err
				}
			}
			r, err := batch.NewReport(c.Context, p, store, before)
			if err != nil {
				return err
			}
			if err := report.Print(c.App.Writer, c.Bool("json"), r); err != nil {
				return err
			}
			return r.Save(html, saved)
		},
	}
}
