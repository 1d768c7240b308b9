package verify

import (
	"fmt"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
)

// Weights says how the rows of a model's matrices compare with the original's.
type Weights struct {
	Rows int `json:"rows"` // compared
	// Unlike has the tensors in the order of the file, of each the worst row first.
	Unlike []tensorstats.UnlikeRow `json:"unlike"`
}

func (w *Weights) table() report.Table {
	if w == nil || len(w.Unlike) == 0 {
		return report.Table{}
	}
	s := report.Table{Title: fmt.Sprintf("Weights: fail, %s", w), Left: 1,
		Rows: [][]string{{"tensor", "row", "cosine", "of most rows", "looks like"}}}
	for _, u := range w.Unlike[:min(len(w.Unlike), maxUnlike)] {
		s.Rows = append(s.Rows, u.Cells())
	}
	return s
}

// String counts the rows, and names the first.
func (w *Weights) String() string {
	if len(w.Unlike) == 0 {
		return fmt.Sprintf("all %d rows are like the original's", w.Rows)
	}
	first, looks := w.Unlike[0], ""
	if first.Why != "" { // a report of an earlier version has none
		looks = " (" + first.Why + ")"
	}
	return fmt.Sprintf("%d of %d rows are unlike the original's, as if damaged or swapped: %s row %d%s", len(w.Unlike),
		w.Rows, report.Printable(first.Tensor), first.Row, looks)
}

// maxUnlike is how many rows texts name.
const maxUnlike = 10
