package verify

import (
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/phi3conv/phi3conv/internal/report"
)

// tables are those of the text and the Markdown, without those that have no rows.
func (r *Report) tables() []report.Table {
	list := slices.Concat([]report.Table{r.Verdict.table()}, r.Baseline.tables(), []report.Table{
		r.Weights.table(), r.models(), r.Seal.table(), r.figures(), r.layers(), r.speed(),
		groupTable("By text", r.KLDName(), r.ByText),
		groupTable("By tokens before, in the window", r.KLDName(), r.ByContext),
		r.worst(),
	})
	return slices.DeleteFunc(list, func(t report.Table) bool { return len(t.Rows) < 2 })
}

func (r *Report) models() report.Table {
	s := report.Table{Title: "Compared", Left: 4,
		Rows: [][]string{{"", "name", "content", "SHA-256", "size", "bits/weight"}}}
	for _, m := range []struct {
		what string
		Model
	}{{"original", r.Base}, {"quantized", r.Quant}} {
		s.Rows = append(s.Rows, []string{m.what, report.Printable(m.Name), report.Printable(m.Format), short(m.SHA256),
			bytesOf(m.FileBytes), fmt.Sprintf("%.2f", m.BitsPerWeight)})
	}
	if r.Seal != nil { // which says nothing of the original's file
		clear(s.Rows[1][4:])
	}
	for _, t := range r.Texts {
		s.Rows = append(s.Rows, []string{"text", report.Printable(t.Name), fmt.Sprintf("%d tokens", t.Tokens),
			short(t.SHA256), bytesOf(t.Bytes), ""})
	}
	return s
}

// SummaryLine is a figure of a [Summary] as tables show it: with its name, and in its unit there.
type SummaryLine struct {
	Name     string
	Estimate Estimate
	Extreme  bool // the least or greatest value of a token, which has no uncertainty
}

// SummaryLines returns the figures of the summary, in the order of tables.
func (r *Report) SummaryLines() []SummaryLine {
	var list []SummaryLine
	add := func(name string, e Estimate) { list = append(list, SummaryLine{name, e, false}) }
	percent := func(name string, e Estimate) { add(name+", %", e.Times(100)) }
	most := func(name string, v float64) { list = append(list, SummaryLine{name, Estimate{Value: v}, true}) }
	u, kld := &r.Summary, r.KLDName()
	add("PPL, original", u.PPLBase)
	add("PPL, quantized", u.PPL)
	add("PPL ratio", u.PPLRatio)
	add("ln PPL ratio", u.LnPPLRatio)
	add(kld+" mean, nats", u.KLD)
	if p := r.Parts; p != nil {
		add(fmt.Sprintf("of the weights alone, %d tokens", p.Tokens), p.Weights)
		add(fmt.Sprintf("added by the runtime, %d tokens", p.Tokens), p.Runtime)
	}
	add(kld+" median", u.KLDMedian)
	add(kld+" p90", u.KLD90)
	add(kld+" p95", u.KLD95)
	add(kld+" p99", u.KLD99)
	add(kld+" p99.9", u.KLD999)
	most(kld+" greatest", u.KLDMax)
	percent("same top token", u.SameTop)
	percent("top-5 overlap", u.Top5)
	percent("Δp RMS", u.RMSDeltaP)
	percent("Δp mean", u.DeltaP)
	most("Δp least, %", 100*u.DeltaPMin)
	percent("Δp p1", u.DeltaP1)
	percent("Δp p5", u.DeltaP5)
	percent("Δp p25", u.DeltaP25)
	percent("Δp median", u.DeltaPMedian)
	percent("Δp p75", u.DeltaP75)
	percent("Δp p95", u.DeltaP95)
	percent("Δp p99", u.DeltaP99)
	most("Δp greatest, %", 100*u.DeltaPMax)
	return list
}

func (r *Report) figures() report.Table {
	t := report.Table{Title: fmt.Sprintf("%d tokens", r.Summary.Count), Left: 1,
		Rows: [][]string{{"", "value", "± SE", "95 % from", "to"}}}
	for _, m := range r.SummaryLines() {
		if v := m.Estimate.Value; m.Extreme {
			t.Rows = append(t.Rows, []string{m.Name, Digits(v, v), "", "", ""})
		} else {
			t.Rows = append(t.Rows, append([]string{m.Name}, m.Estimate.Cells()...))
		}
	}
	return t
}

