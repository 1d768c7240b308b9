package verify

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/sample"
	"go.yaml.in/yaml/v3"
)

// Outcome of a threshold or of a verdict.
type Outcome string

// Outcomes. A threshold passes or fails where the figures of the tokens say so
// with 95 % confidence (one-sided).
const (
	Pass      Outcome = "pass"
	Fail      Outcome = "fail"
	Undecided Outcome = "undecided" // not enough tokens to tell
)

// Source says what a metric is a figure of.
type Source int

// Sources.
const (
	OfPredictions Source = iota
	OfSpeed              // the quantized model on this machine, [Report.Performance]
	OfFile               // the quantized model's file
)

// Metric is a figure that a threshold limits.
type Metric struct {
	Name   string // "max-kld", "min-top1", …
	Usage  string // what the limit is of
	Source Source
	Size   bool // in bytes: limits may be written like 2GiB

	// A limit is greater than above and less than below.
	above, below float64
	of           func(r *Report) sample.Statistic
}

// Metrics returns all metrics.
func Metrics() []Metric { return slices.Clone(metrics) }

var inf = math.Inf(1)

var metrics = []Metric{
	{Name: "max-kld", Usage: "mean KL divergence, in nats", below: inf,
		of: func(r *Report) sample.Statistic { return sample.Positive{Mean: meanOf(r.Positions, kld)} }},
	{Name: "max-kld-median", Usage: "median of the KL divergence", below: inf, of: kldQuantile(0.5)},
	{Name: "max-kld-p90", Usage: "KL divergence that 90 % of the tokens do not exceed", below: inf,
		of: kldQuantile(0.9)},
	{Name: "max-kld-p95", Usage: "KL divergence that 95 % of the tokens do not exceed", below: inf,
		of: kldQuantile(0.95)},
	{Name: "max-kld-p99", Usage: "KL divergence that 99 % of the tokens do not exceed", below: inf,
		of: kldQuantile(0.99)},
	{Name: "max-kld-p99.9", Usage: "KL divergence that 99.9 % of the tokens do not exceed", below: inf,
		of: kldQuantile(0.999)},
	{Name: "min-top1", Usage: "share of the tokens for which both models find the same token likeliest", below: 1,
		of: func(r *Report) sample.Statistic { return shareOf(r.Positions, sameTop, 1) }},
	{Name: "min-top5", Usage: "mean share of the original's five likeliest tokens that are among the quantized " +
		"model's five", below: 1,
		of: func(r *Report) sample.Statistic { return shareOf(r.Positions, top5, TopK) }},
	{Name: "max-ppl", Usage: "perplexity of the quantized model", above: 1, below: inf,
		of: func(r *Report) sample.Statistic { return sample.Exponential{Mean: meanOf(r.Positions, quantNLL)} }},
	{Name: "max-ppl-ratio", Usage: "perplexity of the quantized model over that of the original", below: inf,
		of: func(r *Report) sample.Statistic { return sample.Exponential{Mean: meanOf(r.Positions, lnRatio)} }},
	{Name: "max-rms-dp", Usage: "root mean square of the change in probability of the token that comes, from 0 to 1",
		below: 1,
		of:    func(r *Report) sample.Statistic { return sample.Root{Mean: meanOf(r.Positions, squaredDeltaP)} }},

	{Name: "min-tg", Usage: "tokens a second, one by one", Source: OfSpeed, below: inf,
		of: func(r *Report) sample.Statistic {
			return runsOf(r.Performance.Quant.Runs, func(s *SpeedRun) float64 { return s.TG })
		}},
	{Name: "min-pp", Usage: "tokens a second of a prompt", Source: OfSpeed, below: inf,
		of: func(r *Report) sample.Statistic {
			return runsOf(r.Performance.Quant.Runs, func(s *SpeedRun) float64 { return s.PP })
		}},
	{Name: "max-load", Usage: "time until the weights are in memory, in seconds", Source: OfSpeed, below: inf,
		of: func(r *Report) sample.Statistic {
			return runsOf(r.Performance.Quant.Runs, func(s *SpeedRun) float64 { return s.Load })
		}},
	{Name: "max-rss", Usage: "peak of the resident memory, in bytes or such as 2GiB", Source: OfSpeed, Size: true,
		below: inf,
		of:    func(r *Report) sample.Statistic { return sample.Exact(r.Performance.Quant.RSS) }},
	{Name: "max-size", Usage: "size of the files with weights, in bytes or such as 2GiB", Source: OfFile, Size: true,
		below: inf,
		of:    func(r *Report) sample.Statistic { return sample.Exact(r.Quant.FileBytes) }},
	{Name: "max-bpw", Usage: "bits per weight", Source: OfFile, below: inf,
		of: func(r *Report) sample.Statistic { return sample.Exact(r.Quant.BitsPerWeight) }},
}

