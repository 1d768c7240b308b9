package calib

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// sequential quantizes the linear layers of a model one after the other, in the order in which tokens pass them: the
// inputs of a layer, whose second moments it is solved under, are those that it gets after everything before it has
// been quantized. The tokens are those of the statistics, and each counts by its gradients if those are there.
type sequential struct {
	// layer quantizes a layer. Its result does not depend on the number of threads.
	layer func(ctx context.Context, l *solve.Layer, threads int) (*solve.Solution, error)
	// check, if not nil, refuses types that layer cannot make, before any is made.
	check func(quant.Type) error
	// scale scales channels first, where factors can go into norms and neighbouring matrices without changing
	// what the model computes: see [solve.Fold]. Norms are then among the tensors of the result.
	scale bool
	// split solves the parts of a layer's outputs, q, k and v or gate, up, each under second moments with
	// its own tokens' weights. It needs statistics with gradients.
	split bool
	// cross also runs the original model, and gives each layer the differences of its inputs: Cross of [solve.Layer].
	cross bool
}

// quantizer is a run of a sequential method. Steps of its work file are the model's blocks, and after them the output
// matrix. From work.DataAt on, the file holds the tensors' blocks.
type quantizer struct {
	sequential
	l       *runtime.Layers
	stats   *stats.File
	opt     QuantizeOptions
	places  []encodedPlace
	work    *work.File
	lengths []int // of the sequences

	x []float32 // the residual stream
	// The original model, and its residual stream; nil without cross.
	original *runtime.Layers
	y        []float32

	// Of the loaded block, by tensor: scaled weights, and for each matrix the factors that its inputs were multiplied
	// by.
	scaled, inverse map[string][]float32
}

const quantizeMagic = "phi3conv quantization 1\n"

func (m sequential) quantize(
	ctx context.Context, l *runtime.Layers, s *stats.File, r *Recipe, opt QuantizeOptions,
) (*Encoded, error) {
	recipe, err := r.Compact()
	if err != nil {
		return nil, err
	}
	id, err := json.Marshal(struct { // what the blocks depend on
		*stats.Origin
		Identity, Recipe string
	}{s.Origin, opt.Identity, recipe})
	if err != nil {
		return nil, err
	}
	q := &quantizer{sequential: m, l: l, stats: s, opt: opt}
	if err := q.layOut(r.Tensors); err != nil {
		return nil, err
	}
	if q.work, err = work.OpenFile(opt.Work, quantizeMagic, "quantize", sha256.Sum256(id), l.Count()+1); err != nil {
		return nil, err
	}
	if q.work.Done > 0 && opt.Resumed != nil {
		opt.Resumed(min(q.work.Done, l.Count()))
	}
	if err := q.run(ctx); err != nil {
		_ = q.work.Close()
		return nil, err
	}
	return &Encoded{q.work, q.places}, nil
}

// layOut sets places: those of the targets that are linear layers or parts of them, and those of norms that will be
// scaled.
func (q *quantizer) layOut(targets []quant.Target) error {
	at := int64(work.DataAt)
	for i := range q.l.Count() + 1 {
		for _, name := range q.linear(i) {
			for _, t := range q.l.Stored(name) {
				k := slices.IndexFunc(targets, func(target quant.Target) bool { return target.Tensor == t.GGUF })
				if k < 0 || !targets[k].Type.IsQuantized() {
					continue
				}
				if q.check != nil {
					if err := q.check(targets[k].Type); err != nil {
						return usage.Errorf("%s: %w", t.GGUF, err)
					}
				}
				size := targets[k].Type.Size(t.Elems())
				q.places = append(q.places, encodedPlace{targets[k], at, size, name, t.First, t.Rows()})
				at += size
			}
		}
	}
	if !q.scale {
		return nil
	}
	for i := range q.l.Count() {
		for _, f := range folds(q.l, i) {
			if f.Width == 1 && q.covers(f.Cols) {
				size := int64(4 * f.Channels)
				norm := quant.Target{Tensor: f.By, Type: quant.F32}
				q.places = append(q.places, encodedPlace{norm, at, size, f.By, 0, 1})
				at += size
			}
		}
	}
	return nil
}

// linear returns the linear layers of block i of the model, and after the last one the
// output matrix, unless that is the embedding too.
func (q *quantizer) linear(i int) []string {
	switch {
	case i < q.l.Count():
		return q.l.Linear(i)
	case q.l.Output() == stats.OutputEntry:
		return []string{stats.OutputEntry}
	}
	return nil
}

// placesOf returns those of a linear layer, or of a norm.
func (q *quantizer) placesOf(layer string) []encodedPlace {
	var places []encodedPlace
	for _, p := range q.places {
		if p.layer == layer {
			places = append(places, p)
		}
	}
	return places
}

// covers reports whether all rows of a layer have places.
func (q *quantizer) covers(layer string) bool {
	rows, _, err := q.l.Shape(layer)
	return err == nil && covers(q.placesOf(layer), rows)
}

