// Package htmlreport writes reports of [verify] as a page for people: one file without scripts
// or anything to load, in light and dark, with plots.
//
// The same reports give the same bytes. Names and text from files are escaped, and
// characters that do not show or that reorder text are shown by their code.
package htmlreport

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

//go:embed report.html
var reportHTML string

//go:embed style.css
var style string

var page = template.Must(template.New("report").Funcs(template.FuncMap{"text": visibleHTML}).Parse(reportHTML))

// Write writes the reports of one quantized model, or of several to compare, as HTML.
func Write(w io.Writer, reports verify.Reports) error {
	if len(reports) == 0 {
		return errors.New("no report to write")
	}
	d := document{Style: template.CSS(style), Title: title(reports), Columns: comparedColumns, Notes: notes(reports)}
	names, front := modelNames(reports), reports.Pareto()
	for i, r := range reports {
		m, err := newModel(r)
		if err != nil {
			return err
		}
		m.ID, m.Front = fmt.Sprintf("model-%d", i+1), front[i]
		if len(reports) > 1 {
			m.Name = names[i]
		}
		d.Models = append(d.Models, m)
	}
	for _, draw := range comparisons {
		f, err := draw(reports)
		if err != nil {
			return err
		}
		if f != nil {
			d.Figures = append(d.Figures, f)
		}
	}
	if len(reports) == 1 {
		d.Banner = d.Models[0].Banner
		d.Models[0].Figures = append(d.Models[0].Figures, d.Figures...)
	} else {
		d.Banner = overall(reports)
	}
	var b bytes.Buffer
	if err := page.Execute(&b, &d); err != nil {
		return err
	}
	_, err := w.Write(b.Bytes())
	return err
}

// What the template shows.
type (
	document struct {
		Style   template.CSS
		Title   string
		Banner  *banner
		Models  []*model
		Columns []string  // of the comparison
		Figures []*figure // of all models
		Notes   []string
	}
	model struct {
		ID, Name string
		Banner   *banner
		Front    bool // on the Pareto front
		Compared []string
		Tiles    []tile
		Checks   []check
		Baseline *comparedTo
		Compares []*table
		Facts    []tile
		Figures  []*figure
		Worst    []token
		Numbers  []*table
	}
	banner struct {
		Tone  string // class: pass, fail, undecided or none
		Badge string
		Word  string
		Lines []string
	}
	tile  struct{ Name, Value, Note string }
	check struct {
		Tone, Badge, Name, What string
		Value, SE, Low, High    string
		Bound, Limit, Words     string
		Gauge                   *gauge
	}
	gauge struct {
		Description, LimitText, Anchor string
		Allowed                        extent
		Span                           *extent
		Value, Limit                   string // percent of the width
	}
	extent struct{ From, Width string }
	table  struct {
		Caption string
		Head    []string
		Text    int // columns with text, before those with numbers
		Hash    int // the column with hashes, 0 if there is none
		Rows    [][]string
	}
	token struct {
		Before, Piece, Text, Index, KLD string
		Base, Quant                     string
		BaseWidth, QuantWidth           string
	}
)

func newModel(r *verify.Report) (*model, error) {
	m := &model{
		Name: r.Quant.Name, Banner: verdictOf(r),
		Compared: compared(r), Tiles: tiles(r), Baseline: newBaseline(r.Baseline), Compares: compares(r), Facts: facts(r), Worst: worst(r),
		Numbers: []*table{allNumbers(r)},
	}
	if t := performanceTable(r); t != nil {
		m.Numbers = append(m.Numbers, t)
	}
	if r.Verdict != nil {
		for i := range r.Verdict.Checks {
			m.Checks = append(m.Checks, newCheck(&r.Verdict.Checks[i], r.Verdict.Tokens))
		}
	}
	for _, draw := range modelFigures {
		f, err := draw(r)
		if err != nil {
			return nil, err
		}
		if f != nil {
			m.Figures = append(m.Figures, f)
		}
	}
	return m, nil
}

