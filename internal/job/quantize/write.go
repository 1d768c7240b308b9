package quantize

import (
	"fmt"
	"io"
	"slices"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/quant"
)

// WriteText writes what would be written, or what was, for people.
func (r *Result) WriteText(w io.Writer) error {
	switch {
	case r.Copied:
		_, err := fmt.Fprintf(w, "%s: %d tensors copied, %.1f s\n", r.Output, len(r.Tensors), r.Seconds)
		return err
	case r.Seconds > 0:
		return r.writeSummary(w)
	}
	return r.writePlan(w)
}

func (r *Result) writePlan(w io.Writer) error {
	t := report.NewColumns(w, "tensor", "shape", "from", "to", "bytes")
	for _, x := range r.Tensors {
		t.Row(x.Name, fmt.Sprint(x.Shape), x.From, x.To, x.Bytes)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	p := &report.Printer{W: w}
	r.writeFiles(p)
	p.Printf("%d tensors, %d parameters, %d bytes (%s), %.4f bits per weight\n",
		len(r.Tensors), r.Params, r.Bytes, humanize.IBytes(uint64(r.Bytes)), r.BitsPerWeight)
	return p.Err
}

func (r *Result) writeSummary(w io.Writer) error {
	p := &report.Printer{W: w}
	r.writeFiles(p)
	p.Printf("%s: %d tensors, %.4f bits per weight, %.1f s, read %s/s\n", r.FileType, len(r.Tensors), r.BitsPerWeight,
		r.Seconds, humanize.IBytes(uint64(float64(r.SourceBytes)/r.Seconds)))
	return p.Err
}

func (r *Result) writeFiles(p *report.Printer) {
	for _, f := range r.Files {
		p.Printf("%s: %d bytes\n", f.Path, f.Bytes)
	}
}

// WriteText writes how types were chosen for a budget, for people.
func (a *Allocation) WriteText(w io.Writer) error {
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
	if len(a.Gains) > 0 {
		p.Printf("\nWhat the method leaves of them, as measured on some rows and blocks:\n\n")
		flush(p, gainTable(w, a))
	}
	if a.Rounding > 0 {
		p.Printf("\nRounding activations to 8 bits adds about %.2g, which is in what follows.\n", a.Rounding)
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

// gainTable has a line for each kind of matrix and a column for each type.
func gainTable(w io.Writer, a *Allocation) *report.Columns {
	head, lines, of := []string{"kind"}, []string(nil), map[string]string{}
	for _, g := range a.Gains {
		if !slices.Contains(head, g.Type) {
			head = append(head, g.Type)
		}
		if !slices.Contains(lines, g.Kind) {
			lines = append(lines, g.Kind)
		}
		of[g.Kind+" "+g.Type] = fmt.Sprintf("%.2f", g.Share)
	}
	t := report.NewColumns(w, head...)
	for _, kind := range lines {
		row := []any{kind}
		for _, typ := range head[1:] {
			row = append(row, report.Decimal(of[kind+" "+typ]))
		}
		t.Row(row...)
	}
	return t
}

// costTable has a line for each matrix and a column for each type that any of them could get.
func costTable(w io.Writer, a *Allocation) *report.Columns {
	var columns []string
	for _, q := range quant.Types() {
		name := q.String()
		if slices.ContainsFunc(a.Tensors, func(c Choice) bool { return costOf(&c, name) != "" }) {
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
func costOf(c *Choice, name string) report.Decimal {
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

// WriteText writes what was found, for people.
func (c *Comparison) WriteText(w io.Writer) error {
	p := &report.Printer{W: w}
	for _, in := range c.Inputs {
		if in.Same {
			p.Printf("%s %s: the one it was made from\n", in.Input, in.Path)
		} else {
			p.Printf("%s %s: another one than it was made from: SHA-256 %s, recorded %s\n",
				in.Input, in.Path, in.SHA256, in.Recorded)
		}
	}
	for _, key := range c.Keys {
		p.Printf("key %s differs\n", report.Printable(key))
	}
	switch {
	case c.Same && c.Whole:
		p.Printf("%s: the same bytes\n", c.File)
	case c.Same:
		p.Printf("%s: the same tensors and metadata\n", c.File)
	case c.Tensor != "":
		p.Printf("%s: the first tensor that differs is %s: %s\n", c.File, report.Printable(c.Tensor), c.Why)
	case c.Why != "":
		p.Printf("%s: differs: %s\n", c.File, c.Why)
	default:
		p.Printf("%s: the same tensors, other metadata\n", c.File)
	}
	return p.Err
}
