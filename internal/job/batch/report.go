package batch

import (
	"bytes"
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/objects"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/verify"
)

// Report says what became of every file of a plan.
type Report struct {
	Time   time.Time     `json:"time"`
	Store  string        `json:"store"`
	Count  map[State]int `json:"count"` // steps
	Models []string      `json:"models"`
	Rows   []Row         `json:"rows"`
	Errors []Failure     `json:"errors"` // steps that failed
}

// Row is one file. Figures that are not known are 0.
type Row struct {
	Model   string  `json:"model"`
	Type    string  `json:"type"`
	Method  string  `json:"method"`
	State   State   `json:"state"` // of all of its steps together
	Bytes   int64   `json:"bytes"`
	SHA256  string  `json:"sha256,omitempty"`
	BPW     float64 `json:"bits_per_weight"`
	KLD     float64 `json:"kld"` // mean, in nats
	KLDHalf float64 `json:"kld_half_width"`
	PPL     float64 `json:"ppl_ratio"` // over the original's
	SameTop float64 `json:"same_top"`
	Verdict string  `json:"verdict,omitempty"` // of the limits
	Seconds float64 `json:"seconds"`           // of all of its steps

	// Before is the mean KLD of the same model, type and method in the report that this one is compared with.
	Before float64 `json:"kld_before,omitempty"`
}

// Failure is a step that failed.
type Failure struct {
	ID    string `json:"id"`
	Name  string `json:"name"`
	Exit  int    `json:"exit_code"`
	Error string `json:"error"`
}

// rowKey tells rows apart.
type rowKey struct{ model, kind, method string }

func (r *Row) key() rowKey { return rowKey{r.Model, r.Type, r.Method} }

// NewReport reads what the steps of a plan found. before may be nil.
func NewReport(ctx context.Context, p *Plan, store objects.Store, before *Report) (*Report, error) {
	status, err := Look(ctx, p, store)
	if err != nil {
		return nil, err
	}
	r := &Report{Time: time.Now().UTC().Truncate(time.Second), Store: status.Store, Count: status.Count,
		Rows: []Row{}, Errors: []Failure{}}
	for i := range p.Spec.Models {
		r.Models = append(r.Models, p.Spec.Models[i].Name)
	}
	rows := map[rowKey]int{}
	for i := range status.Steps {
		s, step := &status.Steps[i], p.Steps[i]
		if s.State == Failed {
			r.Errors = append(r.Errors, Failure{s.ID, s.Name, s.Result.Exit, s.Result.Error})
		}
		if step.Type == "" {
			continue
		}
		key := rowKey{step.Model, step.Type, step.Method}
		k, ok := rows[key]
		if !ok {
			k = len(r.Rows)
			rows[key] = k
			r.Rows = append(r.Rows, Row{Model: step.Model, Type: step.Type, Method: step.Method, State: Done})
		}
		if err := r.Rows[k].add(ctx, step, s, store); err != nil {
			return nil, err
		}
	}
	if before != nil {
		for i := range before.Rows {
			if k, ok := rows[before.Rows[i].key()]; ok {
				r.Rows[k].Before = before.Rows[i].KLD
			}
		}
	}
	return r, nil
}

// worse orders the states that a file's steps may have, the one that counts last.
var worse = map[State]int{Done: 0, Waiting: 1, Ready: 2, Running: 3, Blocked: 4, Failed: 5}

// add takes what a step of the file found.
func (r *Row) add(ctx context.Context, step *Step, s *StepStatus, store objects.Store) error {
	if worse[s.State] > worse[r.State] {
		r.State = s.State
	}
	if s.Result == nil {
		return nil
	}
	r.Seconds += s.Result.Seconds
	for _, f := range s.Result.Files {
		if step.Kind == "quantize" && f.Name == step.Outputs[0] {
			r.Bytes, r.SHA256 = f.Bytes, f.SHA256
		}
		if f.Name != "report.json" || step.Kind == "verify" && len(step.Outputs) == 1 { // a part
			continue
		}
		key := outputKey(step.ID, s.Result.Attempt, f.Name)
		data, err := store.Get(ctx, key)
		if err != nil {
			return err
		}
		reports, err := verify.ReadReports(key, data)
		if err != nil {
			return err
		}
		r.set(reports[0])
	}
	return nil
}

// beyondLimits says which limits a verification did not keep to, "" if that is not why a step ended.
func beyondLimits(dir string, s *Step, exit int) string {
	if exit != failure.Check.Code() || !slices.Contains(s.Outputs, "report.json") {
		return ""
	}
	path := filepath.Join(dir, "report.json")
	data, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	reports, err := verify.ReadReports(path, data)
	if err != nil || reports[0].Verdict == nil {
		return ""
	}
	var beyond []string
	for _, c := range reports[0].Verdict.Checks {
		if c.Outcome != verify.Pass {
			m := c.Measured
			beyond = append(beyond, fmt.Sprintf("%s %v: %s, it is %.3g (%.3g to %.3g)",
				c.Name, c.Limit, c.Outcome, m.Value, m.Low, m.High))
		}
	}
	return strings.Join(beyond, "; ")
}

