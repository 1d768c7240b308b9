package verify

import "strings"

// JudgeSealed tests the thresholds on a comparison with a seal. A limit of the mean KLD fails if
// the proven lower bounds exceed it, else the estimate of the KLD decides. Of a KLD's
// percentiles a seal has lower bounds alone: limits of these can fail and never pass. All else is
// known as with the original.
func JudgeSealed(p []Bounded, thresholds []Threshold) (Verdict, error) {
	positions := positionsOf(p)
	v := Verdict{Outcome: Pass, Tokens: len(p), Checks: []Check{}}
	for _, t := range thresholds {
		one, err := Judge(positions, []Threshold{t})
		if err != nil {
			return Verdict{}, err
		}
		c := one.Checks[0]
		if strings.HasPrefix(t.Name, "max-kld") {
			if c, err = judgeKLD(p, c); err != nil {
				return Verdict{}, err
			}
		}
		v.Checks = append(v.Checks, c)
		if c.Outcome == Fail || v.Outcome == Pass {
			v.Outcome = c.Outcome
		}
	}
	return v, nil
}

// JudgeSealed is [Report.Judge] for a report of these positions, by the function JudgeSealed.
func (r *Report) JudgeSealed(p []Bounded, thresholds []Threshold) error {
	all := Verdict{Outcome: Pass, Tokens: len(p), Checks: []Check{}}
	for _, t := range thresholds {
		m, err := metricNamed(t.Name)
		if err != nil {
			return err
		}
		var v Verdict
		if m.Source == OfPredictions {
			v, err = JudgeSealed(p, []Threshold{t})
		} else {
			v, err = r.judge([]Threshold{t}, r.sources()...)
		}
		if err != nil {
			return err
		}
		all.Checks = append(all.Checks, v.Checks...)
		if v.Outcome == Fail || all.Outcome == Pass {
			all.Outcome = v.Outcome
		}
	}
	r.Verdict = &all
	return nil
}

// judgeKLD turns the check of the lower bounds into one of the KLD.
func judgeKLD(p []Bounded, bounds Check) (Check, error) {
	if bounds.Outcome == Fail {
		bounds.Note = "proven: this is the lower bound"
		return bounds, nil
	}
	c := Check{Threshold: bounds.Threshold, Outcome: Undecided}
	if c.Name != "max-kld" {
		c.Measured = bounds.Measured
		c.Note = "not applicable: a seal gives lower bounds of this alone"
		return c, nil
	}
	estimated, err := Judge(estimatedPositions(p), []Threshold{c.Threshold})
	if err != nil {
		return Check{}, err
	}
	return estimated.Checks[0], nil
}
