package eval

import (
	"fmt"
	"strings"

	"github.com/phi3conv/phi3conv/internal/sample"
	"github.com/phi3conv/phi3conv/verify"
)

// Limit is a figure of a quantized model against the original that a threshold limits.
type Limit struct {
	Name  string // "max-acc-drop", …
	Usage string // what the limit is of
	of    func(p *pairs) sample.Statistic
}

// Limits returns all limits. Each is greater than 0 and less than 1.
func Limits() []Limit {
	return []Limit{
		{"max-acc-drop", "share of right answers that the quantized model has less than the original",
			func(p *pairs) sample.Statistic { return p.differences[0].Negated() }},
		{"max-flips", "share of the answers that turned from right to wrong or from wrong to right",
			func(p *pairs) sample.Statistic { return p.flips }},
	}
}

// Check is the test of one threshold for one model.
type Check struct {
	Model string `json:"model"`
	verify.Threshold
	Measured verify.Estimate `json:"measured"`
	Outcome  verify.Outcome  `json:"outcome"`
	// Enough is the number of questions, like those asked, that would decide what is
	// undecided: 0 if that is more than 10 million, or if it is decided.
	Enough int `json:"enough,omitempty"`
}

// Verdict is the outcome of all checks: fail if one fails, pass if all pass.
type Verdict struct {
	Outcome   verify.Outcome `json:"outcome"`
	Questions int            `json:"questions"`
	Checks    []Check        `json:"checks"`
}

const (
	leastQuestions = 30  // below, the theory of the intervals does not hold
	mostQuestions  = 1e7 // that anybody would ask
)

// Validate returns an error if there is no limit of that name, or if it could never be
// missed or never be kept.
func Validate(t verify.Threshold) error {
	if _, err := limitNamed(t.Name); err != nil {
		return err
	}
	if !(t.Limit > 0 && t.Limit < 1) {
		return fmt.Errorf("%s is %v, want a number between 0 and 1", t.Name, t.Limit)
	}
	return nil
}

func limitNamed(name string) (Limit, error) {
	var names []string
	for _, l := range Limits() {
		if l.Name == name {
			return l, nil
		}
		names = append(names, l.Name)
	}
	return Limit{}, fmt.Errorf("unknown threshold %q, want one of %s", name, strings.Join(names, ", "))
}

// Judge tests the thresholds on every model of the report, which must have a base model, and
// sets its verdict.
func (r *Report) Judge(thresholds []verify.Threshold) error {
	if r.Base == nil {
		return fmt.Errorf("thresholds need a base model to compare with")
	}
	v := Verdict{Outcome: verify.Pass, Questions: r.Task.Questions, Checks: []Check{}}
	for i := range r.Models {
		m := &r.Models[i]
		p := pairsOf(r.Base.Answers, m.Answers)
		for _, t := range thresholds {
			if err := Validate(t); err != nil {
				return err
			}
			l, _ := limitNamed(t.Name)
			s := l.of(&p)
			c := Check{Model: m.Name, Threshold: t, Measured: estimate(s), Outcome: decide(t.Limit, s, s.Count())}
			if c.Outcome == verify.Undecided {
				c.Enough = sample.LeastNumber(max(leastQuestions, s.Count()), mostQuestions,
					func(n int) bool { return decide(t.Limit, s, n) != verify.Undecided })
			}
			v.Checks = append(v.Checks, c)
			if c.Outcome == verify.Fail || v.Outcome == verify.Pass {
				v.Outcome = c.Outcome
			}
		}
	}
	r.Verdict = &v
	return nil
}

// decide tests a limit as n questions like those of the statistic would, with 95 % confidence
// (one-sided).
func decide(limit float64, s sample.Statistic, n int) verify.Outcome {
	if n < leastQuestions {
		return verify.Undecided
	}
	switch low, high := s.Interval(sample.Z95, n); {
	case high <= limit:
		return verify.Pass
	case low > limit:
		return verify.Fail
	}
	return verify.Undecided
}
