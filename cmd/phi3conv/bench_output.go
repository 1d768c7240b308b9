package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/job/bench"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/runtime"
)

// resultOptions says what differs from the default.
func resultOptions(m *bench.Result) string {
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
	if m.Batch != defaultBatch {
		o = append(o, fmt.Sprintf("batch %d", m.Batch))
	}
	return strings.Join(o, ", ")
}

// benchOutput prints results, each when it is there if its form allows.
type benchOutput interface {
	print(*bench.Result) error
	end() error
}

// benchJSON is an array.
type benchJSON struct {
	w   io.Writer
	all []bench.Result
}

func (o *benchJSON) print(m *bench.Result) error {
	o.all = append(o.all, *m)
	return nil
}

func (o *benchJSON) end() error { return report.WriteJSON(o.w, o.all) }

// benchCSV has a column for each field but the samples.
type benchCSV struct {
	w     *csv.Writer
	begun bool
}

func (o *benchCSV) print(m *bench.Result) error {
	v := reflect.ValueOf(*m)
	var names, cells []string
	for i := range v.NumField() {
		if name := v.Type().Field(i).Tag.Get("json"); !strings.HasPrefix(name, "samples_") {
			names = append(names, name)
			cells = append(cells, fmt.Sprint(v.Field(i)))
		}
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

func (o *benchCSV) end() error { return nil }

// benchTable is a Markdown table, with notes on each model after it.
type benchTable struct {
	w       io.Writer
	columns []benchColumn
	notes   []string
}

// benchColumn is a column of the table. What is aligned to the left has a negative width.
type benchColumn struct {
	name  string
	width int
	cell  func(m *bench.Result) string
}

var benchColumns = []benchColumn{
	{"model", -30, resultName},
	{"size", 10, func(m *bench.Result) string { return inUnits(m.Size, 1<<30, "GiB", 1<<20, "MiB") }},
	{"params", 10, func(m *bench.Result) string { return inUnits(m.Params, 1e9, "B", 1e6, "M") }},
	{"backend", -14, func(m *bench.Result) string { return m.Backend }},
	{"threads", 7, func(m *bench.Result) string { return strconv.Itoa(m.Threads) }},
	{"options", -10, resultOptions},
	{"test", 15, (*bench.Result).Test},
	{"t/s", 20, func(m *bench.Result) string { return fmt.Sprintf("%.2f ± %.2f", m.Avg, m.Std) }},
	{"GB/s", 6, func(m *bench.Result) string { return ifDecoded(m, "%.2f", m.Rate/1e9) }},
	{"of bandwidth", 12, func(m *bench.Result) string {
		return ifDecoded(m, "%.0f%% of %.1f", 100*m.Share, m.Bandwidth/1e9)
	}},
}

func resultName(m *bench.Result) string {
	return report.Printable(strings.TrimSuffix(filepath.Base(filepath.Clean(m.Path)), ".gguf"))
}

// ifDecoded is the text of what only tests tgN have.
func ifDecoded(m *bench.Result, format string, args ...any) string {
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

func (o *benchTable) print(m *bench.Result) error {
	p := &report.Printer{W: o.w}
	line := func(cell func(c benchColumn) string) {
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
	if o.columns == nil {
		for _, c := range benchColumns {
			if c.name != "options" || resultOptions(m) != "" { // the same for all
				o.columns = append(o.columns, c)
			}
		}
		line(func(c benchColumn) string { return c.name })
		for _, c := range o.columns {
			if c.width < 0 {
				p.Printf("| %s ", strings.Repeat("-", -c.width))
			} else {
				p.Printf("| %s: ", strings.Repeat("-", c.width-1))
			}
		}
		p.Printf("|\n")
	}
	line(func(c benchColumn) string { return c.cell(m) })

	of := fmt.Sprintf("%s, %s: ", report.Printable(m.Path), report.Plural(m.Threads, "thread"))
	note := fmt.Sprintf("%sloaded in %.2f s, first token after %.2f s", of, m.Load, m.First)
	if m.Peak > 0 {
		note += ", peak RSS " + inUnits(m.Peak, 1<<30, "GiB", 1<<20, "MiB")
	}
	if m.Read > 0 {
		note += fmt.Sprintf(", %s of weights read per token", inUnits(m.Read, 1e9, "GB", 1e6, "MB"))
	}
	if k := len(o.notes) - 1; k >= 0 && strings.HasPrefix(o.notes[k], of) {
		o.notes[k] = note
	} else {
		o.notes = append(o.notes, note)
	}
	return p.Err
}

func (o *benchTable) end() error {
	_, err := fmt.Fprintf(o.w, "\n%s\n", strings.Join(o.notes, "\n"))
	return err
}
