package plot

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// canvas is what a chart is drawn on: the SVG so far, and where its data are.
type canvas struct {
	*Chart
	b                        strings.Builder
	left, right, top, bottom float64 // of the data, in pixels
	taken                    []box   // by points and names
}

// box is a rectangle in pixels.
type box struct{ x0, y0, x1, y1 float64 }

func around(x, y, dx, dy float64) box { return box{x - dx, y - dy, x + dx, y + dy} }

// overlap returns the area that two boxes share.
func (a box) overlap(b box) float64 {
	return max(0, min(a.x1, b.x1)-max(a.x0, b.x0)) * max(0, min(a.y1, b.y1)-max(a.y0, b.y0))
}

func (a box) area() float64 { return (a.x1 - a.x0) * (a.y1 - a.y0) }

// x and y turn coordinates of the data into pixels.
func (k *canvas) x(v float64) float64 { return k.left + k.X.At(v)*(k.right-k.left) }
func (k *canvas) y(v float64) float64 { return k.bottom - k.Y.At(v)*(k.bottom-k.top) }

func (k *canvas) printf(format string, a ...any) {
	fmt.Fprintf(&k.b, format, a...)
	k.b.WriteByte('\n')
}

// Distances in pixels.
const (
	margin     = 4 // at the edges of the chart
	markLength = 4 // of a tick
	gap        = 3 // between a mark, its label and the label of the axis
	rowHeight  = TextSize + 6
	swatch     = 10 // of the legend
)

// takeLine takes the place of a straight line, in steps.
func (k *canvas) takeLine(a, b Point) {
	x0, y0, x1, y1 := k.x(a.X), k.y(a.Y), k.x(b.X), k.y(b.Y)
	const step = 4
	for i, n := 0, int(math.Hypot(x1-x0, y1-y0)/step); i < n; i++ {
		t := float64(i) / float64(n)
		k.taken = append(k.taken, around(x0+t*(x1-x0), y0+t*(y1-y0), step/2, step/2))
	}
}

// text writes a text whose middle is at a height y. A rim in the colour of the ground keeps lines out of it.
func (k *canvas) text(x, y float64, s string, anchor Anchor, color string) {
	rim := fmt.Sprintf("stroke:%s;stroke-width:3px;paint-order:stroke;stroke-linejoin:round", k.Style.Ground)
	k.printf(`<text x="%s" y="%s" text-anchor="%s" style="fill:%s;%s">%s</text>`,
		number(x), number(y+0.36*TextSize), anchor, color, rim, html.EscapeString(s))
}

// draw draws the chart.
func (c *Chart) draw() *canvas {
	for _, a := range []*Axis{&c.X, &c.Y} {
		if !(a.Max > a.Min) { // one value, or none
			if math.IsInf(a.Min, 0) {
				a.Min, a.Max = 0, 0
			}
			a.Widen(0.5)
		}
	}
	k := &canvas{Chart: c}
	fmt.Fprintf(&k.b, "<g font-size=\"%d\">\n", TextSize)
	k.layOut()
	k.axes()
	for _, shape := range c.shapes {
		shape(k)
	}
	k.placeNames()
	for _, t := range c.tips {
		x0, x1 := k.x(c.X.Inside(t.from.X))-t.around, k.x(c.X.Inside(t.to.X))+t.around
		y0, y1 := k.y(c.Y.Inside(t.to.Y))-t.around, k.y(c.Y.Inside(t.from.Y))+t.around
		k.printf(`<rect class="tip" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`,
			number(x0), number(y0), number(x1-x0), number(y1-y0), html.EscapeString(t.text))
	}
	k.b.WriteString("</g>\n")
	return k
}

// layOut draws the legend and leaves room for the ticks and labels of the axes.
func (k *canvas) layOut() {
	k.top = margin + k.legend() + TextSize/2
	k.bottom = k.Height - margin - TextSize - gap - markLength
	if k.X.Label != "" {
		k.bottom -= TextSize + gap
	}
	k.left = margin
	if k.Y.Label != "" {
		k.left += TextSize + gap
	}
	widest := 0.0
	for _, t := range k.Y.ticks() {
		widest = max(widest, TextWidth(t.Label))
	}
	k.left += widest + gap + markLength
	k.right = k.Width - margin
	for _, t := range k.X.ticks() { // a label at the end needs room for its half
		part := k.X.At(t.At)
		k.right = min(k.right, k.left+(k.Width-margin-TextWidth(t.Label)/2-k.left)/max(part, 0.5))
	}
}

