package plot

import (
	"encoding/xml"
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

var testStyle = Style{Text: "var(--ink)", Axis: "var(--muted)", Grid: "var(--grid)", Ground: "var(--surface)"}

// wellFormed checks that SVG is XML without a number that is none.
func wellFormed(t *testing.T, svg string) {
	t.Helper()
	if err := xml.Unmarshal([]byte(svg), new(struct{})); err != nil {
		t.Errorf("%v in\n%s", err, svg)
	}
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") {
		t.Errorf("no number in\n%s", svg)
	}
}

// attributes returns the numbers of an attribute in all elements of a kind.
func attributes(t *testing.T, svg, element, name string) []float64 {
	t.Helper()
	var list []float64
	for _, m := range regexp.MustCompile(`<`+element+`[^>]* `+name+`="([-0-9.]+)"`).FindAllStringSubmatch(svg, -1) {
		x, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, x)
	}
	return list
}

// Points are to scale: linear to the right, logarithmic upwards, and text is escaped.
func TestChart(t *testing.T) {
	c := New(400, 300, testStyle, "x < y", "log")
	c.Y.Log = true
	c.Dots("red", true, Point{0, 1}, Point{1, 10}, Point{2, 100})
	c.Line(Stroke{Color: "blue", Width: 1, Dashed: true}, Point{0, 1}, Point{2, 100})
	c.Interval(Stroke{Color: "blue", Width: 1}, Point{1, 10}, false, 5, 50)
	c.Text(Point{1, 10}, "<b>", Middle, 0, 5)
	c.PointTip(Point{1, 10}, "a & b")
	c.Legend = []Entry{{"red", "points"}}
	svg := c.SVG("three \"points\"")
	wellFormed(t, svg)
	wellFormed(t, c.File("title", "svg{--ink:#000}\n"))
	x, y := attributes(t, svg, "circle", "cx")[1:], attributes(t, svg, "circle", "cy")[1:] // after the legend's
	if len(x) != 3 || math.Abs(x[0]-2*x[1]+x[2]) > 0.02 || math.Abs(y[0]-2*y[1]+y[2]) > 0.02 ||
		!(x[0] < x[2] && y[0] > y[2]) {
		t.Errorf("points at %v, %v", x, y)
	}
	for _, want := range []string{"x &lt; y", "&lt;b&gt;", `aria-label="a &amp; b"`, "three &#34;points&#34;",
		"stroke-dasharray", "var(--grid)"} {
		if !strings.Contains(svg, want) {
			t.Errorf("no %s in\n%s", want, svg)
		}
	}
}

// Charts of one value, of nothing, and of an interval beyond the range have a scale all the same.
func TestChartOfLittle(t *testing.T) {
	wellFormed(t, New(400, 300, testStyle, "", "").SVG("nothing"))
	for _, log := range []bool{false, true} {
		c := New(400, 300, testStyle, "x", "y")
		c.X.Log, c.Y.Log = log, log
		c.Dots("red", false, Point{3, 3})
		c.Name(Point{3, 3}, "three")
		wellFormed(t, c.SVG("one"))
	}
	c := New(400, 300, testStyle, "x", "y")
	c.Bar("red", 1, 0, 12)
	c.Interval(Stroke{Color: "red", Width: 1}, Point{1, 0}, true, 0.5, 100)
	c.X.Max = 2
	svg := c.SVG("a bar")
	wellFormed(t, svg)
	if strings.Count(svg, "v6") != 1 { // pixels that a cap has
		t.Errorf("the interval does not end beyond the edge, and only there:\n%s", svg)
	}
}

// Names keep off points and each other, inside the chart, even if some have to be left out.
func TestNames(t *testing.T) {
	for _, n := range []int{4, 12, 60} {
		c := New(320, 220, testStyle, "x", "y")
		c.X.Min, c.X.Max, c.Y.Min, c.Y.Max = 0, 10, 0, 10
		for i := range n {
			p := Point{10 - float64(i%3), float64(i) * 0.15} // at the edge, closer than a line of text
			c.Dots("red", true, p)
			c.Name(p, "Q4_K_M-name")
		}
		k := c.draw(true)
		names := k.taken[n:] // after the dots
		if len(names) < min(n, 12) {
			t.Errorf("%d of %d names", len(names), n)
		}
		for i, a := range names {
			if a.x0 < 0 || a.x1 > c.Width || a.y0 < 0 || a.y1 > c.Height {
				t.Errorf("name %d goes beyond the edge: %+v", i, a)
			}
			for _, b := range names[:i] {
				if a.overlap(b) > 0 {
					t.Errorf("%d names: %v covers %v", n, a, b)
				}
			}
		}
	}
}