func title(reports []*verify.Report) string {
	base := reports[0].Base.Name
	if len(reports) == 1 {
		return fmt.Sprintf("%s against %s", visible(reports[0].Quant.Name), visible(base))
	}
	for _, r := range reports {
		if r.Base.SHA256 != reports[0].Base.SHA256 {
			return fmt.Sprintf("%d quantized models against their originals", len(reports))
		}
	}
	return fmt.Sprintf("%d quantized models against %s", len(reports), visible(base))
}

// verdictOf says in plain words what the report found.
func verdictOf(r *verify.Report) *banner {
	u := &r.Summary
	evidence := fmt.Sprintf("On %s tokens of %s, the mean KL divergence from the original is %s. Both models find the same token likeliest %s %% of the time, and the perplexity is %s.",
		humanize.Comma(int64(u.Count)), plural(len(r.Texts), "text"), meanKLD(r), plusMinus(percent(u.SameTop)), change(u.PPLRatio, "the original's"))
	var checks []verify.Check
	if r.Verdict != nil {
		checks = r.Verdict.Checks
	}
	outcome := r.Outcome()
	if outcome == "" {
		return &banner{"none", "no limits", "Measured, not judged: no limits were given.", []string{evidence}}
	}
	var lines []string
	count := map[verify.Outcome]int{}
	for i := range checks {
		c := newCheck(&checks[i], r.Verdict.Tokens)
		count[checks[i].Outcome]++
		switch checks[i].Outcome {
		case verify.Fail:
			lines = append(lines, fmt.Sprintf("%s: %s, should be %s %s.", c.What, c.Value, c.Bound, c.Limit))
		case verify.Undecided:
			lines = append(lines, c.What+": "+checks[i].Explain(r.Verdict.Tokens)+".")
		}
	}
	if r.Baseline != nil {
		lines = append(lines, baselineLines(r.Baseline)...)
	}
	unlike := r.Weights != nil && len(r.Weights.Unlike) > 0
	if unlike {
		lines = append([]string{"Weights: " + r.Weights.String() + "."}, lines...)
	}
	b := &banner{Tone: string(outcome), Badge: badge(outcome), Lines: append(lines, evidence)}
	n := plural(len(checks), "limit")
	switch {
	case unlike:
		b.Word = "✗ Not good enough: weights are damaged."
	case outcome == verify.Fail && count[verify.Fail] == 0:
		b.Word = "✗ Not good enough: worse than the baseline."
	case outcome == verify.Fail && count[verify.Undecided] > 0:
		b.Word = fmt.Sprintf("✗ Not good enough: of %s %d missed, %d undecided.", n, count[verify.Fail], count[verify.Undecided])
	case outcome == verify.Fail:
		b.Word = fmt.Sprintf("✗ Not good enough: %d of %s missed.", count[verify.Fail], n)
	case outcome == verify.Pass && len(checks) == 0:
		b.Word = "✓ Good enough: not worse than the baseline."
	case outcome == verify.Pass && r.Baseline != nil:
		b.Word = "✓ Good enough: " + all(len(checks)) + " kept, and it is not worse than the baseline."
	case outcome == verify.Pass:
		b.Word = "✓ Good enough: " + all(len(checks)) + " kept."
	case count[verify.Undecided] == 0:
		b.Word = "? Not enough tokens to tell whether it is worse than the baseline."
	default:
		b.Word = fmt.Sprintf("? Not measured well enough to tell: %d of %s undecided.", count[verify.Undecided], n)
	}
	return b
}

func all(n int) string {
	if n == 1 {
		return "the limit is"
	}
	return fmt.Sprintf("all %d limits are", n)
}

// overall counts the verdicts of several reports.
func overall(reports []*verify.Report) *banner {
	count := map[verify.Outcome]int{}
	judged := 0
	for _, r := range reports {
		if o := r.Outcome(); o != "" {
			count[o]++
			judged++
		}
	}
	b := &banner{Tone: "none", Word: "Measured, not judged: no limits were given."}
	switch {
	case judged == 0:
	case count[verify.Fail] > 0:
		b.Tone, b.Word = "fail", fmt.Sprintf("✗ %d of %d models are not good enough.", count[verify.Fail], len(reports))
	case count[verify.Undecided] > 0:
		b.Tone, b.Word = "undecided", fmt.Sprintf("? Not measured well enough to tell for %d of %d models.", count[verify.Undecided], len(reports))
	case judged == len(reports):
		b.Tone, b.Word = "pass", fmt.Sprintf("✓ All %d models are good enough.", judged)
	default:
		b.Word = fmt.Sprintf("%d of %d models were judged, all of them good enough.", judged, len(reports))
	}
	if judged > 0 {
		b.Lines = []string{fmt.Sprintf("%d passed, %d failed, %d undecided.", count[verify.Pass], count[verify.Fail], count[verify.Undecided])}
	}
	return b
}

