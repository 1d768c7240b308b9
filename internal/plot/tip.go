package plot

import "html"

// mostStops is how many parts of a chart take the focus of a keyboard at most. Where there are more, nobody wants to go
// through them, and a page has a table.
const mostStops = 24

// tip draws what makes a text show where the pointer is. On a page it is a bubble, which shows for who comes with the
// keyboard too.
func (k *canvas) tip(t tip, page bool) {
	x0, x1 := k.x(k.X.Inside(t.from.X))-t.around, k.x(k.X.Inside(t.to.X))+t.around
	y0, y1 := k.y(k.Y.Inside(t.to.Y))-t.around, k.y(k.Y.Inside(t.from.Y))+t.around
	text := html.EscapeString(t.text)
	if !page {
		k.printf(`<rect class="tip" x="%s" y="%s" width="%s" height="%s"><title>%s</title></rect>`,
			number(x0), number(y0), number(x1-x0), number(y1-y0), text)
		return
	}
	focus := ""
	if k.stops() {
		focus = ` tabindex="0" role="img" aria-label="` + text + `"`
	}
	k.printf(`<g class="tip"%s><rect class="at" x="%s" y="%s" width="%s" height="%s"/>`, focus,
		number(x0), number(y0), number(x1-x0), number(y1-y0))
	k.bubble(box{x0, y0, x1, y1}, t.text)
	k.printf("</g>")
}

// stops reports whether the parts of the chart take the focus.
func (c *Chart) stops() bool { return len(c.tips) > 0 && len(c.tips) <= mostStops }

// bubble draws a text above what it is about, or below it where there is no room, always inside the chart.
func (k *canvas) bubble(about box, text string) {
	const (
		pad    = 5
		height = TextSize + 4 // of a line
		away   = 3
		edge   = 1
	)
	lines := wrap(text, 0.7*k.Width)
	if room := int((k.Height - 2*edge - pad) / height); len(lines) > room {
		lines = lines[:max(room, 1)]
	}
	width := 0.0
	for _, l := range lines {
		width = max(width, TextWidth(l))
	}
	width += 2 * pad
	high := float64(height*len(lines) + pad)
	x := min(max((about.x0+about.x1-width)/2, edge), k.Width-edge-width)
	y := about.y0 - away - high
	if y < edge {
		y = about.y1 + away
	}
	y = max(edge, min(y, k.Height-edge-high))
	k.printf(`<g class="bubble"><rect x="%s" y="%s" width="%s" height="%s" rx="3" style="fill:%s;stroke:%s"/>`,
		number(x), number(y), number(width), number(high), k.Style.Ground, k.Style.Axis)
	for i, l := range lines {
		baseline := y + pad/2.0 + height*(float64(i)+0.5) + middle
		k.printf(`<text x="%s" y="%s" style="fill:%s">%s</text>`, number(x+pad), number(baseline), k.Style.Text,
			html.EscapeString(l))
	}
	k.printf("</g>")
}
