package htmlreport

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/verify"
)

// synthetic returns a report that has everything, of a model with a mean KLD near size.
func synthetic(t testing.TB, name string, size float64) *verify.Report {
	g := rand.New(rand.NewPCG(1, 2))
	texts := []verify.Text{{Name: "news.txt", Bytes: 9000, SHA256: strings.Repeat("ab", 32), Tokens: 3000},
		{Name: "code.txt", Bytes: 8000, SHA256: strings.Repeat("cd", 32), Tokens: 2500}}
	var p []verify.Position
	for i := range 600 {
		k := size * math.Exp(g.NormFloat64()-0.5)
		p = append(p, verify.Position{Text: i / 300, Index: 300 + i%300, Context: 256 + i%256, Token: int32(i), Base: 2,
			Quant: 2 + g.NormFloat64()*k, KLD: k,
			SameTop: g.Float64() > size, Top5: 4, DeltaP: 0.1 * g.NormFloat64() * k})
	}
	r := verify.NewReport(p, texts, 4)
	r.Tool = "phi3conv test"
	r.Conventions = verify.Conventions{Name: verify.LlamaPerplexity, Context: 512, Stride: 512, First: 256, BOS: true}
	r.Compute = verify.Compute{Cache: "f16"}
	r.Base = verify.Model{Name: "original", Format: "BF16", Bytes: 1 << 20, FileBytes: 1<<20 + 4096, BitsPerWeight: 16,
		SHA256: strings.Repeat("12", 32)}
	r.Quant = verify.Model{Name: name, Format: "Q4_K", Bytes: int64(1e4 / size), FileBytes: int64(1.1e4 / size),
		BitsPerWeight: 4.85, SHA256: strings.Repeat("34", 32)}
	for i := range r.Worst {
		r.Worst[i].Before, r.Worst[i].Piece = "once upon a", "▁time"
	}
	speed := func(pp, tg float64) verify.Speed {
		return verify.NewSpeed([]verify.SpeedRun{{PP: pp, TG: tg, Load: 1, RSS: 1 << 28},
			{PP: pp * 1.02, TG: tg * 0.99, Load: 1.1, RSS: 1 << 28}}, 1<<20, 1e9)
	}
	base := speed(200, 30)
	r.Performance = &verify.Performance{Threads: 2, Bandwidth: 1.7e10, Base: &base, Quant: speed(260, 30/size*0.05)}
	r.LayerTokens = 300
	for i := range 30 {
		k := 0.01 / float64(1+i)
		r.Layers = append(r.Layers, verify.LayerKLD{Name: fmt.Sprintf("blk.%d", i), Type: "Q4_K", Bytes: 1 << 20,
			BitsPerWeight: 4.5, KLD: verify.Estimate{Value: k, SE: k / 10, Low: 0.8 * k, High: 1.2 * k}})
	}
	r.AllLayers = &verify.LayerKLD{Name: "all", Type: "Q4_K", KLD: r.Summary.KLD}
	judge(t, r, verify.Threshold{Name: "max-kld", Limit: 0.1}, verify.Threshold{Name: "min-top1", Limit: 0.8},
		verify.Threshold{Name: "max-size", Limit: 1 << 20}, verify.Threshold{Name: "min-tg", Limit: 5})
	return r
}

func judge(t testing.TB, r *verify.Report, thresholds ...verify.Threshold) {
	t.Helper()
	if err := r.Judge(thresholds); err != nil {
		t.Fatal(err)
	}
}

