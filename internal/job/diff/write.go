package diff

import (
	"fmt"
	"io"
	"math"

	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/internal/report"
)

// WriteText prints the difference for a terminal.
func (d *Diff) WriteText(w io.Writer) error {
	p := &report.Printer{W: w}
	p.Printf("A: %s\nB: %s\n", d.A, d.B)
	for _, note := range d.Notes {
		p.Printf("%s\n", note)
	}
	printOnly(p, "A", d.KeysA, d.TensorsA)
	printOnly(p, "B", d.KeysB, d.TensorsB)
	if len(d.Keys) > 0 {
		t := report.NewColumns(w, "key that differs", "A", "B")
		for _, k := range d.Keys {
			a, b := k.Texts()
			t.Row(report.Printable(k.Key), a, b)
		}
		p.Columns(t)
	}
	if len(d.Unlike) > 0 {
		t := report.NewColumns(w, "tensor not compared", "why")
		for _, u := range d.Unlike {
			t.Row(report.Printable(u.Name), u.Why)
		}
		p.Columns(t)
	}
	printTensors(p, d)
	if len(d.Weights.Unlike) > 0 {
		t := report.NewColumns(w, "row unlike A's", "row", "cosine", "of most rows", "looks like")
		for _, u := range d.Weights.Unlike {
			cells := u.Cells()
			t.Row(cells[0], cells[1], report.Decimal(cells[2]), report.Decimal(cells[3]), cells[4])
		}
		p.Columns(t)
	}
	p.Printf("\n%s equal, %d different, %d only in A, %d only in B\n",
		report.Plural(d.EqualKeys, "key"), len(d.Keys), len(d.KeysA), len(d.KeysB))
	p.Printf("%s compared (%d parameters), %d not comparable, %d only in A, %d only in B\n",
		report.Plural(len(d.Tensors), "tensor"), d.Parameters, len(d.Unlike), len(d.TensorsA), len(d.TensorsB))
	return p.Err
}

// printOnly prints what only one model has.
func printOnly(p *report.Printer, side string, keys []inspect.Key, tensors []string) {
	if len(keys) > 0 {
		t := report.NewColumns(p.W, "key only in "+side, "type", "value")
		for _, k := range keys {
			t.Row(report.Printable(k.Key), k.Type, k.Text())
		}
		p.Columns(t)
	}
	if len(tensors) > 0 {
		p.Printf("\ntensors only in %s\n", side)
		for _, name := range tensors {
			p.Printf("%s\n", report.Printable(name))
		}
	}
}

func printTensors(p *report.Printer, d *Diff) {
	t := report.NewColumns(p.W, "tensor", "A", "B", "RMSE", "max error", "cosine", "SQNR dB")
	row := func(name, a, b string, m Metrics) {
		sqnr := m.SQNR.Decimals(2)
		if m.Equal() {
			sqnr = "equal"
		}
		t.Row(name, a, b, scientific(m.RMSE), scientific(m.MaxErr), m.Cosine.Decimals(8), sqnr)
	}
	for _, x := range d.Tensors {
		row(report.Printable(x.Name), x.TypeA, x.TypeB, x.Metrics)
	}
	row("overall", "", "", d.Overall)
	p.Columns(t)
}

func scientific(x report.Number) report.Decimal {
	switch {
	case x == 0:
		return "0"
	case math.IsNaN(float64(x)):
		return "NaN"
	}
	return report.Decimal(fmt.Sprintf("%.3e", float64(x)))
}
