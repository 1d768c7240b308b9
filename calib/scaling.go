package calib

import (
	"context"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// folds returns the places in block i where channels can be scaled, each before those that depend on it. A norm's
// output goes to one matrix only. Attention takes weighted sums of values, each dimension by itself, and all query
// heads of a group read the same head of values. SwiGLU is linear in the output of up.
func folds(l *runtime.Layers, i int) []solve.Fold {
	c := l.Config()
	linear := l.Linear(i)
	qkv, o, up, down := linear[0], linear[1], linear[2], linear[3]
	norm := func(name, cols string) solve.Fold {
		by := fmt.Sprintf("blk.%d.%s.weight", i, name)
		return newFold(by, 0, 1, cols, c.Hidden, c.Hidden, func(c int) int { return c })
	}
	value := func(col int) int {
		head, dim := col/c.HeadDim, col%c.HeadDim
		return head/(c.Heads/c.KVHeads)*c.HeadDim + dim
	}
	return []solve.Fold{
		norm("attn_norm", qkv),
		newFold(qkv, (c.Heads+c.KVHeads)*c.HeadDim, c.Hidden, o, c.KVHeads*c.HeadDim, c.Heads*c.HeadDim, value),
		norm("ffn_norm", up),
		newFold(up, c.Intermediate, c.Hidden, down, c.Intermediate, c.Intermediate, func(c int) int { return c }),
	}
}

func newFold(by string, first, width int, cols string, channels, columns int, channel func(int) int) solve.Fold {
	f := solve.Fold{By: by, First: first, Width: width, Cols: cols, Channel: make([]int, columns), Channels: channels}
	for c := range f.Channel {
		f.Channel[c] = channel(c)
	}
	return f
}

// scaleBlock scales the channels of block i. If an earlier run has done that, it takes the norms from the work file,
// where the matrices are quantized already.
func (q *quantizer) scaleBlock(ctx context.Context, i int) error {
	q.scaled, q.inverse = map[string][]float32{}, map[string][]float32{}
	places := slices.DeleteFunc(folds(q.l, i), func(f solve.Fold) bool { return !q.covers(f.By) || !q.covers(f.Cols) })
	if i >= q.work.Done {
		if err := q.search(ctx, places); err != nil {
			return err
		}
	}
	for _, f := range places {
		if f.Width != 1 {
			continue
		}
		norm, p := q.scaled[f.By], q.placesOf(f.By)[0]
		if norm == nil {
			norm = make([]float32, f.Channels)
			if err := q.work.ReadFloats(norm, p.at); err != nil {
				return err
			}
		} else if err := q.work.WriteFloats(norm, p.at); err != nil {
			return err
		}
		if err := q.l.SetWeights(f.By, norm); err != nil {
			return err
		}
	}
	for tensor, w := range q.scaled {
		if q.inverse[tensor] == nil {
			continue // a norm
		}
		if err := q.l.SetWeights(tensor, w); err != nil {
			return err
		}
	}
	return nil
}

// search finds the factors of places in a block and keeps the scaled weights. Factors are judged under the inputs that
// the block, not yet quantized, gets from the quantized blocks before it. The factors of one place do not change the
// inputs of another.
func (q *quantizer) search(ctx context.Context, places []solve.Fold) error {
	if len(places) == 0 {
		return nil
	}
	moments, err := q.blockMoments(ctx, places)
	if err != nil {
		return err
	}
	for _, f := range places {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := q.searchFold(&f, moments[f.Cols]); err != nil {
			return err
		}
	}
	return nil
}

// blockMoments returns the second moments of the inputs of those matrices of the loaded block that places scale.
func (q *quantizer) blockMoments(ctx context.Context, places []solve.Fold) (map[string]*stats.Moments, error) {
	moments, weights := map[string]*stats.Moments{}, map[string][]float32{}
	for _, f := range places {
		var err error
		if weights[f.Cols], err = q.tokenWeights(f.Cols); err != nil {
			return nil, err
		}
		moments[f.Cols] = stats.NewMoments(len(f.Channel), true)
	}
	add := func(in runtime.Inputs) error {
		if m := moments[in.Tensor]; m != nil {
			m.Add(in, weightsOf(weights[in.Tensor], in.First, in.Rows), q.l.Threads())
		}
		return nil
	}
	last := places[len(places)-1].Cols
	return moments, q.l.Forward(ctx, q.x, q.lengths, runtime.Pass{Until: last, Tap: add})
}

// searchFold finds the factors of a place under the second moments of what reads it.
func (q *quantizer) searchFold(f *solve.Fold, moments *stats.Moments) error {
	by, err := q.weights(f.By)
	if err != nil {
		return err
	}
	w, err := q.weights(f.Cols)
	if err != nil {
		return err
	}
	n, into := len(f.Channel), q.placesOf(f.Cols)
	l := &solve.Layer{Rows: len(w) / n, Cols: n, Type: into[0].Type, W: w, H: moments.Matrix()}
	if err := l.Check(); err != nil {
		return formats.FileErrorf(q.l.Path(), -1, "tensor %s: %v", f.Cols, err)
	}
	typ := func(row int) quant.Type {
		holds := func(p encodedPlace) bool { return row >= p.first && row < p.first+p.rows }
		return into[slices.IndexFunc(into, holds)].Type
	}
	factors, share := f.Search(w, l.H, typ, q.l.Threads())
	if q.opt.Scaled != nil {
		q.opt.Scaled(f.Cols, share)
	}
	f.Apply(by, w, factors)
	inverse := make([]float32, n)
	for c, k := range f.Channel {
		inverse[c] = 1 / factors[k]
	}
	q.scaled[f.By], q.scaled[f.Cols], q.inverse[f.Cols] = by, w, inverse
	return nil
}

// weights returns a tensor's weights, scaled where the block's channels are.
func (q *quantizer) weights(tensor string) ([]float32, error) {
	if w := q.scaled[tensor]; w != nil {
		return w, nil
	}
	return q.l.Weights(tensor)
}