func kldQuantile(q float64) func(r *Report) sample.Statistic {
	return func(r *Report) sample.Statistic { return sample.QuantileOf(sorted(r.Positions, kld), q) }
}

// Threshold is a limit for the metric of that name.
type Threshold struct {
	Name  string  `json:"name"`
	Limit float64 `json:"limit"`
}

// Validate returns an error if there is no such metric, or if its limit could
// never be missed or never be kept.
func (t Threshold) Validate() error {
	m, err := metricNamed(t.Name)
	if err != nil {
		return err
	}
	return m.validate(t.Limit)
}

func metricNamed(name string) (Metric, error) {
	names := make([]string, len(metrics))
	for i, m := range metrics {
		if m.Name == name {
			return m, nil
		}
		names[i] = m.Name
	}
	return Metric{}, fmt.Errorf("unknown threshold %q, want one of %s", name, strings.Join(names, ", "))
}

func (m Metric) validate(limit float64) error {
	switch {
	case limit > m.above && limit < m.below:
		return nil
	case m.below == 1:
		return fmt.Errorf("%s is %v, want a number between %v and 1", m.Name, limit, m.above)
	}
	return fmt.Errorf("%s is %v, want a finite number greater than %v", m.Name, limit, m.above)
}

// ReadThresholds reads a YAML mapping of names to limits, in its order. The path
// is for errors, which are of type [formats.Error] and name the line.
func ReadThresholds(path string, data []byte) ([]Threshold, error) {
	refuse := func(n *yaml.Node, format string, a ...any) error {
		return formats.FileErrorf(path, -1, "line %d: %v", n.Line, fmt.Errorf(format, a...))
	}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); err != nil && err != io.EOF {
		return nil, formats.WrapFile(err, path, "")
	}
	if len(doc.Content) == 0 {
		return nil, formats.FileErrorf(path, -1, `no thresholds, want lines such as "max-kld: 0.05"`)
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode || len(root.Content) == 0 {
		return nil, refuse(root, `want lines such as "max-kld: 0.05"`)
	}
	var list []Threshold
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		m, err := metricNamed(key.Value)
		if err != nil {
			return nil, refuse(key, "%v", err)
		}
		if slices.ContainsFunc(list, func(t Threshold) bool { return t.Name == m.Name }) {
			return nil, refuse(key, "%s is there twice", m.Name)
		}
		var limit float64
		if tag := value.ShortTag(); m.Size && tag == "!!str" {
			if limit, err = ParseSize(value.Value); err != nil {
				return nil, refuse(value, "%s is %w", m.Name, err)
			}
		} else if tag != "!!float" && tag != "!!int" || value.Decode(&limit) != nil {
			return nil, refuse(value, "%s is %q, want a number", m.Name, value.Value)
		}
		if err := m.validate(limit); err != nil {
			return nil, refuse(value, "%v", err)
		}
		list = append(list, Threshold{m.Name, limit})
	}
	switch err := d.Decode(&more); {
	case err == io.EOF:
		return list, nil
	case err != nil:
		return nil, formats.WrapFile(err, path, "")
	}
	return nil, refuse(&more, "a second YAML document, want one")
}

// ParseSize reads a number of bytes such as 2GiB, 500MB or 1000000.
func ParseSize(text string) (float64, error) {
	n, err := humanize.ParseBytes(text)
	if err != nil {
		return 0, fmt.Errorf("%q, want a size such as 2GiB", text)
	}
	return float64(n), nil
}

