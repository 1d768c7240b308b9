package htmlreport

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

// baselineLine says in a sentence how the report compares with its baseline.
func baselineLine(b *verify.Baseline) string {
	count := map[verify.Change]int{}
	for _, c := range b.Checks {
		count[c.Change]++
	}
	line := fmt.Sprintf("Against the baseline %s, of %s: ", visible(b.Quant.Name), plural(len(b.Checks), "figure"))
	return line + fmt.Sprintf("%d worse, %d better, %d the same, %d undecided.", count[verify.Worse], count[verify.Better], count[verify.Same], count[verify.Unknown])
}

// baselineTables are the tables of the comparison with a baseline, none without one.
func baselineTables(b *verify.Baseline) []*table {
	if b == nil {
		return nil
	}
	usage := map[string]string{}
	for _, f := range verify.Figures() {
		usage[f.Name] = f.Usage
	}
	figures := &table{Caption: fmt.Sprintf("Changes since %s (SHA-256 %s), on the same %s tokens", visible(b.Quant.Name), visible(b.Quant.SHA256), humanize.Comma(int64(b.Tokens))),
		Head: []string{"figure", "result", "allowed", "baseline", "now", "change", "± SE", "95 % from", "to"}, Text: 2}
	for _, c := range b.Checks {
		name := c.Name
		if u := usage[c.Name]; u != "" {
			name += ": " + u
		}
		se := c.Difference.SE
		row := []string{name, badges[c.Change], fmt.Sprint(c.Allowed), verify.Digits(c.Baseline, se), verify.Digits(c.Now, se)}
		if c.Change == verify.Unknown && c.Enough > 0 {
			row[1] += fmt.Sprintf(", about %s tokens would tell", humanize.Comma(int64(c.Enough)))
		}
		figures.Rows = append(figures.Rows, append(row, numberCells(c.Difference)...))
	}
	list := []*table{figures}
	if len(b.Layers) > 0 {
		t := &table{Caption: "KL divergence of layers whose weights have changed since the baseline", Head: []string{"layer", "baseline", "now"}, Text: 1}
		for _, l := range b.Layers {
			t.Rows = append(t.Rows, []string{l.Name, short(l.Baseline), short(l.Now)})
		}
		list = append(list, t)
	}
	if len(b.Costs) > 0 {
		t := &table{Caption: "Size and speed since the baseline, not judged", Head: []string{"", "baseline", "now", "change"}, Text: 1}
		for _, c := range b.Costs {
			t.Rows = append(t.Rows, []string{c.Name, costText(c.Baseline), costText(c.Now), costText(c.Difference)})
		}
		list = append(list, t)
	}
	return list
}

var badges = map[verify.Change]string{verify.Worse: "✗ worse", verify.Better: "✓ better", verify.Same: "✓ the same", verify.Unknown: "? undecided"}

// costText is a figure with its error, if it has one.
func costText(e verify.Estimate) string {
	if e.SE == 0 {
		return fmt.Sprintf("%.15g", e.Value)
	}
	return plusMinus(e)
}
