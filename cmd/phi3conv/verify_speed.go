package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/job/bench"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// Tests of speed, as llama-bench's.
const (
	speedPrompt = 512
	speedGen    = 128
)

// ofSpeed reports whether the threshold needs a measurement of speed.
func ofSpeed(t verify.Threshold) bool {
	return slices.ContainsFunc(verify.Metrics(), func(m verify.Metric) bool { return m.Name == t.Name && m.Source == verify.OfSpeed })
}

// addSpeed measures the performance of the reports' models if that was asked for, or if a threshold needs it.
func addSpeed(c *cli.Context, list verify.Reports, thresholds []verify.Threshold, base string, quants []string, opt runtime.Options) error {
	if !c.Bool("speed") && !slices.ContainsFunc(thresholds, ofSpeed) {
		return nil
	}
	speeds, err := measureSpeed(c, base, quants, opt)
	if err != nil {
		return err
	}
	for i, r := range list {
		r.Performance = &speeds[i]
	}
	return nil
}

// measureSpeed measures the models in turns, as often as --repetitions says, and returns the performance
// of each quantized model. Each measurement is a program of its own, so that load time and peak memory are that
// model's alone. base is "" if the original is not there.
func measureSpeed(c *cli.Context, base string, quants []string, opt runtime.Options) ([]verify.Performance, error) {
	type model struct {
		path  string
		runs  []verify.SpeedRun
		bytes int64 // read for each token
	}
	models := make([]model, 0, 1+len(quants))
	for _, path := range append([]string{base}, quants...) {
		if path != "" {
			models = append(models, model{path: path})
		}
	}
	p := verify.Performance{Threads: cmp.Or(opt.Threads, runtime.DefaultThreads())}
	repetitions := c.Int("repetitions")
	bar := newCounter(c.App.ErrWriter, "measuring speed", int64(repetitions*len(models)))
	defer bar.done()
	for i := range repetitions {
		for k := range models {
			m := &models[k]
			pp, tg, err := benchOnce(c.Context, m.path, p.Threads, opt)
			if err != nil {
				return nil, fmt.Errorf("measuring the speed of %s: %w", m.path, err)
			}
			m.runs = append(m.runs, verify.SpeedRun{PP: pp.Avg, TG: tg.Avg, Load: tg.Load, RSS: tg.Peak})
			m.bytes = tg.Read
			p.Bandwidth += tg.Bandwidth / float64(repetitions*len(models))
			bar.set(int64(i*len(models) + k + 1))
		}
	}
	if base != "" {
		s := verify.NewSpeed(models[0].runs, models[0].bytes, p.Bandwidth)
		p.Base = &s
		models = models[1:]
	}
	all := make([]verify.Performance, len(models))
	for k, m := range models {
		all[k] = p
		all[k].Quant = verify.NewSpeed(m.runs, m.bytes, p.Bandwidth)
	}
	return all, nil
}

// benchOnce runs this program's bench command and returns its measurements of a prompt and of
// decoding.
func benchOnce(ctx context.Context, path string, threads int, opt runtime.Options) (pp, tg bench.Result, err error) {
	program, err := os.Executable()
	if err != nil {
		return pp, tg, err
	}
	args := []string{"bench", "--json", "-r", "1", "-p", strconv.Itoa(speedPrompt), "-n", strconv.Itoa(speedGen),
		"-t", strconv.Itoa(threads), "--cache-type", opt.Cache.String()}
	if opt.Float32 {
		args = append(args, "--f32")
	}
	if opt.NoRepack {
		args = append(args, "--no-repack")
	}
	cmd := exec.CommandContext(ctx, program, append(args, "--", path)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return pp, tg, ctx.Err()
	}
	if err != nil {
		return pp, tg, fmt.Errorf("%w: %s", err, strings.TrimSpace(stderr.String()))
	}
	var list []bench.Result
	if err := json.Unmarshal(out, &list); err != nil {
		return pp, tg, err
	}
	if len(list) != 2 {
		return pp, tg, fmt.Errorf("%s, expected 2", plural(len(list), "measurement"))
	}
	return list[0], list[1], nil
}
