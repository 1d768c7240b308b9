// Package logits computes a model's logits for given tokens, to compare with other programs.
package logits

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/npy"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Options say how the model computes.
type Options struct {
	Compute runtime.Options  // but Progress
	Monitor progress.Monitor // may be nil
}

// WriteNPY writes the logits after every token to a NumPy file, float32 [tokens, vocabulary].
func WriteNPY(ctx context.Context, modelPath string, tokens []int32, path string, opt Options) (*Result, error) {
	r := &Result{Model: modelPath, Tokens: tokens, Output: path}
	err := r.writeNPY(ctx, opt)
	return r, work.Interrupted(err, ", %s was not written", path)
}

func (r *Result) writeNPY(ctx context.Context, opt Options) error {
	path, tokens := r.Output, r.Tokens
	meter := model.NewMeter(&opt.Compute)
	m, s, err := open(ctx, r.Model, len(tokens), opt)
	if err != nil {
		return err
	}
	defer func() { _ = m.Close() }() // only read from
	r.Shape = []int{len(tokens), m.VocabSize()}
	if err := output.Room(path, 4*int64(len(tokens))*int64(m.VocabSize())); err != nil {
		return err
	}
	return atomicfile.Stream(path, true, func(w io.Writer) error {
		rows, err := npy.NewWriter(w, len(tokens), m.VocabSize())
		if err != nil {
			return err
		}
		write := func(_ int, logits []float32) error { return rows.Write(logits) }
		step := model.Watch(opt.Monitor, "evaluating", int64(len(tokens)), float64(len(tokens)), meter)
		defer step.End()
		return m.Eval(ctx, runtime.Request{Seq: s, Tokens: tokens, All: true, Logits: write})
	})
}

// Result is what the model makes of the tokens: its likeliest next tokens, or the file that has its logits.
type Result struct {
	Model  string   `json:"model"`
	Tokens []int32  `json:"tokens"`
	Next   []Likely `json:"likeliest,omitempty"`
	Output string   `json:"output,omitempty"`
	Shape  []int    `json:"shape,omitempty"` // of the array in Output: tokens, vocabulary
}

// WriteText prints a line for each of the likeliest tokens; of a file, nothing.
func (r *Result) WriteText(w io.Writer) error {
	if r.Output != "" {
		return nil
	}
	t := report.NewColumns(w, "id", "token", "logit", "probability")
	four := func(x float64) report.Decimal { return report.Decimal(fmt.Sprintf("%.4f", x)) }
	for _, l := range r.Next {
		t.Row(l.ID, report.Printable(l.Token), four(float64(l.Logit)), four(l.Probability))
	}
	return t.Flush()
}

// Likely is a token that may come next.
type Likely struct {
	ID          int     `json:"id"`
	Token       string  `json:"token,omitempty"` // as the vocabulary writes it; "" without a tokenizer
	Logit       float32 `json:"logit"`
	Probability float64 `json:"probability"`
}

// Likeliest returns the n likeliest tokens after the last one, the likeliest first.
func Likeliest(ctx context.Context, modelPath string, tokens []int32, n int, opt Options) (*Result, error) {
	meter := model.NewMeter(&opt.Compute)
	m, s, err := open(ctx, modelPath, len(tokens), opt)
	if err != nil {
		return nil, err
	}
	defer func() { _ = m.Close() }() // only read from
	step := model.Watch(opt.Monitor, "evaluating", int64(len(tokens)), float64(len(tokens)), meter)
	last, err := s.Eval(ctx, tokens)
	step.End()
	if err != nil {
		return nil, err
	}
	list := likeliest(last, n)
	if tok, err := tokenizer.Open(modelPath); err == nil { // a model without a tokenizer has ids only
		for i := range list {
			list[i].Token = tok.Token(int32(list[i].ID))
		}
	}
	return &Result{Model: modelPath, Tokens: tokens, Next: list}, nil
}

func likeliest(logits []float32, n int) (list []Likely) {
	ids := make([]int, len(logits))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int { return cmp.Compare(logits[b], logits[a]) })
	most := logits[ids[0]]
	sum := 0.0
	for _, v := range logits {
		sum += math.Exp(float64(v - most))
	}
	for _, id := range ids[:min(n, len(ids))] {
		p := math.Exp(float64(logits[id]-most)) / sum
		list = append(list, Likely{ID: id, Logit: logits[id], Probability: p})
	}
	return list
}

// open opens a model, and a sequence for so many tokens.
func open(ctx context.Context, path string, tokens int, opt Options) (*runtime.Model, *runtime.Sequence, error) {
	m, err := model.Open(ctx, path, opt.Compute, opt.Monitor)
	if err != nil {
		return nil, nil, err
	}
	if n := m.Context(); tokens > n {
		_ = m.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, &runtime.ContextError{Tokens: tokens, Context: n})
	}
	s, err := m.NewSequence(tokens)
	if err != nil {
		_ = m.Close()
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, s, nil
}