var comparedColumns = []string{"file size", "bits/weight", "KLD mean", "KLD p99", "same top, %", "PPL ratio", "decoding, tok/s"}

func compared(r *verify.Report) []string {
	u := &r.Summary
	row := []string{sizeText(r.Quant.FileBytes), bits(r.Quant.BitsPerWeight), plusMinus(u.KLD), plusMinus(u.KLD99), plusMinus(percent(u.SameTop)), plusMinus(u.PPLRatio), "–"}
	if r.Seal != nil { // lower bounds
		row[2], row[3] = "≥ "+row[2], "≥ "+row[3]
	}
	if r.Performance != nil {
		row[len(row)-1] = plusMinus(r.Performance.Quant.TG)
	}
	return row
}

func tiles(r *verify.Report) []tile {
	u := &r.Summary
	list := append(kldTiles(r), []tile{
		{"Same top token", verify.Digits(100*u.SameTop.Value, 100*u.SameTop.SE) + " %", "± " + verify.Digits(100*u.SameTop.SE, 100*u.SameTop.SE) + " points"},
		{"Perplexity", verify.Digits(u.PPL.Value, u.PPL.SE), change(u.PPLRatio, verify.Digits(u.PPLBase.Value, u.PPLBase.SE))},
	}...)
	if b, q := r.Base.FileBytes, r.Quant.FileBytes; q > 0 {
		t := tile{"File size", sizeText(q), ""}
		if b > 0 {
			t.Note = fmt.Sprintf("%.3g %% of %s", 100*float64(q)/float64(b), sizeText(b))
		}
		list = append(list, t)
	}
	if p := r.Performance; p != nil && finite(p.Quant.TG.Value) {
		t := tile{"Decoding speed", verify.Digits(p.Quant.TG.Value, p.Quant.TG.SE) + " tok/s", ""}
		if p.Base != nil && p.Base.TG.Value > 0 {
			t.Note = fmt.Sprintf("%.2g times the original's %s", p.Quant.TG.Value/p.Base.TG.Value, verify.Digits(p.Base.TG.Value, p.Base.TG.SE))
		}
		list = append(list, t)
	}
	return list
}

func newCheck(c *verify.Check, tokens int) check {
	limit, m := c.Cells()
	k := check{
		Tone: string(c.Outcome), Badge: badge(c.Outcome), Name: visible(c.Name), What: visible(c.Name), Bound: "at most", Limit: limit,
		Value: m[0], SE: m[1], Low: m[2], High: m[3], Gauge: newGauge(c, limit, m),
	}
	if atLeast(c) {
		k.Bound = "at least"
	}
	for _, m := range verify.Metrics() {
		if m.Name == c.Name {
			k.What = capital(m.Usage)
			if m.Size { // how to write the limit is of no interest here
				k.What, _, _ = strings.Cut(k.What, ",")
			}
		}
	}
	if c.Outcome == verify.Undecided {
		k.Words = capital(c.Explain(tokens)) + "."
	}
	return k
}

func badge(o verify.Outcome) string {
	switch o {
	case verify.Pass:
		return "✓ pass"
	case verify.Fail:
		return "✗ fail"
	}
	return "? undecided"
}

func atLeast(c *verify.Check) bool { return strings.HasPrefix(c.Name, "min-") }

