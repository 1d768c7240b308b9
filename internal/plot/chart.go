// Package plot draws charts as SVG: axes with ticks, lines, boxes, points with intervals, and names that
// keep out of each other's way.
//
// Colours are CSS: a page gives them as variables, such as "var(--ink)", and says what they look like in
// light and in dark. The same chart gives the same bytes.
package plot

import (
	"fmt"
	"html"
	"math"
	"strconv"
	"strings"
)

// Chart is a plot. Shapes are drawn in the order in which they were added.
type Chart struct {
	Width, Height float64 // in pixels
	X, Y          Axis
	Style         Style
	Legend        []Entry

	shapes []func(*canvas)
	names  []name
	tips   []tip
}

// Style has the colours of what all charts have.
type Style struct {
	Text   string // of names
	Axis   string // of axes, their ticks and labels
	Grid   string
	Ground string // what the chart is drawn on
}

// Point is a place in the coordinates of the data.
type Point struct{ X, Y float64 }

// Stroke is how a line looks.
type Stroke struct {
	Color  string
	Width  float64
	Dashed bool
}

// Entry of the legend.
type Entry struct{ Color, Text string }

// Anchor says which part of a text is at its place.
type Anchor string

// Anchors.
const (
	Start  Anchor = "start"
	Middle Anchor = "middle"
	End    Anchor = "end"
)

// name is a text beside a point.
type name struct {
	at   Point
	text string
}

// tip is a text that a browser shows for a part of the plot that has the pointer or the focus.
type tip struct {
	from, to Point
	around   float64 // pixels more on each side
	text     string
}

// New begins a chart with the labels of its axes, which may be empty.
func New(width, height float64, style Style, x, y string) *Chart {
	return &Chart{Width: width, Height: height, Style: style, X: newAxis(x), Y: newAxis(y)}
}

// add adds a shape through the points.
func (c *Chart) add(draw func(*canvas), points ...Point) {
	for _, p := range points {
		c.X.include(p.X)
		c.Y.include(p.Y)
	}
	c.shapes = append(c.shapes, draw)
}

// Line adds a line through the points.
func (c *Chart) Line(s Stroke, points ...Point) {
	c.add(func(k *canvas) {
		at := make([]string, len(points))
		for i, p := range points {
			at[i] = number(k.x(p.X)) + "," + number(k.y(p.Y))
			if i > 0 {
				k.takeLine(points[i-1], p)
			}
		}
		k.printf(`<polyline points="%s" style="fill:none;%s"/>`, strings.Join(at, " "), s)
	}, points...)
}

// Box adds a filled rectangle, from one corner to the opposite one. Boxes side by side have a narrow gap.
func (c *Chart) Box(color string, from, to Point) {
	c.add(func(k *canvas) {
		x0, x1 := k.x(min(from.X, to.X)), k.x(max(from.X, to.X))
		y0, y1 := k.y(max(from.Y, to.Y)), k.y(min(from.Y, to.Y))
		k.printf(`<rect x="%s" y="%s" width="%s" height="%s" style="fill:%s;stroke:%s;stroke-width:0.5"/>`,
			number(x0), number(y0), number(x1-x0), number(y1-y0), color, c.Style.Ground)
	}, from, to)
}

// Bar adds a horizontal bar from 0 to x in the row at y, so many pixels thick.
func (c *Chart) Bar(color string, x, y, thick float64) {
	c.add(func(k *canvas) {
		left, right := k.x(0), k.x(x)
		k.printf(`<rect x="%s" y="%s" width="%s" height="%s" rx="1.5" style="fill:%s"/>`,
			number(left), number(k.y(y)-thick/2), number(right-left), number(thick), color)
	}, Point{0, y}, Point{x, y})
}

// dotRadius of a point, in pixels.
const dotRadius = 3.5

// Dots adds points: filled circles, or rings.
func (c *Chart) Dots(color string, filled bool, points ...Point) {
	look := fmt.Sprintf("fill:%s", color)
	radius := dotRadius
	if !filled {
		look = fmt.Sprintf("fill:none;stroke:%s;stroke-width:1.2", color)
		radius -= 0.6
	}
	c.add(func(k *canvas) {
		for _, p := range points {
			k.printf(`<circle cx="%s" cy="%s" r="%s" style="%s"/>`, number(k.x(p.X)), number(k.y(p.Y)), number(radius),
				look)
			k.taken = append(k.taken, around(k.x(p.X), k.y(p.Y), dotRadius, dotRadius))
		}
	}, points...)
}

