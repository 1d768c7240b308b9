package main

import (
	"fmt"
	"os"
	"slices"
	"strings"

	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// windowFlags say which tokens are scored, and after what.
func windowFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "text", Aliases: []string{"f"},
			Usage: "`FILE` with text to predict"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Value: 512, Usage: "windows of `N` tokens"},
		&cli.IntFlag{Name: "stride",
			Usage:       "begin a window every `N` tokens: windows overlap and every token is scored once",
			DefaultText: "off: windows follow each other and their second halves are scored"},
		&cli.IntFlag{Name: "chunks", Usage: "use at most `N` windows of each text", DefaultText: "all"},
	}
}

// windowOptions reads windowFlags.
func windowOptions(c *cli.Context) (w verifyjob.Windows, err error) {
	w = verifyjob.Windows{Context: c.Int("ctx-size"), Stride: c.Int("stride"), Max: c.Int("chunks")}
	switch {
	case w.Context < 4:
		return w, usagef("--ctx-size is %d, expected at least 4", w.Context)
	case w.Max < 0:
		return w, usagef("--chunks and --worst cannot be negative")
	case c.IsSet("stride") && (w.Stride < 1 || w.Stride > w.Context):
		return w, usagef("--stride is %d, expected 1 to --ctx-size, %d", w.Stride, w.Context)
	}
	return w, nil
}

func thresholdsFlag() cli.Flag {
	return &cli.StringFlag{Name: "thresholds",
		Usage: "YAML `FILE` with limits, such as max-kld: 0.05; a flag counts more than the file"}
}

// limitFlags are one flag for each metric.
func limitFlags() []cli.Flag {
	var flags []cli.Flag
	for _, m := range verify.Metrics() {
		usage := "limit `X` of the " + m.Usage
		if m.Size {
			flags = append(flags, &cli.StringFlag{Name: m.Name, Usage: usage, DefaultText: "none"})
		} else {
			flags = append(flags, &cli.Float64Flag{Name: m.Name, Usage: usage, DefaultText: "none"})
		}
	}
	return flags
}

// limits collects the thresholds of flags and file; a flag replaces the file's.
func limits(c *cli.Context) ([]verify.Threshold, error) {
	var all []verify.Threshold
	for _, m := range verify.Metrics() {
		if !c.IsSet(m.Name) {
			continue
		}
		t := verify.Threshold{Name: m.Name}
		var err error
		if m.Size {
			if t.Limit, err = verify.ParseSize(c.String(m.Name)); err != nil {
				return nil, usagef("--%s is %w", m.Name, err)
			}
		} else {
			t.Limit = c.Float64(m.Name)
		}
		if err := t.Validate(); err != nil {
			return nil, usagef("--%w", err)
		}
		all = append(all, t)
	}
	path := c.String("thresholds")
	if path == "" {
		return all, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	file, err := verify.ReadThresholds(path, data)
	if err != nil {
		return nil, err
	}
	for _, t := range file {
		if !slices.ContainsFunc(all, func(a verify.Threshold) bool { return a.Name == t.Name }) {
			all = append(all, t)
		}
	}
	return all, nil
}

// baselineFlags compare the reports with earlier ones.
func baselineFlags() []cli.Flag {
	var figures []string
	for _, f := range verify.Figures() {
		figures = append(figures, fmt.Sprintf("%s, %s", f.Name, f.Usage))
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "baseline", Usage: "compare with the report in `FILE`, written by --report " +
			"for the same original, texts and tokens; a significant worsening fails"},
		&cli.StringSliceFlag{Name: "max-regression",
			Usage: "`FIGURE=WORSENING` that is allowed against the baseline, in the figure's unit, such as " +
				"kld=0.001. With 0, the default, a worsening fails if it is certain by 95 %; with more, it must be " +
				"certain by 95 % that there is not more. Figures: " + strings.Join(figures, "; ")},
	}
}

// requirements reads limitFlags, thresholdsFlag and baselineFlags.
func requirements(c *cli.Context) (r verifyjob.Requirements, err error) {
	r.Baseline = c.String("baseline")
	if r.Thresholds, err = limits(c); err != nil {
		return r, err
	}
	for _, text := range c.StringSlice("max-regression") {
		t, err := verify.ParseAllowed(text)
		if err != nil {
			return r, usagef("--max-regression is %w", err)
		}
		r.Allowed = append(r.Allowed, t)
	}
	if len(r.Allowed) > 0 && !c.IsSet("baseline") {
		return r, usagef("--max-regression needs --baseline")
	}
	return r, nil
}
