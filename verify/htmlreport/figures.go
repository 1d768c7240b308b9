package htmlreport

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg/draw"

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
var modelFigures = []func(*verify.Report) (*figure, error){distribution, byLayer, byContext, byText}

// comparisons are drawn of all of them.
var comparisons = []func(verify.Reports) (*figure, error){sizes, decoding, prefill}

// floor is the least KLD that a logarithmic axis shows; float32 logits tell less nothing.
const floor = 1e-9

func log(x float64) float64 { return math.Log10(max(x, floor)) }

// distribution shows how often which KLD occurs: a histogram, or the percentiles
// where the report does not have the positions.
func distribution(r *verify.Report) (*figure, error) {
	if len(r.Positions) == 0 {
		return percentiles(r)
	}
	const width = 0.125 // decades
	first, last := math.MaxInt, math.MinInt
	counts := map[int]int{}
	for _, p := range r.Positions {
		if finite(p.KLD) {
			k := int(math.Floor(log(p.KLD) / width))
			counts[k]++
			first, last = min(first, k), max(last, k)
		}
	}
	if len(counts) == 0 {
		return nil, nil
	}
	c := newChart(r.KLDName()+" of a token, nats (logarithmic)", "tokens, %")
	c.X.Tick.Marker = logTicks{}
	h := &plotter.Histogram{Width: width, FillColor: quantPaint, LineStyle: draw.LineStyle{Color: surface, Width: 0.5}}
	most := 0.0
	for k := first; k <= last; k++ {
		share := 100 * float64(counts[k]) / float64(len(r.Positions))
		low, high := float64(k)*width, float64(k+1)*width
		h.Bins = append(h.Bins, plotter.HistogramBin{Min: low, Max: high, Weight: share})
		most = max(most, share)
		c.tip((low+high)/2, 0, width/2, math.Inf(1), "%.2g to %.2g nats: %s tokens, %.2g %%", math.Pow(10, low), math.Pow(10, high), humanize.Comma(int64(counts[k])), share)
	}
	c.Add(h)
	c.Y.Min = 0
	c.X.Min, c.X.Max = float64(first)*width, float64(last+1)*width
	u := &r.Summary
	var names []string
	var marked plotter.XYs
	for _, m := range []struct {
		name string
		at   float64
	}{{"median", u.KLDMedian.Value}, {"mean", u.KLD.Value}, {"99 %", u.KLD99.Value}} {
		if !finite(m.at) || log(m.at) < c.X.Min || log(m.at) > c.X.Max {
			continue
		}
		marked = append(marked, plotter.XY{X: log(m.at)})
		names = append(names, m.name+" "+short(m.at))
	}
	c.guides(names, marked, most)
	svg, err := c.svg(chartHeight, fmt.Sprintf("Histogram of the KL divergence of %d tokens: median %s, mean %s, 99th percentile %s nats",
		len(r.Positions), short(u.KLDMedian.Value), short(u.KLD.Value), short(u.KLD99.Value)))
	return &figure{"How far single predictions moved", svg,
		"Each bar counts the tokens whose KL divergence lies in its range; further right is worse, and a long tail on the right means that a few predictions are far off although most are close.", nil}, err
}

// percentiles shows which share of the tokens exceeds which KLD.
func percentiles(r *verify.Report) (*figure, error) {
	u := &r.Summary
	numbers := &table{Caption: "KL divergence that a share of the tokens exceeds", Head: []string{"tokens above", r.KLDName() + ", nats", "95 % from", "to"}}
	c := newChart(r.KLDName()+" of a token, nats (logarithmic)", "tokens above, % (logarithmic)")
	c.X.Tick.Marker, c.Y.Tick.Marker = logTicks{}, logTicks{}
	var points plotter.XYs
	for _, q := range []struct {
		above float64
		e     verify.Estimate
	}{{50, u.KLDMedian}, {10, u.KLD90}, {5, u.KLD95}, {1, u.KLD99}, {0.1, u.KLD999}} {
		if !finite(q.e.Value) {
			continue
		}
		p := plotter.XY{X: log(q.e.Value), Y: log(q.above)}
		points = append(points, p)
		c.span(quantPaint, true, p, logged(q.e))
		cells := numberCells(q.e)
		numbers.Rows = append(numbers.Rows, []string{short(q.above) + " %", cells[0], cells[2], cells[3]})
		c.tip(p.X, p.Y, 0.1, 0.2, "%s %% of the tokens exceed %s nats", short(q.above), cells[0])
	}
	if len(points) == 0 {
		return nil, nil
	}
	c.line(quantPaint, 1.5, nil, points...)
	c.dots(quantPaint, true, points...)
	widen(&c.X, 0.1)
	c.Y.Min, c.Y.Max = log(0.07), log(80)
	svg, err := c.svg(chartHeight, "Percentiles of the KL divergence")
	return &figure{"How far single predictions moved", svg,
		"Each point says which share of the tokens exceeds a KL divergence; the bars are 95 % confidence intervals, and a curve that falls slowly on the right means that a few predictions are far off although most are close.", numbers}, err
}