// newGauge lays the interval of a check out beside its limit. It is nil if there is no value.
func newGauge(c *verify.Check, limit string, measured []string) *gauge {
	e := c.Measured
	if !finite(e.Value, c.Limit) {
		return nil
	}
	low, high := min(e.Value, c.Limit), max(e.Value, c.Limit)
	if finite(e.Low, e.High) {
		low, high = min(low, e.Low), max(high, e.High)
	}
	pad := 0.15 * (high - low)
	if pad == 0 {
		pad = 1
	}
	low, high = low-pad, high+pad
	at := func(x float64) float64 { return 100 * (min(max(x, low), high) - low) / (high - low) }
	between := func(a, b float64) extent { return extent{percentText(a), percentText(b - a)} }
	g := &gauge{Value: percentText(at(e.Value)), Limit: percentText(at(c.Limit)), LimitText: limit, Anchor: "middle"}
	g.Allowed = between(0, at(c.Limit))
	if atLeast(c) {
		g.Allowed = between(at(c.Limit), 100)
	}
	if at(c.Limit) < 15 {
		g.Anchor = "start"
	} else if at(c.Limit) > 85 {
		g.Anchor = "end"
	}
	if !math.IsNaN(e.Low) && !math.IsNaN(e.High) {
		s := between(at(e.Low), at(e.High)) // an infinite bound is at the edge
		g.Span = &s
	}
	g.Description = fmt.Sprintf("measured %s, limit %s", measured[0], limit)
	if measured[2] != "" {
		g.Description = fmt.Sprintf("measured %s, 95 %% interval %s to %s, limit %s", measured[0], measured[2], measured[3], limit)
	}
	return g
}

// compares are the tables of models and texts.
func compares(r *verify.Report) []*table {
	models := &table{Caption: "Models", Head: []string{"", "name", "weights", "SHA-256", "file size", "bits per weight"}, Text: 4, Hash: 3}
	for _, m := range []struct {
		what string
		verify.Model
	}{{"original", r.Base}, {"quantized", r.Quant}} {
		models.Rows = append(models.Rows, []string{m.what, m.Name, m.Format, m.SHA256, sizeText(m.FileBytes), bits(m.BitsPerWeight)})
	}
	texts := &table{Caption: "Texts", Head: []string{"name", "SHA-256", "tokens", "size"}, Text: 2, Hash: 1}
	for _, t := range r.Texts {
		texts.Rows = append(texts.Rows, []string{t.Name, t.SHA256, humanize.Comma(int64(t.Tokens)), sizeText(t.Bytes)})
	}
	return slices.Concat([]*table{models}, sealTables(r.Seal), []*table{texts})
}

func facts(r *verify.Report) []tile {
	c := r.Conventions
	bos := "none"
	if c.BOS {
		bos = "first in every window"
	}
	list := []tile{
		{Name: "convention", Value: visible(c.Name)},
		{Name: "windows", Value: fmt.Sprintf("%s tokens, one every %s", humanize.Comma(int64(c.Context)), humanize.Comma(int64(c.Stride)))},
		{Name: "scored", Value: fmt.Sprintf("%s tokens, each with at least %s before it in its window", humanize.Comma(int64(r.Summary.Count)), humanize.Comma(int64(c.First)))},
		{Name: "BOS token", Value: bos},
	}
	if r.Shard != nil {
		list = append(list, tile{Name: "part", Value: fmt.Sprintf("%d of %d, only its windows are scored", r.Shard.I, r.Shard.N)})
	}
	if r.Compute.Cache != "" {
		computed := "as it runs, with activations rounded to int8"
		if r.Compute.Float32 {
			computed = "in float32"
		}
		list = append(list, tile{Name: "quantized model", Value: fmt.Sprintf("computed %s, with keys and values in %s", computed, visible(r.Compute.Cache))})
	}
	if p := r.Performance; p != nil {
		list = append(list, tile{Name: "speed", Value: fmt.Sprintf("%s, which read memory at %s/s", plural(p.Threads, "thread"), sizeText(int64(p.Bandwidth)))})
	}
	return append(list, tile{Name: "measured by", Value: visible(r.Tool)})
}

func worst(r *verify.Report) []token {
	var list []token
	for _, t := range r.Worst {
		name := strconv.Itoa(t.Text)
		if t.Text >= 0 && t.Text < len(r.Texts) {
			name = r.Texts[t.Text].Name
		}
		base, quant := 100*math.Exp(-t.Base), 100*math.Exp(-t.Quant)
		list = append(list, token{
			Before: t.Before, Piece: t.Piece, Text: name, Index: humanize.Comma(int64(t.Index)), KLD: r.KLDName() + " " + short(t.KLD),
			Base: short(base), Quant: short(quant), BaseWidth: percentText(base), QuantWidth: percentText(quant),
		})
	}
	return list
}

