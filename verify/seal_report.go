package verify

import (
	"fmt"
	"math"

	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/internal/report"
)

// Seal is what a report says of the seal that stood for the original.
type Seal struct {
	Name      string  `json:"name"`
	Bytes     int64   `json:"bytes"`
	SHA256    string  `json:"sha256"` // hexadecimal
	TopK      int     `json:"top_k"`
	MinP      float64 `json:"min_p"`
	Positions int     `json:"positions"`
	Full      int     `json:"full"` // positions with the whole vocabulary

	// Bound is the mean of the proven lower bounds of the KL divergence, KLD an estimate with the tokens
	// that were drawn, and Share the part of it that the bounds have. The mean divergence of these
	// positions is at least Least but for a risk of [LeastRisk].
	Bound Estimate `json:"bound"`
	Share Estimate `json:"share"`
	KLD   Estimate `json:"kld"`
	Least float64  `json:"kld_least"`
}

// NewSealedReport is [NewReport] of a comparison with a seal. Every KLD in it outside
// [Report.Seal] is a lower bound. The caller adds what describes the seal's file and the models.
func NewSealedReport(p []Bounded, h *seal.Header, worst int) *Report {
	texts := make([]Text, len(h.Texts))
	for i, t := range h.Texts {
		texts[i] = Text{Name: t.Name, Bytes: t.Bytes, SHA256: t.SHA256, Tokens: t.Tokens}
	}
	r := NewReport(positionsOf(p), texts, worst)
	c := h.Conventions
	r.Conventions = Conventions{Name: c.Name, Context: c.Context, Stride: c.Stride, First: c.First, BOS: c.BOS >= 0}
	r.Base = Model{Name: h.Model, SHA256: h.WeightsSHA256}
	s := &Seal{TopK: h.TopK, MinP: h.MinP, Positions: h.Positions, Full: h.Full, Bound: r.Summary.KLD}
	s.KLD, s.Share, s.Least = SealedKLD(p)
	r.Seal = s
	return r
}

func positionsOf(p []Bounded) []Position {
	positions := make([]Position, len(p))
	for i := range p {
		positions[i] = p[i].Position
	}
	return positions
}

// table is the table of the seal, empty without one.
func (s *Seal) table() report.Table {
	if s == nil {
		return report.Table{}
	}
	title := fmt.Sprintf("Seal %s, %s, SHA-256 %s: %d of %d positions have the whole vocabulary",
		report.Printable(s.Name), bytesOf(s.Bytes), short(s.SHA256), s.Full, s.Positions)
	t := report.Table{Title: title, Left: 1, Rows: [][]string{{"", "value", "± SE", "95 % from", "to"}}}
	t.Rows = append(t.Rows,
		append([]string{"KLD mean, estimate"}, s.KLD.Cells()...),
		[]string{"KLD mean, at least, confidence 99.9999 %", Digits(s.Least, s.KLD.SE)},
		append([]string{"KLD mean, proven lower bound"}, s.Bound.Cells()...))
	if !math.IsNaN(s.Share.Value) {
		t.Rows = append(t.Rows, append([]string{"share of the KLD in that bound, %"}, s.Share.Times(100).Cells()...))
	}
	return t
}

// about says what the figures of a report with a seal are, nothing without one.
func (s *Seal) about() []string {
	if s == nil {
		return nil
	}
	return []string{"The original was not there: each KLD above is a proven lower bound but for the estimates of " +
		"the mean, for which each position has a token drawn from its unlikely ones."}
}

// KLDName says what the KLDs of the positions, and all figures of them, are: "KLD" or, with a
// seal, "KLD bound".
func (r *Report) KLDName() string {
	if r.Seal != nil {
		return "KLD bound"
	}
	return "KLD"
}
