package htmlreport

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/verify"
)

// sealTables describe the seal that stood for the original, none without one.
func sealTables(s *verify.Seal) []*table {
	if s == nil {
		return nil
	}
	file := &table{Caption: "Seal, which stood for the original", Text: 2, Hash: 1,
		Head: []string{"name", "SHA-256", "size", "top k", "min p", "positions", "with the whole vocabulary"},
		Rows: [][]string{{s.Name, s.SHA256, sizeText(s.Bytes), fmt.Sprint(s.TopK), fmt.Sprint(s.MinP),
			humanize.Comma(int64(s.Positions)), humanize.Comma(int64(s.Full))}}}
	kld := &table{Caption: "What the seal tells of the KL divergence",
		Head: []string{"", "value", "± SE", "95 % from", "to"}, Text: 1}
	add := func(name string, e verify.Estimate) {
		kld.Rows = append(kld.Rows, append([]string{name}, e.Cells()...))
	}
	add("mean, estimate, nats", s.KLD)
	kld.Rows = append(kld.Rows,
		[]string{"mean, at least, confidence 99.9999 %, nats", verify.Digits(s.Least, s.KLD.SE), "", "", ""})
	add("mean, proven lower bound, nats", s.Bound)
	if finite(s.Share.Value) {
		add("share of the divergence in that bound, %", s.Share.Times(100))
	}
	return []*table{file, kld}
}

// meanKLD says the mean KLD in words: with a seal that it is at least so much, and the estimate.
func meanKLD(r *verify.Report) string {
	s := r.Seal
	if s == nil {
		return plusMinus(r.Summary.KLD) + " nats"
	}
	return fmt.Sprintf("by estimate %s nats, at least %s", plusMinus(s.KLD), plusMinus(s.Bound))
}

// kldTiles show the same.
func kldTiles(r *verify.Report) []tile {
	nats := func(name string, e verify.Estimate) tile {
		return tile{name, verify.Digits(e.Value, e.SE), "± " + verify.Digits(e.SE, e.SE) + " nats"}
	}
	s := r.Seal
	if s == nil {
		return []tile{nats("Mean KL divergence", r.Summary.KLD)}
	}
	return []tile{nats("Mean KL divergence, estimate", s.KLD), nats("Mean KL divergence, at least", s.Bound)}
}
