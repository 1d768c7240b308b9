package eval

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/sample"
	"github.com/phi3conv/phi3conv/verify"
)

// Schema is the version of the JSON form of a [Report]. It changes when a field
// changes its meaning or goes, not when one is added.
const Schema = 1

// Report is a whole evaluation, as it is written.
type Report struct {
	Schema  int      `json:"schema"`
	Tool    string   `json:"tool"` // program and version
	Task    TaskInfo `json:"task"`
	Base    *Result  `json:"base,omitempty"` // the original, if there is one
	Models  []Result `json:"models"`
	Verdict *Verdict `json:"verdict,omitempty"` // absent if no thresholds were given

	questions map[place]*Question
}

// TaskInfo says what was asked, and how.
type TaskInfo struct {
	Options
	Files     []File   `json:"files"`
	Examples  []File   `json:"example_files"`
	Metrics   []string `json:"metrics"`
	Questions int      `json:"questions"`
	Shortened int      `json:"shortened"`     // questions with fewer examples than wanted, as the context was too short
	Dropped   int      `json:"dropped_shots"` // examples that these have less, together
}

// File names a data file and pins its content.
type File struct {
	Name    string `json:"name"`
	Bytes   int64  `json:"bytes"`
	SHA256  string `json:"sha256"` // hexadecimal
	Records int    `json:"records"`
}

// Result is what one model did.
type Result struct {
	verify.Model
	Metrics   []verify.Estimate `json:"metrics"` // one for each name in TaskInfo.Metrics
	BySubject []Group           `json:"by_subject"`
	Paired    *Paired           `json:"paired,omitempty"` // against the base model
	Answers   []Answer          `json:"answers"`
}

// Group is the questions of one subject.
type Group struct {
	Name   string          `json:"name"`
	Count  int             `json:"count"`
	Metric verify.Estimate `json:"metric"` // the first one
}

// Paired compares the answers of a model with those of the base model to the same questions.
type Paired struct {
	Differences []verify.Estimate `json:"differences"` // one for each metric: the model's less the base's
	RightWrong  int               `json:"right_to_wrong"`
	WrongRight  int               `json:"wrong_to_right"`
	Changed     int               `json:"changed"` // another answer, be it right or wrong
	Flips       verify.Estimate   `json:"flips"`   // share of RightWrong and WrongRight
	McNemar     float64           `json:"mcnemar_p"`
}

// pairs is what a comparison computes with.
type pairs struct {
	differences                     []sample.Difference
	flips                           sample.Share
	rightWrong, wrongRight, changed int
}

// estimate is the statistic with its 95 % interval.
func estimate(s sample.Statistic) verify.Estimate {
	low, high := s.Interval(sample.Z975, s.Count())
	return verify.Estimate{Value: s.Value(), SE: s.SE(), Low: low, High: high}
}

// shareOf is the mean of scores from 0 to 1, as of as many yes-no questions as have its variance.
func shareOf(scores []float64) sample.Share {
	return sample.ShareOf(len(scores), func(i int) float64 { return scores[i] }, math.Inf(1))
}

func pairsOf(base, model []Answer) pairs {
	var p pairs
	var flips []float64
	metrics := make([][]float64, len(base[0].Scores))
	for i := range base {
		b, m := &base[i], &model[i]
		switch {
		case b.right() && !m.right():
			p.rightWrong++
		case !b.right() && m.right():
			p.wrongRight++
		}
		if b.Text != m.Text && Normalize(b.Text) != Normalize(m.Text) {
			p.changed++
		}
		flips = append(flips, indicator(b.right() != m.right()))
		for j := range metrics {
			metrics[j] = append(metrics[j], m.Scores[j]-b.Scores[j])
		}
	}
	p.flips = shareOf(flips)
	for _, d := range metrics {
		p.differences = append(p.differences, sample.DifferenceOf(len(d), func(i int) float64 { return d[i] }))
	}
	return p
}

// NewReport describes the answers of models, and of a base model if base is not nil, to the
// questions of a task. Each has its name and answers; the rest is filled in.
func NewReport(t *Task, base *Result, models []Result) *Report {
	r := &Report{Schema: Schema, Base: base, Models: models, questions: map[place]*Question{},
		Task: TaskInfo{Options: t.Options, Metrics: t.Metrics(), Questions: len(t.Questions), Files: []File{},
			Examples: []File{}}}
	for i := range t.Questions {
		q := &t.Questions[i]
		r.questions[place{q.Path, q.Line}] = q
		if q.Shots < t.Shots {
			r.Task.Shortened++
			r.Task.Dropped += t.Shots - q.Shots
		}
	}
	if base != nil {
		base.summarize(t)
	}
	for i := range models {
		m := &models[i]
		m.summarize(t)
		if base != nil {
			p := pairsOf(base.Answers, m.Answers)
			m.Paired = &Paired{RightWrong: p.rightWrong, WrongRight: p.wrongRight, Changed: p.changed,
				Flips: estimate(p.flips), McNemar: sample.McNemar(p.rightWrong, p.wrongRight)}
			for _, d := range p.differences {
				m.Paired.Differences = append(m.Paired.Differences, estimate(d))
			}
		}
	}
	return r
}