func groupTable(title, kld string, groups []Group) report.Table {
	s := report.Table{Title: title, Left: 1,
		Rows: [][]string{{"", "tokens", "PPL ratio", "± SE", kld + " mean", "± SE", kld + " p99", "± SE", "same top, %",
			"± SE"}}}
	for _, g := range groups {
		row := []string{report.Printable(g.Name), strconv.Itoa(g.Count)}
		for _, e := range []Estimate{g.PPLRatio, g.KLD, g.KLD99, g.SameTop.Times(100)} {
			row = append(row, e.Cells()[:2]...)
		}
		s.Rows = append(s.Rows, row)
	}
	return s
}

func (r *Report) worst() report.Table {
	s := report.Table{Title: "Greatest " + r.KLDName(), Left: 3,
		Rows: [][]string{{"text", "token", "after", "at", r.KLDName(), "p original, %", "p quantized, %"}}}
	for _, t := range r.Worst {
		name := strconv.Itoa(t.Text)
		if t.Text >= 0 && t.Text < len(r.Texts) {
			name = r.Texts[t.Text].Name
		}
		s.Rows = append(s.Rows, []string{report.Printable(name), strconv.Quote(t.Piece), strconv.Quote(t.Before),
			strconv.Itoa(t.Index),
			Digits(t.KLD, t.KLD), Digits(100*math.Exp(-t.Base), 1), Digits(100*math.Exp(-t.Quant), 1)})
	}
	return s
}

// speed is the table of Performance, empty if it was not measured.
func (r *Report) speed() report.Table {
	p := r.Performance
	if p == nil {
		return report.Table{}
	}
	s := report.Table{Title: fmt.Sprintf("Speed, %d threads; this machine reads %.1f GB/s", p.Threads, p.Bandwidth/1e9),
		Left: 1,
		Rows: [][]string{{"", "prompt, tok/s", "± SE", "decode, tok/s", "± SE", "of bandwidth, %", "load, s",
			"peak RSS"}}}
	add := func(what string, v *Speed) {
		rss := "?"
		if v.RSS > 0 {
			rss = bytesOf(v.RSS)
		}
		s.Rows = append(s.Rows, slices.Concat([]string{what}, v.PP.Cells()[:2], v.TG.Cells()[:2],
			[]string{fmt.Sprintf("%.0f", 100*v.Share), fmt.Sprintf("%.2f", v.Load), rss}))
	}
	if b := p.Base; b != nil {
		add("original", b)
	}
	add("quantized", &p.Quant)
	if b, q := p.Base, &p.Quant; b != nil {
		ratio := func(q, b float64) string { return fmt.Sprintf("× %.2f", q/b) }
		rss := ""
		if b.RSS > 0 {
			rss = ratio(float64(q.RSS), float64(b.RSS))
		}
		s.Rows = append(s.Rows, []string{"", ratio(q.PP.Value, b.PP.Value), "", ratio(q.TG.Value, b.TG.Value), "", "",
			ratio(q.Load, b.Load), rss})
	}
	return s
}

func (v *Verdict) table() report.Table {
	if v == nil {
		return report.Table{}
	}
	s := report.Table{Title: "Verdict: " + string(v.Outcome), Left: 2,
		Rows: [][]string{{"", "", "limit", "value", "± SE", "95 % from", "to"}}}
	for _, c := range v.Checks {
		limit, measured := c.Cells()
		s.Rows = append(s.Rows, append([]string{c.Name, c.Explain(v.Tokens), limit}, measured...))
	}
	return s
}

// about describes what the figures are of, in sentences.
func (r *Report) about() []string {
	c := r.Conventions
	bos := "no BOS token"
	if c.BOS {
		bos = "a BOS token first"
	}
	return append(append(r.Seal.about(),
		r.shardText()+fmt.Sprintf("Convention %s: windows of %d tokens every %d, %s, scored from %d tokens on.",
			report.Printable(c.Name), c.Context, c.Stride, bos, c.First),
		"Logarithms are natural; standard errors (SE) and intervals take tokens as independent.",
		"Measured by "+report.Printable(r.Tool)+".",
	), r.Warnings()...)
}

// shardText says which part of a verification the report is of.
func (r *Report) shardText() string {
	if r.Shard == nil {
		return ""
	}
	return fmt.Sprintf("Part %d of %d. ", r.Shard.I, r.Shard.N)
}