// byContext shows the mean KLD by the number of tokens that the models saw before.
func byContext(r *verify.Report) (*figure, error) {
	groups := known(r.ByContext)
	if len(groups) == 0 {
		return nil, nil
	}
	c := newChart("tokens seen before, from", "mean "+r.KLDName()+", nats")
	var ticks []plot.Tick
	for i, g := range groups {
		from, _, _ := strings.Cut(g.Name, "-")
		ticks = append(ticks, plot.Tick{Value: float64(i), Label: clip(from, 8)})
		c.tip(float64(i), g.KLD.Value, 0.4, math.Inf(1), "%s tokens before: %s", visible(g.Name), plusMinus(g.KLD))
	}
	c.X.Tick.Marker = plot.ConstantTicks(ticks)
	c.X.Min, c.X.Max = -0.5, float64(len(groups))-0.5
	if m := r.Summary.KLD.Value; finite(m) {
		c.line(mark, 1.2, dashed, plotter.XY{X: c.X.Min, Y: m}, plotter.XY{X: c.X.Max, Y: m})
	}
	c.estimates(quantPaint, false, klds(groups))
	c.Y.Min = 0
	c.Y.Max *= 1.05
	svg, err := c.svg(chartHeight, fmt.Sprintf("Mean KL divergence in %d groups of positions in the window", len(groups)))
	return &figure{"By position in the context", svg,
		"Points that rise from left to right mean that errors grow with the length of the context; the bars are 95 % confidence intervals, the dashed line is the mean of all tokens.",
		groupTable("KL divergence by tokens seen before", "tokens before", r.KLDName(), r.ByContext)}, err
}