func render(t testing.TB, reports ...*verify.Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, reports); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// against compares a report with a baseline.
func against(t testing.TB, r, baseline *verify.Report) *verify.Report {
	t.Helper()
	if err := r.Compare(baseline, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

const hostile = "a\"'><script>alert(1)</script><img src=x " +
	"onerror=alert(1)>&amp;\u202eab\u2066\x00\x1b[31m\xff\n\u2028]]>--></style></svg>`{{.}}javascript:x"

// broken is a report in which nothing can be trusted to be a number, or a name to be one.
func broken(t testing.TB) *verify.Report {
	r := synthetic(t, hostile, 0.05)
	bad := []verify.Estimate{
		{Value: math.NaN(), SE: math.NaN(), Low: math.NaN(), High: math.NaN()},
		{Value: math.Inf(1), SE: math.Inf(1), Low: math.Inf(-1), High: math.Inf(1)},
		{Value: 1, SE: math.NaN(), Low: math.Inf(-1), High: math.Inf(1)},
		{Value: -1e300, SE: 1e300, Low: -1e308, High: 1e308},
	}
	r.Summary.KLD, r.Summary.KLDMedian, r.Summary.KLD99, r.Summary.PPLRatio = bad[0], bad[1], bad[2], bad[3]
	for i := range r.ByContext {
		r.ByContext[i].Name, r.ByContext[i].KLD = hostile, bad[i%4]
	}
	for i := range r.ByText {
		r.ByText[i].Name, r.ByText[i].KLD = hostile, bad[2]
	}
	for i := range r.Verdict.Checks {
		r.Verdict.Checks[i].Measured = bad[i]
	}
	r.Verdict.Checks[0].Name = hostile
	r.Positions[0].KLD, r.Positions[1].KLD = math.NaN(), math.Inf(1)
	for _, s := range []*string{
		&r.Base.Name, &r.Base.Format, &r.Base.SHA256, &r.Tool, &r.Conventions.Name, &r.Compute.Cache,
	} {
		*s = hostile
	}
	r.Quant.BitsPerWeight, r.Quant.FileBytes = math.NaN(), math.MinInt64
	r.Texts[0].Name, r.Worst[0].Piece, r.Worst[0].Before, r.Worst[1].Text = hostile, hostile, hostile, 99
	r.Layers[0].Name, r.Layers[1].KLD, r.Layers[2].KLD = hostile, bad[0], bad[2]
	r.Worst[2].Base, r.Worst[3].KLD = math.NaN(), math.Inf(1)
	speed := r.Performance
	speed.Bandwidth, speed.Quant.TG, speed.Quant.PP, speed.Base.PP = math.Inf(1), bad[0], bad[3], bad[2]
	return r
}

func TestPage(t *testing.T) {
	plain := synthetic(t, "m-Q4.gguf", 0.05)
	plain.Positions, plain.Performance, plain.Verdict, plain.Worst, plain.Layers = nil, nil, nil, nil, nil
	empty := verify.NewReport(nil, nil, 10)
	strided := synthetic(t, "m-Q5.gguf", 0.02)
	strided.Conventions = verify.Conventions{Name: verify.Strided, Context: 512, Stride: 64}
	strided.Shard = &verify.Shard{I: 1, N: 4}
	one := synthetic(t, "m-Q4.gguf", 0.05)
	sealed := synthetic(t, "m-Q4.gguf", 0.05)
	sealed.Base = verify.Model{Name: "original", SHA256: strings.Repeat("12", 32)}
	sealed.Performance.Base, sealed.Layers = nil, nil
	sealed.Seal = &verify.Seal{
		Name: "phi.seal", Bytes: 1 << 20, SHA256: strings.Repeat("56", 32),
		TopK: 64, MinP: 0.001, Positions: 600, Full: 20, Bound: sealed.Summary.KLD,
		Share: verify.Estimate{Value: 0.9, SE: 0.01, Low: 0.88, High: 0.92},
		KLD:   verify.Estimate{Value: 0.06, SE: 0.002, Low: 0.056, High: 0.064},
	}
	for _, c := range []struct {
		name    string
		reports []*verify.Report
		want    []string
	}{
		{"everything", []*verify.Report{one}, []string{
			"m-Q4.gguf against original", "✓ Good enough: all 4 limits are kept.", "Mean KL divergence, in nats",
			"limit at most 0.1", "limit at least 5", "1.0 MiB",
			"How far single predictions moved", "By position in the context", "By text", "Which weights are to blame",
			"The 20 greatest of 30", "all together", "Decoding speed", "Reading speed", "Worst tokens",
			"once upon a", "<mark>▁time</mark>",
			strings.Repeat("12", 32), strings.Repeat("ab", 32), "first in every window",
			"second half of each is scored", "phi3conv test", "KLD p99.9", "share of memory bandwidth",
		}},
		{"worse", []*verify.Report{against(t, synthetic(t, "new.gguf", 0.06), one)},
			[]string{"✗ Not good enough: worse than the baseline.", "Changes since m-Q4.gguf", "✗ worse",
				"Size and speed since the baseline"}},
		{"not worse", []*verify.Report{against(t, synthetic(t, "new.gguf", 0.05), one)},
			[]string{"✓ Good enough: all 4 limits are kept, and it is not worse than the baseline.", "0 worse",
				"✓ the same"}},
		{"sealed", []*verify.Report{sealed}, []string{"at least 0.0", "by estimate 0.0600 ± 0.0020", "phi.seal",
			strings.Repeat("56", 32), "share of the divergence in that bound", "KLD bound p99.9",
			"KLD bound of a token", "With a seal the original was not there"}},
		{"figures only", []*verify.Report{plain},
			[]string{"Measured, not judged", "which share of the tokens exceeds"}},
		{"empty", []*verify.Report{empty}, []string{"On 0 tokens", "All metrics, of 0 tokens"}},
		{"several", []*verify.Report{one, synthetic(t, "m-Q2.gguf", 0.5), strided, empty, plain}, []string{
			"✗ 1 of 5 models are not good enough.", "Comparison", "Size against quality", "Pareto front",
			"✗ Not good enough", "every token is scored once", "1 of 4, only its windows",
		}},
		{"broken", []*verify.Report{broken(t)}, []string{"U+202E", "U+0000", `\xFF`, "↵", "&lt;script&gt;"}},
		{"several broken", []*verify.Report{broken(t), one, broken(t)}, []string{"U+202E"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			page := render(t, c.reports...)
			text := wellFormed(t, page)
			for _, w := range c.want {
				if !strings.Contains(page, w) && !strings.Contains(text, w) {
					t.Errorf("the page has no %q", w)
				}
			}
			if page != render(t, c.reports...) {
				t.Error("the same reports gave other bytes")
			}
		})
	}
	if err := Write(io.Discard, nil); err == nil {
		t.Error("a page of no report")
	}
}

// Whatever the numbers are, the page is one.
func TestAnyNumbers(t *testing.T) {
	g := rand.New(rand.NewPCG(3, 4))
	special := []float64{0, math.Copysign(0, -1), 1, -1, 1e-300, 5e-324, 1e300, math.MaxFloat64, -math.MaxFloat64, 1e17,
		math.NaN(), math.Inf(1), math.Inf(-1), 0.1, 0.1 + 1e-17}
	any := func() float64 { return special[g.IntN(len(special))] }
	estimate := func() verify.Estimate { return verify.Estimate{Value: any(), SE: any(), Low: any(), High: any()} }
	var list []*verify.Report
	for range 3 {
		list = append(list, synthetic(t, "m", 0.05))
	}
	for range 8 {
		for _, r := range list {
			u := &r.Summary
			for _, e := range []*verify.Estimate{&u.KLD, &u.KLDMedian, &u.KLD90, &u.KLD95, &u.KLD99, &u.KLD999,
				&u.PPLRatio, &u.SameTop, &r.Performance.Quant.TG, &r.Performance.Quant.PP, &r.Performance.Base.TG} {
				*e = estimate()
			}
			for i := range r.ByContext {
				r.ByContext[i].KLD = estimate()
			}
			for i := range r.ByText {
				r.ByText[i].KLD = estimate()
			}
			for i := range r.Verdict.Checks {
				r.Verdict.Checks[i].Measured, r.Verdict.Checks[i].Limit = estimate(), any()
			}
			for i := range r.Positions {
				r.Positions[i].KLD = any()
			}
			if g.IntN(2) == 0 {
				r.Positions = nil
			}
			r.Quant.FileBytes, r.Quant.BitsPerWeight = int64(g.Uint64()), any()
		}
		wellFormed(t, render(t, list...))
	}
}

// pageCheck collects what a page has.
type pageCheck struct {
	*testing.T
	ids, refs map[string]bool
	elements  map[string]int
	text      strings.Builder
}

// wellFormed checks that the page is well-formed (it is XML too), loads and runs nothing, has every place
// that it links to, and describes its tables and pictures. It returns the text.
func wellFormed(t *testing.T, page string) string {
	t.Helper()
	c := &pageCheck{T: t, ids: map[string]bool{}, refs: map[string]bool{}, elements: map[string]int{}}
	d := xml.NewDecoder(strings.NewReader(page))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("not well-formed: %v", err)
		}
		switch e := token.(type) {
		case xml.CharData:
			c.text.Write(e)
			c.characters(string(e))
		case xml.StartElement:
			c.elements[e.Name.Local]++
			c.element(e.Name.Local, c.attributes(e))
		}
	}
	for ref := range c.refs {
		if !c.ids[ref] {
			t.Errorf("there is no %q", ref)
		}
	}
	if n := c.elements; n["table"] != n["caption"] || n["main"] != 1 || n["h1"] != 1 {
		t.Errorf("elements %v", n)
	}
	for _, m := range regexp.MustCompile(`var\(--[a-z]+\)`).FindAllString(page, -1) {
		if name := m[4 : len(m)-1]; !strings.Contains(style, name+":") {
			t.Errorf("no colour %s in the style sheet", name)
		}
	}
	return c.text.String()
}

