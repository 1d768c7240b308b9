// Package forms is what the command tune does: the table of the forms of the products that a model needs, timed on this
// machine, and of the choices that are remembered.
package forms

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/tune"
	"github.com/phi3conv/phi3conv/runtime"
)

// Options say what is measured.
type Options struct {
	Threads int           // 0: the runtime's default
	Time    time.Duration // that measuring takes, about
}

// Report is what the command prints as JSON.
type Report struct {
	File     string          `json:"file"` // where choices are kept
	Kept     bool            `json:"kept"` // the measurements are in it
	Why      string          `json:"why,omitempty"`
	Measured []tune.Measured `json:"measured"`
	Known    []tune.Choice   `json:"known"` // for this machine and program, measured ones included
}

// Run measures the forms that a model needs, all of them anew, and remembers the choices. Without a model it tells what
// is known.
func Run(ctx context.Context, model string, opt Options) (r Report, err error) {
	r = Report{Kept: model != "", Measured: []tune.Measured{}, Known: []tune.Choice{}}
	if r.File, err = tune.Path(); err != nil {
		return r, err
	}
	if model != "" {
		tune.Set(tune.Settings{
			Mode: tune.Force, Time: opt.Time,
			Report: func(m tune.Measured) { r.Measured = append(r.Measured, m) },
			Failed: func(err error) { r.Kept, r.Why = false, err.Error() },
		})
		m, err := runtime.Open(ctx, model, runtime.Options{Threads: opt.Threads})
		if err != nil {
			return r, err
		}
		if err := m.Close(); err != nil {
			return r, err
		}
	}
	known, err := tune.Known()
	if err == nil {
		r.Known = append(r.Known, known...)
	} else if model != "" {
		err = nil // Why says it
	}
	return r, err
}

// WriteText prints the report.
func (r *Report) WriteText(w io.Writer) error {
	p := &report.Printer{W: w}
	for i := range r.Measured {
		writeMeasured(p, &r.Measured[i])
	}
	switch {
	case len(r.Known) == 0:
		p.Printf("%s knows nothing of this machine: the default forms are used\n", report.Printable(r.File))
	case len(r.Measured) == 0:
		t := report.NewColumns(w, "format", "use", "kernels", "threads", "form", "default", "time / default's")
		for _, c := range r.Known {
			t.Row(c.Format, c.Use, c.Set, c.Threads, c.Form, c.Default, ratio(&c))
		}
		if p.Err == nil {
			p.Err = t.Flush()
		}
	}
	if r.Why != "" {
		p.Printf("not kept: %s\n", report.Printable(r.Why))
	}
	return p.Err
}

func ratio(c *tune.Choice) string {
	s := fmt.Sprintf("%.2f ± %.2f", c.Ratio, c.Err)
	if !c.Sure {
		s += " ?"
	}
	return s
}

// writeMeasured prints a table of the forms, the fastest first.
func writeMeasured(p *report.Printer, m *tune.Measured) {
	unit := "GMAC/s"
	if m.Use == kern.Single.String() || m.Use == kern.Few.String() {
		unit = "GB/s"
	}
	p.Printf("%s, %s, %s: %s", m.Format, m.Use, report.Plural(m.Threads, "thread"), m.Form)
	if m.Form != m.Default {
		p.Printf(" takes %s of the default's time", ratio(&m.Choice))
	}
	p.Printf("\n")
	t := report.NewColumns(p.W, "form", unit, "")
	forms := slices.Clone(m.Forms)
	slices.SortStableFunc(forms, func(a, b tune.FormSpeed) int { return -cmp.Compare(a.Rate, b.Rate) })
	for _, f := range forms {
		mark := ""
		switch f.Form {
		case m.Form:
			mark = "chosen"
		case m.Default:
			mark = "default"
		}
		t.Row(f.Form, report.Decimal(fmt.Sprintf("%.2f", f.Rate/1e9)), mark)
	}
	p.Columns(t)
	p.Printf("\n")
}
