package htmlreport

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/plot"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

// figure is a plot with the sentence that says how to read it and the numbers in it.
type figure struct {
	Title   string
	SVG     template.HTML
	Caption string
	Numbers *table // may be nil
}

// modelFigures are drawn for each quantized model, in this order. One that has nothing to show is nil.
var modelFigures = []func(*verify.Report) *figure{distribution, byLayer, byContext, byText}

// distribution shows how often which KLD occurs: a histogram, or the percentiles
// where the report does not have the positions.
func distribution(r *verify.Report) *figure {
	if len(r.Positions) == 0 {
		return percentiles(r)
	}
	const width = 0.125 // decades
	first, last := math.MaxInt, math.MinInt
	counts := map[int]int{}
	for _, p := range r.Positions {
		if finite(p.KLD) {
			k := int(math.Floor(math.Log10(max(p.KLD, floor)) / width))
			counts[k]++
			first, last = min(first, k), max(last, k)
		}
	}
	if len(counts) == 0 {
		return nil
	}
	c := newChart(r.KLDName()+" of a token, nats (logarithmic)", "tokens, %")
	c.X.Log = true
	numbers := &table{Caption: "Tokens by their KL divergence",
		Head: []string{"from, nats", "to", "tokens", "share, %"}}
	most := 0.0
	for k := first; k <= last; k++ {
		share := 100 * float64(counts[k]) / float64(len(r.Positions))
		low, high := math.Pow(10, float64(k)*width), math.Pow(10, float64(k+1)*width)
		if share > 0 {
			c.Box(quantPaint, plot.Point{X: low}, plot.Point{X: high, Y: share})
			numbers.Rows = append(numbers.Rows, []string{fmt.Sprintf("%.2g", low),
				fmt.Sprintf("%.2g", high), humanize.Comma(int64(counts[k])),
				short(share)})
		}
		most = max(most, share)
		c.Tip(plot.Point{X: low}, plot.Point{X: high, Y: math.Inf(1)},
			fmt.Sprintf("%.2g to %.2g nats: %s tokens, %.2g %%", low, high, humanize.Comma(int64(counts[k])), share))
	}
	c.Y.Min = 0
	u := &r.Summary
	var marked []guide
	for _, m := range []guide{{"median", u.KLDMedian.Value}, {"mean", u.KLD.Value}, {"99 %", u.KLD99.Value}} {
		if at := max(m.x, floor); finite(m.x) && at == c.X.Inside(at) {
			marked = append(marked, guide{fmt.Sprintf("%s %.3g", m.name, m.x), at})
		}
	}
	c.guides(marked, most)
	svg := c.svg(fmt.Sprintf("Histogram of the KL divergence of %d tokens: median %s, mean %s, 99th percentile %s nats",
		len(r.Positions), short(u.KLDMedian.Value), short(u.KLD.Value), short(u.KLD99.Value)))
	return &figure{"How far single predictions moved", svg,
		"Each bar counts the tokens whose KL divergence lies in its range; further right is worse, and a long tail " +
			"on the right means that a few predictions are far off although most are close.", numbers}
}

// percentiles shows which share of the tokens exceeds which KLD.
func percentiles(r *verify.Report) *figure {
	u := &r.Summary
	numbers := &table{Caption: "KL divergence that a share of the tokens exceeds",
		Head: []string{"tokens above", r.KLDName() + ", nats", "95 % from", "to"}}
	c := newChart(r.KLDName()+" of a token, nats (logarithmic)", "tokens above, % (logarithmic)")
	c.X.Log, c.Y.Log = true, true
	var points []plot.Point
	for _, q := range []struct {
		above float64
		e     verify.Estimate
	}{{50, u.KLDMedian}, {10, u.KLD90}, {5, u.KLD95}, {1, u.KLD99}, {0.1, u.KLD999}} {
		if !finite(q.e.Value) {
			continue
		}
		p := plot.Point{X: max(q.e.Value, floor), Y: q.above}
		points = append(points, p)
		c.span(solid, true, p, logged(q.e))
		cells := q.e.Cells()
		numbers.Rows = append(numbers.Rows, []string{short(q.above) + " %", cells[0], cells[2], cells[3]})
		c.PointTip(p, fmt.Sprintf("%s %% of the tokens exceed %s nats", short(q.above), cells[0]))
	}
	if len(points) == 0 {
		return nil
	}
	c.Line(solid, points...)
	c.Dots(quantPaint, true, points...)
	c.X.Widen(0.1)
	c.Y.Min, c.Y.Max = 0.07, 80
	svg := c.svg("Percentiles of the KL divergence")
	return &figure{"How far single predictions moved", svg,
		"Each point says which share of the tokens exceeds a KL divergence; the bars are 95 % confidence intervals, " +
			"and a curve that falls slowly on the right means that a few predictions are far off although most are " +
			"close.", numbers}
}

