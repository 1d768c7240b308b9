package htmlreport

import (
	"fmt"
	"html/template"
	"math"

	"github.com/phi3conv/phi3conv/internal/plot"
	"github.com/phi3conv/phi3conv/verify"
)

// Colours by name: the style sheet says what they look like, in light and in dark.
const (
	quantPaint = "var(--quant)"
	basePaint  = "var(--base)"
	markPaint  = "var(--mark)"
	inkPaint   = "var(--ink)"
)

var chartStyle = plot.Style{Text: inkPaint, Axis: "var(--muted)", Grid: "var(--grid)", Ground: "var(--surface)"}

// chart is a plot in the report's style.
type chart struct{ *plot.Chart }

const (
	chartWidth, chartHeight = 320, 220         // small, since text on a phone is as much smaller than elsewhere
	nameWidth               = 0.4 * chartWidth // of a name in a plot
	wholeWidth              = 2 * chartWidth   // of one where there is more room
)

// newChart begins a chart with the labels of its axes.
func newChart(x, y string) chart {
	return chart{plot.New(chartWidth, chartHeight, chartStyle, x, y)}
}

// svg draws the chart. The description is for those who do not see it.
func (c chart) svg(description string) template.HTML { return template.HTML(c.SVG(description)) }

// solid is the line of the quantized model's figures.
var solid = plot.Stroke{Color: quantPaint, Width: 1.5}

// dashed is the line of a figure of all tokens or models.
var dashed = plot.Stroke{Color: markPaint, Width: 1.2, Dashed: true}

// tip says something about what is within dx and dy of a point.
func (c chart) tip(x, y, dx, dy float64, format string, a ...any) {
	c.Tip(plot.Point{X: x - dx, Y: y - dy}, plot.Point{X: x + dx, Y: y + dy}, fmt.Sprintf(format, a...))
}

// span adds the interval of an estimate at a point, unless a bound is not known.
func (c chart) span(s plot.Stroke, horizontal bool, p plot.Point, e verify.Estimate) {
	if finite(e.Low, e.High) {
		c.Interval(s, p, horizontal, e.Low, e.High)
	}
}

// estimates adds points with their intervals: at x = i, or in row i.
func (c chart) estimates(horizontal bool, e []verify.Estimate) {
	for i, v := range e {
		p := plot.Point{X: float64(i), Y: v.Value}
		if horizontal {
			p = plot.Point{X: v.Value, Y: -float64(i)}
		}
		c.span(solid, horizontal, p, v)
		c.Dots(quantPaint, true, p)
	}
}

// guide is a dashed vertical line with a name.
type guide struct {
	name string
	x    float64
}

// guides adds guides above what is drawn up to y. They are in order. The name of each is lower than the one before, on
// the side of its line where there is room.
func (c chart) guides(list []guide, y float64) {
	const (
		width = chartWidth - 56 // of the data, about
		away  = 4               // from the line
	)
	c.Y.Max = 1.36 * y
	for i, g := range list {
		anchor, dx := plot.Start, float64(away)
		if part := c.X.At(g.x); plot.TextWidth(g.name)+away > (1-part)*width {
			anchor, dx = plot.End, -away
		}
		top := plot.Point{X: g.x, Y: y * (1.36 - 0.1*float64(i))}
		c.Line(dashed, plot.Point{X: g.x}, top)
		c.Text(top, g.name, anchor, dx, plot.TextSize/2)
	}
}

// rows names rows from the top to the bottom: row i is at y = -i. The chart gets the height for them.
func (c chart) rows(names []string) {
	c.Height = float64(48 + 22*len(names))
	c.Y.Names = true
	for i, n := range names {
		c.Y.Ticks = append(c.Y.Ticks, plot.Tick{At: -float64(i), Label: clip(n, nameWidth)})
	}
	c.Y.Min, c.Y.Max = 0.5-float64(len(names)), 0.5
}

// bars adds a horizontal bar from 0 in each row, with its interval. None is negative, and an interval that would leave
// little room for the bars goes beyond the edge.
func (c chart) bars(e []verify.Estimate, color func(i int) string) {
	longest := 0.0
	for i, v := range e {
		longest = max(longest, v.Value)
		row := -float64(i)
		c.Bar(color(i), v.Value, row, 12)
		c.span(plot.Stroke{Color: chartStyle.Ground, Width: 3.5}, true, plot.Point{X: v.Value, Y: row}, v) // a rim
		c.span(plot.Stroke{Color: inkPaint, Width: 1.5}, true, plot.Point{X: v.Value, Y: row}, v)
	}
	c.X.Min, c.X.Max = 0, min(1.04*c.X.Max, 2.5*longest)
}

// floor is the least KLD that a logarithmic axis shows; float32 logits tell less nothing.
const floor = 1e-9

// logged is an estimate on a logarithmic axis. A bound that is not known stays so.
func logged(e verify.Estimate) verify.Estimate {
	e.Value = max(e.Value, floor)
	if finite(e.Low, e.High) {
		e.Low, e.High = max(e.Low, floor), max(e.High, floor)
	}
	return e
}

// finite reports whether all numbers can be drawn: an axis from one that is not, or is too great
// for a step of 1 to be seen, has no scale.
func finite(x ...float64) bool {
	for _, v := range x {
		if !(math.Abs(v) < 1e15) {
			return false
		}
	}
	return true
}
