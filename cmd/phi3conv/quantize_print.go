package main

import (
	"fmt"
	"io"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/internal/job/quantize"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/quant"
)

// printPlan prints what would be written.
func printPlan(w io.Writer, r *quantize.Result) error {
	t := report.NewColumns(w, "tensor", "shape", "from", "to", "bytes")
	for _, x := range r.Tensors {
		t.Row(x.Name, fmt.Sprint(x.Shape), x.From, x.To, x.Bytes)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	p := &report.Printer{W: w}
	printOutputs(p, r)
	p.Printf("%d tensors, %d parameters, %d bytes (%s), %.4f bits per weight\n",
		len(r.Tensors), r.Params, r.Bytes, humanize.IBytes(uint64(r.Bytes)), r.BitsPerWeight)
	return p.Err
}

// printSummary prints what was written.
func printSummary(w io.Writer, r *quantize.Result) error {
	p := &report.Printer{W: w}
	printOutputs(p, r)
	p.Printf("%s: %d tensors, %.4f bits per weight, %.1f s, read %s/s\n", r.FileType, len(r.Tensors), r.BitsPerWeight,
		r.Seconds, humanize.IBytes(uint64(float64(r.SourceBytes)/r.Seconds)))
	return p.Err
}

func printOutputs(p *report.Printer, r *quantize.Result) {
	for _, f := range r.Files {
		p.Printf("%s: %d bytes\n", f.Path, f.Bytes)
	}
}

// printAllocation prints how types were chosen for a budget.
func printAllocation(w io.Writer, a *quantize.Allocation) error {
	p := &report.Printer{W: w}
	p.Printf("Estimated cost of each type, as %s:\n\n", a.CostName())
	flush(p, costTable(w, a))
	if len(a.Factors) > 0 {
		p.Printf("\nCosts are scaled to what was measured with about 4.5 bits for all of a kind:\n\n")
		t := report.NewColumns(w, "kind", "estimated", "measured", "factor")
		for _, x := range a.Factors {
			t.Row(x.Kind, report.Decimal(fmt.Sprintf("%.4g", x.Estimate)),
				report.Decimal(fmt.Sprintf("%.4g", x.Measured)), report.Decimal(fmt.Sprint(x.Factor)))
		}
		flush(p, t)
	}
	p.Printf("\nBest types for a size:\n\n")
	t := report.NewColumns(w, "bytes", "bits per weight", a.CostName())
	for _, x := range a.Curve {
		t.Row(x.Bytes, report.Decimal(fmt.Sprintf("%.4f", x.BPW)), report.Decimal(fmt.Sprintf("%.5g", x.Cost)))
	}
	flush(p, t)
	p.Printf("\n%s\n", a)
	return p.Err
}

// costTable has a line for each matrix and a column for each type that any of them could get.
func costTable(w io.Writer, a *quantize.Allocation) *report.Columns {
	var columns []string
	for _, q := range quant.Types() {
		name := q.String()
		if slices.ContainsFunc(a.Tensors, func(c quantize.Choice) bool { return costOf(&c, name) != "" }) {
			columns = append(columns, name)
		}
	}
	t := report.NewColumns(w, append([]string{"tensor", "type"}, columns...)...)
	for i := range a.Tensors {
		c := &a.Tensors[i]
		cells := []any{c.Name, c.Type}
		for _, name := range columns {
			cells = append(cells, costOf(c, name))
		}
		t.Row(cells...)
	}
	return t
}

// costOf writes what a type would cost, empty if the matrix could not get it.
func costOf(c *quantize.Choice, name string) report.Decimal {
	for _, o := range c.Candidates {
		if o.Type == name {
			return report.Decimal(fmt.Sprintf("%.1e", o.Cost))
		}
	}
	return ""
}

// flush prints a table after what was printed before.
func flush(p *report.Printer, t *report.Columns) {
	if p.Err == nil {
		p.Err = t.Flush()
	}
}
