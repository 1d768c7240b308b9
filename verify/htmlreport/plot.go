package htmlreport

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/phi3conv/phi3conv/verify"
)

// paint is a colour by name: the style sheet says what it looks like, in light and in dark.
type paint uint8

const (
	ink paint = iota
	muted
	grid
	surface
	quantPaint
	basePaint
	mark
)

var paintNames = []string{"ink", "muted", "grid", "surface", "quant", "base", "mark"}

// RGBA returns a colour that stands for the name until [chart.svg] puts it in.
func (p paint) RGBA() (r, g, b, a uint32) {
	channel := func(v uint32) uint32 { return v*0x101 + 0x80 } // vgsvg rounds down
	return channel(1), channel(2), channel(uint32(p)), 0xffff
}

var paints = func() *strings.Replacer {
	var pairs []string
	for i, name := range paintNames {
		pairs = append(pairs, fmt.Sprintf("#0102%02X", i), "var(--"+name+")")
	}
	return strings.NewReplacer(pairs...)
}()

// chart is a plot in the report's style. Its text is left to the page's fonts, which have the
// widths of those that the layout is computed with.
type chart struct {
	*plot.Plot
	tips []tip
}

// tip is a text that a browser shows where the pointer is on a part of the plot, in
// the coordinates of the data.
type tip struct {
	x0, y0, x1, y1 float64
	text           string
}

const (
	chartWidth  = 380 * vg.Length(1)
	chartHeight = 250 * vg.Length(1)
	labelSize   = 11 * vg.Length(1)
)

func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

func label(p paint, x text.XAlignment, y text.YAlignment) text.Style {
	return text.Style{Color: p, Font: sans(labelSize), XAlign: x, YAlign: y, Handler: plot.DefaultTextHandler}
}

func newChart(x, y string) *chart {
	p := plot.New()
	p.BackgroundColor = nil
	p.X.Label.Text, p.Y.Label.Text = x, y
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Label.TextStyle.Font, a.Tick.Label.Font = sans(labelSize), sans(labelSize)
		a.Label.TextStyle.Color, a.Tick.Label.Color = muted, muted
		a.Label.Padding = 4
		a.Color, a.Tick.Color = muted, muted
		a.Tick.Length = 4
		a.Padding = 0
		a.Tick.Marker = linearTicks{}
	}
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = grid, grid
	p.Add(g)
	return &chart{Plot: p}
}

var fontStyle = regexp.MustCompile(`\s*style="font-family:[^;"]*;font-variant:[^;"]*;font-weight:[^;"]*;font-style:[^;"]*;`)

// svg draws the chart. The description is for those who do not see it.
func (c *chart) svg(height vg.Length, description string) (template.HTML, error) {
	canvas := vgsvg.New(chartWidth, height)
	area := draw.Crop(draw.New(canvas), 2, -2, 2, -2)
	c.Draw(area)
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return "", err
	}
	_, body, _ := strings.Cut(b.String(), "xlink\">\n")
	body = strings.TrimSuffix(strings.TrimSpace(body), "</svg>")
	body = fontStyle.ReplaceAllString(paints.Replace(body), ` style="`)

	var s strings.Builder
	fmt.Fprintf(&s, "<svg class=\"plot\" viewBox=\"0 0 %v %v\" role=\"img\" aria-label=\"%s\">\n%s", chartWidth.Points(), height.Points(), html.EscapeString(description), body)
	data := c.DataCanvas(area)
	x, y := c.Transforms(&data)
	inside := func(v, low, high vg.Length) float64 { return float64(min(max(v, low), high)) }
	for _, t := range c.tips {
		left, right := inside(x(t.x0), data.Min.X, data.Max.X), inside(x(t.x1), data.Min.X, data.Max.X)
		top, bottom := inside(y(t.y1), data.Min.Y, data.Max.Y), inside(y(t.y0), data.Min.Y, data.Max.Y)
		fmt.Fprintf(&s, "<rect class=\"tip\" x=\"%.5g\" y=\"%.5g\" width=\"%.5g\" height=\"%.5g\"><title>%s</title></rect>\n",
			left, float64(height)-top, right-left, top-bottom, html.EscapeString(t.text))
	}
	s.WriteString("</svg>")
	return template.HTML(s.String()), nil
}

// line adds a straight line.
func (c *chart) line(color paint, width vg.Length, dashes []vg.Length, points ...plotter.XY) {
	c.Add(&plotter.Line{XYs: points, LineStyle: draw.LineStyle{Color: color, Width: width, Dashes: dashes}})
}

var dashed = []vg.Length{4, 3}

// dots adds filled circles, or rings.
func (c *chart) dots(color paint, filled bool, points ...plotter.XY) {
	var shape draw.GlyphDrawer = draw.CircleGlyph{}
	if !filled {
		shape = draw.RingGlyph{}
	}
	c.Add(&plotter.Scatter{XYs: points, GlyphStyle: draw.GlyphStyle{Color: color, Radius: 3.5, Shape: shape}})
}

// text adds a label, beside or above its point.
func (c *chart) text(p plotter.XY, s string, style text.Style, dx, dy vg.Length) {
	c.Add(&plotter.Labels{XYs: plotter.XYs{p}, Labels: []string{s}, TextStyle: []text.Style{style}, Offset: vg.Point{X: dx, Y: dy}})
}

// tip says something about what is within dx and dy of a point.
func (c *chart) tip(x, y, dx, dy float64, format string, a ...any) {
	c.tips = append(c.tips, tip{x - dx, y - dy, x + dx, y + dy, fmt.Sprintf(format, a...)})
}

