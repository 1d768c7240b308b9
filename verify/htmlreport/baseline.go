package htmlreport

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

// comparedTo is the comparison with a baseline.
type comparedTo struct {
	Figures, Costs, Layers *table // the last two may be nil
}

// baselineLines say how the report compares with its baseline, and what is undecided.
func baselineLines(b *verify.Baseline) []string {
	count := map[verify.Change]int{}
	var lines []string
	for _, c := range b.Checks {
		count[c.Change]++
		if c.Change == verify.Unknown {
			lines = append(lines, fmt.Sprintf("Change of %s: %s.", figureName(c.Name), c.Explain(b.Tokens)))
		}
	}
	return append([]string{fmt.Sprintf("Against the baseline %s, of %s: %d worse, %d better, %d the same, %d "+
		"undecided.", visible(b.Quant.Name), plural(len(b.Checks), "figure"),
		count[verify.Worse], count[verify.Better], count[verify.Same], count[verify.Unknown])}, lines...)
}

// figureNames are those of the other tables.
var figureNames = map[string]string{"kld": "KLD mean, nats", "kld-p99": "KLD p99, nats", "ln-ppl": "ln PPL",
	"top1": "same top token, share"}

func figureName(name string) string { return cmp.Or(figureNames[name], visible(name)) }

var badges = map[verify.Change]string{verify.Worse: "✗ worse", verify.Better: "✓ better", verify.Same: "✓ the same",
	verify.Unknown: "? undecided"}

// newBaseline returns the tables of the comparison with a baseline, nil without one.
func newBaseline(b *verify.Baseline) *comparedTo {
	if b == nil {
		return nil
	}
	figures := &table{Caption: fmt.Sprintf("Changes since %s (SHA-256 %s), on the same %s tokens",
		visible(b.Quant.Name), visible(b.Quant.SHA256), humanize.Comma(int64(b.Tokens))),
		Head: []string{"figure", "result", "allowed", "baseline", "now", "change", "± SE", "95 % from", "to"}, Text: 2}
	for _, c := range b.Checks {
		se := c.Difference.SE
		row := []string{figureName(c.Name), badges[c.Change], fmt.Sprint(c.Allowed), verify.Digits(c.Baseline, se),
			verify.Digits(c.Now, se)}
		figures.Rows = append(figures.Rows, append(row, c.Difference.Cells()...))
	}
	list := &comparedTo{Figures: figures}
	if len(b.Layers) > 0 {
		list.Layers = &table{Caption: "KL divergence that layers add alone, where it has changed; the greatest " +
			"growth first", Head: []string{"layer", "baseline", "now", "change"}, Text: 1}
		for _, l := range b.Layers {
			list.Layers.Rows = append(list.Layers.Rows,
				[]string{l.Name, short(l.Baseline), short(l.Now), short(l.Now - l.Baseline)})
		}
	}
	if len(b.Costs) > 0 {
		list.Costs = &table{Caption: "Size and speed since the baseline, not judged",
			Head: []string{"", "baseline", "now", "change"}, Text: 1}
		for _, c := range b.Costs {
			name, bytes := strings.CutSuffix(c.Name, ", bytes")
			row := []string{name}
			for _, e := range []verify.Estimate{c.Baseline, c.Now, c.Difference} {
				row = append(row, costText(e, bytes))
			}
			list.Costs.Rows = append(list.Costs.Rows, row)
		}
	}
	return list
}

// costText is a figure with its error, if it has one.
func costText(e verify.Estimate, bytes bool) string {
	switch {
	case e.SE != 0:
		return plusMinus(e)
	case bytes && e.Value < 0:
		return "-" + sizeText(int64(-e.Value))
	case bytes && e.Value > 0:
		return sizeText(int64(e.Value))
	}
	return strconv.FormatFloat(math.Round(1000*e.Value)/1000, 'f', -1, 64)
}
