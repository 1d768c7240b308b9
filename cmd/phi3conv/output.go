package main

import (
	"fmt"
	"io"

	"github.com/phi3conv/phi3conv/internal/report"
)

// Short names for what internal/report has.
type (
	number  = report.Number
	decimal = report.Decimal
)

var (
	printJSON = report.WriteJSON
	printable = report.Printable
	plural    = report.Plural
)

// table prints aligned columns.
type table struct{ *report.Columns }

func newTable(w io.Writer, header ...string) table { return table{report.NewColumns(w, header...)} }

func (t table) row(cells ...any) { t.Row(cells...) }
func (t table) flush() error     { return t.Flush() }

// printer prints text. The first error sticks.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// table prints a table after an empty line.
func (p *printer) table(t table) {
	p.printf("\n")
	if p.err == nil {
		p.err = t.flush()
	}
}
