package verify

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
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

// Metric is a figure that a threshold limits.
type Metric struct {
	Name  string // "max-kld", "min-top1", …
	Usage string // what the limit is of

	// A limit is greater than above and less than below.
	above, below float64
	of           func([]Position) statistic
}

// Metrics returns all metrics.
func Metrics() []Metric { return slices.Clone(metrics) }

var metrics = []Metric{
	{"max-kld", "mean KL divergence, in nats", 0, math.Inf(1),
		func(p []Position) statistic { return positive{meanOf(p, kld)} }},
	{"max-kld-median", "median of the KL divergence", 0, math.Inf(1), kldQuantile(0.5)},
	{"max-kld-p90", "KL divergence that 90 % of the tokens do not exceed", 0, math.Inf(1), kldQuantile(0.9)},
	{"max-kld-p95", "KL divergence that 95 % of the tokens do not exceed", 0, math.Inf(1), kldQuantile(0.95)},
	{"max-kld-p99", "KL divergence that 99 % of the tokens do not exceed", 0, math.Inf(1), kldQuantile(0.99)},
	{"max-kld-p99.9", "KL divergence that 99.9 % of the tokens do not exceed", 0, math.Inf(1), kldQuantile(0.999)},
	{"min-top1", "share of the tokens for which both models find the same token likeliest", 0, 1,
		func(p []Position) statistic { return shareOf(p, sameTop, 1) }},
	{"min-top5", "mean share of the original's five likeliest tokens that are among the quantized model's five", 0, 1,
		func(p []Position) statistic { return shareOf(p, top5, TopK) }},
	{"max-ppl", "perplexity of the quantized model", 1, math.Inf(1),
		func(p []Position) statistic { return exponential{meanOf(p, quantNLL)} }},
	{"max-ppl-ratio", "perplexity of the quantized model over that of the original", 0, math.Inf(1),
		func(p []Position) statistic { return exponential{meanOf(p, lnRatio)} }},
	{"max-rms-dp", "root mean square of the change in probability of the token that comes, from 0 to 1", 0, 1,
		func(p []Position) statistic { return root{meanOf(p, squaredDeltaP)} }},
}

func kldQuantile(q float64) func([]Position) statistic {
	return func(p []Position) statistic { return quantile{sorted(p, kld), q} }
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
		return &formats.Error{Path: path, Off: -1, What: fmt.Sprintf("line %d: ", n.Line) + fmt.Sprintf(format, a...)}
	}
	var doc, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	if err := d.Decode(&doc); err != nil && err != io.EOF {
		return nil, &formats.Error{Path: path, Off: -1, Err: err}
	}
	if len(doc.Content) == 0 {
		return nil, &formats.Error{Path: path, Off: -1, What: `no thresholds, want lines such as "max-kld: 0.05"`}
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
		if tag := value.ShortTag(); tag != "!!float" && tag != "!!int" || value.Decode(&limit) != nil {
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
		return nil, &formats.Error{Path: path, Off: -1, Err: err}
	}
	return nil, refuse(&more, "a second YAML document, want one")
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
}

// Verdict is the outcome of all checks: fail if one fails, pass if all pass.
type Verdict struct {
	Outcome Outcome `json:"outcome"`
	Tokens  int     `json:"tokens"` // that were measured
	Checks  []Check `json:"checks"`
}

const (
	leastTokens = 30  // below, the theory of the intervals does not hold
	mostTokens  = 1e8 // that anybody would measure
)

// Judge tests the thresholds on the positions.
func Judge(p []Position, thresholds []Threshold) (Verdict, error) {
	v := Verdict{Outcome: Pass, Tokens: len(p), Checks: []Check{}}
	for _, t := range thresholds {
		m, err := metricNamed(t.Name)
		if err == nil {
			err = m.validate(t.Limit)
		}
		if err != nil {
			return Verdict{}, err
		}
		s := m.of(p)
		c := Check{Threshold: t, Measured: estimate(s), Outcome: decide(t, s, len(p))}
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

// decide tests a threshold as n tokens like those of the statistic would.
func decide(t Threshold, s statistic, n int) Outcome {
	if n < leastTokens {
		return Undecided
	}
	low, high := s.interval(z95, n)
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

// enough returns the least number of tokens that would decide an undecided
// threshold, 0 if there is none up to mostTokens.
func enough(t Threshold, s statistic) int {
	if s.count() == 0 {
		return leastTokens
	}
	// Double until it is decided, then halve the step.
	n := max(leastTokens, s.count())
	for decide(t, s, n) == Undecided {
		if n *= 2; n > mostTokens {
			return 0
		}
	}
	low := n / 2
	for n-low > max(1, n/100) { // to 1 %
		if middle := (low + n) / 2; decide(t, s, middle) == Undecided {
			low = middle
		} else {
			n = middle
		}
	}
	return n
}
