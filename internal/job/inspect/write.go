package inspect

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
)

// WriteText prints the overview for a terminal.
func (o *Overview) WriteText(w io.Writer) error {
	p := &report.Printer{W: w}
	printFiles(p, o)
	if len(o.Config) > 0 {
		t := report.NewColumns(w, "config.json", "value")
		for _, key := range slices.Sorted(maps.Keys(o.Config)) {
			var line bytes.Buffer
			_ = json.Compact(&line, o.Config[key]) // it is valid: it was parsed
			t.Row(report.Printable(key), Shorten(line.String()))
		}
		p.Columns(t)
	}
	if len(o.Metadata) > 0 {
		t := report.NewColumns(w, "key", "type", "value")
		for _, k := range o.Metadata {
			t.Row(report.Printable(k.Key), k.Type, k.Text())
		}
		p.Columns(t)
	}
	t := report.NewColumns(w, "tensor", "type", "shape", "bytes", "bits/weight")
	for _, x := range o.Tensors {
		t.Row(report.Printable(x.Name), x.Type, fmt.Sprint(x.Shape), x.Bytes, x.Bits.Decimals(2))
	}
	p.Columns(t)
	t = report.NewColumns(w, "type", "tensors", "parameters", "bytes", "bits/weight")
	total := TypeTotal{Type: "total", Tensors: o.Total.Tensors, Elems: o.Total.Elems, Bytes: o.Total.Bytes}
	for _, x := range append(o.Total.Types, total) {
		t.Row(x.Type, x.Tensors, x.Elems, x.Bytes, bitsPerWeight(x.Bytes, x.Elems).Decimals(4))
	}
	p.Columns(t)
	return p.Err
}

// printFiles prints what the model is.
func printFiles(p *report.Printer, o *Overview) {
	format := "safetensors"
	if o.Version > 0 {
		format = fmt.Sprintf("GGUF version %d", o.Version)
		if o.Format == "pmap" {
			format = "stands for " + format
		}
		if o.FileType != "" {
			format += ", " + o.FileType
		}
		format += fmt.Sprintf(", alignment %d", o.Alignment)
	}
	p.Printf("%s: %s, %s\n", o.Path, format, report.ByteSize(o.FileBytes))
	if len(o.Files) > 1 {
		for _, f := range o.Files {
			p.Printf("  %s: %s\n", filepath.Base(f.Path), report.ByteSize(f.Bytes))
		}
	}
	if o.Model != "" {
		p.Printf("%s\n", o.Model)
	}
}

// WriteText prints the statistics of one tensor after the other.
func (all *TensorStatistics) WriteText(w io.Writer) error {
	p := &report.Printer{W: w}
	for i, s := range all.Tensors {
		if i > 0 {
			p.Printf("\n")
		}
		s.print(p)
	}
	return p.Err
}

func (s *Statistics) print(p *report.Printer) {
	p.Printf("%s\n", report.Printable(s.Name))
	p.Printf("  %s %d, %d values, %d bytes, %.2f bits per weight\n", s.Type, s.Shape, s.Elems, s.Bytes, s.Bits)
	p.Printf("  min %.6g  max %.6g  abs max %.6g  mean %.6g  std %.6g\n", s.Min, s.Max, s.AbsMax, s.Mean, s.Std)
	p.Printf("  zeros %d  NaN %d  infinite %d  beyond %d std %d\n",
		s.Zeros, s.NaN, s.Inf, tensorstats.Sigmas, s.Outliers)
	if s.Elems == s.NaN+s.Inf || s.Std == 0 {
		return
	}
	t := report.NewColumns(p.W, "  farthest from the mean:", "row", "column", "value", "std")
	for _, e := range s.Farthest {
		t.Row("", e.Row, e.Col, report.Decimal(fmt.Sprintf("%.6g", e.Value)), e.Sigma.Decimals(1))
	}
	p.Columns(t)
	p.Printf("\n  values from (half a std each)\n")
	const width = 32 // of the longest bar
	most := slices.Max(s.Counts)
	for i, n := range s.Counts {
		label := fmt.Sprintf("%.3g", float64(s.Edges[i]))
		switch i {
		case 0:
			label = "below"
		case len(s.Counts) - 1:
			label = "≥ " + label
		}
		bar := strings.Repeat("#", int((n*width+most-1)/most)) // at least one for one value
		p.Printf("  %10s  %-*s  %6.2f %%\n", label, width, bar, 100*float64(n)/float64(s.Elems-s.NaN-s.Inf))
	}
}
