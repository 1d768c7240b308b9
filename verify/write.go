package verify

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/phi3conv/phi3conv/internal/report"
)

// WriteText writes the report as tables for a terminal.
func (r *Report) WriteText(w io.Writer) error { return report.WriteText(w, r.tables(), r.about()) }

// WriteMarkdown writes the report in GitHub's Markdown, for a comment on a pull
// request: the verdict and what changed since a baseline are open, the rest folded.
func (r *Report) WriteMarkdown(w io.Writer) error {
	var b bytes.Buffer
	s := r.tables()
	if o := r.Outcome(); o == "" {
		fmt.Fprintf(&b, "### %s\n\n", report.Escape(r.headline()))
	} else {
		fmt.Fprintf(&b, "### %s: %s\n\n", report.Escape(r.headline()), o)
	}
	for _, w := range r.Warnings() {
		fmt.Fprintf(&b, "> %s\n\n", report.Escape(w))
	}
	if r.Verdict != nil && len(r.Verdict.Checks) > 0 {
		s[0].Markdown(&b)
		s = s[1:]
	}
	if r.Baseline != nil {
		fmt.Fprintf(&b, "%s\n\n", report.Escape(s[0].Title))
		s[0].Markdown(&b)
		s = s[1:]
	}
	for _, s := range s {
		s.MarkdownFolded(&b)
	}
	fmt.Fprintln(&b, report.Escape(strings.Join(r.about(), " ")))
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJSON writes the report as indented JSON, without the positions.
func (r *Report) WriteJSON(w io.Writer) error { return report.WriteJSON(w, r.withoutPositions()) }

func (r *Report) withoutPositions() *Report {
	short := *r
	short.Positions = nil
	return &short
}

func (r *Report) headline() string {
	return report.Printable(r.Quant.Name) + " against " + report.Printable(r.Base.Name)
}

// WriteJUnit writes the verdict as JUnit's XML: a test case for each threshold and each figure that was compared with a
// baseline. One that is undecided has failed too, as nothing shows that it holds.
func (r *Report) WriteJUnit(w io.Writer) error { return Reports{r}.WriteJUnit(w) }

func (r *Report) suite() report.Suite {
	class := "verify." + r.Quant.Name
	s := report.Suite{Name: "verify " + r.headline(), Properties: [][2]string{
		{"tool", r.Tool},
		{"convention", r.Conventions.Name},
		{"base.sha256", r.Base.SHA256},
		{"quant.sha256", r.Quant.SHA256},
		{"tokens", strconv.Itoa(r.Summary.Count)},
	}}
	if v := r.Verdict; v != nil {
		for i := range v.Checks {
			c := &v.Checks[i]
			s.Cases = append(s.Cases, report.Case{Class: class, Name: c.Name, Failure: c.failure(c.Explain(v.Tokens))})
		}
	}
	if len(r.Seen) > 0 {
		c := report.Case{Class: class, Name: "calibration text", Output: strings.Join(r.Warnings(), "\n")}
		if r.Strict {
			c.Failure = (&Check{Outcome: Fail}).failure(c.Output)
		}
		s.Cases = append(s.Cases, c)
	}
	if w := r.Weights; w != nil && len(w.Unlike) > 0 {
		c := Check{Outcome: Fail}
		s.Cases = append(s.Cases, report.Case{Class: class, Name: "weights", Failure: c.failure(w.String())})
	}
	s.Cases = append(s.Cases, r.Baseline.cases(class)...)
	return s
}
