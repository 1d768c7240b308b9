package verify

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// Schema is the version of the JSON form of a [Report]. It changes when a field
// changes its meaning or goes, not when one is added.
const Schema = 1

// Report is a whole verification, as it is written.
type Report struct {
	Schema      int         `json:"schema"`
	Tool        string      `json:"tool"` // program and version
	Conventions Conventions `json:"conventions"`
	Base        Model       `json:"base"`
	Seal        *Seal       `json:"seal,omitempty"` // absent if the original was there
	Quant       Model       `json:"quant"`
	Compute     Compute     `json:"compute"`
	Texts       []Text      `json:"texts"`
	Tokens      string      `json:"tokens_sha256"`   // of all windows, see [HashWindows]
	Shard       *Shard      `json:"shard,omitempty"` // absent if all windows were evaluated
	Summary     Summary     `json:"summary"`
	ByText      []Group     `json:"by_text"`
	ByContext   []Group     `json:"by_context"`
	Worst       []Token     `json:"worst"`
	Verdict     *Verdict    `json:"verdict,omitempty"` // absent if no thresholds were given

	Baseline *Baseline `json:"baseline,omitempty"` // absent without one
	Weights  *Weights  `json:"weights,omitempty"`  // absent with a seal

	Layers      []LayerKLD `json:"layers,omitempty"`       // absent if not measured
	AllLayers   *LayerKLD  `json:"all_layers,omitempty"`   // the weights of all layers at once, on the same tokens
	LayerTokens int        `json:"layer_tokens,omitempty"` // scored for Layers

	Performance *Performance `json:"performance,omitempty"` // absent if it was not measured
	Positions   Positions    `json:"positions,omitempty"`   // of all scored tokens, in report files only
}

// Conventions say which tokens were scored, and after what.
type Conventions struct {
	Name    string `json:"name"`    // "llama-perplexity" or "strided"
	Context int    `json:"context"` // tokens in a window
	Stride  int    `json:"stride"`  // tokens from one window to the next
	First   int    `json:"first"`   // least number of tokens before a scored one in its window
	BOS     bool   `json:"bos"`     // each window begins with the BOS token
}

// Compute says how the quantized model computes. The original computes in float32, with
// keys and values in float32.
type Compute struct {
	Float32 bool   `json:"float32"` // in float32 too
	Cache   string `json:"cache"`   // type of keys and values: "f16", "f32" or "q8_0"
}

// Shard is a part of the windows of a verification: they are numbered through all texts, and
// part I of N has those from (I-1)·W/N up to I·W/N, where W is their number.
type Shard struct {
	I int `json:"i"` // from 1
	N int `json:"n"`
}

// Of returns the part of the windows.
func (s Shard) Of(windows []Window) []Window {
	return windows[(s.I-1)*len(windows)/s.N : s.I*len(windows)/s.N]
}

// Model names a model and pins its weights.
type Model struct {
	Name   string `json:"name"`
	Format string `json:"format"` // of the weights: "BF16", "Q4_K_M", …
	Bytes  int64  `json:"bytes"`  // of the weights
	SHA256 string `json:"sha256"` // hexadecimal

	FileBytes     int64   `json:"file_bytes"`      // of the files with weights
	BitsPerWeight float64 `json:"bits_per_weight"` // of the weights alone
}

// Text names a text and pins its content.
type Text struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"`  // hexadecimal
	Tokens  int    `json:"tokens"`  // in the whole text
	Windows int    `json:"windows"` // that are evaluated, in all shards together
}

// Token is a position with its text.
type Token struct {
	Position
	Before string `json:"before"` // the text just before it
	// Piece is the text of the token itself or, where it is none alone, such as a part of a
	// character, the token as the vocabulary writes it.
	Piece string `json:"piece"`
}

// NewReport summarizes the positions and picks the given number of worst tokens.
// The caller adds the text of those, and all that the positions do not tell. The positions
// themselves are part of the report.
func NewReport(p []Position, texts []Text, worst int) *Report {
	names := make([]string, len(texts))
	for i, t := range texts {
		names[i] = t.Name
	}
	r := &Report{
		Schema: Schema, Texts: texts,
		Summary: Summarize(p), ByText: ByText(p, names), ByContext: ByContext(p),
		Worst: []Token{}, Positions: p,
	}
	for _, w := range Worst(p, worst) {
		r.Worst = append(r.Worst, Token{Position: w})
	}
	return r
}

