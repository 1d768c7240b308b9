package calib

import (
	"context"
	"slices"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// folds returns the places in block i whose channels are scaled: those where matrices that make channels are quantized
// and those that read them are too, or are float32, as routers are. At least one is quantized.
func (q *quantizer) folds(i int) []runtime.Fold {
	return slices.DeleteFunc(q.l.Folds(i), func(f runtime.Fold) bool {
		covered := func(s runtime.Span) bool { return q.covers(s.Tensor) }
		makes := func(s runtime.Span) bool { return s.Cols == 1 || covered(s) }
		reads := func(s runtime.Span) bool { return covered(s) || q.isFloat(s) }
		return !every(f.Makers, makes) || !every(f.Readers, reads) || !slices.ContainsFunc(f.Readers, covered)
	})
}

func every(list []runtime.Span, has func(runtime.Span) bool) bool {
	return !slices.ContainsFunc(list, func(s runtime.Span) bool { return !has(s) })
}

// isFloat reports whether a tensor is stored as float32: vectors are, and so are the matrices that the recipe says it
// of.
func (q *quantizer) isFloat(s runtime.Span) bool {
	return s.Cols == 1 || slices.Contains(q.floats, s.Tensor)
}

// floatsOf lists the tensors that are stored as float32 among those of folds.
func (q *quantizer) floatsOf(folds []runtime.Fold) []string {
	var names []string
	for _, f := range folds {
		for _, s := range slices.Concat(f.Makers, f.Readers) {
			if q.isFloat(s) && !slices.Contains(names, s.Tensor) {
				names = append(names, s.Tensor)
			}
		}
	}
	return names
}

// scaleBlock scales the channels of block i. If an earlier run has done that, it takes norms, biases and routers from
// the work file, where the matrices are quantized already.
func (q *quantizer) scaleBlock(ctx context.Context, i int) error {
	q.scalings = nil
	folds := q.folds(i)
	done := i < q.work.Done
	if !done {
		if err := q.search(ctx, folds); err != nil {
			return err
		}
	}
	for _, name := range q.floatsOf(folds) {
		p := q.scaled[name]
		w := make([]float32, p.size/4)
		var err error
		if done {
			err = q.work.ReadFloats(w, p.at)
		} else if w, err = q.weights(name); err == nil {
			err = q.work.WriteFloats(w, p.at)
		}
		if err != nil {
			return err
		}
		if err := q.l.SetWeights(name, w); err != nil {
			return err
		}
	}
	if done {
		return nil
	}
	for _, name := range q.l.Linear(i) {
		if !slices.ContainsFunc(q.scalings, func(s *solve.Scaling) bool { return touches(&s.Fold, name) }) {
			continue
		}
		w, err := q.weights(name)
		if err != nil {
			return err
		}
		if err := q.l.SetWeights(name, w); err != nil {
			return err
		}
	}
	return nil
}

// touches reports whether a tensor makes or reads the channels.
func touches(f *runtime.Fold, tensor string) bool {
	is := func(s runtime.Span) bool { return s.Tensor == tensor }
	return slices.ContainsFunc(f.Makers, is) || slices.ContainsFunc(f.Readers, is)
}

// search finds the factors of places in a block. Factors are judged under the inputs that the block, not yet quantized,
// gets from the quantized blocks before it. The factors of one place do not change the inputs of another.
func (q *quantizer) search(ctx context.Context, folds []runtime.Fold) error {
	for len(folds) > 0 {
		n, size := 0, int64(0)
		for ; n < len(folds); n++ {
			if size += stats.MomentBytes(len(folds[n].Channel)); n > 0 && size > q.opt.MomentMemory {
				break
			}
		}
		moments, err := q.blockMoments(ctx, folds[:n])
		if err != nil {
			return err
		}
		for i := range moments {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := q.searchFold(&folds[i], moments[i]); err != nil {
				return err
			}
			moments[i] = nil // its memory is not needed any more
		}
		folds = folds[n:]
	}
	return nil
}

// reads returns the first layer of the loaded block that reads the channels of a fold, and the expert. All tokens that
// reach others reach it.
func (q *quantizer) reads(f *runtime.Fold) (tensor string, expert int) {
	s := f.Readers[0]
	return s.Tensor, s.First / s.Rows
}

// blockMoments returns the second moments of the inputs of those matrices of the loaded block that read the channels of
// folds.
func (q *quantizer) blockMoments(ctx context.Context, folds []runtime.Fold) ([]*stats.Moments, error) {
	moments, weights := make([]*stats.Moments, len(folds)), make([]tokenWeights, len(folds))
	all := map[string]*stats.Moments{} // of the inputs of all experts
	for i := range folds {
		n := len(folds[i].Channel)
		moments[i] = stats.NewMoments(n, true)
		tensor, _ := q.reads(&folds[i])
		if all[tensor] != nil { // the fold before is another expert's
			weights[i] = weights[i-1]
			continue
		}
		if q.l.Experts(tensor) > 1 {
			all[tensor] = stats.NewMoments(n, false)
		}
		var err error
		if weights[i], err = q.foldWeights(&folds[i]); err != nil {
			return nil, err
		}
	}
	add := func(in runtime.Inputs) error {
		pooled := all[in.Tensor]
		for i, m := range moments {
			tensor, expert := q.reads(&folds[i])
			if tensor != in.Tensor {
				continue
			}
			w := weights[i].of(&in, 0)
			if expert == in.Expert {
				m.Add(in, w, q.l.Threads())
				q.worked.Add(workMoments, float64(in.Cols)*float64(in.Cols)/2*float64(in.Rows))
			}
			if pooled != nil { // once
				pooled.Add(in, w, q.l.Threads())
				pooled = nil
			}
		}
		return nil
	}
	last, _ := q.reads(&folds[len(folds)-1])
	if err := q.l.Forward(ctx, q.x, q.lengths, runtime.Pass{Until: last, Tap: add}); err != nil {
		return nil, err
	}
	for i, m := range moments {
		if tensor, _ := q.reads(&folds[i]); all[tensor] != nil {
			m.Floor(all[tensor])
		}
	}
	return moments, nil
}

// foldWeights returns what tokens count in the inputs of what reads the channels of a fold: by the gradients of all
// quantized layers that read them together, for an expert's own channels by its own.
func (q *quantizer) foldWeights(f *runtime.Fold) (tokenWeights, error) {
	if tensor, _ := q.reads(f); q.l.Experts(tensor) > 1 {
		return q.tokenWeights(tensor)
	}
	var all [][]float32
	for _, s := range f.Readers {
		if !q.covers(s.Tensor) || !q.stats.HasGradients(s.Tensor) {
			continue
		}
		gradients, err := q.stats.Gradients(s.Tensor)
		if err != nil {
			return nil, err
		}
		all = append(all, gradients...)
	}
	if all == nil {
		return nil, nil
	}
	return stats.RootWeights(all, 1), nil
}

// searchFold finds the factors of a place under the second moments of what reads its channels.
func (q *quantizer) searchFold(f *runtime.Fold, moments *stats.Moments) error {
	rows, err := q.sampleRows(f)
	if err != nil {
		return err
	}
	found, share := solve.Search(*f, rows, moments.Matrix(), q.l.Threads(), q.solved)
	if q.opt.Scaled != nil {
		q.opt.Scaled(f.Readers[len(f.Readers)-1].Tensor, share)
	}
	q.scalings = append(q.scalings, found)
	return nil
}

// sampleRows returns rows of the quantized matrices that read the channels of a fold, spread evenly over all of them.
func (q *quantizer) sampleRows(f *runtime.Fold) ([]solve.ScaledRow, error) {
	total := 0
	var readers []runtime.Span
	for _, s := range f.Readers {
		if q.covers(s.Tensor) {
			readers, total = append(readers, s), total+s.Rows
		}
	}
	step := (total + solve.SampledRows - 1) / solve.SampledRows
	var all []solve.ScaledRow
	at := 0 // row of the first reader that is next
	for _, s := range readers {
		for ; at < s.Rows; at += step {
			row := s.First + at
			w, err := q.rows(s.Tensor, row, 1)
			if err != nil {
				return nil, err
			}
			if c := quant.CheckRange(w); c >= 0 {
				return nil, formats.FileErrorf(q.l.Path(), -1, "tensor %s [%d,%d] is %g, expected a magnitude below %d",
					s.Tensor, row, c, w[c], quant.Limit)
			}
			all = append(all, solve.ScaledRow{W: w, Type: q.typeOf(s.Tensor, row)})
		}
		at -= s.Rows
	}
	return all, nil
}

// typeOf returns the type that a row of a layer gets.
func (q *quantizer) typeOf(layer string, row int) quant.Type {
	places := q.placesOf(layer)
	holds := func(p encodedPlace) bool { return row >= p.first && row < p.first+p.rows }
	return places[slices.IndexFunc(places, holds)].Type
}

// inverse returns what the inputs of a layer, or of an expert of it, are multiplied by where its columns are divided by
// factors; nil for 1 each.
func (q *quantizer) inverse(tensor string, expert int) []float32 {
	for _, s := range q.scalings {
		for _, r := range s.Readers {
			if r.Tensor != tensor {
				continue
			}
			rows, _, err := q.l.Shape(tensor)
			first := expert * (rows / q.l.Experts(tensor))
			if err != nil || first < r.First || first >= r.First+r.Rows {
				continue // another expert's
			}
			inverse := make([]float32, len(s.Channel))
			for c, k := range s.Channel {
				inverse[c] = 1 / s.Factors[k]
			}
			return inverse
		}
	}
	return nil
}

// weights returns a tensor's weights, scaled where the block's channels are.
func (q *quantizer) weights(tensor string) ([]float32, error) {
	w, err := q.l.Weights(tensor)
	if err != nil {
		return nil, err
	}
	for _, s := range q.scalings {
		s.Apply(tensor, 0, w)
	}
	return w, nil
}

// rows returns some rows of a matrix, scaled where the block's channels are.
func (q *quantizer) rows(tensor string, first, count int) ([]float32, error) {
	w, err := q.l.Rows(tensor, first, count)
	if err != nil {
		return nil, err
	}
	for _, s := range q.scalings {
		s.Apply(tensor, first, w)
	}
	return w, nil
}
