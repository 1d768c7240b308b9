package verify

import (
	"fmt"

	"github.com/phi3conv/phi3conv/internal/report"
)

// Cells formats the limit, and what was measured: value, standard error and interval, empty where
// nothing is uncertain.
func (c *Check) Cells() (limit string, measured []string) {
	m, err := metricNamed(c.Name)
	if err != nil || !m.Size {
		limit, measured = fmt.Sprint(c.Limit), c.Measured.Cells()
	} else {
		limit, measured = bytesOf(int64(c.Limit)), []string{bytesOf(int64(c.Measured.Value)), "", "", ""}
	}
	if c.Measured.SE == 0 && c.Measured.Low == c.Measured.High { // nothing is uncertain
		measured = []string{measured[0], "", "", ""}
	}
	return limit, measured
}

// failure is what JUnit shows of the check, nil if it passed. words say the outcome.
func (c *Check) failure(words string) *report.Failure {
	if c.Outcome == Pass {
		return nil
	}
	limit, measured := c.Cells()
	return report.NotKept(string(c.Outcome), words, limit, measured[0], measured[1])
}

// Explain says the outcome in words; tokens is how many were measured.
func (c *Check) Explain(tokens int) string {
	n, of := tokens, "tokens"
	if c.Runs > 0 {
		n, of = c.Runs, "runs"
	}
	switch {
	case c.Note != "":
		return string(c.Outcome) + ": " + c.Note
	case c.Outcome != Undecided:
		return string(c.Outcome)
	case c.Enough > 0:
		return fmt.Sprintf("not enough %s to tell: about %d would be, here are %d", of, c.Enough, n)
	}
	return fmt.Sprintf("too close to the limit to tell, however many %s; here are %d", of, n)
}