// byText shows the mean KLD of each text, if there are several.
func byText(r *verify.Report) (*figure, error) {
	groups := known(r.ByText)
	if len(r.ByText) < 2 || len(groups) == 0 {
		return nil, nil
	}
	c := newChart("mean "+r.KLDName()+", nats", "")
	var names []string
	for i, g := range groups {
		names = append(names, g.Name)
		c.tip(g.KLD.Value, -float64(i), math.Inf(1), 0.4, "%s: %s", visible(g.Name), plusMinus(g.KLD))
	}
	if m := r.Summary.KLD.Value; finite(m) {
		c.line(mark, 1.2, dashed, plotter.XY{X: m, Y: 0.5}, plotter.XY{X: m, Y: 0.5 - float64(len(names))})
	}
	c.estimates(quantPaint, true, klds(groups))
	c.rows(names)
	c.X.Min = 0
	c.X.Max *= 1.05
	svg, err := c.svg(rowsHeight(len(names)), fmt.Sprintf("Mean KL divergence of %d texts", len(names)))
	return &figure{"By text", svg,
		"A text whose bar, its 95 % confidence interval, lies clear to the right of the dashed mean of all is one on which the quantized model keeps less to the original than on the others.",
		groupTable("KL divergence by text", "text", r.KLDName(), r.ByText)}, err
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

// sizes shows what a smaller file costs, with the Pareto front.
func sizes(reports verify.Reports) (*figure, error) {
	names, front := modelNames(reports), reports.Pareto()
	c := newChart("size of the file, MiB", "mean KLD, nats (logarithmic)")
	c.Y.Tick.Marker = logTicks{}
	var points, line plotter.XYs
	for i, r := range reports {
		k, size := r.Summary.KLD, r.Quant.FileBytes
		if !finite(k.Value) || size <= 0 {
			continue
		}
		p := plotter.XY{X: float64(size) / (1 << 20), Y: log(k.Value)}
		points = append(points, p)
		if front[i] {
			line = append(line, p)
		}
		c.span(quantPaint, false, p, logged(k))
		c.dots(quantPaint, front[i], p)
		name := clip(names[i], 18)
		if b := r.Quant.BitsPerWeight; b > 0 && finite(b) {
			name += fmt.Sprintf(", %.1f bpw", b)
		}
		c.text(p, name, label(ink, text.XLeft, text.YCenter), 7, 0)
		c.tip(p.X, p.Y, 0, 0, "%s: %s, KLD %s", visible(names[i]), sizeText(size), plusMinus(k))
	}
	if len(points) < 2 {
		return nil, nil
	}
	slices.SortFunc(line, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
	c.line(mark, 1.2, dashed, line...)
	widen(&c.X, 0.08)
	widen(&c.Y, 0.08)
	for i := range c.tips {
		t := &c.tips[i]
		dx, dy := 0.02*(c.X.Max-c.X.Min), 0.03*(c.Y.Max-c.Y.Min)
		t.x0, t.x1, t.y0, t.y1 = t.x0-dx, t.x1+dx, t.y0-dy, t.y1+dy
	}
	svg, err := c.svg(chartHeight, fmt.Sprintf("File size against mean KL divergence of %d models", len(points)))
	return &figure{"Size against quality", svg,
		"Lower and further left is better. Filled points on the dashed line are the Pareto front: no other model here is both smaller and closer to the original.", nil}, err
}

func decoding(reports verify.Reports) (*figure, error) {
	return speeds(reports, "Decoding speed", "tokens a second, one by one",
		"Longer is faster: tokens a second when answering, one at a time; the models ran in turns on the same machine.",
		func(s verify.Speed) verify.Estimate { return s.TG })
}

func prefill(reports verify.Reports) (*figure, error) {
	return speeds(reports, "Reading speed", "tokens a second of a prompt",
		"Longer is faster: tokens a second when reading a prompt; the models ran in turns on the same machine.",
		func(s verify.Speed) verify.Estimate { return s.PP })
}

func speeds(reports verify.Reports, title, axis, caption string, of func(verify.Speed) verify.Estimate) (*figure, error) {
	var names []string
	var e []verify.Estimate
	base := map[int]bool{}          // bars of an original
	var originals []verify.Estimate // of which all models have the same
	c := newChart(axis, "")
	numbers := &table{Caption: title, Head: []string{"model", "tokens a second", "± SE", "95 % from", "to"}, Text: 1}
	add := func(name string, s verify.Speed) {
		v := of(s)
		if !finite(v.Value) || v.Value <= 0 {
			return
		}
		c.tip(v.Value, -float64(len(names)), math.Inf(1), 0.4, "%s: %s", visible(name), plusMinus(v))
		names, e = append(names, name), append(e, v)
		numbers.Rows = append(numbers.Rows, append([]string{name}, numberCells(v)...))
	}
	quant := modelNames(reports)
	for i, r := range reports {
		if r.Performance == nil {
			continue
		}
		if b := r.Performance.Base; b != nil && !slices.Contains(originals, of(*b)) {
			originals = append(originals, of(*b))
			base[len(names)] = true
			add(r.Base.Name, *b)
		}
		add(quant[i], r.Performance.Quant)
	}
	if len(names) == 0 {
		return nil, nil
	}
	c.bars(e, func(i int) paint {
		if base[i] {
			return basePaint
		}
		return quantPaint
	})
	c.rows(names)
	svg, err := c.svg(rowsHeight(len(names)), fmt.Sprintf("%s of %d models", title, len(names)))
	return &figure{title, svg, caption, numbers}, err
}

// groupTable has the numbers of groups.
func groupTable(caption, head, kld string, groups []verify.Group) *table {
	t := &table{Caption: caption, Head: []string{head, "tokens", "PPL ratio", "± SE", kld + " mean", "± SE", kld + " p99", "± SE", "same top, %", "± SE"}, Text: 1}
	for _, g := range groups {
		row := []string{g.Name, humanize.Comma(int64(g.Count))}
		for _, e := range []verify.Estimate{g.PPLRatio, g.KLD, g.KLD99, percent(g.SameTop)} {
			row = append(row, numberCells(e)[:2]...)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// widen adds a part of an axis at both of its ends.
func widen(a *plot.Axis, part float64) {
	d := part * (a.Max - a.Min)
	if d == 0 {
		d = 1
	}
	a.Min, a.Max = a.Min-d, a.Max+d
}

// logged is an estimate on a logarithmic axis. A bound that is not known stays so.
func logged(e verify.Estimate) verify.Estimate {
	l := verify.Estimate{Value: log(e.Value), Low: e.Low, High: e.High}
	if finite(e.Low, e.High) {
		l.Low, l.High = log(e.Low), log(e.High)
	}
	return l
}