func covers(places []encodedPlace, rows int) bool {
	for _, p := range places {
		rows -= p.rows
	}
	return rows == 0
}

func (q *quantizer) run(ctx context.Context) (err error) {
	o := q.stats.Origin
	for _, n := range o.Lengths {
		q.lengths = append(q.lengths, int(n))
	}
	q.x = make([]float32, len(o.Tokens)*q.l.Hidden())
	if err := q.l.Embed(q.x, o.Tokens); err != nil {
		return err
	}
	if q.cross {
		opt := runtime.Options{Threads: q.l.Threads(), Batch: q.l.Batch()}
		if q.original, err = runtime.OpenLayers(q.l.Path(), opt); err != nil {
			return err
		}
		defer func() { _ = q.original.Close() }()
		q.y = slices.Clone(q.x)
	}
	for i := range q.l.Count() + 1 {
		if i < q.l.Count() {
			err = q.block(ctx, i)
		} else {
			err = q.layers(ctx, i)
		}
		if err != nil {
			return err
		}
		if i >= q.work.Done {
			if err := q.work.Save(i + 1); err != nil {
				return err
			}
		}
		if q.opt.Progress != nil {
			q.opt.Progress(i+1, q.l.Count()+1)
		}
	}
	return nil
}

// block quantizes the layers of block i, and takes the residual streams to its end.
func (q *quantizer) block(ctx context.Context, i int) error {
	models, streams := []*runtime.Layers{q.l}, [][]float32{q.x}
	if q.original != nil {
		models, streams = append(models, q.original), append(streams, q.y)
	}
	for _, l := range models {
		if err := l.Load(ctx, i); err != nil {
			return err
		}
	}
	if q.scale {
		if err := q.scaleBlock(ctx, i); err != nil {
			return err
		}
	}
	if err := q.layers(ctx, i); err != nil {
		return err
	}
	for k, l := range models {
		if err := l.Forward(ctx, streams[k], q.lengths, runtime.Pass{}); err != nil {
			return err
		}
	}
	return nil
}

// layers quantizes those linear layers of block i that have places.
func (q *quantizer) layers(ctx context.Context, i int) error {
	for _, name := range q.linear(i) {
		if places := q.placesOf(name); places != nil {
			if err := q.quantizeLayer(ctx, name, places, i < q.work.Done); err != nil {
				return err
			}
		}
	}
	return nil
}

// quantizeLayer solves a linear layer, or takes the blocks of an earlier run, and gives the model the weights that the
// blocks stand for.
func (q *quantizer) quantizeLayer(ctx context.Context, name string, places []encodedPlace, done bool) error {
	data := make([][]byte, len(places))
	for i, p := range places {
		data[i] = make([]byte, p.size)
		if done {
			if _, err := q.work.ReadAt(data[i], p.at); err != nil {
				return err
			}
		}
	}
	if !done {
		parts, err := q.parts(name)
		if err != nil {
			return err
		}
		if err := q.gather(ctx, name, parts); err != nil {
			return err
		}
		if err := q.solve(ctx, name, parts, places, data); err != nil {
			return err
		}
	}
	if name == stats.OutputEntry {
		return nil // nothing comes after it
	}
	rows, cols, err := q.l.Shape(name)
	if err != nil {
		return err
	}
	values := make([]float32, rows*cols)
	if !covers(places, rows) {
		if values, err = q.l.Weights(name); err != nil {
			return err
		}
	}
	for i, p := range places {
		p.Type.Dequantize(values[p.first*cols:][:p.rows*cols], data[i])
	}
	return q.l.SetWeights(name, values)
}

// solve sets data to the blocks of a layer's places, and stores them.
func (q *quantizer) solve(ctx context.Context, name string, parts []part, places []encodedPlace, data [][]byte) error {
	weights, err := q.weights(name)
	if err != nil {
		return err
	}
	for i := range parts {
		m, cross := parts[i].moments, parts[i].cross
		parts[i].moments, parts[i].cross = nil, nil // their memory is not needed any more
		layer := &solve.Layer{Cols: m.Cols, H: m.Matrix()}
		if cross != nil {
			layer.Cross = cross.Matrix()
		}
		for k, p := range places {
			first, end := max(parts[i].first, p.first), min(parts[i].first+parts[i].rows, p.first+p.rows)
			if first >= end {
				continue
			}
			layer.Rows, layer.Type, layer.W = end-first, p.Type, weights[first*m.Cols:end*m.Cols]
			s, err := q.layer(ctx, layer, q.l.Threads())
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				return formats.FileErrorf(q.l.Path(), -1, "tensor %s, from row %d on: %v", name, first, err)
			}
			if q.opt.Solved != nil {
				q.opt.Solved(p.Tensor, s)
			}
			copy(data[k][p.Type.Size(int64(first-p.first)*int64(m.Cols)):], s.Data)
		}
	}
	for k, p := range places {
		if _, err := q.work.WriteAt(data[k], p.at); err != nil {
			return err
		}
	}
	return nil
}
