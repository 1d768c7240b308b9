package verify

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/terminal"
)

// Reports are those of several quantized models that were measured against the same
// original on the same tokens. One alone is written as a [Report] is.
type Reports []*Report

// jsonReports is the JSON form of several reports.
type jsonReports struct {
	Schema  int     `json:"schema"`
	Reports Reports `json:"reports"`
}

// Outcome is that of all reports: fail if one fails, pass if all pass or nothing was to be kept.
func (list Reports) Outcome() Outcome {
	all := Pass
	for _, r := range list {
		if o := r.Outcome(); o != "" && (o == Fail || all == Pass) {
			all = o
		}
	}
	return all
}

// Pareto tells for each model whether it is on the front of size and mean KLD: that no other
// is better in one and not worse in the other.
func (list Reports) Pareto() []bool {
	front := make([]bool, len(list))
	for i, r := range list {
		front[i] = true
		for _, o := range list {
			size, other := r.Quant.FileBytes, o.Quant.FileBytes
			kld, otherKLD := r.Summary.KLD.Value, o.Summary.KLD.Value
			if other <= size && otherKLD <= kld && (other < size || otherKLD < kld) {
				front[i] = false
			}
		}
	}
	return front
}

// comparison is a table with a line for each model.
func (list Reports) comparison() report.Table {
	title := fmt.Sprintf("%d models against %s", len(list), report.Printable(list[0].Base.Name))
	verdict, speed := false, false
	for _, r := range list {
		verdict = verdict || r.Outcome() != ""
		speed = speed || r.Performance != nil
	}
	header := []string{"", "size", "bits/weight", "KLD mean", "± SE", "same top, %", "± SE", "PPL ratio", "± SE"}
	if speed {
		header = append(header, "decode, tok/s", "± SE")
	}
	header = append(header, "size and KLD")
	left := 1
	if verdict {
		header = append([]string{"", "verdict"}, header[1:]...)
		left = 2
	}
	s := report.Table{Title: title, Left: left, Rows: [][]string{header}}
	front := list.Pareto()
	for i, r := range list {
		row := []string{report.Printable(r.Quant.Name)}
		if verdict {
			row = append(row, string(r.Outcome()))
		}
		row = append(row, bytesOf(r.Quant.FileBytes), fmt.Sprintf("%.2f", r.Quant.BitsPerWeight))
		for _, e := range []Estimate{r.Summary.KLD, r.Summary.SameTop.Times(100), r.Summary.PPLRatio} {
			row = append(row, e.Cells()[:2]...)
		}
		if speed {
			tg := []string{"", ""}
			if p := r.Performance; p != nil {
				tg = p.Quant.TG.Cells()[:2]
			}
			row = append(row, tg...)
		}
		best := ""
		if front[i] {
			best = "Pareto front"
		}
		s.Rows = append(s.Rows, append(row, best))
	}
	return s
}

// WriteText writes a table that compares the models, and then each report.
func (list Reports) WriteText(w io.Writer) error {
	var b bytes.Buffer
	if len(list) > 1 {
		list.comparison().Text(&b, terminal.Width(w))
		fmt.Fprintln(&b)
	}
	for _, r := range list {
		if len(list) > 1 {
			fmt.Fprintf(&b, "== %s ==\n\n", r.headline())
		}
		if err := r.WriteText(terminal.Sized(&b, terminal.Width(w))); err != nil {
			return err
		}
		if len(list) > 1 {
			fmt.Fprintln(&b)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteMarkdown writes a table that compares the models, and then each report.
func (list Reports) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	if len(list) > 1 {
		s := list.comparison()
		fmt.Fprintf(&b, "## %s\n\n", report.Escape(s.Title))
		s.Markdown(&b)
	}
	for _, r := range list {
		if err := r.WriteMarkdown(&b); err != nil {
			return err
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJUnit writes the verdicts as JUnit's XML: a test suite for each model, and in it a test case for each threshold
// and each figure that was compared with a baseline. One that is undecided has failed too, as nothing shows that it
// holds.
func (list Reports) WriteJUnit(w io.Writer) error {
	var suites []report.Suite
	for _, r := range list {
		suites = append(suites, r.suite())
	}
	return report.WriteJUnit(w, suites...)
}

// WriteJSON writes indented JSON, without the positions. Several reports are the field
// "reports" of an object.
func (list Reports) WriteJSON(w io.Writer) error {
	if len(list) == 1 {
		return list[0].WriteJSON(w)
	}
	short := make(Reports, len(list))
	for i, r := range list {
		short[i] = r.withoutPositions()
	}
	return report.WriteJSON(w, jsonReports{Schema, short})
}

// WriteReport writes JSON with all positions, for [ReadReports].
func (list Reports) WriteReport(w io.Writer) error {
	if len(list) == 1 {
		return list[0].WriteReport(w)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(jsonReports{Schema, list})
}