func allNumbers(r *verify.Report) *table {
	u, kld := &r.Summary, r.KLDName()
	t := &table{Caption: fmt.Sprintf("All metrics, of %s tokens", humanize.Comma(int64(u.Count))), Head: []string{"metric", "value", "± SE", "95 % from", "to"}, Text: 1}
	add := func(name string, e verify.Estimate) {
		t.Rows = append(t.Rows, append([]string{name}, numberCells(e)...))
	}
	most := func(name string, v float64) { t.Rows = append(t.Rows, []string{name, short(v), "", "", ""}) }
	add("PPL, original", u.PPLBase)
	add("PPL, quantized", u.PPL)
	add("PPL ratio", u.PPLRatio)
	add("ln PPL ratio", u.LnPPLRatio)
	add(kld+" mean, nats", u.KLD)
	add(kld+" median", u.KLDMedian)
	add(kld+" p90", u.KLD90)
	add(kld+" p95", u.KLD95)
	add(kld+" p99", u.KLD99)
	add(kld+" p99.9", u.KLD999)
	most(kld+" greatest", u.KLDMax)
	add("same top token, %", percent(u.SameTop))
	add("top-5 overlap, %", percent(u.Top5))
	add("Δp RMS, %", percent(u.RMSDeltaP))
	add("Δp mean, %", percent(u.DeltaP))
	most("Δp least, %", 100*u.DeltaPMin)
	add("Δp p1, %", percent(u.DeltaP1))
	add("Δp p5, %", percent(u.DeltaP5))
	add("Δp p25, %", percent(u.DeltaP25))
	add("Δp median, %", percent(u.DeltaPMedian))
	add("Δp p75, %", percent(u.DeltaP75))
	add("Δp p95, %", percent(u.DeltaP95))
	add("Δp p99, %", percent(u.DeltaP99))
	most("Δp greatest, %", 100*u.DeltaPMax)
	return t
}

func performanceTable(r *verify.Report) *table {
	p := r.Performance
	if p == nil {
		return nil
	}
	t := &table{Caption: "Speed and memory, models in turns on the same machine", Head: []string{"model", "decoding, tok/s", "reading, tok/s", "share of memory bandwidth, %", "load, s", "peak memory"}, Text: 1}
	row := func(name string, s verify.Speed) {
		t.Rows = append(t.Rows, []string{name, plusMinus(s.TG), plusMinus(s.PP), short(100 * s.Share), short(s.Load), sizeText(s.RSS)})
	}
	if p.Base != nil {
		row(r.Base.Name, *p.Base)
	}
	row(r.Quant.Name, p.Quant)
	return t
}

// notes are the footnotes; they say what the figures mean.
func notes(reports []*verify.Report) []string {
	list := []string{
		"KL divergence (KLD) is the mean of ln p(original) − ln p(quantized) over what the original expects next, in nats: 0 where both models predict the same, and never less. Logits are compared in float32.",
		"Perplexity (PPL) is e to the mean of −ln p of the tokens that came. Both models saw the same tokens, so the standard error of the ratio is that of the paired differences.",
		"Δp is the probability of the token that came under the quantized model less that under the original.",
		"Standard errors (SE) and 95 % confidence intervals take tokens as independent. A limit passes or fails with 95 % confidence on one side, so the two-sided interval shown may just touch a limit that is kept.",
	}
	if slices.ContainsFunc(reports, func(r *verify.Report) bool { return r.Seal != nil }) {
		list = append(list, "With a seal the original was not there: the KL divergence of each token, and every figure of these but the estimate of the mean, is a proven lower bound. The estimate takes the positions with the whole vocabulary as a sample. Perplexity, top tokens and Δp are exact.")
	}
	named := map[string]bool{}
	for _, r := range reports {
		if named[r.Conventions.Name] {
			continue
		}
		named[r.Conventions.Name] = true
		switch r.Conventions.Name {
		case verify.LlamaPerplexity:
			list = append(list, "Convention llama-perplexity: windows follow each other without overlap, and the second half of each is scored, as that program does.")
		case verify.Strided:
			list = append(list, "Convention strided: windows overlap and every token is scored once, with as many tokens before it as its window has, as in transformers' documentation.")
		}
	}
	return append(list, "SHA-256 of a model is that of its file, or, if it has several, of the list of their checksums.")
}

