package calib

import (
	"context"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime"
)

// part is rows of a tensor that are solved under the same second moments of its inputs.
type part struct {
	first, rows int
	weights     []float32 // of the tokens, nil for 1 each
	moments     *stats.Moments
	cross       *solve.CrossMoments // nil without the original model
}

func (q *quantizer) part(first, rows, cols int, weights []float32) part {
	p := part{first: first, rows: rows, weights: weights, moments: stats.NewMoments(cols, true)}
	if q.original != nil {
		p.cross = solve.NewCrossMoments(cols)
	}
	return p
}

// parts divides a tensor: into those of its outputs that have gradients of their own, if these are to be used.
func (q *quantizer) parts(tensor string) ([]part, error) {
	rows, cols, err := q.l.Shape(tensor)
	if err != nil {
		return nil, err
	}
	if !q.split || !q.stats.HasGradients(tensor) {
		weights, err := q.tokenWeights(tensor)
		return []part{q.part(0, rows, cols, weights)}, err
	}
	gradients, err := q.stats.Gradients(tensor)
	if err != nil {
		return nil, err
	}
	var parts []part
	for _, g := range q.l.OutputGroups() {
		if g.Tensor != tensor {
			continue
		}
		var weights []float32
		if len(parts) < len(gradients) {
			weights = stats.TokenWeights(gradients[len(parts)])
		}
		parts = append(parts, q.part(g.First, g.Rows, cols, weights))
	}
	if len(parts) != len(gradients) {
		return nil, formats.FileErrorf(q.stats.Path, -1,
			"gradients of %d parts of %s, expected %d", len(gradients), tensor, len(parts))
	}
	return parts, nil
}

// tokenWeights returns what the tokens of a tensor's inputs count, nil for 1 each.
func (q *quantizer) tokenWeights(tensor string) ([]float32, error) {
	if !q.stats.HasGradients(tensor) {
		return nil, nil
	}
	gradients, err := q.stats.Gradients(tensor)
	if err != nil {
		return nil, err
	}
	return stats.TokenWeights(gradients...), nil
}

// weightsOf returns the weights of n tokens from first on. Nil weights, which stand for 1 each, stay nil.
func weightsOf(weights []float32, first, n int) []float32 {
	if weights == nil {
		return nil
	}
	return weights[first : first+n]
}

// gather adds the inputs of a layer to its parts' moments, a group of sequences at a time: the inputs in the original
// model are in memory for a group.
func (q *quantizer) gather(ctx context.Context, tensor string, parts []part) error {
	return groups(q.lengths, func(first, count int, lengths []int) error {
		from, to := first*q.l.Hidden(), (first+count)*q.l.Hidden()
		var original []float32
		if q.original != nil {
			var err error
			if original, err = q.originalInputs(ctx, q.y[from:to], lengths, tensor); err != nil {
				return err
			}
		}
		return tap(ctx, q.l, q.x[from:to], lengths, tensor, func(in runtime.Inputs) {
			for _, p := range parts {
				w := weightsOf(p.weights, first+in.First, in.Rows)
				p.moments.Add(in, w, q.l.Threads())
				if p.cross != nil {
					p.cross.Add(in, original[in.First*in.Cols:], w, q.l.Threads())
				}
			}
		})
	})
}

// originalInputs returns the inputs that a layer has in the original model, row by row, scaled as those of the
// quantized model are.
func (q *quantizer) originalInputs(ctx context.Context, x []float32, lengths []int, tensor string) ([]float32, error) {
	var all []float32
	inverse := q.inverse[tensor]
	err := tap(ctx, q.original, x, lengths, tensor, func(in runtime.Inputs) {
		for t := range in.Rows {
			all = append(all, in.Row(t)...)
			row := all[len(all)-in.Cols:]
			for c, v := range inverse {
				row[c] *= v
			}
		}
	})
	return all, err
}

// tap calls use with the inputs of a linear layer, one of the loaded block or the output matrix, and leaves x as it is.
func tap(
	ctx context.Context, l *runtime.Layers, x []float32, lengths []int, tensor string, use func(runtime.Inputs),
) error {
	only := func(in runtime.Inputs) error {
		if in.Tensor == tensor {
			use(in)
		}
		return nil
	}
	if tensor == stats.OutputEntry {
		return l.Finish(ctx, x, lengths, only, nil)
	}
	return l.Forward(ctx, x, lengths, runtime.Pass{Until: tensor, Tap: only})
}

// groups calls f for groups of about groupTokens tokens, whole sequences of these lengths, with the first token and
// the number of tokens.
func groups(lengths []int, f func(first, count int, lengths []int) error) error {
	first, count, from := 0, 0, 0
	for i, n := range lengths {
		if count > 0 && count+n > groupTokens {
			if err := f(first, count, lengths[from:i]); err != nil {
				return err
			}
			first, count, from = first+count, 0, i
		}
		count += n
	}
	return f(first, count, lengths[from:])
}