// span adds the interval of an estimate at a point, unless a bound is not known.
func (c *chart) span(color paint, horizontal bool, p plotter.XY, e verify.Estimate) {
	if !finite(e.Low, e.High) {
		return
	}
	points := plotter.XYs{p}
	errs := plotter.Errors{{Low: e.Value - e.Low, High: e.High - e.Value}}
	style := draw.LineStyle{Color: color, Width: 1.5}
	if horizontal {
		c.Add(&plotter.XErrorBars{XYs: points, XErrors: plotter.XErrors(errs), LineStyle: style, CapWidth: 6})
	} else {
		c.Add(&plotter.YErrorBars{XYs: points, YErrors: plotter.YErrors(errs), LineStyle: style, CapWidth: 6})
	}
}

// estimates adds points with their intervals: at x = i, or in row i.
func (c *chart) estimates(color paint, horizontal bool, e []verify.Estimate) {
	for i, v := range e {
		p := plotter.XY{X: float64(i), Y: v.Value}
		if horizontal {
			p = plotter.XY{X: v.Value, Y: -float64(i)}
		}
		c.span(color, horizontal, p, v)
		c.dots(color, true, p)
	}
}

// guides adds dashed vertical lines with their names, above what is drawn up to y. The points are in order. The
// first name is on the left of its line and the others on the right, each lower than the one before and its line no
// higher, as far as there is room.
func (c *chart) guides(names []string, points plotter.XYs, y float64) {
	c.Y.Max = 1.32 * y
	row := 0
	for i, p := range points {
		style, dx := label(ink, text.XLeft, text.YTop), vg.Length(4)
		part := vg.Length((p.X - c.X.Min) / (c.X.Max - c.X.Min))
		width := chartWidth - 56 // of the data, about
		need := style.Width(names[i]) + dx
		first := i == 0 && need < part*width
		if first || need > (1-part)*width {
			style.XAlign, dx = text.XRight, -4
		}
		p.Y = y * (1.32 - 0.09*float64(row))
		c.line(mark, 1.2, dashed, plotter.XY{X: p.X}, p)
		c.text(p, names[i], style, dx, 0)
		if !first {
			row++
		}
	}
}

// rows names rows from the top to the bottom: row i is at y = -i.
func (c *chart) rows(names []string) {
	ticks := make([]plot.Tick, len(names))
	for i, n := range names {
		ticks[i] = plot.Tick{Value: -float64(i), Label: clip(n, 24)}
	}
	c.Y.Tick.Marker = plot.ConstantTicks(ticks)
	c.Y.Tick.Length = 0
	c.Y.Min, c.Y.Max = 0.5-float64(len(names)), 0.5
	c.Y.Width = 0
}

// bars adds a horizontal bar from 0 in each row, with its interval. None is negative, and an interval that would leave
// little room for the bars goes beyond the edge.
func (c *chart) bars(e []verify.Estimate, color func(i int) paint) {
	longest := 0.0
	for i, v := range e {
		longest = max(longest, v.Value)
		row := -float64(i)
		c.Add(&plotter.BarChart{Values: plotter.Values{v.Value}, Width: 12, Color: color(i), XMin: row, Horizontal: true})
		c.span(ink, true, plotter.XY{X: v.Value, Y: row}, v)
	}
	c.X.Min, c.X.Max = 0, min(1.04*c.X.Max, 2.5*longest)
}

// rowsHeight is the height of a chart with so many rows.
func rowsHeight(n int) vg.Length { return vg.Length(48 + 22*n) }

// linearTicks are those of plot with at most seven labels, none with a digit too many.
type linearTicks struct{}

func (linearTicks) Ticks(low, high float64) []plot.Tick {
	span := high - low
	if !(span > 0) || !finite(span) {
		return nil
	}
	step := math.Pow(10, math.Floor(math.Log10(span/5)))
	for _, k := range []float64{1, 2, 5, 10} {
		if span/(k*step) <= 6 {
			step *= k
			break
		}
	}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	var ticks []plot.Tick
	first := math.Ceil(low/step - 1e-9)
	for i := 0; i < 7; i++ {
		v := (first + float64(i)) * step
		if v > high+step*1e-9 {
			break
		}
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v+0, 'f', decimals, 64)})
	}
	return ticks
}

// logTicks are for an axis of decimal logarithms. A decade has nine ticks.
type logTicks struct{}

func (logTicks) Ticks(low, high float64) []plot.Tick {
	if !finite(low, high) {
		return nil
	}
	labelled := []int{1}
	every := 1 + int(high-low)/7
	if high-low < 2 {
		labelled = []int{1, 2, 5}
	}
	var ticks []plot.Tick
	for d := int(math.Floor(low)); d <= int(math.Ceil(high)); d++ {
		for k := 1; k < 10; k++ {
			t := plot.Tick{Value: float64(d) + math.Log10(float64(k))}
			if t.Value < low-1e-9 || t.Value > high+1e-9 {
				continue
			}
			if d%every == 0 && slices.Contains(labelled, k) {
				t.Label = strconv.FormatFloat(float64(k)*math.Pow(10, float64(d)), 'g', 2, 64)
			}
			ticks = append(ticks, t)
		}
	}
	return ticks
}

// clip shortens a name in its middle to n characters and shows what is not printable.
func clip(s string, n int) string {
	r := []rune(visible(s))
	if len(r) <= n {
		return string(r)
	}
	return string(r[:n/2-1]) + "…" + string(r[len(r)-n/2:])
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
