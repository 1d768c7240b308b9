package calib

import (
	"context"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/runtime"
)

// tokenWeights is what tokens count, for each matrix of a tensor; nil for 1 each.
type tokenWeights [][]float32

// of returns the weights of the inputs' rows, nil for 1 each. Their tokens are counted from first on.
func (w tokenWeights) of(in *runtime.Inputs, first int) []float32 {
	if w == nil {
		return nil
	}
	all := w[in.Expert]
	if in.Tokens == nil {
		return all[first+in.First:][:in.Rows]
	}
	weights := make([]float32, in.Rows)
	for t := range weights {
		weights[t] = all[first+in.Token(t)]
	}
	return weights
}

// tokenWeights returns those of a tensor's inputs, by the gradients at its outputs.
func (q *quantizer) tokenWeights(tensor string) (tokenWeights, error) {
	if !q.stats.HasGradients(tensor) {
		return nil, nil
	}
	gradients, err := q.stats.Gradients(tensor)
	if err != nil {
		return nil, err
	}
	n := q.l.Experts(tensor)
	if n > 1 && len(gradients) != n {
		return nil, q.otherParts(tensor, len(gradients), n)
	}
	return stats.RootWeights(gradients, n), nil
}

func (q *quantizer) otherParts(tensor string, have, want int) error {
	return formats.FileErrorf(q.stats.Path, -1, "gradients of %d parts of %s, expected %d", have, tensor, want)
}

// part is rows of a tensor that are solved under the same second moments of its inputs: all of them, those of an
// expert, or those of outputs that have gradients of their own.
type part struct {
	expert      int
	first, rows int
	weights     tokenWeights
	moments     *stats.Moments
	cross       *solve.CrossMoments // nil without the original model
}

// parts divides a tensor: into its experts, or, if their gradients are to be used, into those of its outputs that have
// gradients of their own.
func (q *quantizer) parts(tensor string) ([]part, error) {
	rows, _, err := q.l.Shape(tensor)
	if err != nil {
		return nil, err
	}
	experts := q.l.Experts(tensor)
	if experts > 1 || !q.split || !q.stats.HasGradients(tensor) {
		weights, err := q.tokenWeights(tensor)
		var parts []part
		for e := range experts {
			parts = append(parts, part{expert: e, first: e * (rows / experts), rows: rows / experts, weights: weights})
		}
		return parts, err
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
		p := part{first: g.First, rows: g.Rows}
		if len(parts) < len(gradients) {
			p.weights = stats.RootWeights(gradients[len(parts):][:1], 1)
		}
		parts = append(parts, p)
	}
	if len(parts) != len(gradients) {
		return nil, q.otherParts(tensor, len(gradients), len(parts))
	}
	return parts, nil
}

// together returns how many of the parts' second moments, of cols columns, are gathered in one pass.
func (q *quantizer) together(cols int) int {
	size := stats.MomentBytes(cols)
	if q.original != nil {
		size += solve.CrossBytes(cols)
	}
	return int(max(1, q.opt.MomentMemory/size))
}

// gather sets the parts' moments: those of the inputs of a layer, a group of sequences at a time, since the inputs in
// the original model are in memory for a group.
func (q *quantizer) gather(ctx context.Context, tensor string, cols int, parts []part) error {
	experts := map[int][]*part{}
	for i := range parts {
		p := &parts[i]
		p.moments = stats.NewMoments(cols, true)
		if q.original != nil {
			p.cross = solve.NewCrossMoments(cols)
		}
		experts[p.expert] = append(experts[p.expert], p)
	}
	all := stats.NewMoments(cols, false) // of all experts
	stacked := q.l.Experts(tensor) > 1
	next, nextOriginal := q.resumeAt(tensor), (*resumption)(nil)
	if q.original != nil {
		nextOriginal = q.resumeAt(tensor)
	}
	err := groups(q.lengths, func(first, count int, lengths []int) error {
		var original *inputs
		if q.original != nil {
			var err error
			if original, err = q.originalInputs(ctx, first, count, lengths, tensor, nextOriginal); err != nil {
				return err
			}
		}
		return q.tap(ctx, first, count, lengths, tensor, next, func(in runtime.Inputs) {
			if stacked {
				all.Add(in, parts[0].weights.of(&in, first), q.l.Threads())
			}
			for _, p := range experts[in.Expert] {
				w := p.weights.of(&in, first)
				p.moments.Add(in, w, q.l.Threads())
				if p.cross != nil {
					p.cross.Add(in, original.like(&in), w, q.l.Threads())
				}
				q.worked.Add(workMoments, q.momentWork(cols)*float64(in.Rows))
			}
		})
	})
	if stacked {
		for i := range parts {
			parts[i].moments.Floor(all)
		}
	}
	if err == nil && next != nil {
		q.resume = *next
		if nextOriginal != nil {
			q.original.resume = *nextOriginal
		}
	}
	return err
}

// resumeAt returns the resumption at a linear layer, whose inputs are still to be kept; nil where passes cannot begin
// or the inputs of all tokens take more memory than second moments may.
func (q *quantizer) resumeAt(tensor string) *resumption {
	cols, ok := q.l.Resumes(tensor)
	n := len(q.stats.Origin.Tokens) * cols
	if !ok || 4*int64(n) > q.opt.MomentMemory {
		return nil
	}
	return &resumption{tensor, cols, make([]float32, n)}
}

// inputs are the rows that a layer gets, in the order in which it gets them.
type inputs struct {
	cols int
	x    []float32
	// of says where a token's row is in x, among those of an expert.
	of map[expertToken]int
}

type expertToken struct{ expert, token int }

// like returns the rows of the same tokens as those of in. A token that does not reach the expert there has its row of
// in: nothing says what it should be.
func (i *inputs) like(in *runtime.Inputs) []float32 {
	if in.Tokens == nil {
		return i.x[in.First*in.Cols:]
	}
	rows := make([]float32, 0, in.Rows*in.Cols)
	for t := range in.Rows {
		row := in.Row(t)
		if at, ok := i.of[expertToken{in.Expert, in.Token(t)}]; ok {
			row = i.x[at:][:i.cols]
		}
		rows = append(rows, row...)
	}
	return rows
}

// originalInputs returns the inputs that a layer has in the original model, scaled as those of the quantized model are.
// The rest is as in [stream.tap].
func (q *quantizer) originalInputs(
	ctx context.Context, first, count int, lengths []int, tensor string, next *resumption,
) (*inputs, error) {
	all := &inputs{of: map[expertToken]int{}}
	err := q.original.tap(ctx, first, count, lengths, tensor, next, func(in runtime.Inputs) {
		all.cols = in.Cols
		inverse := q.inverse(tensor, in.Expert)
		for t := range in.Rows {
			if in.Tokens != nil {
				all.of[expertToken{in.Expert, in.Token(t)}] = len(all.x)
			}
			all.x = append(all.x, in.Row(t)...)
			row := all.x[len(all.x)-in.Cols:]
			for c, v := range inverse {
				row[c] *= v
			}
		}
	})
	return all, err
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
