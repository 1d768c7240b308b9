package main

import (
	"os"
	"path/filepath"

	"github.com/phi3conv/phi3conv/internal/job/batch"
	"github.com/urfave/cli/v2"
)

func batchEmitCommand() *cli.Command {
	var cluster batch.Cluster
	return &cli.Command{
		Name:      "emit",
		Usage:     "print what a cluster's engine takes to start workers",
		ArgsUsage: "ENGINE JOBS.yaml",
		Description: `ENGINE is kubernetes, for an Indexed Job, or slurm, for a script that submits an array and a
report. Memory is the most that a step is known to need.

   phi3conv batch emit kubernetes jobs.yaml --image registry/phi3conv:1 | kubectl apply -f -
   phi3conv batch emit slurm jobs.yaml --workers 8 | sh`,
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "name", Value: "phi3conv-batch", Destination: &cluster.Name,
				Usage: "`NAME` of the jobs"},
			&cli.IntFlag{Name: "workers", Value: 4, Destination: &cluster.Workers, Usage: "`N` workers"},
			&cli.IntFlag{Name: "cpus", Value: 4, Destination: &cluster.CPUs, Usage: "`N` CPUs of each"},
			leaseFlag(&cluster.Lease),
			dirFlag(),
			&cli.StringFlag{Name: "image", Destination: &cluster.Image, Usage: "`IMAGE` with the program (kubernetes)"},
			&cli.StringFlag{Name: "service-account", Destination: &cluster.Account,
				Usage: "`NAME` of the workers' account (kubernetes)", DefaultText: "that of the namespace"},
			&cli.StringFlag{Name: "secret", Destination: &cluster.Secret, DefaultText: "none",
				Usage: "`NAME` of a secret with the workers' environment, such as keys for S3 (kubernetes)"},
			&cli.StringFlag{Name: "volume", Destination: &cluster.Volume, DefaultText: "none",
				Usage: "`NAME` of a PersistentVolumeClaim with the paths in JOBS.yaml (kubernetes)"},
			&cli.StringFlag{Name: "schedule", Destination: &cluster.Schedule, DefaultText: "once, now",
				Usage: "run again by a `SCHEDULE` of cron, such as \"0 3 * * 0\" (kubernetes)"},
		},
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return usagef("batch emit takes an ENGINE and JOBS.yaml, got %d arguments", c.NArg())
			}
			s, err := batch.Read(c.Args().Get(1), c.String("dir"))
			if err != nil {
				return err
			}
			p, err := batch.Now(c.Context, s, batch.Find, batch.PinNow)
			if err != nil {
				return err
			}
			if cluster.File, err = filepath.Abs(c.Args().Get(1)); err != nil {
				return err
			}
			if dir := c.String("dir"); dir != "" {
				if cluster.Dir, err = filepath.Abs(dir); err != nil {
					return err
				}
			}
			content, err := os.ReadFile(cluster.File)
			if err != nil {
				return err
			}
			cluster.Content = string(content)
			return batch.Emit(c.App.Writer, c.Args().First(), p, cluster)
		},
	}
}
