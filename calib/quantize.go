package calib

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// QuantizeOptions say how [Quantize] works. Threads of solve.Options is not used: it
// is the model's.
type QuantizeOptions struct {
	solve.Options
	// Identity stands for the model's weights and the statistics: a run is not continued from one with another.
	Identity string
	// Work is a file that receives the blocks, and from which a run that was interrupted is continued.
	Work string
	// Split solves the parts of a layer's outputs, q, k, v or gate, up, each under second moments with
	// its own tokens' weights. It needs statistics with gradients.
	Split bool
	// AWQ scales channels first, where factors can go into norms and neighbouring matrices without changing
	// what the model computes: see [solve.Fold]. Norms are then among the tensors of the result.
	AWQ bool
	// Resumed, if not nil, is called with the number of blocks that an earlier run has done.
	Resumed func(blocks int)
	// Progress, if not nil, is called with steps done and in all.
	Progress func(done, total int)
	// Solved, if not nil, is called with the result for each layer, or part of it.
	Solved func(tensor string, s *solve.Solution)
	// Scaled, if not nil, is called for each matrix whose columns AWQ has scaled, with the error that its own encoder
	// leaves on some of its rows as a share of that without.
	Scaled func(tensor string, share float64)
}

// Encoded are tensors' blocks in a work file.
type Encoded struct {
	work   *work.File
	places []encodedPlace
}

type encodedPlace struct {
	quant.Target
	at, size int64
	// layer is the linear layer whose rows from first on these are: the tensor or what it is a part of.
	layer       string
	first, rows int
}

// Tensor returns a tensor's blocks, nil for one that is not there.
func (e *Encoded) Tensor(name string) io.ReaderAt {
	for _, p := range e.places {
		if p.Tensor == name {
			return io.NewSectionReader(e.work, p.at, p.size)
		}
	}
	return nil
}

// Remove removes the work file, when the blocks are where they belong.
func (e *Encoded) Remove() error { return e.work.Remove() }

// Close keeps the work file.
func (e *Encoded) Close() error { return e.work.Close() }

// Quantize solves linear layers of a model one after the other, in the order in which tokens
// pass them: the inputs of a layer, whose second moments it is solved under, are those
// that it gets behind everything that has been quantized before. The tokens are those of the
// statistics, and each counts by its gradients if those are there. Targets that are not
// linear layers, such as an embedding, and those of types that are not quantized, are left out.
// l must have been opened with batches of [BatchTokens].
//
// The blocks go to a work file; what an interrupted run has done is taken from there. Layers are quantized
// the same whether a run was interrupted or not.
func Quantize(ctx context.Context, l *runtime.Layers, s *stats.File, targets []quant.Target, opt QuantizeOptions) (*Encoded, error) {
	if err := checkBatch(l); err != nil {
		return nil, err
	}
	opt.Threads = l.Threads()
	q := &quantizer{l: l, stats: s, o: s.Origin, opt: opt}
	at := int64(work.DataAt)
	var places []encodedPlace
	for i := range l.Count() + 1 {
		for _, name := range q.linear(i) {
			for _, t := range l.Stored(name) {
				k := slices.IndexFunc(targets, func(target quant.Target) bool { return target.Tensor == t.GGUF })
				if k < 0 || !targets[k].Type.IsQuantized() {
					continue
				}
				if err := targets[k].Type.CheckGeometry(); err != nil {
					return nil, fmt.Errorf("%s: %w", t.GGUF, err)
				}
				size := targets[k].Type.Size(t.Elems())
				places = append(places, encodedPlace{targets[k], at, size, name, t.First, t.Rows()})
				at += size
			}
		}
	}
	q.places = places
	if opt.AWQ {
		for i := range l.Count() {
			for _, f := range folds(l, i) {
				if f.Width == 1 && q.covers(f.Cols) {
					size := int64(4 * f.Channels)
					q.places = append(q.places, encodedPlace{quant.Target{Tensor: f.By, Type: quant.F32}, at, size, f.By, 0, 1})
					at += size
				}
			}
		}
	}
	if err := q.open(); err != nil {
		return nil, err
	}
	e := &Encoded{q.work, q.places}
	if err := q.run(ctx); err != nil {
		_ = e.Close()
		return nil, err
	}
	return e, nil
}