func (r *Row) set(v *verify.Report) {
	r.BPW = v.Quant.BitsPerWeight
	r.KLD, r.KLDHalf = v.Summary.KLD.Value, (v.Summary.KLD.High-v.Summary.KLD.Low)/2
	r.PPL, r.SameTop = v.Summary.PPLRatio.Value, v.Summary.SameTop.Value
	if v.Verdict != nil {
		r.Verdict = string(v.Verdict.Outcome)
	}
}

// Failed reports whether a step failed.
func (r *Report) Failed() bool { return r.Count[Failed] > 0 }

// columns of the table, as text and as HTML.
var columns = []struct {
	name string
	cell func(r *Row) string
}{
	{"model", func(r *Row) string { return r.Model }},
	{"type", func(r *Row) string { return r.Type }},
	{"method", func(r *Row) string { return r.Method }},
	{"state", func(r *Row) string { return string(r.State) }},
	{"size", func(r *Row) string { return known(r.Bytes > 0, humanize.Bytes(uint64(max(0, r.Bytes)))) }},
	{"bpw", func(r *Row) string { return known(r.BPW > 0, fmt.Sprintf("%.2f", r.BPW)) }},
	{"KLD", func(r *Row) string { return known(r.BPW > 0, fmt.Sprintf("%.4f ± %.4f", r.KLD, r.KLDHalf)) }},
	{"before", func(r *Row) string { return known(r.Before > 0, change(r.KLD, r.Before)) }},
	{"PPL ratio", func(r *Row) string { return known(r.BPW > 0, fmt.Sprintf("%.4f", r.PPL)) }},
	{"same top", func(r *Row) string { return known(r.BPW > 0, fmt.Sprintf("%.1f %%", 100*r.SameTop)) }},
	{"limits", func(r *Row) string { return cmp.Or(r.Verdict, "-") }},
	{"time", func(r *Row) string {
		return known(r.Seconds > 0, time.Duration(r.Seconds*1e9).Round(time.Second/10).String())
	}},
}

func known(is bool, text string) string {
	if !is {
		return "-"
	}
	return text
}

func change(now, before float64) string {
	return fmt.Sprintf("%.4f (%+.1f %%)", before, 100*(now/before-1))
}

// WriteText writes the table.
func (r *Report) WriteText(w io.Writer) error {
	head := make([]string, len(columns))
	for i, c := range columns {
		head[i] = c.name
	}
	table := report.NewColumns(w, head...)
	for i := range r.Rows {
		var row []any
		for _, c := range columns {
			row = append(row, c.cell(&r.Rows[i]))
		}
		table.Row(row...)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	p := &report.Printer{W: w}
	for _, e := range r.Errors {
		p.Printf("failed: %s (%s), exit code %d: %s\n", e.Name, e.ID[:8], e.Exit, report.Printable(e.Error))
	}
	return p.Err
}

//go:embed report.html
var page string

var pageTemplate = template.Must(template.New("report").Parse(page))

// WriteHTML writes one page.
func (r *Report) WriteHTML(w io.Writer) error {
	type cell struct{ Text, Class string }
	data := struct {
		*Report
		Head  []string
		Cells [][]cell
	}{Report: r}
	for _, c := range columns {
		data.Head = append(data.Head, c.name)
	}
	for i := range r.Rows {
		var row []cell
		for _, c := range columns {
			class := "number"
			switch c.name {
			case "model", "type", "method":
				class = ""
			case "state":
				class = string(r.Rows[i].State)
			case "limits":
				class = "verdict " + r.Rows[i].Verdict
			}
			row = append(row, cell{c.cell(&r.Rows[i]), class})
		}
		data.Cells = append(data.Cells, row)
	}
	return pageTemplate.Execute(w, data)
}

// ReadReport reads what [Report.Save] has written as JSON.
func ReadReport(path string) (*Report, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &Report{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, formats.WrapFile(err, path, "")
	}
	if r.Rows == nil {
		return nil, formats.FileErrorf(path, -1, "no rows, expected a file that batch report --report wrote")
	}
	return r, nil
}

// Save writes a page and JSON, each unless its path is "".
func (r *Report) Save(html, asJSON string) error {
	for _, f := range []struct {
		path  string
		write func(io.Writer) error
	}{
		{html, r.WriteHTML},
		{asJSON, func(w io.Writer) error { return report.WriteDocument(w, 1, r) }},
	} {
		if f.path == "" {
			continue
		}
		var b bytes.Buffer
		if err := f.write(&b); err != nil {
			return err
		}
		if err := atomicfile.Save(f.path, b.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