// characters refuses what does not show, or reorders text.
func (c *pageCheck) characters(s string) {
	for _, r := range s {
		if r < ' ' && r != '\n' || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
			c.Errorf("a character %U in the text", r)
		}
	}
}

// attributes refuses those that load or run something, and numbers that are none.
func (c *pageCheck) attributes(e xml.StartElement) map[string]string {
	attr := map[string]string{}
	for _, a := range e.Attr {
		name, value := a.Name.Local, a.Value
		attr[name] = value
		switch {
		case strings.HasPrefix(name, "on") || name == "src" || name == "xmlns" || strings.Contains(value, "url("),
			strings.Contains(value, "NaN") || strings.Contains(value, "Inf"):
			c.Errorf("<%s %s=%q>", e.Name.Local, name, value)
		case name == "href" && !strings.HasPrefix(value, "#"):
			c.Errorf("a link to %q", value)
		}
	}
	if id := attr["id"]; id != "" {
		if c.ids[id] {
			c.Errorf("the id %q is there twice", id)
		}
		c.ids[id] = true
	}
	for _, ref := range []string{strings.TrimPrefix(attr["href"], "#"), attr["aria-labelledby"]} {
		if ref != "" {
			c.refs[ref] = true
		}
	}
	return attr
}

// element refuses what loads or runs something, and what lacks a description.
func (c *pageCheck) element(name string, attr map[string]string) {
	switch name {
	case "script", "img", "link", "iframe", "object", "image":
		c.Errorf("a <%s>", name)
	case "svg":
		if attr["aria-hidden"] == "" && (attr["role"] != "img" && attr["role"] != "group" || attr["aria-label"] == "") {
			c.Error("a picture without a description")
		}
	case "th":
		if attr["scope"] == "" {
			c.Error("a header of a table without a scope")
		}
	case "html":
		if attr["lang"] != "en" {
			c.Error("no language")
		}
	}
}