// quantizer is a run of Quantize.
//
// The work file has the frame of calibrate's: magic, 2 records with the number of blocks done,
// the tensors' blocks.
type quantizer struct {
	l      *runtime.Layers
	stats  *stats.File
	o      *stats.Origin
	opt    QuantizeOptions
	places []encodedPlace
	work   *work.File
	done   int // blocks of the model

	lengths []int
	x       []float32 // the residual stream
	// The original model beside the quantized one, for the asymmetric correction; else nil.
	original *runtime.Layers
	y        []float32 // its residual stream

	// What AWQ has scaled in the block: weights, and for each matrix what its inputs are multiplied with.
	scaled, inverse map[string][]float32
}

const quantizeMagic = "phi3conv quantization 1\n"

// open opens the work file and finds out what is done.
func (q *quantizer) open() error {
	opt := q.opt.Options
	opt.Threads = 0 // they change nothing
	id, err := json.Marshal(struct {
		*stats.Origin
		Identity string
		Targets  []encodedPlace
		Options  solve.Options
		Split    bool
		AWQ      bool
	}{q.o, q.opt.Identity, q.places, opt, q.opt.Split, q.opt.AWQ})
	if err != nil {
		return err
	}
	if q.work, err = work.OpenFile(q.opt.Work, quantizeMagic, "quantize", sha256.Sum256(id), q.l.Count()+1); err != nil {
		return err
	}
	if q.done = q.work.Done; q.done > 0 && q.opt.Resumed != nil {
		q.opt.Resumed(min(q.done, q.l.Count()))
	}
	return nil
}

