package bench

import (
	"encoding/csv"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/modelcard"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/terminal"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
)

// DefaultBatch is the number of tokens in a batch that the table of results does not mention.
const DefaultBatch = 512

// Output writes results, each when it is there if its form allows.
type Output interface {
	Write(*Result) error
	Close() error
}

// Formats are those of [NewOutput].
var Formats = []string{"md", "csv", "json"}

// NewOutput makes an output in one of llama-bench's forms: md, a table; csv; or json, a list of results.
func NewOutput(w io.Writer, form string) (Output, error) {
	switch form {
	case "md":
		return &table{w: w}, nil
	case "csv":
		return &csvOutput{w: csv.NewWriter(w)}, nil
	case "json":
		return &jsonOutput{w: w, all: []Result{}}, nil
	}
	return nil, usage.Errorf("--format is %q, expected md, csv or json", form)
}

// Document is the JSON form of results with a schema.
type Document struct {
	Results []Result `json:"results"`
}

// NewDocument makes an output that is a [Document].
func NewDocument(w io.Writer) Output { return &documentOutput{jsonOutput{w: w, all: []Result{}}} }

type documentOutput struct{ jsonOutput }

func (o *documentOutput) Close() error { return report.WriteDocument(o.w, 1, Document{o.all}) }

// resultOptions says what differs from the default.
func resultOptions(m *Result) string {
	var o []string
	if m.Float32 {
		o = append(o, "f32")
	}
	if m.NoRepack {
		o = append(o, "no-repack")
	}
	if m.Cache != runtime.CacheF16.String() {
		o = append(o, "cache "+m.Cache)
	}
	if m.Batch != DefaultBatch {
		o = append(o, fmt.Sprintf("batch %d", m.Batch))
	}
	return strings.Join(o, ", ")
}

// jsonOutput is an array.
type jsonOutput struct {
	w   io.Writer
	all []Result
}

func (o *jsonOutput) Write(m *Result) error {
	o.all = append(o.all, *m)
	return nil
}

func (o *jsonOutput) Close() error { return report.WriteJSON(o.w, o.all) }

// csvOutput has a column for each field but the samples.
type csvOutput struct {
	w     *csv.Writer
	begun bool
}

func (o *csvOutput) Write(m *Result) error {
	v := reflect.ValueOf(*m)
	var names, cells []string
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		if name == "" || strings.HasPrefix(name, "samples_") {
			continue
		}
		cell := fmt.Sprint(v.Field(i))
		if list, ok := v.Field(i).Interface().([]string); ok {
			cell = strings.Join(list, ", ")
		}
		names, cells = append(names, name), append(cells, cell)
	}
	if !o.begun {
		o.begun = true
		if err := o.w.Write(names); err != nil {
			return err
		}
	}
	if err := o.w.Write(cells); err != nil {
		return err
	}
	o.w.Flush()
	return o.w.Error()
}

func (o *csvOutput) Close() error { return nil }

// table is a Markdown table, with notes on each model after it. On a terminal that is too narrow, a line says what all
// runs of a model have in common.
type table struct {
	w       io.Writer
	columns []column
	heads   []column // of that line
	head    string   // the last such line
	notes   []string
}

// column is a column of a table. What is aligned to the left has a negative width.
type column struct {
	name  string
	width int
	cell  func(m *Result) string
}

var columns = []column{
	{"model", -30, resultName},
	{"size", 10, func(m *Result) string { return inUnits(m.Size, 1<<30, "GiB", 1<<20, "MiB") }},
	{"params", 10, func(m *Result) string { return inUnits(m.Params, 1e9, "B", 1e6, "M") }},
	{"backend", -14, func(m *Result) string { return m.Backend }},
	{"threads", 7, func(m *Result) string { return strconv.Itoa(m.Threads) }},
	{"options", -10, resultOptions},
	{"test", 15, (*Result).Test},
	{"t/s", 20, func(m *Result) string { return fmt.Sprintf("%.2f ± %.2f", m.Avg, m.Std) }},
	{"GB/s", 6, func(m *Result) string { return ifDecoded(m, "%.2f", m.Rate/1e9) }},
	{"of bandwidth", 12, func(m *Result) string {
		return ifDecoded(m, "%.0f%% of %.1f", 100*m.Share, m.Bandwidth/1e9)
	}},
	{"of GMAC/s", 11, func(m *Result) string {
		if m.MACPeak == 0 {
			return ""
		}
		return fmt.Sprintf("%.0f%% of %.0f", 100*m.MACShare, m.MACPeak/1e9)
	}},
	{"peer's t/s", 10, func(m *Result) string { return fmt.Sprintf("%.2f", m.PeerAvg) }},
	{"ratio", 18, func(m *Result) string {
		if m.RatioHigh == 0 {
			return fmt.Sprintf("%.2f", m.Ratio)
		}
		return fmt.Sprintf("%.2f (%.2f to %.2f)", m.Ratio, m.RatioLow, m.RatioHigh)
	}},
}

