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
type windowFlags struct {
	windows verifyjob.Windows
	texts   cli.StringSlice
}

func (f *windowFlags) flags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "text", Aliases: []string{"f", "file"}, Destination: &f.texts,
			Usage: "`FILE` with text to predict; - for standard input"},
		&cli.IntFlag{Name: "ctx-size", Aliases: []string{"c"}, Value: 512, Destination: &f.windows.Context,
			Usage: "windows of `N` tokens"},
		&cli.IntFlag{Name: "stride", Destination: &f.windows.Stride,
			Usage:       "begin a window every `N` tokens: windows overlap and every token is scored once",
			DefaultText: "off: windows follow each other and their second halves are scored"},
		&cli.IntFlag{Name: "chunks", Usage: "use at most `N` windows of each text", DefaultText: "all",
			Destination: &f.windows.Max},
	}
}

// options returns what the flags ask for. given has the names of those on the command line.
func (f *windowFlags) options(given []string) (verifyjob.Windows, error) {
	w := f.windows
	switch {
	case w.Context < 4:
		return w, usagef("--ctx-size is %d, expected at least 4", w.Context)
	case w.Max < 0:
		return w, usagef("--chunks is %d, expected 0 or more", w.Max)
	case slices.Contains(given, "stride") && (w.Stride < 1 || w.Stride > w.Context):
		return w, usagef("--stride is %d, expected 1 to --ctx-size, %d", w.Stride, w.Context)
	}
	return w, nil
}

// requirementFlags say what reports must fulfil: limits, and the comparison with a baseline.
type requirementFlags struct {
	thresholds string
	numbers    []float64 // of verify.Metrics
	sizes      []string  // of those that are sizes
	strict     bool
	baseline   string
	allowed    cli.StringSlice
}

func (f *requirementFlags) thresholdsFlag() cli.Flag {
	return &cli.StringFlag{Name: "thresholds", Destination: &f.thresholds,
		Usage: "YAML `FILE` with limits, such as max-kld: 0.05; a flag counts more than the file"}
}

func (f *requirementFlags) strictFlag() cli.Flag {
	return &cli.BoolFlag{Name: "strict", Destination: &f.strict,
		Usage: "fail if a text is, whole or in part, what QUANT was calibrated with; without this it is a warning"}
}

// limitFlags are one flag for each metric.
func (f *requirementFlags) limitFlags() []cli.Flag {
	metrics := verify.Metrics()
	f.numbers, f.sizes = make([]float64, len(metrics)), make([]string, len(metrics))
	var flags []cli.Flag
	for i, m := range metrics {
		usage := "limit `X` of the " + m.Usage
		if m.Size {
			flags = append(flags, &cli.StringFlag{Name: m.Name, Usage: usage, DefaultText: "none",
				Destination: &f.sizes[i]})
		} else {
			flags = append(flags, &cli.Float64Flag{Name: m.Name, Usage: usage, DefaultText: "none",
				Destination: &f.numbers[i]})
		}
	}
	return flags
}

// limits collects the thresholds of flags and file; a flag replaces the file's. given has the names of the flags
// on the command line.
func (f *requirementFlags) limits(given []string) ([]verify.Threshold, error) {
	var all []verify.Threshold
	for i, m := range verify.Metrics() {
		if !slices.Contains(given, m.Name) {
			continue
		}
		t := verify.Threshold{Name: m.Name, Limit: f.numbers[i]}
		if m.Size {
			var err error
			if t.Limit, err = verify.ParseSize(f.sizes[i]); err != nil {
				return nil, usagef("--%s is %w", m.Name, err)
			}
		}
		if err := t.Validate(); err != nil {
			return nil, usagef("--%w", err)
		}
		all = append(all, t)
	}
	if f.thresholds == "" {
		return all, nil
	}
	data, err := os.ReadFile(f.thresholds)
	if err != nil {
		return nil, err
	}
	file, err := verify.ReadThresholds(f.thresholds, data)
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
func (f *requirementFlags) baselineFlags() []cli.Flag {
	var figures []string
	for _, x := range verify.Figures() {
		figures = append(figures, fmt.Sprintf("%s, %s", x.Name, x.Usage))
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "baseline", Destination: &f.baseline,
			Usage: "compare with the report in `FILE`, written by --report " +
				"for the same original, texts and tokens; a significant worsening fails"},
		&cli.StringSliceFlag{Name: "max-regression", Destination: &f.allowed,
			Usage: "`FIGURE=WORSENING` that is allowed against the baseline, in the figure's unit, such as " +
				"kld=0.001. With 0, the default, a worsening fails if it is certain by 95 %; with more, it must be " +
				"certain by 95 % that there is not more. Figures: " + strings.Join(figures, "; ")},
	}
}

// options returns what the flags ask for. given has the names of those on the command line.
func (f *requirementFlags) options(given []string) (r verifyjob.Requirements, err error) {
	r.Strict, r.Baseline = f.strict, f.baseline
	if r.Thresholds, err = f.limits(given); err != nil {
		return r, err
	}
	for _, text := range f.allowed.Value() {
		t, err := verify.ParseAllowed(text)
		if err != nil {
			return r, usagef("--max-regression is %w", err)
		}
		r.Allowed = append(r.Allowed, t)
	}
	if len(r.Allowed) > 0 && r.Baseline == "" {
		return r, usagef("--max-regression needs --baseline")
	}
	return r, nil
}