type place struct {
	path string
	line int
}

func (m *Result) summarize(t *Task) {
	for j := range t.Metrics() {
		var x []float64
		for i := range m.Answers {
			x = append(x, m.Answers[i].Scores[j])
		}
		m.Metrics = append(m.Metrics, estimate(shareOf(x)))
	}
	m.BySubject = []Group{}
	for i := 0; i < len(m.Answers); {
		subject := t.Questions[i].Subject
		var x []float64
		for ; i < len(m.Answers) && t.Questions[i].Subject == subject; i++ {
			x = append(x, m.Answers[i].Scores[0])
		}
		m.BySubject = append(m.BySubject, Group{subject, len(x), estimate(shareOf(x))})
	}
}

func (r *Report) tables() []report.Table {
	var list []report.Table
	if r.Verdict != nil {
		list = append(list, r.Verdict.table())
	}
	list = append(list, r.results())
	if r.Base != nil {
		list = append(list, r.paired())
	}
	if r.all()[0].BySubject[0].Name != "" || len(r.all()[0].BySubject) > 1 {
		list = append(list, r.subjects())
	}
	if t := r.flipped(); len(t.Rows) > 1 {
		list = append(list, t)
	}
	return append(list, r.files())
}

// all returns the results, the base model's first.
func (r *Report) all() []Result {
	if r.Base == nil {
		return r.Models
	}
	return append([]Result{*r.Base}, r.Models...)
}

func (r *Report) results() report.Table {
	t := report.Table{Title: fmt.Sprintf("%d questions", r.Task.Questions), Left: 3,
		Rows: [][]string{{"model", "weights", "metric", "value, %", "± SE", "95 % from", "to"}}}
	for _, m := range r.all() {
		for j, e := range m.Metrics {
			t.Rows = append(t.Rows, append([]string{report.Printable(m.Name), report.Printable(m.Format),
				r.Task.Metrics[j]}, e.Times(100).Cells()...))
		}
	}
	return t
}

func (r *Report) paired() report.Table {
	t := report.Table{Title: "Against " + report.Printable(r.Base.Name), Left: 2,
		Rows: [][]string{{"model", "", "value", "± SE", "95 % from", "to"}}}
	for _, m := range r.Models {
		add := func(what string, cells ...string) {
			t.Rows = append(t.Rows, append([]string{report.Printable(m.Name), what}, append(cells, "", "", "")[:4]...))
		}
		p := m.Paired
		for j, e := range p.Differences {
			add(r.Task.Metrics[j]+" difference, points", e.Times(100).Cells()...)
		}
		add("flipped, %", p.Flips.Times(100).Cells()...)
		add("right → wrong", strconv.Itoa(p.RightWrong))
		add("wrong → right", strconv.Itoa(p.WrongRight))
		add("changed at all", strconv.Itoa(p.Changed))
		add("McNemar's p", strconv.FormatFloat(p.McNemar, 'g', 3, 64))
	}
	return t
}

func (r *Report) subjects() report.Table {
	t := report.Table{Title: "By subject, " + r.Task.Metrics[0] + ", %", Left: 1,
		Rows: [][]string{{"subject", "questions"}}}
	for _, m := range r.all() {
		t.Rows[0] = append(t.Rows[0], report.Printable(m.Name), "± SE")
	}
	for i, g := range r.all()[0].BySubject {
		row := []string{report.Printable(g.Name), strconv.Itoa(g.Count)}
		for _, m := range r.all() {
			row = append(row, m.BySubject[i].Metric.Times(100).Cells()[:2]...)
		}
		t.Rows = append(t.Rows, row)
	}
	return t
}

// shownFlips is the number of flipped answers that tables show; the JSON has all answers.
const shownFlips = 20

func (r *Report) flipped() report.Table {
	t := report.Table{Title: "Flipped answers", Left: 5,
		Rows: [][]string{{"model", "record", "question", "right", "original → quantized"}}}
	if r.Base == nil {
		return t
	}
	for _, m := range r.Models {
		for i, a := range m.Answers {
			b := r.Base.Answers[i]
			if a.right() == b.right() || len(t.Rows) > shownFlips {
				continue
			}
			q := r.questions[place{a.Path, a.Line}]
			right := letter(q.Right)
			if q.Kind == ShortAnswer {
				right = q.Answers[0]
			}
			t.Rows = append(t.Rows, []string{report.Printable(m.Name),
				fmt.Sprintf("%s:%d", report.Printable(a.Path), a.Line),
				beginning(q.Question), beginning(right), beginning(b.Text) + " → " + beginning(a.Text)})
		}
	}
	return t
}

// beginning returns a text that a table has room for.
func beginning(s string) string {
	if r := []rune(s); len(r) > 50 {
		s = string(r[:49]) + "…"
	}
	return report.Printable(s)
}