// Labels of an axis that have no room are left out at equal distances.
func TestThinnedLabels(t *testing.T) {
	c := New(320, 220, testStyle, "", "")
	for i := range 12 {
		c.Dots("red", true, Point{float64(i), 1})
		c.X.Ticks = append(c.X.Ticks, Tick{At: float64(i), Label: strconv.Itoa(10000 + i)})
	}
	svg := c.SVG("")
	for i := range 12 {
		if shown := strings.Contains(svg, ">"+strconv.Itoa(10000+i)+"<"); shown != (i%2 == 0) {
			t.Errorf("label %d is shown: %v", i, shown)
		}
	}
}

// The text for a part of a chart is inside the chart, wherever the part is and however long the text.
func TestTips(t *testing.T) {
	long := strings.Repeat("word ", 40) + strings.Repeat("W", 300)
	for _, text := range []string{"a", "1.2 to 3.4 nats: 1,234 tokens, 5.6 %", long} {
		c := New(320, 90, testStyle, "x", "")
		for i := range 11 {
			c.Bar("red", float64(i), 0, 12)
			c.Tip(Point{float64(i), 0}, Point{float64(i + 1), math.Inf(1)}, text)
		}
		svg := c.SVG("")
		wellFormed(t, svg)
		if n := strings.Count(svg, `tabindex="0"`); n != 11 {
			t.Errorf("%d parts take the focus, expected 11", n)
		}
		const number = `="([-0-9.]+)" `
		bubbles := regexp.MustCompile(`<g class="bubble"><rect x` + number + `y` + number + `width` + number +
			`height` + number)
		for _, m := range bubbles.FindAllStringSubmatch(svg, -1) {
			var v [4]float64
			for i := range v {
				v[i], _ = strconv.ParseFloat(m[i+1], 64)
			}
			if v[0] < 0 || v[1] < 0 || v[0]+v[2] > 320 || v[1]+v[3] > 90 {
				t.Errorf("a text of %d characters is at %v", len(text), v)
			}
		}
	}
	c := New(320, 90, testStyle, "x", "")
	for i := range mostStops + 1 {
		c.PointTip(Point{float64(i), 0}, "a")
	}
	if svg := c.SVG(""); strings.Contains(svg, "tabindex") || !strings.Contains(svg, `role="img"`) {
		t.Error("too many parts take the focus")
	}
}

func TestClip(t *testing.T) {
	for _, c := range []struct {
		text  string
		width float64
		want  string
	}{{"abc", 100, "abc"}, {"0123456789", 60, "012…6789"}, {"0123456789", 1, "…"}, {"漢字漢字漢字", 34, "漢…字"}} {
		if got := Clip(c.text, c.width); got != c.want {
			t.Errorf("%q in %v: %q, expected %q", c.text, c.width, got, c.want)
		}
	}
}

func TestTicks(t *testing.T) {
	labels := func(low, high float64, log bool) string {
		list := linearTicks(low, high)
		if log {
			list = logTicks(low, high)
		}
		var s []string
		for _, t := range list {
			if t.Label != "" {
				s = append(s, t.Label)
			}
		}
		return strings.Join(s, " ")
	}
	for _, c := range []struct {
		low, high float64
		log       bool
		want      string
	}{
		{0, 0.25, false, "0.00 0.05 0.10 0.15 0.20 0.25"},
		{-1, 1, false, "-1.0 -0.5 0.0 0.5 1.0"},
		{80, 210, false, "100 150 200"},
		{0, 0, false, ""},
		{0, math.Inf(1), false, ""},
		{0.001, 10, true, "0.001 0.01 0.1 1 10"},
		{1e-9, 1, true, "1e-8 1e-6 0.0001 0.01 1"},
		{0.1, 0.63, true, "0.1 0.2 0.5"},
		{1.0000000000000002e-9, 1e-2, true, "1e-8 1e-6 0.0001 0.01"},
		{0, 1, true, ""},
		{1, 1, true, ""},
		{1, math.Inf(1), true, ""},
		{9e4, 2e6, true, "100000 200000 500000 1e6 2e6"},
	} {
		if got := labels(c.low, c.high, c.log); got != c.want {
			t.Errorf("%v: %q, expected %q", c, got, c.want)
		}
	}
}
