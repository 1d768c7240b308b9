package calib

import (
	"context"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/runtime"
)

// stream is a model and its residual stream.
type stream struct {
	l      *runtime.Layers
	x      []float32  // of all tokens
	resume resumption // of passes through the loaded block
}

// tap calls use with the inputs that a linear layer gets for sequences of these lengths, count tokens from first on:
// the output matrix, or one of the loaded block, where the pass ends. next keeps what later passes need to begin there,
// if it is not nil.
func (s *stream) tap(
	ctx context.Context, first, count int, lengths []int, tensor string, next *resumption, use func(runtime.Inputs),
) error {
	x := s.x[first*s.l.Hidden():][:count*s.l.Hidden()]
	only := func(in runtime.Inputs) error {
		if in.Tensor == tensor {
			next.keep(&in, first)
			use(in)
		}
		return nil
	}
	if tensor == stats.OutputEntry {
		return s.l.Finish(ctx, x, lengths, only, nil)
	}
	pass := s.resume.pass(first, count)
	pass.Until, pass.Tap, pass.Advance = tensor, only, next != nil
	return s.l.Forward(ctx, x, lengths, pass)
}

// resumption is where passes through the loaded block begin: at a linear layer, where an earlier pass has had its
// inputs, or at the block's beginning.
type resumption struct {
	layer string // "" for the beginning
	cols  int    // of the inputs, 0 where they follow from the residual stream
	rows  []float32
}

// keep keeps the inputs of the layer. Their tokens are counted from first on.
func (r *resumption) keep(in *runtime.Inputs, first int) {
	if r == nil || r.cols == 0 {
		return
	}
	for t := range in.Rows {
		copy(r.rows[(first+in.First+t)*r.cols:], in.Row(t))
	}
}

// pass returns a pass of count tokens from first on that begins there.
func (r *resumption) pass(first, count int) runtime.Pass {
	return runtime.Pass{From: r.layer, Inputs: r.rows[first*r.cols : (first+count)*r.cols]}
}
