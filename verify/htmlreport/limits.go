package htmlreport

import (
	"fmt"
	"math"
	"strings"

	"github.com/phi3conv/phi3conv/verify"
)

func newCheck(c *verify.Check, tokens int) check {
	limit, m := c.Cells()
	k := check{
		Tone: string(c.Outcome), Badge: badge(c.Outcome), Name: visible(c.Name), What: visible(c.Name),
		Bound: "at most", Limit: limit,
		Value: m[0], SE: m[1], Low: m[2], High: m[3], Gauge: newGauge(c, limit, m),
	}
	if atLeast(c) {
		k.Bound = "at least"
	}
	for _, m := range verify.Metrics() {
		if m.Name == c.Name {
			k.What = capital(m.Usage)
			if m.Size { // how to write the limit is of no interest here
				k.What, _, _ = strings.Cut(k.What, ",")
			}
		}
	}
	if c.Outcome == verify.Undecided {
		k.Words = capital(c.Explain(tokens)) + "."
	}
	return k
}

func atLeast(c *verify.Check) bool { return strings.HasPrefix(c.Name, "min-") }

// newGauge lays the interval of a check out beside its limit. It is nil if there is no value.
func newGauge(c *verify.Check, limit string, measured []string) *gauge {
	e := c.Measured
	if !finite(e.Value, c.Limit) {
		return nil
	}
	low, high := min(e.Value, c.Limit), max(e.Value, c.Limit)
	if finite(e.Low, e.High) {
		low, high = min(low, e.Low), max(high, e.High)
	}
	pad := 0.15 * (high - low)
	if pad == 0 {
		pad = 1
	}
	low, high = low-pad, high+pad
	at := func(x float64) float64 { return 100 * (min(max(x, low), high) - low) / (high - low) }
	between := func(a, b float64) extent { return extent{percentText(a), percentText(b - a)} }
	g := &gauge{Value: percentText(at(e.Value)), Limit: percentText(at(c.Limit)), LimitText: limit, Anchor: "middle"}
	g.Allowed = between(0, at(c.Limit))
	if atLeast(c) {
		g.Allowed = between(at(c.Limit), 100)
	}
	if at(c.Limit) < 15 {
		g.Anchor = "start"
	} else if at(c.Limit) > 85 {
		g.Anchor = "end"
	}
	if !math.IsNaN(e.Low) && !math.IsNaN(e.High) {
		s := between(at(e.Low), at(e.High)) // an infinite bound is at the edge
		g.Span = &s
	}
	g.Description = fmt.Sprintf("measured %s, limit %s", measured[0], limit)
	if measured[2] != "" {
		g.Description = fmt.Sprintf("measured %s, 95 %% interval %s to %s, limit %s", measured[0], measured[2],
			measured[3], limit)
	}
	return g
}