// section is a table of a report, as the text and the Markdown show it.
type section struct {
	title string
	left  int // columns that hold text, before those of numbers
	rows  [][]string
}

func (r *Report) sections() []section {
	list := []section{r.models(), r.Seal.section(), r.figures(), r.layers(), r.speed(), groupSection("By text", r.KLDName(), r.ByText), groupSection("By tokens before, in the window", r.KLDName(), r.ByContext),
		r.worst()}
	list = append(append(r.Baseline.sections(), r.Weights.section()), list...)
	if r.Verdict != nil {
		list = append([]section{r.Verdict.section()}, list...)
	}
	return slices.DeleteFunc(list, func(s section) bool { return len(s.rows) < 2 })
}

func (r *Report) models() section {
	s := section{"Compared", 4, [][]string{{"", "name", "content", "SHA-256", "size", "bits/weight"}}}
	for _, m := range []struct {
		what string
		Model
	}{{"original", r.Base}, {"quantized", r.Quant}} {
		s.rows = append(s.rows, []string{m.what, printable(m.Name), printable(m.Format), short(m.SHA256), bytesOf(m.FileBytes), fmt.Sprintf("%.2f", m.BitsPerWeight)})
	}
	if r.Seal != nil { // which says nothing of the original's file
		clear(s.rows[1][4:])
	}
	for _, t := range r.Texts {
		s.rows = append(s.rows, []string{"text", printable(t.Name), fmt.Sprintf("%d tokens", t.Tokens), short(t.SHA256), bytesOf(t.Bytes), ""})
	}
	return s
}

func bytesOf(n int64) string { return humanize.IBytes(uint64(max(0, n))) }

