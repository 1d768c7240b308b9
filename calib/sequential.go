package calib

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/progress"
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
	// layerWork says how much layer works, as [solve.Layer] counts it.
	layerWork func(rows, cols int) float64
	// check, if not nil, refuses types that layer cannot make, before any is made.
	check func(quant.Type) error
	// scale scales channels first, where factors can go into norms and neighbouring matrices without changing
	// what the model computes: see [runtime.Fold]. Norms, biases and routers are then among the tensors of the result.
	scale bool
	// split solves the parts of a layer's outputs, q, k and v or gate, up, each under second moments with
	// its own tokens' weights. It needs statistics with gradients. Experts are always solved so.
	split bool
	// cross also runs the original model, and gives each layer the differences of its inputs: Cross of [solve.Layer].
	cross bool
	// outputs gives each layer the second moments of its outputs' gradients, as far as the statistics have them.
	outputs bool
}

// quantizer is a run of a sequential method. Steps of its work file are the model's blocks, and after them the output
// matrix. From work.DataAt on, the file holds the tensors' blocks.
type quantizer struct {
	sequential
	*stream
	stats   *stats.File
	opt     QuantizeOptions
	places  []encodedPlace
	floats  []string                // linear layers that are stored as float32
	scaled  map[string]encodedPlace // of vectors and of floats: those that change with scaled channels
	work    *work.File
	lengths []int // of the sequences

	original *stream          // of the original model; nil without cross
	scalings []*solve.Scaling // of the loaded block, unless an earlier run has done it

	worked *progress.Work
	first  int // block that this run quantizes
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
	if opt.MomentMemory == 0 {
		opt.MomentMemory = 1 << 30
	}
	q := &quantizer{sequential: m, stream: &stream{l: l}, stats: s, opt: opt}
	size, err := q.layOut(r.Tensors)
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(id)
	if q.work, err = work.OpenFile(opt.Work, quantizeMagic, "quantize", key, l.Count()+1, size); err != nil {
		return nil, err
	}
	if q.work.Done > 0 && opt.Resumed != nil {
		opt.Resumed(min(q.work.Done, l.Count()))
	}
	if err := q.run(ctx); err != nil {
		_ = q.work.Close()
		return nil, err
	}
	for _, p := range q.scaled {
		q.places = append(q.places, p)
	}
	return &Encoded{q.work, q.places}, nil
}

// layOut sets places: those of the targets that are linear layers or parts of them, and those of norms, biases and
// routers that will be scaled. It returns the size of the work file.
func (q *quantizer) layOut(targets []quant.Target) (at int64, err error) {
	at = work.DataAt
	for i := range q.l.Count() + 1 {
		for _, name := range q.linear(i) {
			for _, t := range q.l.Stored(name) {
				k := slices.IndexFunc(targets, func(target quant.Target) bool { return target.Tensor == t.GGUF })
				if k < 0 {
					continue
				}
				if !targets[k].Type.IsQuantized() {
					if targets[k].Type == quant.F32 && t.GGUF == name {
						q.floats = append(q.floats, name)
					}
					continue
				}
				if q.check != nil {
					if err := q.check(targets[k].Type); err != nil {
						return 0, usage.Errorf("%s: %w", t.GGUF, err)
					}
				}
				size := targets[k].Type.Size(t.Elems())
				q.places = append(q.places, encodedPlace{targets[k], at, size, name, t.First, t.Rows()})
				at += size
			}
		}
	}
	q.scaled = map[string]encodedPlace{}
	if !q.scale {
		return at, nil
	}
	for i := range q.l.Count() {
		for _, name := range q.floatsOf(q.folds(i)) {
			rows, cols, err := q.l.Shape(name)
			if err != nil {
				return 0, err
			}
			target, size := quant.Target{Tensor: name, Type: quant.F32}, 4*int64(rows)*int64(cols)
			q.scaled[name] = encodedPlace{target, at, size, name, 0, rows}
			at += size
		}
	}
	return at, nil
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

// placesOf returns those of a linear layer.
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
		l, err := runtime.OpenLayers(q.l.Path(), opt)
		if err != nil {
			return err
		}
		defer func() { _ = l.Close() }()
		q.original = &stream{l: l, x: slices.Clone(q.x)}
	}
	q.beginWork()
	for i := range q.l.Count() + 1 {
		q.watch(i)
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
		q.blockWorked(i)
	}
	return nil
}

