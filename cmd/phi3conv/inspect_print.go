package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
)

func printOverview(w io.Writer, o *inspect.Overview) error {
	p := &printer{w: w}
	printFiles(p, o)
	if len(o.Config) > 0 {
		t := newTable(w, "config.json", "value")
		for _, key := range slices.Sorted(maps.Keys(o.Config)) {
			var line bytes.Buffer
			_ = json.Compact(&line, o.Config[key]) // it is valid: it was parsed
			t.row(printable(key), inspect.Shorten(line.String()))
		}
		p.table(t)
	}
	if len(o.Metadata) > 0 {
		t := newTable(w, "key", "type", "value")
		for _, k := range o.Metadata {
			t.row(printable(k.Key), k.Type, k.Text())
		}
		p.table(t)
	}
	t := newTable(w, "tensor", "type", "shape", "bytes", "bits/weight")
	for _, x := range o.Tensors {
		t.row(printable(x.Name), x.Type, fmt.Sprint(x.Shape), x.Bytes, decimals(x.Bits, 2))
	}
	p.table(t)
	t = newTable(w, "type", "tensors", "parameters", "bytes", "bits/weight")
	total := inspect.TypeTotal{Type: "total", Tensors: o.Total.Tensors, Elems: o.Total.Elems, Bytes: o.Total.Bytes}
	for _, x := range append(o.Total.Types, total) {
		t.row(x.Type, x.Tensors, x.Elems, x.Bytes, decimals(inspect.BitsPerWeight(x.Bytes, x.Elems), 4))
	}
	p.table(t)
	return p.err
}

// printFiles prints what the model is.
func printFiles(p *printer, o *inspect.Overview) {
	var size int64
	for _, f := range o.Files {
		size += f.Bytes
	}
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
	p.printf("%s: %s, %s\n", o.Path, format, byteSize(size))
	if len(o.Files) > 1 {
		for _, f := range o.Files {
			p.printf("  %s: %s\n", filepath.Base(f.Path), byteSize(f.Bytes))
		}
	}
	if o.Model != "" {
		p.printf("%s\n", o.Model)
	}
}

func printStatistics(p *printer, s *inspect.Statistics) {
	p.printf("%s\n", printable(s.Name))
	p.printf("  %s %d, %d values, %d bytes, %.2f bits per weight\n", s.Type, s.Shape, s.Elems, s.Bytes, s.Bits)
	p.printf("  min %.6g  max %.6g  abs max %.6g  mean %.6g  std %.6g\n", s.Min, s.Max, s.AbsMax, s.Mean, s.Std)
	p.printf("  zeros %d  NaN %d  infinite %d  beyond %d std %d\n",
		s.Zeros, s.NaN, s.Inf, tensorstats.Sigmas, s.Outliers)
	if s.Elems == s.NaN+s.Inf || s.Std == 0 {
		return
	}
	t := newTable(p.w, "  farthest from the mean:", "row", "column", "value", "std")
	for _, e := range s.Farthest {
		t.row("", e.Row, e.Col, decimal(fmt.Sprintf("%.6g", e.Value)), decimals(e.Sigma, 1))
	}
	p.table(t)
	p.printf("\n  values from (half a std each)\n")
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
		p.printf("  %10s  %-*s  %6.2f %%\n", label, width, bar, 100*float64(n)/float64(s.Elems-s.NaN-s.Inf))
	}
}

func byteSize(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	return fmt.Sprintf("%d bytes (%s)", n, humanize.IBytes(uint64(n)))
}

func decimals(x number, digits int) decimal {
	if math.IsNaN(float64(x)) {
		return "-"
	}
	return decimal(strconv.FormatFloat(float64(x), 'f', digits, 64))
}
