package verify

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/work"
)

// HashWindows returns the SHA-256, hexadecimal, of what the models see and which of it is
// scored: of each window the index of its text, its start, its first scored token and its number
// of tokens, and then these, all as 32-bit integers, little endian.
func HashWindows(windows []Window) string {
	h := sha256.New()
	var b []byte
	for _, w := range windows {
		b = b[:0]
		for _, n := range []int{w.Text, w.Start, w.First, len(w.Tokens)} {
			b = binary.LittleEndian.AppendUint32(b, uint32(n))
		}
		for _, t := range w.Tokens {
			b = binary.LittleEndian.AppendUint32(b, uint32(t))
		}
		h.Write(b)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// SameRun returns an error that names the first thing in which two reports differ, of
// those that decide the figures of each position: the models, the tokens, what is scored, how it is
// computed and by which version of the program. Nil means that their positions belong together.
func (r *Report) SameRun(o *Report) error {
	differ := func(what string, a, b any) error { return fmt.Errorf("%s: %v and %v", what, a, b) }
	switch {
	case r.Tool != o.Tool:
		return differ("another program", report.Printable(r.Tool), report.Printable(o.Tool))
	case r.Base.SHA256 != o.Base.SHA256:
		return differ("another original", r.Base.pinned(), o.Base.pinned())
	case r.Quant.SHA256 != o.Quant.SHA256:
		return differ("another quantized model", r.Quant.pinned(), o.Quant.pinned())
	case r.Conventions != o.Conventions:
		return differ("other conventions", fmt.Sprintf("%+v", r.Conventions), fmt.Sprintf("%+v", o.Conventions))
	case r.Compute != o.Compute:
		return differ("computed in another way", fmt.Sprintf("%+v", r.Compute), fmt.Sprintf("%+v", o.Compute))
	case len(r.Texts) != len(o.Texts):
		return differ("another number of texts", len(r.Texts), len(o.Texts))
	}
	for i, t := range r.Texts {
		switch u := o.Texts[i]; {
		case t.SHA256 != u.SHA256:
			return differ("another text", report.Printable(t.Name)+" "+short(t.SHA256),
				report.Printable(u.Name)+" "+short(u.SHA256))
		case t.Windows != u.Windows:
			return differ("another number of windows of "+report.Printable(t.Name), t.Windows, u.Windows)
		}
	}
	if r.Tokens != o.Tokens {
		return differ("other tokens, by another tokenizer", short(r.Tokens), short(o.Tokens))
	}
	return nil
}

// pinned names the model in an error.
func (m *Model) pinned() string { return report.Printable(m.Name) + " " + short(m.SHA256) }

// Merge puts the reports of all shards of a verification together, whatever their order: the result is
// that of a verification in one run, with the performance that the first shard measured, if
// any, and without a verdict. worst is the number of worst tokens, -1 for as many as the shards have.
func Merge(parts []*Report, worst int) (*Report, error) {
	if len(parts) == 0 {
		return nil, errors.New("no reports to merge")
	}
	for _, p := range parts {
		if p.Shard == nil {
			return nil, fmt.Errorf("the report on %s is no part of a verification", report.Printable(p.Quant.Name))
		}
		if p.Positions == nil {
			return nil, fmt.Errorf("part %d has no positions", p.Shard.I)
		}
	}
	parts = slices.Clone(parts)
	slices.SortStableFunc(parts, func(a, b *Report) int { return a.Shard.I - b.Shard.I })
	if err := completeRun(parts); err != nil {
		return nil, err
	}
	var all Positions
	var tokens []Token
	most := 0
	for _, p := range parts {
		all = append(all, p.Positions...)
		tokens = append(tokens, p.Worst...)
		most = max(most, len(p.Worst))
	}
	if worst < 0 {
		worst = most
	}
	first := parts[0]
	if err := all.check(first.Texts); err != nil {
		return nil, err
	}
	if n := first.scored(); len(all) != n {
		return nil, fmt.Errorf("the parts have %d positions together, the texts %d", len(all), n)
	}
	r := NewReport(all, first.Texts, worst)
	r.Tool, r.Conventions, r.Compute, r.Tokens = first.Tool, first.Conventions, first.Compute, first.Tokens
	r.Base, r.Quant, r.Weights = first.Base, first.Quant, first.Weights
	r.Seen, r.Strict = first.Seen, first.Strict
	for i := range r.Worst {
		at := slices.IndexFunc(tokens, func(t Token) bool { return t.Position == r.Worst[i].Position })
		if at < 0 {
			return nil, fmt.Errorf("the parts have the text of fewer than %d of the worst tokens", worst)
		}
		r.Worst[i] = tokens[at]
	}
	for _, p := range parts {
		if r.Performance == nil {
			r.Performance = p.Performance
		}
	}
	return r, nil
}

// completeRun returns an error unless the reports, in the order of their shards, are all of one run.
func completeRun(parts []*Report) error {
	first := parts[0]
	var shards []work.Part
	for _, p := range parts {
		if err := first.SameRun(p); err != nil {
			return fmt.Errorf("parts %d and %d do not belong together: %w", first.Shard.I, p.Shard.I, err)
		}
		shards = append(shards, work.Part(*p.Shard))
	}
	if _, wrong := work.CheckParts(shards); wrong != "" {
		return errors.New(wrong)
	}
	return nil
}

// scored returns how many positions the windows of all texts have.
func (r *Report) scored() int {
	n := 0
	for _, t := range r.Texts {
		switch {
		case t.Windows == 0:
		case r.Conventions.Name == LlamaPerplexity:
			n += t.Windows * (r.Conventions.Context - 1 - r.Conventions.First)
		default:
			n += min(r.Conventions.Context+(t.Windows-1)*r.Conventions.Stride, t.Tokens) - 1
		}
	}
	return n
}
