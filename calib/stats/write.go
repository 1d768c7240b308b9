package stats

import (
	"fmt"
	"io"
	"strings"

	"github.com/phi3conv/phi3conv/internal/report"
)

var yesNo = map[bool]string{true: "yes", false: "no"}

// WriteText prints a line for each linear layer, what the statistics cover, and the warnings.
func (s *Summary) WriteText(w io.Writer) error {
	t := report.NewColumns(w, "tensor", "tokens", "columns", "mean square", "outliers", "greatest/median",
		"top 1 %", "always 0", "Fisher")
	for _, e := range s.Entries {
		tokens := "unknown"
		if s.ChunkSize > 0 {
			tokens = fmt.Sprint(e.Tokens)
		}
		t.Row(e.Name, report.Decimal(tokens), e.Columns, report.Decimal(fmt.Sprintf("%.4g", e.Energy)), len(e.Outliers),
			report.Decimal(fmt.Sprintf("%.1f", e.Ratio)), report.Decimal(fmt.Sprintf("%.1f %%", 100*e.Share)),
			e.Dead, yesNo[e.Weighted])
	}
	if err := t.Flush(); err != nil {
		return err
	}
	chunks := report.Plural(s.Chunks, "chunk")
	if s.ChunkSize > 0 {
		chunks = fmt.Sprintf("%d tokens, %s of %d", s.Tokens, chunks, s.ChunkSize)
	}
	p := report.Printer{W: w}
	p.Printf("%d linear layers, %s, from: %s\n", len(s.Entries), chunks, strings.Join(s.Datasets, ", "))
	if s.Sequences > 0 {
		p.Printf("%d sequences, %d different tokens\n", s.Sequences, s.Vocabulary)
	}
	for _, w := range s.Warnings {
		p.Printf("warning: %s\n", w)
	}
	return p.Err
}