// shown says whether the table has a column: what is empty in all results is left out.
func (c column) shown(m *Result) bool {
	switch c.name {
	case "options":
		return resultOptions(m) != ""
	case "peer's t/s", "ratio":
		return m.Peer != ""
	}
	return true
}

func resultName(m *Result) string {
	return report.Printable(strings.TrimSuffix(modelcard.BaseName(m.Path), ".gguf"))
}

// ifDecoded is the text of what only tests tgN have.
func ifDecoded(m *Result, format string, args ...any) string {
	if m.Gen == 0 {
		return ""
	}
	return fmt.Sprintf(format, args...)
}

// inUnits writes n with a unit, the smaller one if n is less than the greater.
func inUnits(n, great int64, greatName string, small int64, smallName string) string {
	if n < great {
		great, greatName = small, smallName
	}
	return fmt.Sprintf("%.2f %s", float64(n)/float64(great), greatName)
}

// line prints a cell of each column.
func (o *table) line(p *report.Printer, cell func(c column) string) {
	for _, c := range o.columns {
		text := cell(c)
		pad := strings.Repeat(" ", max(0, max(c.width, -c.width)-utf8.RuneCountInString(text)))
		if c.width < 0 {
			p.Printf("| %s%s ", text, pad)
		} else {
			p.Printf("| %s%s ", pad, text)
		}
	}
	p.Printf("|\n")
}

func (o *table) header(p *report.Printer) {
	o.line(p, func(c column) string { return c.name })
	for _, c := range o.columns {
		if c.width < 0 {
			p.Printf("| %s ", strings.Repeat("-", -c.width))
		} else {
			p.Printf("| %s: ", strings.Repeat("-", c.width-1))
		}
	}
	p.Printf("|\n")
}

func isRest(c column) bool { return rest[c.name] > 0 }

// rest are the columns that tell the runs of a model apart, with their widths on a narrow terminal.
var rest = map[string]int{"threads": 7, "test": 6, "t/s": 18, "GB/s": 6, "of bandwidth": 12, "of GMAC/s": 11,
	"peer's t/s": 10, "ratio": 18}

func (o *table) Write(m *Result) error {
	p := &report.Printer{W: o.w}
	if o.columns == nil {
		width := 1
		for _, c := range columns {
			if c.shown(m) { // the same for all
				o.columns = append(o.columns, c)
				width += 3 + max(c.width, -c.width)
			}
		}
		if terminal.Width(o.w) == 0 || terminal.Width(o.w) >= width {
			o.header(p)
		} else {
			o.heads = slices.DeleteFunc(slices.Clone(o.columns), isRest)
			o.columns = slices.DeleteFunc(o.columns, func(c column) bool { return !isRest(c) })
			for i := range o.columns {
				o.columns[i].width = rest[o.columns[i].name]
			}
		}
	}
	if o.heads != nil {
		var head []string
		for _, c := range o.heads {
			head = append(head, strings.TrimSpace(c.cell(m)+" "+map[string]string{"params": "parameters"}[c.name]))
		}
		if text := strings.Join(head, ", "); text != o.head {
			if o.head != "" {
				p.Printf("\n")
			}
			p.Printf("%s\n", text)
			o.head = text
			o.header(p)
		}
	}
	o.line(p, func(c column) string { return c.cell(m) })

	of := fmt.Sprintf("%s, %s: ", report.Printable(m.Path), report.Plural(m.Threads, "thread"))
	note := fmt.Sprintf("%sloaded in %.2f s, first token after %.2f s", of, m.Load, m.First)
	if m.Peak > 0 {
		note += ", peak RSS " + inUnits(m.Peak, 1<<30, "GiB", 1<<20, "MiB")
	}
	if m.Read > 0 {
		note += fmt.Sprintf(", %s of weights read per token", inUnits(m.Read, 1e9, "GB", 1e6, "MB"))
	}
	if m.OfFirst > 0 {
		note += fmt.Sprintf(", at the end %.0f%% of the first %.0f s' speed", 100*m.OfFirst, window.Seconds())
	}
	if len(m.Kernels) > 0 {
		note += ", kernels for one token: " + strings.Join(m.Kernels, ", ")
	}
	if k := len(o.notes) - 1; k >= 0 && strings.HasPrefix(o.notes[k], of) {
		o.notes[k] = note
	} else {
		o.notes = append(o.notes, note)
	}
	return p.Err
}

func (o *table) Close() error {
	_, err := fmt.Fprintf(o.w, "\n%s\n", strings.Join(o.notes, "\n"))
	return err
}