// Each figure shows as many tokens as there are.
func TestDistribution(t *testing.T) {
	f := distribution(synthetic(t, "m", 0.05))
	total := 0
	for _, row := range f.Numbers.Rows {
		n, err := strconv.Atoi(row[2])
		if err != nil {
			t.Error(err)
		}
		total += n
	}
	if total != 600 {
		t.Errorf("the bars have %d tokens, expected 600", total)
	}
}

func TestVerdict(t *testing.T) {
	r := synthetic(t, "m", 0.05)
	kld := r.Summary.KLD.Value
	for _, c := range []struct {
		limits []verify.Threshold
		tone   string
		word   string
	}{
		{[]verify.Threshold{{Name: "max-kld", Limit: 1}}, "pass", "the limit is kept"},
		{[]verify.Threshold{{Name: "max-kld", Limit: 0.001}, {Name: "min-top1", Limit: 0.5}}, "fail",
			"1 of 2 limits missed"},
		{[]verify.Threshold{{Name: "max-kld", Limit: 0.001}, {Name: "max-kld-p90", Limit: r.Summary.KLD90.Value}},
			"fail", "of 2 limits 1 missed, 1 undecided"},
		{[]verify.Threshold{{Name: "max-kld", Limit: kld}}, "undecided", "1 of 1 limit undecided"},
	} {
		judge(t, r, c.limits...)
		b := verdictOf(r)
		if b.Tone != c.tone || !strings.Contains(b.Word, c.word) {
			t.Errorf("%v: %s, %q; expected %s, %q", c.limits, b.Tone, b.Word, c.tone, c.word)
		}
	}
}

