package lint

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"strings"

	"github.com/phi3conv/phi3conv/internal/report"
)

// maxSubjects is the number of subjects listed for a check.
const maxSubjects = 10

// byCheck returns the findings of each check that found something.
func (r *Report) byCheck() iter.Seq[[]Finding] {
	return func(yield func([]Finding) bool) {
		for rest := r.Findings; len(rest) > 0; {
			n := 1
			for n < len(rest) && rest[n].Code == rest[0].Code {
				n++
			}
			if !yield(rest[:n]) {
				return
			}
			rest = rest[n:]
		}
	}
}

// WriteText prints each check once, with everything that it found.
func (r *Report) WriteText(out io.Writer) error {
	w := &report.Printer{W: out}
	for found := range r.byCheck() {
		f, n := found[0], len(found)
		w.Printf("%s %s: %s\n", f.Severity, f.Code, f.Title)
		t := report.NewColumns(out)
		for _, x := range found[:min(n, maxSubjects)] {
			t.Row("  "+report.Printable(x.Subject), report.Printable(x.Message))
		}
		if n > maxSubjects {
			t.Row(fmt.Sprintf("  … and %d more", n-maxSubjects))
		}
		if err := t.Flush(); err != nil {
			return err
		}
		w.Printf("%s%s\n", wrap("  why: ", f.Why), wrap("  fix: ", f.Fix))
	}
	w.Printf("%s\n", r.summary())
	return w.Err
}

// summary says how many findings there are, of how many checks.
func (r *Report) summary() string {
	ran := report.Plural(r.Checks, "check")
	if r.Fast {
		ran += ", tensor data not read"
	}
	var counts []string
	for _, s := range Severities() {
		switch n := r.Count(s); {
		case n > 0 && s == Info: // has no plural
			counts = append(counts, fmt.Sprintf("%d %s", n, s))
		case n > 0:
			counts = append(counts, report.Plural(n, string(s)))
		}
	}
	if len(counts) == 0 {
		counts = []string{"no problems found"}
	}
	return fmt.Sprintf("%s: %s (%s)", r.Path, strings.Join(counts, ", "), ran)
}

// WriteMarkdown writes the report in GitHub's Markdown, for a comment on a pull request: what was found is open,
// why it matters is folded.
func (r *Report) WriteMarkdown(w io.Writer) error {
	found := report.Table{Left: 4, Rows: [][]string{{"severity", "code", "where", "what"}}}
	why := report.Table{Title: "Why, and what to do", Left: 4, Rows: [][]string{{"code", "check", "why", "fix"}}}
	for all := range r.byCheck() {
		f := all[0]
		for _, x := range all[:min(len(all), maxSubjects)] {
			found.Rows = append(found.Rows, []string{string(f.Severity), f.Code,
				report.Printable(x.Subject), report.Printable(x.Message)})
		}
		if more := len(all) - maxSubjects; more > 0 {
			found.Rows = append(found.Rows,
				[]string{string(f.Severity), f.Code, fmt.Sprintf("… and %d more", more), ""})
		}
		why.Rows = append(why.Rows, []string{f.Code, f.Title, f.Why, f.Fix})
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "### %s\n\n", report.Escape(r.summary()))
	if len(r.Findings) > 0 {
		found.Markdown(&b)
		why.MarkdownFolded(&b)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteJSON writes the report and the number of findings of each severity as indented JSON.
func (r *Report) WriteJSON(w io.Writer) error {
	return report.WriteDocument(w, 1, struct {
		Errors   int `json:"errors"`
		Warnings int `json:"warnings"`
		Infos    int `json:"infos"`
		*Report
	}{r.Count(Error), r.Count(Warning), r.Count(Info), r})
}

// WriteJUnit writes a test case for each check that was run as JUnit's XML. One that found errors has failed; what
// others found is their output.
func (r *Report) WriteJUnit(w io.Writer) error {
	notes := map[string]string{}
	for found := range r.byCheck() {
		var lines []string
		for _, f := range found[:min(len(found), maxSubjects)] {
			lines = append(lines, report.Printable(f.Subject)+": "+report.Printable(f.Message))
		}
		if more := len(found) - maxSubjects; more > 0 {
			lines = append(lines, fmt.Sprintf("… and %d more", more))
		}
		notes[found[0].Code] = strings.Join(lines, "\n")
	}
	s := report.Suite{Name: "lint " + r.Path, Properties: [][2]string{{"format", r.Format}}}
	for _, c := range r.ran {
		x := report.Case{Class: "lint." + c.Code, Name: c.Title}
		if note := notes[c.Code]; note != "" && c.Severity == Error {
			x.Failure = &report.Failure{Type: string(c.Severity), Message: note}
		} else {
			x.Output = note
		}
		s.Cases = append(s.Cases, x)
	}
	return report.WriteJUnit(w, s)
}

// wrap breaks text into lines of at most 80 characters. The first begins with
// label, the others with as many spaces.
func wrap(label, text string) string {
	var b strings.Builder
	b.WriteString(label)
	col := len(label)
	for i, word := range strings.Fields(text) {
		n := len([]rune(word))
		switch {
		case i > 0 && col+1+n > 80:
			b.WriteString("\n" + strings.Repeat(" ", len(label)))
			col = len(label)
		case i > 0:
			b.WriteByte(' ')
			col++
		}
		b.WriteString(word)
		col += n
	}
	b.WriteByte('\n')
	return b.String()
}
