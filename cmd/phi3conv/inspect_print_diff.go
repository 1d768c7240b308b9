package main

import (
	"fmt"
	"io"
	"math"

	"github.com/phi3conv/phi3conv/internal/job/diff"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
)

func printDiff(w io.Writer, d *diff.Diff) error {
	p := &printer{w: w}
	p.printf("A: %s\nB: %s\n", d.A, d.B)
	for _, note := range d.Notes {
		p.printf("%s\n", note)
	}
	printOnly(p, "A", d.KeysA, d.TensorsA)
	printOnly(p, "B", d.KeysB, d.TensorsB)
	if len(d.Keys) > 0 {
		t := newTable(w, "key that differs", "A", "B")
		for _, k := range d.Keys {
			a, b := k.Texts()
			t.row(printable(k.Key), a, b)
		}
		p.table(t)
	}
	if len(d.Unlike) > 0 {
		t := newTable(w, "tensor not compared", "why")
		for _, u := range d.Unlike {
			t.row(printable(u.Name), u.Why)
		}
		p.table(t)
	}
	printTensors(p, d)
	if len(d.Weights.Unlike) > 0 {
		t := newTable(w, "row unlike A's", "row", "cosine", "of most rows")
		for _, u := range d.Weights.Unlike {
			cells := u.Cells()
			t.row(cells[0], cells[1], decimal(cells[2]), decimal(cells[3]))
		}
		p.table(t)
	}
	p.printf("\n%s equal, %d different, %d only in A, %d only in B\n",
		plural(d.EqualKeys, "key"), len(d.Keys), len(d.KeysA), len(d.KeysB))
	p.printf("%s compared (%d parameters), %d not comparable, %d only in A, %d only in B\n",
		plural(len(d.Tensors), "tensor"), d.Parameters, len(d.Unlike), len(d.TensorsA), len(d.TensorsB))
	return p.err
}

// printOnly prints what only one model has.
func printOnly(p *printer, side string, keys []inspect.Key, tensors []string) {
	if len(keys) > 0 {
		t := newTable(p.w, "key only in "+side, "type", "value")
		for _, k := range keys {
			t.row(printable(k.Key), k.Type, k.Text())
		}
		p.table(t)
	}
	if len(tensors) > 0 {
		p.printf("\ntensors only in %s\n", side)
		for _, name := range tensors {
			p.printf("%s\n", printable(name))
		}
	}
}

func printTensors(p *printer, d *diff.Diff) {
	t := newTable(p.w, "tensor", "A", "B", "RMSE", "max error", "cosine", "SQNR dB")
	row := func(name, a, b string, m diff.Metrics) {
		sqnr := decimals(m.SQNR, 2)
		if m.Equal() {
			sqnr = "equal"
		}
		t.row(name, a, b, scientific(m.RMSE), scientific(m.MaxErr), decimals(m.Cosine, 8), sqnr)
	}
	for _, x := range d.Tensors {
		row(printable(x.Name), x.TypeA, x.TypeB, x.Metrics)
	}
	row("overall", "", "", d.Overall)
	p.table(t)
}

func scientific(x number) decimal {
	switch {
	case x == 0:
		return "0"
	case math.IsNaN(float64(x)):
		return "NaN"
	}
	return decimal(fmt.Sprintf("%.3e", float64(x)))
}
