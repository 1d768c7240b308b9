package htmlreport

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/plot"

	"github.com/phi3conv/phi3conv/verify"
)

// comparisons are drawn of all of them.
var comparisons = []func(verify.Reports) *figure{sizes, decoding, prefill}

// sizes shows what a smaller file costs, with the Pareto front.
func sizes(reports verify.Reports) *figure {
	points := sizePoints(reports)
	if len(points) < 2 {
		return nil
	}
	c := newChart("size of the file, MiB", "mean KLD, nats (logarithmic)")
	c.Y.Log = true
	numbers := &table{Caption: "Size and mean KL divergence", Text: 1,
		Head: []string{"model", "file size", "bits per weight", "KLD mean, nats"}}
	var front []plot.Point
	for _, p := range points {
		if p.best {
			front = append(front, p.Point)
		}
	}
	slices.SortFunc(front, func(a, b plot.Point) int { return cmp.Compare(a.X, b.X) })
	c.Line(dashed, front...)
	for _, p := range points {
		c.span(solid, false, p.Point, logged(p.report.Summary.KLD))
		c.Dots(quantPaint, p.best, p.Point)
		c.Name(p.Point, clip(p.name, nameWidth))
		c.PointTip(p.Point, fmt.Sprintf("%s: %s, KLD %s",
			clip(p.name, wholeWidth), sizeText(p.report.Quant.FileBytes), plusMinus(p.report.Summary.KLD)))
	}
	for _, p := range points {
		numbers.Rows = append(numbers.Rows, []string{p.name, sizeText(p.report.Quant.FileBytes),
			bits(p.report.Quant.BitsPerWeight), plusMinus(p.report.Summary.KLD)})
	}
	c.X.Widen(0.08)
	c.Y.Widen(0.08)
	svg := c.svg(fmt.Sprintf("File size against mean KL divergence of %d models", len(points)))
	return &figure{"Size against quality", svg,
		"Lower and further left is better. Filled points on the dashed line are the Pareto front: no other model " +
			"here is both smaller and closer to the original.", numbers}
}

// sizePoint is a model as a point of size and KLD.
type sizePoint struct {
	plot.Point
	report *verify.Report
	name   string
	best   bool // on the Pareto front
}

// sizePoints leaves out models without a size or a mean KLD.
func sizePoints(reports verify.Reports) []sizePoint {
	names, front := modelNames(reports), reports.Pareto()
	var points []sizePoint
	for i, r := range reports {
		if k, size := r.Summary.KLD.Value, r.Quant.FileBytes; finite(k) && size > 0 {
			at := plot.Point{X: float64(size) / (1 << 20), Y: max(k, floor)}
			points = append(points, sizePoint{at, r, names[i], front[i]})
		}
	}
	return points
}

func decoding(reports verify.Reports) *figure {
	return speeds(reports, "Decoding speed", "tokens a second, one by one",
		"Longer is faster: tokens a second when answering, one at a time; the models ran in turns on the same machine.",
		func(s verify.Speed) verify.Estimate { return s.TG })
}

func prefill(reports verify.Reports) *figure {
	return speeds(reports, "Reading speed", "tokens a second of a prompt",
		"Longer is faster: tokens a second when reading a prompt; the models ran in turns on the same machine.",
		func(s verify.Speed) verify.Estimate { return s.PP })
}

func speeds(reports verify.Reports, title, axis, caption string, of func(verify.Speed) verify.Estimate) *figure {
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
		c.tip(v.Value, -float64(len(names)), math.Inf(1), 0.4, "%s: %s", clip(name, wholeWidth), plusMinus(v))
		names, e = append(names, name), append(e, v)
		numbers.Rows = append(numbers.Rows, append([]string{name}, v.Cells()...))
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
		return nil
	}
	c.bars(e, func(i int) string {
		if base[i] {
			return basePaint
		}
		return quantPaint
	})
	c.rows(names)
	svg := c.svg(fmt.Sprintf("%s of %d models", title, len(names)))
	return &figure{title, svg, caption, numbers}
}