// capLength is how far the caps of an interval go to each side, in pixels.
const capLength = 3

// Interval adds a line from low to high through a point, horizontal or vertical, with caps where it ends inside the
// chart.
func (c *Chart) Interval(s Stroke, p Point, horizontal bool, low, high float64) {
	from, to := Point{p.X, low}, Point{p.X, high}
	if horizontal {
		from, to = Point{low, p.Y}, Point{high, p.Y}
	}
	c.add(func(k *canvas) {
		x0, y0, x1, y1 := k.x(c.X.Inside(from.X)), k.y(c.Y.Inside(from.Y)), k.x(c.X.Inside(to.X)), k.y(c.Y.Inside(to.Y))
		k.taken = append(k.taken, box{x0 - 1, y1 - 1, x1 + 1, y0 + 1})
		path := fmt.Sprintf("M%s,%sL%s,%s", number(x0), number(y0), number(x1), number(y1))
		for _, end := range []Point{from, to} {
			if end.X != c.X.Inside(end.X) || end.Y != c.Y.Inside(end.Y) {
				continue
			}
			if horizontal {
				path += fmt.Sprintf("M%s,%sv%d", number(k.x(end.X)), number(k.y(end.Y)-capLength), 2*capLength)
			} else {
				path += fmt.Sprintf("M%s,%sh%d", number(k.x(end.X)-capLength), number(k.y(end.Y)), 2*capLength)
			}
		}
		k.printf(`<path d="%s" style="fill:none;%s"/>`, path, s)
	}, from, to)
}

// Text adds a text, its middle dx and dy pixels to the right of and below a point.
func (c *Chart) Text(p Point, text string, anchor Anchor, dx, dy float64) {
	c.add(func(k *canvas) { k.text(k.x(p.X)+dx, k.y(p.Y)+dy, text, anchor, c.Style.Text) }, p)
}

// Name adds a text beside a point, on the side where it covers least of other names and points.
func (c *Chart) Name(p Point, text string) {
	c.add(func(*canvas) {}, p)
	c.names = append(c.names, name{p, text})
}

// Tip adds a text that shows where the pointer is between the two corners, as far as these are inside the chart.
func (c *Chart) Tip(from, to Point, text string) { c.tips = append(c.tips, tip{from, to, 0, text}) }

// PointTip adds a text that shows where the pointer is near a point.
func (c *Chart) PointTip(p Point, text string) {
	c.tips = append(c.tips, tip{p, p, 2 * dotRadius, text})
}

// SVG returns the chart as an element for a page, whose style sheet shows a .bubble while its .tip has the pointer or
// the focus. The description is for those who do not see the chart.
func (c *Chart) SVG(description string) string {
	k := c.draw(true)
	role := "img"
	if c.stops() {
		role = "group"
	}
	return fmt.Sprintf("<svg class=\"plot\" viewBox=\"0 0 %s %s\" role=\"%s\" aria-label=\"%s\">\n%s</svg>",
		number(c.Width), number(c.Height), role, html.EscapeString(description), k.b.String())
}

// File returns the chart as a file of its own, with a style sheet that says what its colours are.
func (c *Chart) File(title, css string) string {
	k := c.draw(false)
	w, h := number(c.Width), number(c.Height)
	return fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%s" height="%s" viewBox="0 0 %s %s" role="img">
<title>%s</title>
<style>
text { font-family: Arial, "Liberation Sans", Helvetica, sans-serif; }
.tip { fill: transparent; }
%s</style>
<rect width="100%%" height="100%%" style="fill:%s"/>
%s</svg>
`, w, h, w, h, html.EscapeString(title), css, c.Style.Ground, k.b.String())
}

// String returns the stroke as CSS.
func (s Stroke) String() string {
	css := fmt.Sprintf("stroke:%s;stroke-width:%s", s.Color, number(s.Width))
	if s.Dashed {
		css += ";stroke-dasharray:4,3"
	}
	return css
}

// number formats a coordinate, in hundredths of a pixel.
func number(x float64) string {
	return strconv.FormatFloat(math.Round(100*x)/100+0, 'f', -1, 64) // +0: not -0
}
