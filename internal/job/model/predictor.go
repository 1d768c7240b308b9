// Package model opens models for jobs that measure them, and describes them in reports.
package model

import (
	"context"
	"fmt"
	"strings"

	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/runtime"
)

// Open opens a model. m, which may be nil, shows how much of it is loaded.
func Open(ctx context.Context, path string, opt runtime.Options, m progress.Monitor) (*runtime.Model, error) {
	var loaded func()
	opt.Progress, loaded = progress.Late(progress.Quiet(m), "loading", progress.Bytes)
	defer loaded()
	return runtime.Open(ctx, path, opt)
}

// NoteAssumed tells the user, in one line, what a file leaves out and was assumed; nothing if that is nothing.
func NoteAssumed(m progress.Monitor, path string, assumed []string) {
	if len(assumed) > 0 {
		progress.Quiet(m).Note("%s does not say all that it should; assumed: %s (phi3conv lint explains)", path,
			strings.Join(assumed, "; "))
	}
}

// Predictor is an open model as a [verify.Predictor].
type Predictor struct {
	*Meter
	model *runtime.Model
	seq   *runtime.Sequence
}

// OpenPredictor opens a model for texts of up to context tokens. Of opt, a Batch of 0 is the context, at
// most 512.
func OpenPredictor(
	ctx context.Context, path string, opt runtime.Options, context int, m progress.Monitor,
) (*Predictor, error) {
	if opt.Batch == 0 {
		opt.Batch = min(context, 512)
	}
	meter := NewMeter(&opt)
	opened, err := Open(ctx, path, opt, m)
	if err != nil {
		return nil, err
	}
	s, err := opened.NewSequence(context)
	if err != nil {
		_ = opened.Close() // only read from
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &Predictor{meter, opened, s}, nil
}

// Close frees the model.
func (p *Predictor) Close() { _ = p.model.Close() } // only read from

// VocabSize returns the number of logits that the model gives for a token.
func (p *Predictor) VocabSize() int { return p.model.VocabSize() }

// Logits evaluates the tokens by themselves, as [verify.Predictor] says.
func (p *Predictor) Logits(
	ctx context.Context, tokens []int32, first int, emit func(i int, logits []float32) error,
) error {
	p.seq.Truncate(0)
	return p.model.Eval(ctx, runtime.Request{Seq: p.seq, Tokens: tokens, All: true, First: first, Logits: emit})
}

// Reusing returns a predictor that evaluates only what a text does not have in common with the one before it.
func (p *Predictor) Reusing() *ReusingPredictor { return &ReusingPredictor{p} }

// ReusingPredictor keeps the beginning of the last text for the next one.
type ReusingPredictor struct{ *Predictor }

// Logits evaluates the tokens by themselves, as [verify.Predictor] says.
func (p *ReusingPredictor) Logits(
	ctx context.Context, tokens []int32, first int, emit func(i int, logits []float32) error,
) error {
	have := first + 1 - len(p.seq.Reuse(tokens[:first+1]))
	return p.model.Eval(ctx, runtime.Request{Seq: p.seq, Tokens: tokens[have:], All: true, First: first - have,
		Logits: func(i int, logits []float32) error { return emit(have+i, logits) }})
}