// The gauge is to scale: what is on the allowed side of the limit is drawn there.
func TestGauge(t *testing.T) {
	for _, c := range []struct {
		name          string
		value, limit  float64
		below, inside bool // the dot is left of the limit, and within what is allowed
	}{{"max-kld", 0.01, 0.05, true, true}, {"max-kld", 0.06, 0.05, false, false}, {"min-top1", 0.8, 0.9, true,
		false}, {"min-top1", 0.95, 0.9, false, true}} {
		k := verify.Check{Threshold: verify.Threshold{Name: c.name, Limit: c.limit},
			Measured: verify.Estimate{Value: c.value, SE: 0.01, Low: c.value - 0.02, High: c.value + 0.02}}
		g := newCheck(&k, 100).Gauge
		number := func(s string) float64 {
			x, err := strconv.ParseFloat(s, 64)
			if err != nil || x < 0 || x > 100 {
				t.Fatalf("%q is no percentage", s)
			}
			return x
		}
		dot, from := number(g.Value), number(g.Allowed.From)
		if got := dot < number(g.Limit); got != c.below {
			t.Errorf("%v: left of the limit is %v", c, got)
		}
		if got := dot >= from && dot <= from+number(g.Allowed.Width); got != c.inside {
			t.Errorf("%v: allowed is %v", c, got)
		}
	}
}

func TestModelNames(t *testing.T) {
	for _, c := range [][2][]string{
		{{"phi-Q4_K_M.gguf", "phi-Q8_0.gguf"}, {"Q4_K_M", "Q8_0"}},
		{{"a.gguf"}, {"a.gguf"}},
		{{"same", "same"}, {"same", "same"}},
		{{"x-Q4.gguf", "x.gguf"}, {"x-Q4", "x"}},
		{{"a", "b", ""}, {"a", "b", ""}},
	} {
		var list []*verify.Report
		for _, n := range c[0] {
			list = append(list, &verify.Report{Quant: verify.Model{Name: n}})
		}
		if got := modelNames(list); fmt.Sprint(got) != fmt.Sprint(c[1]) {
			t.Errorf("%q: %q, expected %q", c[0], got, c[1])
		}
	}
}

// Text has a contrast of 4.5 at least, and what a plot draws one of 3 (WCAG 2.2, AA), in light and in dark.
func TestContrast(t *testing.T) {
	light, dark, found := strings.Cut(style, "@media screen and (prefers-color-scheme: dark)")
	if !found {
		t.Fatal("no dark colours")
	}
	dark, _, _ = strings.Cut(dark, "* {")
	for name, css := range map[string]string{"light": light, "dark": dark} {
		luminance := map[string]float64{}
		for _, m := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(css, -1) {
			rgb, _ := strconv.ParseUint(m[2], 16, 32)
			for i, w := range []float64{0.0722, 0.7152, 0.2126} {
				c := float64(rgb>>(8*i)&0xff) / 255
				if c <= 0.04045 {
					c /= 12.92
				} else {
					c = math.Pow((c+0.055)/1.055, 2.4)
				}
				luminance[m[1]] += w * c
			}
		}
		check := func(a, b string, least float64) {
			x, okA := luminance[a]
			y, okB := luminance[b]
			if got := (max(x, y) + 0.05) / (min(x, y) + 0.05); !okA || !okB || got < least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, expected %v", name, a, b, got, least)
			}
		}
		for _, ground := range []string{"page", "surface"} {
			for _, text := range []string{"ink", "muted", "link", "mark", "pass", "fail", "undecided", "none"} {
				check(text, ground, 4.5)
			}
		}
		for _, tone := range []string{"pass", "fail", "undecided", "none"} {
			check(tone, tone+"-soft", 4.5)
			check("ink", tone+"-soft", 4.5)
		}
		check("ink", "highlight", 4.5)
		check("quant", "surface", 3)
		check("base", "surface", 3)
	}
}
