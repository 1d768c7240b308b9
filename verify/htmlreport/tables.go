package htmlreport

import (
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

var comparedColumns = []string{"file size", "bits/weight", "KLD mean", "KLD p99", "same top, %", "PPL ratio",
	"decoding, tok/s"}

func compared(r *verify.Report) []string {
	u := &r.Summary
	row := []string{sizeText(r.Quant.FileBytes), bits(r.Quant.BitsPerWeight), plusMinus(u.KLD), plusMinus(u.KLD99),
		plusMinus(u.SameTop.Times(100)), plusMinus(u.PPLRatio), "–"}
	if r.Seal != nil { // lower bounds
		row[2], row[3] = "≥ "+row[2], "≥ "+row[3]
	}
	if r.Performance != nil {
		row[len(row)-1] = plusMinus(r.Performance.Quant.TG)
	}
	return row
}

// compares are the tables of models and texts.
func compares(r *verify.Report) []*table {
	models := &table{Caption: "Models",
		Head: []string{"", "name", "weights", "SHA-256", "file size", "bits per weight"}, Text: 4, Hash: 3}
	for _, m := range []struct {
		what string
		verify.Model
	}{{"original", r.Base}, {"quantized", r.Quant}} {
		models.Rows = append(models.Rows,
			[]string{m.what, m.Name, m.Format, m.SHA256, sizeText(m.FileBytes), bits(m.BitsPerWeight)})
	}
	texts := &table{Caption: "Texts", Head: []string{"name", "SHA-256", "tokens", "size"}, Text: 2, Hash: 1}
	for _, t := range r.Texts {
		texts.Rows = append(texts.Rows, []string{t.Name, t.SHA256, humanize.Comma(int64(t.Tokens)), sizeText(t.Bytes)})
	}
	return slices.Concat([]*table{models}, sealTables(r.Seal), []*table{texts})
}

func performanceTable(r *verify.Report) *table {
	p := r.Performance
	if p == nil {
		return nil
	}
	t := &table{Caption: "Speed and memory, models in turns on the same machine", Head: []string{"model",
		"decoding, tok/s", "reading, tok/s", "share of memory bandwidth, %", "load, s", "peak memory"}, Text: 1}
	row := func(name string, s verify.Speed) {
		t.Rows = append(t.Rows, []string{name, plusMinus(s.TG), plusMinus(s.PP), short(100 * s.Share), short(s.Load),
			sizeText(s.RSS)})
	}
	if p.Base != nil {
		row(r.Base.Name, *p.Base)
	}
	row(r.Quant.Name, p.Quant)
	return t
}

func allNumbers(r *verify.Report) *table {
	t := &table{
		Caption: fmt.Sprintf("All metrics, of %s tokens", humanize.Comma(int64(r.Summary.Count))),
		Head:    []string{"metric", "value", "± SE", "95 % from", "to"}, Text: 1,
	}
	for _, m := range r.SummaryLines() {
		if m.Extreme {
			t.Rows = append(t.Rows, []string{m.Name, short(m.Estimate.Value), "", "", ""})
		} else {
			t.Rows = append(t.Rows, append([]string{m.Name}, m.Estimate.Cells()...))
		}
	}
	return t
}
