package main

import (
	"encoding/csv"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/runtime"
)

// measured is the result of a test. Names are llama-bench's as far as it has them.
type measured struct {
	Build    string  `json:"build_commit"` // the program's version
	CPU      string  `json:"cpu_info"`
	Path     string  `json:"model_filename"`
	Size     int64   `json:"model_size"` // bytes of weights
	Params   int64   `json:"model_n_params"`
	Backend  string  `json:"backends"`
	Batch    int     `json:"n_batch"`
	Threads  int     `json:"n_threads"`
	Cache    string  `json:"type_k"`
	CacheV   string  `json:"type_v"`
	Float32  bool    `json:"float32"`
	NoRepack bool    `json:"no_repack"`
	Prompt   int     `json:"n_prompt"`
	Gen      int     `json:"n_gen"`
	Time     string  `json:"test_time"` // of the start, RFC 3339
	Elapsed  float64 `json:"elapsed_s"` // with --sustain, at the end of the window
	AvgNS    int64   `json:"avg_ns"`
	StdNS    int64   `json:"stddev_ns"`
	Avg      float64 `json:"avg_ts"`
	Std      float64 `json:"stddev_ts"`

	Read      int64   `json:"read_bytes_per_token"` // weights; 0 for prompts
	Rate      float64 `json:"read_bytes_per_s"`
	Bandwidth float64 `json:"bandwidth_bytes_per_s"` // of this machine
	Share     float64 `json:"bandwidth_share"`

	Load  float64 `json:"load_s"`        // until the weights are in memory
	First float64 `json:"first_token_s"` // until the first token, with a prompt of one
	Peak  int64   `json:"peak_rss"`      // 0 where the system counts earlier models too

	SamplesNS []int64   `json:"samples_ns"`
	Samples   []float64 `json:"samples_ts"`
}

func (m *measured) test() string {
	switch {
	case m.Prompt > 0:
		return fmt.Sprintf("pp%d", m.Prompt)
	case m.Elapsed > 0:
		return fmt.Sprintf("tg%d @ %.0f s", m.Gen, m.Elapsed)
	}
	return fmt.Sprintf("tg%d", m.Gen)
}

// set takes the times that repetitions of the test took.
func (m *measured) set(times []time.Duration) {
	tokens := float64(m.Prompt + m.Gen)
	ns := make([]float64, len(times))
	m.SamplesNS, m.Samples = make([]int64, len(times)), make([]float64, len(times))
	for i, t := range times {
		ns[i], m.SamplesNS[i], m.Samples[i] = float64(t.Nanoseconds()), t.Nanoseconds(), tokens/t.Seconds()
	}
	mean, deviation := meanAndDeviation(ns)
	m.AvgNS, m.StdNS = int64(mean), int64(deviation)
	m.Avg, m.Std = meanAndDeviation(m.Samples)
	m.Rate = m.Avg * float64(m.Read)
}

// meanAndDeviation returns the mean and the sample standard deviation.
func meanAndDeviation(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	if len(x) < 2 {
		return mean, 0
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x)-1))
}

// options says what differs from the default.
func (m *measured) options() string {
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
	print(*measured) error
	end() error
}

// benchJSON is an array.
type benchJSON struct {
	w   io.Writer
	all []measured
}

func (o *benchJSON) print(m *measured) error {
	o.all = append(o.all, *m)
	return nil
}

func (o *benchJSON) end() error { return printJSON(o.w, o.all) }

// benchCSV has a column for each field but the samples.
type benchCSV struct {
	w     *csv.Writer
	begun bool
}

func (o *benchCSV) print(m *measured) error {
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

// benchTable is a Markdown table, with notes on each model behind it.
type benchTable struct {
	w       io.Writer
	columns []benchColumn
	notes   []string
}

// benchColumn is a column of the table. What is aligned to the left has a negative width.
type benchColumn struct {
	name  string
	width int
	cell  func(m *measured) string
}

var benchColumns = []benchColumn{
	{"model", -30, (*measured).name},
	{"size", 10, func(m *measured) string { return inUnits(m.Size, 1<<30, "GiB", 1<<20, "MiB") }},
	{"params", 10, func(m *measured) string { return inUnits(m.Params, 1e9, "B", 1e6, "M") }},
	{"backend", -14, func(m *measured) string { return m.Backend }},
	{"threads", 7, func(m *measured) string { return strconv.Itoa(m.Threads) }},
	{"options", -10, (*measured).options},
	{"test", 15, (*measured).test},
	{"t/s", 20, func(m *measured) string { return fmt.Sprintf("%.2f ± %.2f", m.Avg, m.Std) }},
	{"GB/s", 6, func(m *measured) string { return m.ifDecoded("%.2f", m.Rate/1e9) }},
	{"of bandwidth", 12, func(m *measured) string { return m.ifDecoded("%.0f%% of %.1f", 100*m.Share, m.Bandwidth/1e9) }},
}

func (m *measured) name() string {
	return printable(strings.TrimSuffix(filepath.Base(filepath.Clean(m.Path)), ".gguf"))
}

func (m *measured) ifDecoded(format string, args ...any) string {
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

func (o *benchTable) print(m *measured) error {
	p := &printer{w: o.w}
	line := func(cell func(c benchColumn) string) {
		for _, c := range o.columns {
			text := cell(c)
			pad := strings.Repeat(" ", max(0, max(c.width, -c.width)-utf8.RuneCountInString(text)))
			if c.width < 0 {
				p.printf("| %s%s ", text, pad)
			} else {
				p.printf("| %s%s ", pad, text)
			}
		}
		p.printf("|\n")
	}
	if o.columns == nil {
		for _, c := range benchColumns {
			if c.name != "options" || m.options() != "" { // the same for all
				o.columns = append(o.columns, c)
			}
		}
		line(func(c benchColumn) string { return c.name })
		for _, c := range o.columns {
			if c.width < 0 {
				p.printf("| %s ", strings.Repeat("-", -c.width))
			} else {
				p.printf("| %s: ", strings.Repeat("-", c.width-1))
			}
		}
		p.printf("|\n")
	}
	line(func(c benchColumn) string { return c.cell(m) })

	of := fmt.Sprintf("%s, %s: ", printable(m.Path), plural(m.Threads, "thread"))
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
	return p.err
}

func (o *benchTable) end() error {
	_, err := fmt.Fprintf(o.w, "\n%s\n", strings.Join(o.notes, "\n"))
	return err
}
