package htmlreport

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/internal/plot"
	"github.com/phi3conv/phi3conv/verify"
)

// table has a header for each row in its first column.
type table struct {
	Caption string
	Head    []string
	Text    int // columns with text, before those with numbers
	Hash    int // the column with hashes, 0 if there is none
	Rows    [][]string
}

// fits are widths of the space for a table in rem. A table has a class for the least that it has room in. Where there
// is less, each of its rows is a list, so that nobody has to scroll sideways.
var fits = []int{16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, math.MaxInt}

// Fit is the class of the width that the table needs.
func (t *table) Fit() string {
	const (
		perPixel = 0.9 / plot.TextSize // rem of the table's text, of a pixel of a plot's
		padding  = 1.1
		anywhere = 6.5 // text breaks in its words
		hash     = 9
	)
	need := 0.0
	for i, head := range t.Head {
		column := 1.08 * longest(head) * perPixel // bold
		if i == 0 || i < t.Text {
			column = max(column, anywhere)
		}
		for _, row := range t.Rows {
			switch {
			case i == 0 || i < t.Text && i != t.Hash:
				column = max(column, min(anywhere, longest(row[i])*perPixel))
			case i == t.Hash:
				column = max(column, hash)
			default:
				column = max(column, longest(unbroken(row[i]))*perPixel)
			}
		}
		need += column + padding
	}
	i := slices.IndexFunc(fits, func(rem int) bool { return need <= float64(rem) })
	return fitClass(fits[i])
}

func fitClass(rem int) string {
	if rem == math.MaxInt {
		return "fit-never"
	}
	return fmt.Sprint("fit-", rem)
}

// longest is the width of the longest part of a text between spaces.
func longest(s string) float64 {
	w := 0.0
	for _, part := range strings.Split(s, " ") { // not at spaces that do not break
		w = max(w, plot.TextWidth(part))
	}
	return w
}

// Long reports whether the table scrolls where it is a detail.
func (t *table) Long() bool { return len(t.Rows) > 12 }

// Class is that of the cells of a column.
func (t *table) Class(column int) string {
	switch {
	case t.Hash > 0 && column == t.Hash:
		return "text hash"
	case column < t.Text:
		return "text"
	}
	return ""
}

// styles is the style sheet.
func styles() string {
	var b strings.Builder
	b.WriteString(style)
	for _, rem := range fits {
		width := "min-width: 0"
		if rem != math.MaxInt {
			width = fmt.Sprintf("max-width: %d.99rem", rem-1)
		}
		fmt.Fprintf(&b, "@container (%s) {\n.%s {\n%s}\n}\n", width, fitClass(rem), stacked)
	}
	return b.String()
}

// unbroken is a number that breaks into two lines only before its error.
func unbroken(s string) string {
	const space = "\u00a0"
	return strings.ReplaceAll(strings.ReplaceAll(visible(s), " ", space), space+"±", " ±")
}

// mostUnlike is how many damaged rows are named.
const mostUnlike = 50

var comparedColumns = []string{"model", "verdict", "file size", "bits/weight", "KLD mean", "KLD p99", "same top, %",
	"PPL ratio", "decoding, tok/s"}

// comparison is the table of all models, as far as its width goes: it has links too.
func comparison(models []*model) *table {
	t := &table{Head: comparedColumns, Text: 1}
	for _, m := range models {
		badge := ""
		if m.Banner != nil {
			badge = m.Banner.Badge
		}
		t.Rows = append(t.Rows, slices.Concat([]string{m.Name, badge}, m.Compared))
	}
	return t
}

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

// damageTable names rows that are unlike the original's, nil if there are none.
func damageTable(w *verify.Weights) *table {
	if w == nil || len(w.Unlike) == 0 {
		return nil
	}
	t := &table{Caption: capital(w.String()),
		Head: []string{"tensor", "row", "cosine", "of most rows", "looks like"}, Text: 1}
	for _, u := range w.Unlike[:min(len(w.Unlike), mostUnlike)] {
		t.Rows = append(t.Rows, u.Cells())
	}
	return t
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