// byContext shows the mean KLD by the number of tokens that the models saw before.
func byContext(r *verify.Report) *figure {
	groups := known(r.ByContext)
	if len(groups) == 0 {
		return nil
	}
	c := newChart("tokens seen before, from", "mean "+r.KLDName()+", nats")
	for i, g := range groups {
		from, _, _ := strings.Cut(g.Name, "-")
		c.X.Ticks = append(c.X.Ticks, plot.Tick{At: float64(i), Label: clip(from, 60)})
		c.tip(float64(i), g.KLD.Value, 0.4, math.Inf(1), "%s tokens before: %s", clip(g.Name, wholeWidth),
			plusMinus(g.KLD))
	}
	if m := r.Summary.KLD.Value; finite(m) {
		c.Line(dashed, plot.Point{X: -0.5, Y: m}, plot.Point{X: float64(len(groups)) - 0.5, Y: m})
	}
	c.estimates(false, klds(groups))
	c.X.Min, c.X.Max = -0.5, float64(len(groups))-0.5
	c.Y.Min = 0
	c.Y.Max *= 1.05
	svg := c.svg(fmt.Sprintf("Mean KL divergence in %d groups of positions in the window", len(groups)))
	return &figure{"By position in the context", svg,
		"Points that rise from left to right mean that errors grow with the length of the context; the bars are " +
			"95 % confidence intervals, the dashed line is the mean of all tokens.",
		groupTable("KL divergence by tokens seen before", "tokens before", r.KLDName(), r.ByContext)}
}

// byText shows the mean KLD of each text, if there are several.
func byText(r *verify.Report) *figure {
	groups := known(r.ByText)
	if len(r.ByText) < 2 || len(groups) == 0 {
		return nil
	}
	c := newChart("mean "+r.KLDName()+", nats", "")
	var names []string
	for i, g := range groups {
		names = append(names, g.Name)
		c.tip(g.KLD.Value, -float64(i), math.Inf(1), 0.4, "%s: %s", clip(g.Name, wholeWidth), plusMinus(g.KLD))
	}
	if m := r.Summary.KLD.Value; finite(m) {
		c.Line(dashed, plot.Point{X: m, Y: 0.5}, plot.Point{X: m, Y: 0.5 - float64(len(names))})
	}
	c.estimates(true, klds(groups))
	c.rows(names)
	c.X.Min = 0
	c.X.Max *= 1.05
	svg := c.svg(fmt.Sprintf("Mean KL divergence of %d texts", len(names)))
	return &figure{"By text", svg,
		"A text whose bar, its 95 % confidence interval, lies clear to the right of the dashed mean of all is one " +
			"on which the quantized model keeps less to the original than on the others.",
		groupTable("KL divergence by text", "text", r.KLDName(), r.ByText)}
}

// known leaves out groups without a mean KLD.
func known(groups []verify.Group) []verify.Group {
	return slices.DeleteFunc(slices.Clone(groups), func(g verify.Group) bool { return !finite(g.KLD.Value) })
}

func klds(groups []verify.Group) []verify.Estimate {
	e := make([]verify.Estimate, len(groups))
	for i, g := range groups {
		e[i] = g.KLD
	}
	return e
}

// groupTable has the numbers of groups.
func groupTable(caption, head, kld string, groups []verify.Group) *table {
	t := &table{Caption: caption, Text: 1,
		Head: []string{head, "tokens", "PPL ratio", kld + " mean", kld + " p99", "same top, %"}}
	for _, g := range groups {
		row := []string{g.Name, humanize.Comma(int64(g.Count))}
		for _, e := range []verify.Estimate{g.PPLRatio, g.KLD, g.KLD99, g.SameTop.Times(100)} {
			row = append(row, plusMinus(e))
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}