// legend draws the legend at the top and returns its height.
func (k *canvas) legend() float64 {
	if len(k.Legend) == 0 {
		return 0
	}
	const left, between = 2 * margin, 14.0
	x, y := left*1.0, margin+rowHeight/2.0
	for _, e := range k.Legend {
		width := swatch + gap + TextWidth(e.Text)
		if x > left && x+width > k.Width-margin {
			x, y = left, y+rowHeight
		}
		k.printf(`<circle cx="%s" cy="%s" r="%s" style="fill:%s"/>`, number(x+swatch/2), number(y), number(dotRadius),
			e.Color)
		k.text(x+swatch+gap, y, e.Text, Start, k.Style.Text)
		x += width + between
	}
	return y + rowHeight/2
}

// axes draws grid, axes, ticks and labels.
func (k *canvas) axes() {
	line := func(x0, y0, x1, y1 float64, color string) {
		k.printf(`<path d="M%s,%sL%s,%s" style="%s"/>`, number(x0), number(y0), number(x1), number(y1),
			Stroke{Color: color, Width: 0.7})
	}
	xTicks, yTicks := k.X.ticks(), k.Y.ticks()
	for _, t := range xTicks {
		if t.Label != "" && !k.X.Names {
			line(k.x(t.At), k.top, k.x(t.At), k.bottom, k.Style.Grid)
		}
	}
	for _, t := range yTicks {
		if t.Label != "" && !k.Y.Names {
			line(k.left, k.y(t.At), k.right, k.y(t.At), k.Style.Grid)
		}
	}
	length := func(t Tick) float64 {
		if t.Label == "" {
			return markLength / 2
		}
		return markLength
	}
	line(k.left, k.bottom, k.right, k.bottom, k.Style.Axis)
	for _, t := range xTicks {
		if !k.X.Names {
			line(k.x(t.At), k.bottom, k.x(t.At), k.bottom+length(t), k.Style.Axis)
		}
		if t.Label != "" {
			k.text(k.x(t.At), k.bottom+markLength+gap+TextSize/2, t.Label, Middle, k.Style.Axis)
		}
	}
	line(k.left, k.top, k.left, k.bottom, k.Style.Axis)
	for _, t := range yTicks {
		if !k.Y.Names {
			line(k.left-length(t), k.y(t.At), k.left, k.y(t.At), k.Style.Axis)
		}
		if t.Label != "" {
			k.text(k.left-markLength-gap, k.y(t.At), t.Label, End, k.Style.Axis)
		}
	}
	if k.X.Label != "" {
		k.text((k.left+k.right)/2, k.Height-margin-TextSize/2, k.X.Label, Middle, k.Style.Axis)
	}
	if k.Y.Label != "" {
		y := (k.top + k.bottom) / 2
		k.printf(`<g transform="translate(%s,%s) rotate(-90)">`, number(margin+TextSize/2), number(y))
		k.text(0, 0, k.Y.Label, Middle, k.Style.Axis)
		k.printf("</g>")
	}
}

// placeNames writes the names, each on the side of its point where it covers least of what is there.
func (k *canvas) placeNames() {
	inside := box{k.left, 0, k.Width, k.bottom - gap} // clear of the axis
	for _, n := range k.names {
		x, y := k.x(n.at.X), k.y(n.at.Y)
		width := TextWidth(n.text)
		const away, up = dotRadius + 3.5, TextSize
		var best box
		var anchor Anchor
		least := math.Inf(1)
		for _, side := range []struct {
			anchor Anchor
			dx, dy float64
		}{
			{Start, away, 0}, {End, -away, 0}, {Start, away, -up}, {Start, away, up},
			{End, -away, -up}, {End, -away, up}, {Middle, 0, -up - 1}, {Middle, 0, up + 1},
		} {
			left := x + side.dx - map[Anchor]float64{Start: 0, Middle: 0.5, End: 1}[side.anchor]*width
			b := box{left, y + side.dy - TextSize/2, left + width, y + side.dy + TextSize/2}
			covered := 10 * (b.area() - b.overlap(inside))
			for _, t := range k.taken {
				covered += b.overlap(t)
			}
			if covered < least {
				best, anchor, least = b, side.anchor, covered
			}
		}
		k.taken = append(k.taken, best)
		at := map[Anchor]float64{Start: best.x0, Middle: (best.x0 + best.x1) / 2, End: best.x1}[anchor]
		k.text(at, (best.y0+best.y1)/2, n.text, anchor, k.Style.Text)
	}
}