// block quantizes the layers of block i, and takes the residual streams to its end.
func (q *quantizer) block(ctx context.Context, i int) error {
	streams := []*stream{q.stream}
	if q.original != nil {
		streams = append(streams, q.original)
	}
	for _, s := range streams {
		if err := s.l.Load(ctx, i); err != nil {
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
	for _, s := range streams {
		if err := s.l.Forward(ctx, s.x, q.lengths, s.resume.pass(0, len(q.stats.Origin.Tokens))); err != nil {
			return err
		}
		s.resume = resumption{}
	}
	return nil
}

// layers quantizes those linear layers of block i that have places. Second moments are gathered once for those that get
// the same inputs and count tokens alike.
func (q *quantizer) layers(ctx context.Context, i int) error {
	groups := [][]string{q.linear(i)}
	if i < q.l.Count() {
		groups = q.l.SharedInputs(i)
	}
	for _, names := range groups {
		names = slices.DeleteFunc(names, func(name string) bool { return q.placesOf(name) == nil })
		if i >= q.work.Done {
			for _, together := range q.alike(names) {
				if err := q.quantizeLayers(ctx, together); err != nil {
					return err
				}
			}
		}
		if i == q.l.Count() {
			continue // nothing comes after it
		}
		for _, name := range names {
			if err := q.replace(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// alike divides layers with the same inputs into those whose second moments are the same: all of them if there are no
// gradients, which each has its own of.
func (q *quantizer) alike(names []string) [][]string {
	if len(names) > 1 && !slices.ContainsFunc(names, q.stats.HasGradients) {
		return [][]string{names}
	}
	var all [][]string
	for _, name := range names {
		all = append(all, []string{name})
	}
	return all
}

// replace gives the model the weights that a layer's blocks in the work file stand for.
func (q *quantizer) replace(name string) error {
	rows, cols, err := q.l.Shape(name)
	if err != nil {
		return err
	}
	places := q.placesOf(name)
	values := make([]float32, rows*cols)
	if !covers(places, rows) {
		if values, err = q.l.Weights(name); err != nil {
			return err
		}
	}
	for _, p := range places {
		data := make([]byte, p.size)
		if _, err := q.work.ReadAt(data, p.at); err != nil {
			return err
		}
		p.Type.Dequantize(values[p.first*cols:][:p.rows*cols], data)
	}
	return q.l.SetWeights(name, values)
}

// quantizeLayers solves linear layers whose second moments are the same and stores their blocks. Of experts, so many
// are solved after a pass through the block as there is memory for their second moments.
func (q *quantizer) quantizeLayers(ctx context.Context, names []string) error {
	parts, err := q.parts(names[0])
	if err != nil {
		return err
	}
	_, cols, err := q.l.Shape(names[0])
	if err != nil {
		return err
	}
	for together := range slices.Chunk(parts, q.together(cols)) {
		if err := q.gather(ctx, names[0], cols, together); err != nil {
			return err
		}
		for i := range together {
			if err := q.solve(ctx, names, cols, &together[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// solve makes the blocks of a part of layers, and stores them. Of layers after the first, it is the same expert or all
// of their rows.
func (q *quantizer) solve(ctx context.Context, names []string, cols int, p *part) error {
	layer := &solve.Layer{Cols: cols, H: p.moments.Matrix(), Worked: q.solved}
	p.moments = nil // its memory is not needed any more
	if p.cross != nil {
		layer.Cross, p.cross = p.cross.Matrix(), nil
	}
	for i, name := range names {
		first, rows := p.first, p.rows
		if i > 0 {
			all, _, err := q.l.Shape(name)
			if err != nil {
				return err
			}
			rows = all / q.l.Experts(name)
			first = p.expert * rows
		}
		if err := q.solveRows(ctx, name, layer, first, first+rows); err != nil {
			return err
		}
	}
	return nil
}

// solveRows makes and stores the blocks of those of a layer's places that have rows from first to end. Of l, the inputs
// are known.
func (q *quantizer) solveRows(ctx context.Context, name string, l *solve.Layer, first, end int) (err error) {
	for _, p := range q.placesOf(name) {
		first, end := max(first, p.first), min(end, p.first+p.rows)
		if first >= end {
			continue
		}
		l.Rows, l.Type = end-first, p.Type
		if l.W, err = q.rows(name, first, l.Rows); err != nil {
			return err
		}
		if q.outputs {
			if l.Outputs, err = q.outputsOf(name, first, end); err != nil {
				return err
			}
		}
		s, err := q.layer(ctx, l, q.l.Threads())
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			return formats.FileErrorf(q.l.Path(), -1, "tensor %s, from row %d on: %v", name, first, err)
		}
		if q.opt.Solved != nil {
			q.opt.Solved(p.Tensor, s)
		}
		if _, err := q.work.WriteAt(s.Data, p.at+p.Type.Size(int64(first-p.first)*int64(l.Cols))); err != nil {
			return err
		}
	}
	return nil
}
