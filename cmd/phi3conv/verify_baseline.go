package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/urfave/cli/v2"
)

// baselineFlags compare the reports with earlier ones.
func baselineFlags() []cli.Flag {
	var figures strings.Builder
	for i, f := range verify.Figures() {
		if i > 0 {
			figures.WriteString("; ")
		}
		fmt.Fprintf(&figures, "%s, %s", f.Name, f.Usage)
	}
	return []cli.Flag{
		&cli.StringFlag{Name: "baseline", Usage: "compare with the report in `FILE`, written by --report for the same original, texts and tokens; a significant worsening fails"},
		&cli.StringSliceFlag{Name: "max-regression", Usage: "`FIGURE=WORSENING` to allow against the baseline, in the figure's unit, such as kld=0.001; may be given several times. Figures: " +
			figures.String(), DefaultText: "0 each: a worsening that is certain by 95 % fails; if more is allowed, it must be certain that there is not more"},
	}
}

// allowedRegressions reads --max-regression.
func allowedRegressions(c *cli.Context) ([]verify.Threshold, error) {
	var list []verify.Threshold
	for _, text := range c.StringSlice("max-regression") {
		t, err := verify.ParseAllowed(text)
		if err != nil {
			return nil, usagef("--max-regression is %w", err)
		}
		list = append(list, t)
	}
	if len(list) > 0 && !c.IsSet("baseline") {
		return nil, usagef("--max-regression needs --baseline")
	}
	return list, nil
}

// compareBaseline compares each report with that of the baseline's, and with check set tells only whether
// that could be done.
func compareBaseline(c *cli.Context, list verify.Reports, check bool) error {
	allowed, err := allowedRegressions(c)
	if err != nil {
		return err
	}
	path := c.String("baseline")
	if path == "" {
		return nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	old, err := verify.ReadReports(path, data)
	if err != nil {
		return err
	}
	for _, r := range list {
		b, err := baselineOf(r, old, len(list) == 1)
		if err == nil && check {
			err = r.Stale(b)
		} else if err == nil {
			err = r.Compare(b, allowed)
		}
		if err != nil {
			return &formats.Error{Path: path, Off: -1, Err: err}
		}
	}
	return nil
}

// baselineOf finds the report of the same name, or the only one if there is only one now too.
func baselineOf(r *verify.Report, old verify.Reports, single bool) (*verify.Report, error) {
	if single && len(old) == 1 {
		return old[0], nil
	}
	var found *verify.Report
	for _, b := range old {
		if b.Quant.Name == r.Quant.Name {
			if found != nil {
				return nil, fmt.Errorf("two reports on %s", r.Quant.Name)
			}
			found = b
		}
	}
	if found == nil {
		return nil, fmt.Errorf("no report on %s", r.Quant.Name)
	}
	return found, nil
}

// checkBaseline finds a stale baseline before anything is evaluated.
func (v *verification) checkBaseline() error {
	if !v.c.IsSet("baseline") {
		return nil
	}
	if v.shard != nil {
		return usagef("--baseline is for all parts together: give it to verify merge, not to a --shard")
	}
	list, err := v.reports() // waits until the models are described
	if err != nil {
		return err
	}
	return compareBaseline(v.c, list, true)
}
