package plot

import (
	"fmt"
	"html"
	"math"
	"slices"
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

	rings = 12 // of places for a name around its point

	middle = 0.36 * TextSize // of a text, above the line that it stands on
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
		number(x), number(y+middle), anchor, color, rim, html.EscapeString(s))
}

// draw draws the chart, for a page or as a file of its own.
func (c *Chart) draw(page bool) *canvas {
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
		k.tip(t, page)
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

// thinned returns the ticks of the x axis with every second label, every third or so on, where not all have room.
func (k *canvas) thinned(ticks []Tick) []Tick {
	const apart = 5 // pixels
	for every := 1; every <= len(ticks); every++ {
		thin, labels, end, fit := slices.Clone(ticks), 0, math.Inf(-1), true
		for i, t := range thin {
			if t.Label == "" {
				continue
			}
			if labels++; (labels-1)%every != 0 {
				thin[i].Label = ""
				continue
			}
			half := TextWidth(t.Label) / 2
			fit = fit && k.x(t.At)-half >= end
			end = k.x(t.At) + half + apart
		}
		if fit {
			return thin
		}
	}
	return ticks
}

// axes draws grid, axes, ticks and labels.
func (k *canvas) axes() {
	line := func(x0, y0, x1, y1 float64, color string) {
		k.printf(`<path d="M%s,%sL%s,%s" style="%s"/>`, number(x0), number(y0), number(x1), number(y1),
			Stroke{Color: color, Width: 0.7})
	}
	xTicks, yTicks := k.thinned(k.X.ticks()), k.Y.ticks()
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

// placeNames writes the names, each where it covers least of what is there: beside its point, or else further away,
// with a line to it. One for which there is no place that no other name has is left out.
func (k *canvas) placeNames() {
	inside := box{k.left, 0, k.Width - 1, k.bottom - gap} // clear of the axis
	var written []box
	for _, n := range k.names {
		x, y := k.x(n.at.X), k.y(n.at.Y)
		width := TextWidth(n.text)
		var best box
		least, line := math.Inf(1), false
		for ring := range rings {
			for _, b := range around8(x, y, width, float64(ring)) {
				free := b.overlap(inside) > b.area()-0.01 &&
					!slices.ContainsFunc(written, func(w box) bool { return b.overlap(w) > 0 })
				covered := 20 * float64(ring)
				for _, t := range k.taken {
					covered += b.overlap(t)
				}
				if free && covered < least {
					best, least, line = b, covered, ring > 0
				}
			}
		}
		if math.IsInf(least, 1) {
			continue
		}
		k.taken, written = append(k.taken, best), append(written, best)
		y0 := (best.y0 + best.y1) / 2
		if line {
			k.printf(`<path d="M%s,%sL%s,%s" style="%s"/>`, number(x), number(y), number(min(max(x, best.x0), best.x1)),
				number(y0), Stroke{Color: k.Style.Axis, Width: 0.7})
		}
		k.text((best.x0+best.x1)/2, y0, n.text, Middle, k.Style.Text)
	}
}

// around8 returns the places for a text of a width beside a point, to the right first; those of further rings are
// further away.
func around8(x, y, width, ring float64) []box {
	away, up := dotRadius+3.5+ring*TextSize, TextSize*(1+1.3*ring)
	var list []box
	for _, side := range []struct{ part, dx, dy float64 }{ // part of the width that is left of the point
		{0, away, 0}, {1, -away, 0}, {0, away, -up}, {0, away, up}, {1, -away, -up}, {1, -away, up},
		{0.5, 0, -up - 1}, {0.5, 0, up + 1},
	} {
		left := x + side.dx - side.part*width
		list = append(list, box{left, y + side.dy - TextSize/2.0, left + width, y + side.dy + TextSize/2.0})
	}
	return list
}