// speed is the section of Performance, empty if it was not measured.
func (r *Report) speed() section {
	p := r.Performance
	if p == nil {
		return section{}
	}
	s := section{fmt.Sprintf("Speed, %d threads; this machine reads %.1f GB/s", p.Threads, p.Bandwidth/1e9), 1,
		[][]string{{"", "prompt, tok/s", "± SE", "decode, tok/s", "± SE", "of bandwidth, %", "load, s", "peak RSS"}}}
	add := func(what string, v *Speed) {
		rss := "?"
		if v.RSS > 0 {
			rss = bytesOf(v.RSS)
		}
		s.rows = append(s.rows, slices.Concat([]string{what}, cells(v.PP)[:2], cells(v.TG)[:2],
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
		s.rows = append(s.rows, []string{"", ratio(q.PP.Value, b.PP.Value), "", ratio(q.TG.Value, b.TG.Value), "", "", ratio(q.Load, b.Load), rss})
	}
	return s
}

// short returns the first 12 digits of a hash.
func short(hash string) string { return hash[:min(12, len(hash))] }

func (r *Report) figures() section {
	s := section{fmt.Sprintf("%d tokens", r.Summary.Count), 1, [][]string{{"", "value", "± SE", "95 % from", "to"}}}
	add := func(name string, e Estimate) { s.rows = append(s.rows, append([]string{name}, cells(e)...)) }
	most := func(name string, v float64) { s.rows = append(s.rows, []string{name, Digits(v, v), "", "", ""}) }
	percent := func(name string, e Estimate) { add(name+", %", e.times(100)) }
	u := &r.Summary
	add("PPL, original", u.PPLBase)
	add("PPL, quantized", u.PPL)
	add("PPL ratio", u.PPLRatio)
	add("ln PPL ratio", u.LnPPLRatio)
	kld := r.KLDName()
	add(kld+" mean, nats", u.KLD)
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
	return s
}

func groupSection(title, kld string, groups []Group) section {
	s := section{title, 1, [][]string{{"", "tokens", "PPL ratio", "± SE", kld + " mean", "± SE", kld + " p99", "± SE", "same top, %", "± SE"}}}
	for _, g := range groups {
		row := []string{printable(g.Name), strconv.Itoa(g.Count)}
		for _, e := range []Estimate{g.PPLRatio, g.KLD, g.KLD99, g.SameTop.times(100)} {
			row = append(row, cells(e)[:2]...)
		}
		s.rows = append(s.rows, row)
	}
	return s
}

func (r *Report) worst() section {
	s := section{"Greatest " + r.KLDName(), 3, [][]string{{"text", "token", "after", "at", r.KLDName(), "p original, %", "p quantized, %"}}}
	for _, t := range r.Worst {
		name := strconv.Itoa(t.Text)
		if t.Text >= 0 && t.Text < len(r.Texts) {
			name = r.Texts[t.Text].Name
		}
		s.rows = append(s.rows, []string{printable(name), strconv.Quote(t.Piece), strconv.Quote(t.Before), strconv.Itoa(t.Index),
			Digits(t.KLD, t.KLD), Digits(100*math.Exp(-t.Base), 1), Digits(100*math.Exp(-t.Quant), 1)})
	}
	return s
}

func (v *Verdict) section() section {
	s := section{"Verdict: " + string(v.Outcome), 2, [][]string{{"", "", "limit", "value", "± SE", "95 % from", "to"}}}
	for _, c := range v.Checks {
		limit, measured := c.Cells()
		s.rows = append(s.rows, append([]string{c.Name, c.Explain(v.Tokens), limit}, measured...))
	}
	return s
}

// Cells formats the limit, and what was measured: value, standard error and interval, empty where
// nothing is uncertain.
func (c *Check) Cells() (limit string, measured []string) {
	m, err := metricNamed(c.Name)
	if err != nil || !m.Size {
		limit, measured = fmt.Sprint(c.Limit), cells(c.Measured)
	} else {
		limit, measured = bytesOf(int64(c.Limit)), []string{bytesOf(int64(c.Measured.Value)), "", "", ""}
	}
	if c.Measured.SE == 0 && c.Measured.Low == c.Measured.High { // nothing is uncertain
		measured = []string{measured[0], "", "", ""}
	}
	return limit, measured
}

// Explain says the outcome in words; tokens is how many were measured.
func (c *Check) Explain(tokens int) string {
	n, of := tokens, "tokens"
	if c.Runs > 0 {
		n, of = c.Runs, "runs"
	}
	switch {
	case c.Note != "":
		return string(c.Outcome) + ": " + c.Note
	case c.Outcome != Undecided:
		return string(c.Outcome)
	case c.Enough > 0:
		return fmt.Sprintf("not enough %s to tell: about %d would be, here are %d", of, c.Enough, n)
	}
	return fmt.Sprintf("too close to the limit to tell, however many %s; here are %d", of, n)
}

// about describes what the figures are of, in sentences.
func (r *Report) about() []string {
	c := r.Conventions
	bos := "no BOS token"
	if c.BOS {
		bos = "a BOS token first"
	}
	return append(r.Seal.about(),
		r.part()+fmt.Sprintf("Convention %s: windows of %d tokens every %d, %s, scored from %d tokens on.", printable(c.Name), c.Context, c.Stride, bos, c.First),
		"Logarithms are natural; standard errors (SE) and intervals take tokens as independent.",
		"Measured by "+printable(r.Tool)+".",
	)
}

// part says which part of a verification the report is of.
func (r *Report) part() string {
	if r.Shard == nil {
		return ""
	}
	return fmt.Sprintf("Part %d of %d. ", r.Shard.I, r.Shard.N)
}

// WriteText writes the report as tables for a terminal.
func (r *Report) WriteText(w io.Writer) error {
	var b bytes.Buffer
	for _, s := range r.sections() {
		s.text(&b)
		fmt.Fprintln(&b)
	}
	fmt.Fprintln(&b, strings.Join(r.about(), "\n"))
	_, err := w.Write(b.Bytes())
	return err
}

func (s section) text(b *bytes.Buffer) {
	width := make([]int, len(s.rows[0]))
	for _, row := range s.rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	fmt.Fprintf(b, "%s\n", s.title)
	for _, row := range s.rows {
		var line strings.Builder
		for i, cell := range row {
			pad := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if i < s.left {
				line.WriteString("  " + cell + pad)
			} else {
				line.WriteString("  " + pad + cell)
			}
		}
		fmt.Fprintln(b, strings.TrimRight(line.String(), " "))
	}
}

// WriteMarkdown writes the report in GitHub's Markdown, for a comment on a pull
// request: the verdict and what changed since a baseline are open, the rest folded.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	s := r.sections()
	if o := r.Outcome(); o == "" {
		fmt.Fprintf(&b, "### %s\n\n", escape(r.headline()))
	} else {
		fmt.Fprintf(&b, "### %s: %s\n\n", escape(r.headline()), o)
	}
	if r.Verdict != nil && len(r.Verdict.Checks) > 0 {
		s[0].markdown(&b)
		s = s[1:]
	}
	if r.Baseline != nil {
		fmt.Fprintf(&b, "%s\n\n", escape(s[0].title))
		s[0].markdown(&b)
		s = s[1:]
	}
	for _, s := range s {
		fmt.Fprintf(&b, "<details><summary>%s</summary>\n\n", escape(s.title))
		s.markdown(&b)
		fmt.Fprint(&b, "</details>\n\n")
	}
	fmt.Fprintln(&b, escape(strings.Join(r.about(), " ")))
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJSON writes the report as indented JSON, without the positions.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(r.withoutPositions())
}

func (r *Report) withoutPositions() *Report {
	short := *r
	short.Positions = nil
	return &short
}

func (r *Report) headline() string {
	return printable(r.Quant.Name) + " against " + printable(r.Base.Name)
}

func (s section) markdown(b *bytes.Buffer) {
	for i, row := range s.rows {
		for _, cell := range row {
			fmt.Fprintf(b, "| %s ", escape(cell))
		}
		fmt.Fprint(b, "|\n")
		if i == 0 {
			fmt.Fprintf(b, "%s%s|\n", strings.Repeat("|---", s.left), strings.Repeat("|--:", len(row)-s.left))
		}
	}
	fmt.Fprintln(b)
}

// escape returns text so that Markdown, HTML, links and mentions in it do nothing.
func escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_{}[]<>|~&#@\":/", r) {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// JUnit's format, as far as it has a use for a verdict.
type (
	junitSuites struct {
		XMLName xml.Name     `xml:"testsuites"`
		Suites  []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name       string          `xml:"name,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		Class   string        `xml:"classname,attr"`
		Name    string        `xml:"name,attr"`
		Failure *junitFailure `xml:"failure"`
	}
	junitFailure struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
	}
)

// WriteJUnit writes the verdict as JUnit's XML: a test case for each threshold and each figure
// that was compared with a baseline. One that is undecided has failed too, as nothing shows that it holds.
func (r *Report) WriteJUnit(w io.Writer) error { return Reports{r}.WriteJUnit(w) }

func (r *Report) junit() junitSuite {
	properties := [][2]string{
		{"tool", r.Tool},
		{"convention", r.Conventions.Name},
		{"base.sha256", r.Base.SHA256},
		{"quant.sha256", r.Quant.SHA256},
		{"tokens", strconv.Itoa(r.Summary.Count)},
	}
	var tests []TestCase
	if r.Verdict != nil {
		for _, c := range r.Verdict.Checks {
			tests = append(tests, TestCase{"verify." + r.Quant.Name, c.Name, c.Outcome, c.Limit, c.Measured, c.Explain(r.Verdict.Tokens)})
		}
	}
	if w := r.Weights; w != nil && len(w.Unlike) > 0 {
		tests = append(tests, TestCase{Class: "verify." + r.Quant.Name, Name: "weights", Outcome: Fail, What: w.String()})
	}
	tests = append(tests, r.Baseline.cases("verify."+r.Quant.Name)...)
	return suiteOf("verify "+r.headline(), properties, tests)
}

// times returns the estimate in another unit.
func (e Estimate) times(k float64) Estimate {
	return Estimate{k * e.Value, k * e.SE, k * e.Low, k * e.High}
}

// cells formats value, standard error and interval with as many digits as the
// standard error gives a meaning.
func cells(e Estimate) []string {
	return []string{Digits(e.Value, e.SE), Digits(e.SE, e.SE), Digits(e.Low, e.SE), Digits(e.High, e.SE)}
}

// Digits formats x to the second digit of scale, or with four digits if the scale
// is of no use; "?" is what is not known.
func Digits(x, scale float64) string {
	switch {
	case math.IsNaN(x):
		return "?"
	case math.IsInf(x, 1):
		return "∞"
	case math.IsInf(x, -1):
		return "-∞"
	}
	scale = math.Abs(scale)
	if !(scale >= 1e-9 && scale < math.Inf(1)) || math.Abs(x) >= 1e9 {
		return strconv.FormatFloat(x, 'g', 4, 64)
	}
	return strconv.FormatFloat(x, 'f', max(0, 1-int(math.Floor(math.Log10(scale)))), 64)
}

// printable returns text of a file in a form that cannot disturb a terminal.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