func (q *quantizer) run(ctx context.Context) error {
	for _, n := range q.o.Lengths {
		q.lengths = append(q.lengths, int(n))
	}
	q.x = make([]float32, len(q.o.Tokens)*q.l.Hidden())
	if err := q.l.Embed(q.x, q.o.Tokens); err != nil {
		return err
	}
	if q.opt.Asymmetric != 0 {
		var err error
		if q.original, err = runtime.OpenLayers(q.l.Path(), runtime.Options{Threads: q.l.Threads(), Batch: q.l.Batch()}); err != nil {
			return err
		}
		defer func() { _ = q.original.Close() }()
		q.y = slices.Clone(q.x)
	}
	for i := range q.l.Count() + 1 {
		last := i == q.l.Count()
		models, streams := []*runtime.Layers{q.l}, [][]float32{q.x}
		if q.original != nil {
			models, streams = append(models, q.original), append(streams, q.y)
		}
		for _, l := range models {
			if !last {
				if err := l.Load(ctx, i); err != nil {
					return err
				}
			}
		}
		if q.opt.AWQ && !last {
			if err := q.scale(ctx, i); err != nil {
				return err
			}
		}
		for _, name := range q.linear(i) {
			if places := q.placesOf(name); places != nil {
				if err := q.layer(ctx, name, places, i < q.done); err != nil {
					return err
				}
			}
		}
		for k, l := range models {
			if !last {
				if err := l.Forward(ctx, streams[k], q.lengths, runtime.Pass{}); err != nil {
					return err
				}
			}
		}
		if i >= q.done {
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

// linear returns the linear layers of block i of the model, and behind the last one the
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

// part is some rows of a tensor that are solved under the same second moments.
type part struct {
	first, rows int
	weights     []float32 // of the tokens, nil for 1 each
	moments     *stats.Moments
	cross       *solve.CrossMoments // nil without the asymmetric correction
}

func (q *quantizer) part(first, rows, cols int, weights []float32) part {
	p := part{first: first, rows: rows, weights: weights, moments: stats.NewMoments(cols, true)}
	if q.original != nil {
		p.cross = solve.NewCrossMoments(cols)
	}
	return p
}

// parts divides a tensor.
func (q *quantizer) parts(tensor string) ([]part, error) {
	rows, cols, err := q.l.Shape(tensor)
	if err != nil {
		return nil, err
	}
	e := q.stats.Entry(tensor)
	if e == nil || e.Parts == 0 {
		return []part{q.part(0, rows, cols, nil)}, nil
	}
	gradients, err := q.stats.Gradients(tensor)
	if err != nil {
		return nil, err
	}
	if !q.opt.Split {
		return []part{q.part(0, rows, cols, stats.TokenWeights(gradients...))}, nil
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
		return nil, &formats.Error{Path: q.stats.Path, Off: -1, What: fmt.Sprintf("gradients of %d parts of %s, expected %d", len(gradients), tensor, len(parts))}
	}
	return parts, nil
}

// tokenWeights returns what the tokens of a tensor's inputs count, nil for 1 each.
func (q *quantizer) tokenWeights(tensor string) ([]float32, error) {
	if e := q.stats.Entry(tensor); e == nil || e.Parts == 0 {
		return nil, nil
	}
	gradients, err := q.stats.Gradients(tensor)
	return stats.TokenWeights(gradients...), err
}

// layer solves a linear layer, or takes what has been found earlier, and puts the result in
// its place, or places.
func (q *quantizer) layer(ctx context.Context, name string, places []encodedPlace, done bool) error {
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
		return nil // nothing comes behind it
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

// gather adds the inputs of a layer to its parts' moments.
func (q *quantizer) gather(ctx context.Context, tensor string, parts []part) error {
	hidden, first, from := q.l.Hidden(), 0, 0
	inverse := q.inverse[tensor] // the original's inputs are not scaled
	for from < len(q.lengths) {
		// Some sequences at a time: the original's inputs are in memory for them.
		count, end := 0, from
		for end < len(q.lengths) && (count == 0 || count+q.lengths[end] <= groupTokens) {
			count += q.lengths[end]
			end++
		}
		var original []float32
		if q.original != nil {
			err := forward(ctx, q.original, q.y[first*hidden:(first+count)*hidden], q.lengths[from:end], tensor, func(in runtime.Inputs) {
				for t := range in.Rows {
					original = append(original, in.Row(t)...)
					if row := original[len(original)-in.Cols:]; inverse != nil {
						for c, v := range inverse {
							row[c] *= v
						}
					}
				}
			})
			if err != nil {
				return err
			}
		}
		err := forward(ctx, q.l, q.x[first*hidden:(first+count)*hidden], q.lengths[from:end], tensor, func(in runtime.Inputs) {
			for _, p := range parts {
				w := p.weights
				if w != nil {
					w = w[first+in.First:][:in.Rows]
				}
				p.moments.Add(in, w, q.opt.Threads)
				if p.cross != nil {
					p.cross.Add(in, original[in.First*in.Cols:], w, q.opt.Threads)
				}
			}
		})
		if err != nil {
			return err
		}
		first, from = first+count, end
	}
	return nil
}

// forward calls use with the inputs of a linear layer, a block's or the output matrix, and
// leaves x as it is.
func forward(ctx context.Context, l *runtime.Layers, x []float32, lengths []int, tensor string, use func(runtime.Inputs)) error {
	tap := func(in runtime.Inputs) error {
		if in.Tensor == tensor {
			use(in)
		}
		return nil
	}
	if tensor == stats.OutputEntry {
		return l.Finish(ctx, x, lengths, tap, nil)
	}
	return l.Forward(ctx, x, lengths, runtime.Pass{Until: tensor, Tap: tap})
}

// solve sets data to the blocks of a layer's places, and stores them.
func (q *quantizer) solve(ctx context.Context, name string, parts []part, places []encodedPlace, data [][]byte) error {
	weights, err := q.weights(name)
	if err != nil {
		return err
	}
	for i := range parts {
		m, cross := parts[i].moments, parts[i].cross
		parts[i].moments, parts[i].cross = nil, nil // makes room
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
			s, err := layer.Quantize(ctx, q.opt.Options)
			if err != nil {
				if ctx.Err() != nil {
					return err
				}
				return &formats.Error{Path: q.l.Path(), Off: -1, What: fmt.Sprintf("tensor %s, from row %d on: %v", name, first, err)}
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
