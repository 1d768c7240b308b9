package htmlreport

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

// verdictOf says in plain words what the report found.
func verdictOf(r *verify.Report) *banner {
	u := &r.Summary
	evidence := fmt.Sprintf("On %s tokens of %s, the mean KL divergence from the original is %s. Both models find "+
		"the same token likeliest %s %% of the time, and the perplexity is %s.",
		humanize.Comma(int64(u.Count)), plural(len(r.Texts), "text"), meanKLD(r), plusMinus(u.SameTop.Times(100)),
		change(u.PPLRatio, "the original's"))
	outcome := r.Outcome()
	if outcome == "" {
		return &banner{"none", "no limits", "Measured, not judged: no limits were given.",
			append(r.Warnings(), evidence)}
	}
	lines := r.Warnings()
	if damaged(r) {
		lines = append(lines, "Weights: "+r.Weights.String()+".")
	}
	lines = append(lines, missed(r.Verdict)...)
	if r.Baseline != nil {
		lines = append(lines, baselineLines(r.Baseline)...)
	}
	return &banner{string(outcome), badge(outcome), verdictWord(r, outcome), append(lines, evidence)}
}

// damaged reports whether weights are unlike the original's.
func damaged(r *verify.Report) bool { return r.Weights != nil && len(r.Weights.Unlike) > 0 }

// missed says which limits were missed, and which are undecided. There may be no verdict.
func missed(v *verify.Verdict) []string {
	if v == nil {
		return nil
	}
	var lines []string
	for i := range v.Checks {
		c := newCheck(&v.Checks[i], v.Tokens)
		switch v.Checks[i].Outcome {
		case verify.Fail:
			lines = append(lines, fmt.Sprintf("%s: %s, should be %s %s.", c.What, c.Value, c.Bound, c.Limit))
		case verify.Undecided:
			lines = append(lines, c.What+": "+v.Checks[i].Explain(v.Tokens)+".")
		}
	}
	return lines
}

// verdictWord is the outcome in a sentence.
func verdictWord(r *verify.Report, outcome verify.Outcome) string {
	limits, failed, undecided := 0, 0, 0
	if r.Verdict != nil {
		limits = len(r.Verdict.Checks)
		for _, c := range r.Verdict.Checks {
			switch c.Outcome {
			case verify.Fail:
				failed++
			case verify.Undecided:
				undecided++
			}
		}
	}
	n := plural(limits, "limit")
	switch {
	case damaged(r):
		return "✗ Not good enough: weights are damaged."
	case r.FailsSeen() && failed == 0:
		return "✗ Not good enough: measured on what it was calibrated with."
	case outcome == verify.Fail && failed == 0:
		return "✗ Not good enough: worse than the baseline."
	case outcome == verify.Fail && undecided > 0:
		return fmt.Sprintf("✗ Not good enough: of %s %d missed, %d undecided.", n, failed, undecided)
	case outcome == verify.Fail:
		return fmt.Sprintf("✗ Not good enough: %d of %s missed.", failed, n)
	case outcome == verify.Pass && limits == 0:
		return "✓ Good enough: not worse than the baseline."
	case outcome == verify.Pass && r.Baseline != nil:
		return "✓ Good enough: " + all(limits) + " kept, and it is not worse than the baseline."
	case outcome == verify.Pass:
		return "✓ Good enough: " + all(limits) + " kept."
	case undecided == 0:
		return "? Not enough tokens to tell whether it is worse than the baseline."
	}
	return fmt.Sprintf("? Not measured well enough to tell: %d of %s undecided.", undecided, n)
}

func all(n int) string {
	if n == 1 {
		return "the limit is"
	}
	return fmt.Sprintf("all %d limits are", n)
}

// overall counts the verdicts of several reports.
func overall(reports []*verify.Report) *banner {
	count := map[verify.Outcome]int{}
	judged := 0
	for _, r := range reports {
		if o := r.Outcome(); o != "" {
			count[o]++
			judged++
		}
	}
	b := &banner{Tone: "none", Word: "Measured, not judged: no limits were given."}
	switch {
	case judged == 0:
	case count[verify.Fail] > 0:
		b.Tone, b.Word = "fail", fmt.Sprintf("✗ %d of %d models are not good enough.", count[verify.Fail], len(reports))
	case count[verify.Undecided] > 0:
		b.Tone, b.Word = "undecided", fmt.Sprintf("? Not measured well enough to tell for %d of %d models.",
			count[verify.Undecided], len(reports))
	case judged == len(reports):
		b.Tone, b.Word = "pass", fmt.Sprintf("✓ All %d models are good enough.", judged)
	default:
		b.Word = fmt.Sprintf("%d of %d models were judged, all of them good enough.", judged, len(reports))
	}
	if judged > 0 {
		b.Lines = []string{fmt.Sprintf("%d passed, %d failed, %d undecided.", count[verify.Pass], count[verify.Fail],
			count[verify.Undecided])}
	}
	return b
}

func badge(o verify.Outcome) string {
	switch o {
	case verify.Pass:
		return "✓ pass"
	case verify.Fail:
		return "✗ fail"
	}
	return "? undecided"
}