// modelNames are the names of the quantized models without what all of them begin and end with.
func modelNames(reports []*verify.Report) []string {
	names := make([]string, len(reports))
	for i, r := range reports {
		names[i] = r.Quant.Name
	}
	if len(names) < 2 {
		return names
	}
	start, end := names[0], names[0]
	for _, n := range names {
		for !strings.HasPrefix(n, start) {
			start = start[:len(start)-1]
		}
		for !strings.HasSuffix(n, end) {
			end = end[1:]
		}
	}
	start = start[:strings.LastIndexAny(start, "-_./ ")+1]
	if i := strings.IndexAny(end, "-_./ "); i >= 0 {
		end = end[i:]
	} else {
		end = ""
	}
	short := make([]string, len(names))
	for i, n := range names {
		if len(start)+len(end) >= len(n) {
			return names
		}
		short[i] = n[len(start) : len(n)-len(end)]
	}
	return short
}

func bits(x float64) string {
	if !finite(x) || x <= 0 {
		return "–"
	}
	return strconv.FormatFloat(x, 'f', 2, 64)
}

func sizeText(n int64) string {
	if n <= 0 {
		return "–"
	}
	return humanize.IBytes(uint64(n))
}

// change says a ratio in words.
func change(e verify.Estimate, of string) string {
	p, se := 100*(e.Value-1), 100*e.SE
	switch {
	case !finite(p):
		return "? against " + of
	case p < 0:
		return fmt.Sprintf("%s %% lower than %s", verify.Digits(-p, se), of)
	}
	return fmt.Sprintf("%s %% higher than %s", verify.Digits(p, se), of)
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return humanize.Comma(int64(n)) + " " + what + "s"
}

func capital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(r)) + s[n:]
}

func percent(e verify.Estimate) verify.Estimate {
	return verify.Estimate{Value: 100 * e.Value, SE: 100 * e.SE, Low: 100 * e.Low, High: 100 * e.High}
}

func plusMinus(e verify.Estimate) string {
	return verify.Digits(e.Value, e.SE) + " ± " + verify.Digits(e.SE, e.SE)
}

func numberCells(e verify.Estimate) []string {
	return []string{verify.Digits(e.Value, e.SE), verify.Digits(e.SE, e.SE), verify.Digits(e.Low, e.SE), verify.Digits(e.High, e.SE)}
}

// percentText is a length for SVG, between 0 and 100.
func percentText(x float64) string {
	if !(x > 0) {
		return "0"
	}
	return strconv.FormatFloat(math.Round(100*min(x, 100))/100, 'f', -1, 64)
}

// short formats x with three digits.
func short(x float64) string { return verify.Digits(x, x/10) }

// visible returns text of a file with the codes of characters that do not show, or that
// reorder others, in place of them.
func visible(s string) string {
	var b strings.Builder
	eachRune(s, func(shown string, _ bool) { b.WriteString(shown) })
	return b.String()
}

// visibleHTML is like visible, escaped, and with the codes in a colour of their own.
func visibleHTML(s string) template.HTML {
	var b strings.Builder
	eachRune(s, func(shown string, code bool) {
		if code {
			b.WriteString(`<span class="code">` + template.HTMLEscapeString(shown) + `</span>`)
		} else {
			b.WriteString(template.HTMLEscapeString(shown))
		}
	})
	return template.HTML(b.String())
}

func eachRune(s string, emit func(shown string, code bool)) {
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && n == 1:
			emit(fmt.Sprintf(`\x%02X`, s[0]), true)
		case unicode.IsPrint(r):
			emit(s[:n], false)
		case r == '\n':
			emit("↵", true)
		case r == '\t':
			emit("⇥", true)
		default:
			emit(fmt.Sprintf("U+%04X", r), true)
		}
		s = s[n:]
	}
}