// Check is the test of one threshold.
type Check struct {
	Threshold
	Measured Estimate `json:"measured"`
	Outcome  Outcome  `json:"outcome"`
	// Enough is the number of tokens, like those measured, that would decide what
	// is undecided: 0 if that is more than 100 million, or if it is decided.
	Enough int `json:"enough,omitempty"`
	// Note says what else there is to say of the check.
	Note string `json:"note,omitempty"`
	// Runs is the number of times that speed was measured, in a check of that. Enough
	// counts such runs then.
	Runs int `json:"runs,omitempty"`
}

// Verdict is the outcome of all checks: fail if one fails, pass if all pass.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Tokens  int     `json:"tokens"` // that were measured
	Checks  []Check `json:"checks"`
}

const (
	leastTokens = 30  // below, the theory of the intervals does not hold
	leastRuns   = 2   // below, there is no deviation
	most        = 1e8 // tokens or runs that anybody would measure
)

// Judge tests thresholds of predictions on the positions.
func Judge(p []Position, thresholds []Threshold) (Verdict, error) {
	return (&Report{Positions: p}).judge(thresholds, OfPredictions)
}

// Judge tests the thresholds on the report, which has positions and, for thresholds
// of speed, Performance, and sets its Verdict.
func (r *Report) Judge(thresholds []Threshold) error {
	v, err := r.judge(thresholds, r.sources()...)
	if err != nil {
		return err
	}
	r.Verdict = &v
	return nil
}

// sources returns what the report has figures of.
func (r *Report) sources() []Source {
	if r.Performance == nil {
		return []Source{OfPredictions, OfFile}
	}
	return []Source{OfPredictions, OfFile, OfSpeed}
}

// judge tests thresholds, which must be of these sources.
func (r *Report) judge(thresholds []Threshold, sources ...Source) (Verdict, error) {
	v := Verdict{Outcome: Pass, Tokens: len(r.Positions), Checks: []Check{}}
	for _, t := range thresholds {
		m, err := metricNamed(t.Name)
		if err == nil {
			err = m.validate(t.Limit)
		}
		if err == nil && !slices.Contains(sources, m.Source) {
			err = fmt.Errorf("%s limits what was not measured", t.Name)
		}
		if err != nil {
			return Verdict{}, err
		}
		if m.Name == "max-rss" && r.Performance.Quant.RSS == 0 {
			return Verdict{}, errors.New("max-rss cannot be tested: this system does not tell how much memory a " +
				"program took")
		}
		s := m.of(r)
		c := Check{Threshold: t, Measured: estimate(s), Outcome: decide(t, s, s.Count())}
		if _, is := s.(sample.Few); is {
			c.Runs = s.Count()
		}
		if c.Outcome == Undecided {
			c.Enough = enough(t, s)
		}
		v.Checks = append(v.Checks, c)
		if c.Outcome == Fail || v.Outcome == Pass {
			v.Outcome = c.Outcome
		}
	}
	return v, nil
}

// least returns how many tokens or runs must have been measured before anything is decided.
func least(s sample.Statistic) int {
	switch s.(type) {
	case sample.Exact:
		return 0
	case sample.Few:
		return leastRuns
	}
	return leastTokens
}

// decide tests a threshold as n tokens, or runs, like those of the statistic would.
func decide(t Threshold, s sample.Statistic, n int) Outcome {
	if n < least(s) {
		return Undecided
	}
	low, high := s.Interval(sample.Z95, n)
	if strings.HasPrefix(t.Name, "min-") { // turn the axis round
		low, high, t.Limit = -high, -low, -t.Limit
	}
	switch {
	case high <= t.Limit:
		return Pass
	case low > t.Limit:
		return Fail
	}
	return Undecided
}

// enough returns the least number of tokens, or runs, that would decide an undecided
// threshold, 0 if there is none up to most.
func enough(t Threshold, s sample.Statistic) int {
	if s.Count() == 0 {
		return least(s)
	}
	return sample.LeastNumber(max(least(s), s.Count()), most, func(n int) bool { return decide(t, s, n) != Undecided })
}
