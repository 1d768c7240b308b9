package verify

import (
	"fmt"

	"github.com/phi3conv/phi3conv/internal/report"
)

// Seen says that a text is, whole or in part, what the quantized model was calibrated with: figures on it flatter.
type Seen struct {
	Text string `json:"text"`
	Same bool   `json:"same"` // the very file, by its SHA-256
	// Share estimates what the text and the calibration text have in common: of the different pieces of 32 tokens in
	// the one that has fewer, those that are in the other too; from 0 to 1, 0 if that is not known.
	Share float64 `json:"share"`
}

func (s *Seen) String() string {
	if s.Same {
		return fmt.Sprintf("the quantized model was calibrated with %s: these figures flatter it",
			report.Printable(s.Text))
	}
	return fmt.Sprintf("%.0f %% of %s or of the text that the quantized model was calibrated with, whichever is "+
		"shorter, is in the other: these figures flatter it", 100*s.Share, report.Printable(s.Text))
}

// Warnings says in sentences what makes the report worth less.
func (r *Report) Warnings() []string {
	var list []string
	for i := range r.Seen {
		list = append(list, "Warning: "+r.Seen[i].String()+".")
	}
	return list
}

// FailsSeen reports whether the report fails since the model has seen the text.
func (r *Report) FailsSeen() bool { return r.Strict && len(r.Seen) > 0 }