func (r *Report) files() report.Table {
	t := report.Table{Title: "Evaluated", Left: 3, Rows: [][]string{{"", "name", "SHA-256", "size"}}}
	add := func(what, name, hash, size string) {
		t.Rows = append(t.Rows, []string{what, report.Printable(name), hash[:min(12, len(hash))], size})
	}
	for i, m := range r.all() {
		what := "model"
		if r.Base != nil && i == 0 {
			what = "original"
		}
		add(what, m.Name, m.SHA256, humanize.IBytes(uint64(max(0, m.Bytes))))
	}
	for _, f := range r.Task.Files {
		add("questions", f.Name, f.SHA256, fmt.Sprintf("%d records", f.Records))
	}
	for _, f := range r.Task.Examples {
		add("examples", f.Name, f.SHA256, fmt.Sprintf("%d records", f.Records))
	}
	return t
}

func (v *Verdict) table() report.Table {
	t := report.Table{Title: "Verdict: " + string(v.Outcome), Left: 3,
		Rows: [][]string{{"model", "", "", "limit", "value", "± SE", "95 % from", "to"}}}
	for _, c := range v.Checks {
		t.Rows = append(t.Rows, append([]string{report.Printable(c.Model), c.Name, c.what(v.Questions),
			fmt.Sprint(c.Limit)}, c.Measured.Cells()...))
	}
	return t
}

// what says the outcome in words.
func (c *Check) what(questions int) string {
	switch {
	case c.Outcome != verify.Undecided:
		return string(c.Outcome)
	case c.Enough > 0:
		return fmt.Sprintf("not enough questions to tell: about %d would be, here are %d", c.Enough, questions)
	}
	return fmt.Sprintf("too close to the limit to tell, however many questions; here are %d", questions)
}

// failure is what JUnit shows of the check, nil if it passed.
func (c *Check) failure(questions int) *report.Failure {
	if c.Outcome == verify.Pass {
		return nil
	}
	limit, measured := (&verify.Check{Threshold: c.Threshold, Measured: c.Measured}).Cells()
	return report.NotKept(string(c.Outcome), c.what(questions), limit, measured[0], measured[1])
}

// about describes what was asked, in sentences.
func (r *Report) about() []string {
	how := "Multiple choice, scored by the letters of the choices"
	switch {
	case r.Task.Kind == ShortAnswer:
		how = fmt.Sprintf("Short answers, generated up to the end of the line or %d tokens", r.Task.Predict)
	case r.Task.ByText:
		how = "Multiple choice, scored by the text of the choices"
	}
	how += fmt.Sprintf("; %d-shot", r.Task.Shots)
	if r.Task.Chat {
		how += ", in the chat template"
	}
	how += fmt.Sprintf(", context %d.", r.Task.Context)
	list := []string{how}
	if r.Task.Shortened > 0 {
		list = append(list, fmt.Sprintf("%d questions have fewer examples, %d less together, as the context is too "+
			"short.", r.Task.Shortened, r.Task.Dropped))
	}
	return append(list, "Standard errors (SE) and intervals take questions as independent; differences and flips "+
		"compare answers to the same question.",
		"Measured by "+report.Printable(r.Tool)+".")
}

func (r *Report) headline() string {
	var names []string
	for _, m := range r.Models {
		names = append(names, report.Printable(m.Name))
	}
	s := strings.Join(names, ", ")
	if r.Base != nil {
		s += " against " + report.Printable(r.Base.Name)
	}
	return s
}

// WriteText writes the report as tables for a terminal.
func (r *Report) WriteText(w io.Writer) error { return report.WriteText(w, r.tables(), r.about()) }

// WriteMarkdown writes the report in GitHub's Markdown, for a comment on a pull
// request: the first table is open, the rest folded.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "### %s", report.Escape(r.headline()))
	if r.Verdict != nil {
		fmt.Fprintf(&b, ": %s", r.Verdict.Outcome)
	}
	fmt.Fprint(&b, "\n\n")
	for i, t := range r.tables() {
		if i == 0 {
			t.Markdown(&b)
			continue
		}
		t.MarkdownFolded(&b)
	}
	fmt.Fprintln(&b, report.Escape(strings.Join(r.about(), " ")))
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJSON writes the report as indented JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	return report.WriteJSON(w, r)
}

// WriteJUnit writes the verdict as JUnit's XML: a test case for each threshold and model.
// One that is undecided has failed too, as nothing shows that it holds.
func (r *Report) WriteJUnit(w io.Writer) error {
	properties := [][2]string{{"tool", r.Tool}, {"questions", strconv.Itoa(r.Task.Questions)}}
	for _, m := range r.all() {
		properties = append(properties, [2]string{"sha256." + m.Name, m.SHA256})
	}
	s := report.Suite{Name: "eval " + r.headline(), Properties: properties}
	if v := r.Verdict; v != nil {
		for i := range v.Checks {
			c := &v.Checks[i]
			s.Cases = append(s.Cases, report.Case{Class: "eval." + c.Model, Name: c.Name,
				Failure: c.failure(v.Questions)})
		}
	}
	return report.WriteJUnit(w, s)
}
