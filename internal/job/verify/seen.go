package verify

import (
	"slices"

	calibtext "github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/verify"
)

// From when on a text counts as seen by calibration. Texts share a piece of 32 tokens by copying only, but a quotation
// or a licence in both is no harm.
const (
	leastShare = 0.01
	leastHits  = 2
)

// seen returns those texts that a model was calibrated with, as far as its file tells. tokens are those that are
// evaluated of each text: sequences.
func seen(path string, texts []verify.Text, tokens [][][]int32) ([]verify.Seen, error) {
	m, err := source.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }() // only read from
	if m.Metadata == nil {
		return nil, nil
	}
	hashes, _ := m.Metadata.Strings(calibtext.KeyTexts)
	sketch := calibtext.SketchOf(m.Metadata)
	var list []verify.Seen
	for i, t := range texts {
		s := verify.Seen{Text: t.Name, Same: slices.Contains(hashes, t.SHA256)}
		var hits int
		s.Share, hits = sketch.Overlap(flat(tokens[i]))
		if s.Same || s.Share >= leastShare && hits >= leastHits {
			list = append(list, s)
		}
	}
	return list, nil
}

// flat returns sequences one after the other, and their lengths.
func flat(sequences [][]int32) (tokens, lengths []int32) {
	for _, s := range sequences {
		tokens, lengths = append(tokens, s...), append(lengths, int32(len(s)))
	}
	return tokens, lengths
}

// checkSeen says in the reports which texts the models were calibrated with.
func (r *run) checkSeen(list verify.Reports) (err error) {
	tokens := make([][][]int32, len(r.corpus.texts))
	for _, w := range r.corpus.windows {
		tokens[w.Text] = append(tokens[w.Text], w.Tokens)
	}
	for k, path := range r.Quants {
		if list[k].Seen, err = seen(path, list[k].Texts, tokens); err != nil {
			return err
		}
	}
	return nil
}
