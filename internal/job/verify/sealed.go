package verify

import (
	"bufio"
	"context"
	"path/filepath"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/formats/seal"
	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
)

// SealedOptions say what [RunSealed] compares.
type SealedOptions struct {
	Seal       string // the file that [Seal] wrote, or a .pmap file that holds one
	Quant      string // the model to compare with it
	Compute    runtime.Options
	NoCheck    bool // leaves out the comparison of .pmap files with their checksums
	Worst      int  // number of tokens to show whose predictions changed most
	Speed      Speed
	Thresholds []verify.Threshold
	Strict     bool             // no text may be what the model was calibrated with
	Tool       string           // program and version, for the report
	Monitor    progress.Monitor // may be nil
}

// HasSeal reports whether a file is a .pmap file that holds a seal. A file that cannot be read does not.
func HasSeal(path string) bool {
	if !pmap.Is(path) {
		return false
	}
	f, err := pmap.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read from
	_, ok := f.Section(pmap.SectionSeal)
	return ok
}

// RunSealed compares a model with what a seal keeps of its original.
func RunSealed(ctx context.Context, o SealedOptions) (*verify.Report, error) {
	if o.Worst < 0 {
		return nil, usage.Errorf("the number of worst tokens cannot be negative")
	}
	if err := o.Speed.check(o.Thresholds); err != nil {
		return nil, err
	}
	o.Monitor = progress.Quiet(o.Monitor)
	s, closeSeal, err := openSeal(o.Seal)
	if err != nil {
		return nil, err
	}
	defer closeSeal()
	tok, err := tokenizer.Open(o.Quant)
	if err != nil {
		return nil, err
	}
	if d := tok.Digest().Difference(tokenizer.Digest(s.Header.Tokenizer)); d != "" {
		return nil, formats.FileErrorf(o.Quant, -1, "its tokenizer is another than that of the seal %s: %s", o.Seal, d)
	}
	if err := checkHeaders([]string{o.Quant}, 0, o.Monitor); err != nil {
		return nil, err
	}
	if !o.NoCheck {
		if err := model.Check(ctx, []string{o.Seal, o.Quant}, o.Monitor); err != nil {
			return nil, err
		}
	}
	positions, err := o.evaluate(ctx, s)
	if err != nil {
		return nil, err
	}
	r := verify.NewSealedReport(positions, s.Header, o.Worst)
	r.Tool, r.Seal.Name = o.Tool, filepath.Base(o.Seal)
	if r.Seal.SHA256, r.Seal.Bytes, err = work.HashFile(ctx, o.Seal, nil); err != nil {
		return nil, err
	}
	describeWorst(r, tok, worstWindows(s, r.Worst))
	if r.Quant, err = model.Describe(ctx, o.Quant, o.Monitor); err != nil {
		return nil, err
	}
	tokens := make([][][]int32, len(s.Texts))
	for i, t := range s.Texts {
		tokens[i] = [][]int32{t}
	}
	r.Strict = o.Strict
	if r.Seen, err = seen(o.Quant, r.Texts, tokens); err != nil {
		return nil, err
	}
	r.Compute = verify.Compute{Float32: o.Compute.Float32, Cache: o.Compute.Cache.String()}
	speed := speedRun{o.Speed, "", []string{o.Quant}, o.Compute, o.Monitor}
	if err := speed.measureIfNeeded(ctx, verify.Reports{r}, o.Thresholds); err != nil {
		return nil, err
	}
	if len(o.Thresholds) > 0 {
		err = r.JudgeSealed(positions, o.Thresholds)
	}
	return r, err
}

// evaluate compares the model with every position of the seal. It closes the model, so that its speed can be measured
// after.
func (o *SealedOptions) evaluate(ctx context.Context, s *seal.Reader) ([]verify.Bounded, error) {
	quant, err := model.OpenPredictor(ctx, o.Quant, o.Compute, s.Header.Conventions.Context, o.Monitor)
	if err != nil {
		return nil, err
	}
	defer quant.Close()
	conv, positions := s.Header.Conventions, float64(s.Header.Positions)
	evaluated := positions * float64(conv.Context) / float64(max(1, conv.Context-1-conv.First))
	w := model.Watch(o.Monitor, "verifying", int64(s.Header.Positions), evaluated, quant.Meter)
	defer w.End()
	return verify.RunSealed(ctx, s, quant, func(done int) { w.Done(int64(done)) })
}

// worstWindows returns a window for each of the worst tokens.
func worstWindows(s *seal.Reader, worst []verify.Token) []verify.Window {
	var all []verify.Window
	for _, t := range worst {
		start := t.Index - t.Context
		all = append(all, verify.Window{Text: t.Text, Start: start, Tokens: s.Texts[t.Text][start : t.Index+1]})
	}
	return all
}

// openSeal opens a seal, or the one in a .pmap file.
func openSeal(path string) (s *seal.Reader, closeSeal func(), err error) {
	if !pmap.Is(path) {
		if s, err = seal.Open(path); err != nil {
			return nil, nil, err
		}
		return s, func() { _ = s.Close() }, nil // only read from
	}
	f, err := pmap.Open(path)
	if err != nil {
		return nil, nil, err
	}
	r, err := f.SectionReader(pmap.SectionSeal)
	if err == nil {
		s, err = seal.NewReader(bufio.NewReader(r))
	}
	if err != nil {
		_ = f.Close() // only read from
		return nil, nil, formats.WithPath(err, path)
	}
	return s, func() { _, _ = s.Close(), f.Close() }, nil
}
