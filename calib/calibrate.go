package calib

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
)

// Options say how [Calibrate] gathers statistics.
type Options struct {
	// Fisher gathers the squared gradients of the model's own loss at the outputs of each linear layer first, and
	// weighs each token by them in everything else: see [stats.TokenWeights]. Labels are drawn with the origin's seed.
	// It takes up to GradientMemory bytes, the weights included.
	Fisher         bool
	GradientMemory int64
	// Outputs also gathers, with Fisher, how the gradients at the outputs of queries, keys and values go together, for
	// [solve.Options].Outputs.
	Outputs bool
	// Memory bounds the residual stream in memory, in bytes. A larger one goes
	// through the work file. It does not change the result.
	Memory int64
	// Work is a file of intermediate results, from which a run that was interrupted is continued; with Fisher
	// there is another one, whose name ends in ".gradients". They are removed at the end.
	Work string
	// Resumed, if not nil, is called with the number of blocks that an earlier run has done.
	Resumed func(blocks int)
	// Progress, if not nil, is called with how much of the time of the run is over, and all of it, as far as can be
	// told, in parts of it that mean nothing else.
	Progress func(done, total int64)
}

const (
	// BatchTokens is the number of tokens that go through a block together. The order of
	// sums depends on it, so it is the same for every run.
	BatchTokens = 512
	// groupTokens is about how many tokens of the residual stream are in memory at a time
	// when it is in a file. A stream in memory is processed in the same groups.
	groupTokens = 8 * BatchTokens
	// saveInterval is how much work an interruption may cost while the stream is in memory.
	saveInterval = 30 * time.Second
)

// Calibrate runs a model block by block over sequences of tokens and gathers the statistics of each linear layer's
// inputs. s says which sequences (its Origin) and gets the entries; the file is written to path, in the form that
// [stats.IsDat] tells. l must have been opened with batches of [BatchTokens].
func Calibrate(ctx context.Context, l *runtime.Layers, s *stats.File, path string, opt Options) error {
	if err := checkBatch(l); err != nil {
		return err
	}
	all, err := stats.Shard{I: 1, N: 1}.Of(s.Origin.Lengths)
	if err != nil {
		return err
	}
	w := opt.begin(l, all.Tokens(), true, opt.Fisher)
	var grad *gradients
	var weights stats.Gradients // nil without Fisher
	if opt.Fisher {
		if grad, err = gatherGradients(ctx, l, s.Origin, all, opt, w); err != nil {
			return err
		}
		defer func() { _ = grad.work.Close() }()
		weights = grad
	}
	r, err := newRun(ctx, l, s.Origin, all, weights, opt, w)
	if err != nil {
		return err
	}
	defer func() { _ = r.work.Close() }()
	for _, p := range slices.Concat(r.steps...) {
		sums, err := r.sums(p)
		if err != nil {
			return err
		}
		s.Add(p.name, p.experts, p.cols, sums, weights)
	}
	write := func(path string) error { return s.Write(path, weights) }
	if err := atomicfile.SaveElsewhere(path, write(path), write); err != nil {
		return err
	}
	if grad != nil {
		if err := grad.work.Remove(); err != nil {
			return err
		}
	}
	return r.work.Remove()
}

func checkBatch(l *runtime.Layers) error {
	if want := min(BatchTokens, l.Config().Context); l.Batch() != want {
		return fmt.Errorf("batches of %d tokens, expected %d", l.Batch(), want)
	}
	return nil
}

// Kinds of work: a pass through the model, in multiplications, and tokens whose gradients are computed.
const (
	passes = iota
	gradientTokens
)

// gradientCost returns about how many multiplications of a pass take as long as the gradients of a token:
// docs/architecture.md says how many those are, and matrices are transposed for them.
func gradientCost(l *runtime.Layers) float64 {
	blocks, output := l.TokenWork()
	return 1.1 * (2.7*blocks + 2*output)
}

// Passes returns about how long [Calibrate] takes, in passes of all tokens through the model's blocks.
func Passes(l *runtime.Layers, fisher bool) float64 {
	if !fisher {
		return 1
	}
	blocks, _ := l.TokenWork()
	return 1 + gradientCost(l)/blocks
}

// begin begins to report the progress of so many tokens, of which sums or gradients or both are gathered.
func (opt *Options) begin(l *runtime.Layers, tokens int, sums, gradients bool) *progress.Work {
	blocks, _ := l.TokenWork()
	kinds := []progress.Kind{passes: {Cost: 1}, gradientTokens: {Cost: gradientCost(l)}}
	if sums {
		kinds[passes].Total = float64(tokens) * blocks
	}
	if gradients {
		kinds[gradientTokens].Total = float64(tokens)
	}
	return progress.NewWork(report(opt.Progress), progressParts, kinds...)
}

// Need returns how much memory, in bytes, [Calibrate] takes beside the residual stream and the program itself.
func Need(l *runtime.Layers) int64 {
	c := l.Config()
	block := int64(0)
	for _, name := range l.Linear(0) {
		rows, cols, err := l.Shape(name)
		if err != nil {
			continue // every model has these
		}
		block += 4 * int64(rows) * int64(cols)
	}
	row := 4*c.Hidden + 2*(c.Heads+c.KVHeads)*c.HeadDim + 4*c.Intermediate
	return block + 4*BatchTokens*int64(row) + 4*groupTokens*int64(c.Hidden)
}

// run is a run over a portion of a text. A step is a block, and after the last one the output matrix.
//
// From work.DataAt on, the work file holds
//
//	for each linear layer: for each span: for each expert: count, sums, as float64
//	2 residual streams: that after an even number of steps, that after an odd one
type run struct {
	l       *runtime.Layers
	grad    stats.Gradients // nil if tokens count alike
	opt     Options
	portion *stats.Portion
	work    *work.File

	steps  [][]place
	tokens int
	stream [2]int64  // places of the residual streams
	memory []float32 // the residual stream; nil if it is in the file
	buf    []float32
	done   int // steps
	saved  time.Time
}

// place is where the statistics of a linear layer are in the work file.
type place struct {
	entry
	experts, cols int   // matrices in the tensor, and columns of each
	at            int64 // offset in bytes
}

// entry is a linear layer: the name of its entry in statistics, and of its weights.
type entry struct{ name, tensor string }

// entries lists the linear layers of each block, and at the end the output matrix.
func entries(l *runtime.Layers) (all [][]entry) {
	for i := range l.Count() {
		var block []entry
		for _, name := range l.Linear(i) {
			block = append(block, entry{name, name})
		}
		all = append(all, block)
	}
	return append(all, []entry{{stats.OutputEntry, l.Output()}})
}

// span returns how many values a span has there.
func (p *place) span() int { return p.experts * (1 + p.cols) }

const workMagic = "phi3conv calibration 1\n"

// newRun goes through all blocks, or what an earlier run has left of them. grad is nil if tokens count alike.
func newRun(
	ctx context.Context, l *runtime.Layers, o *stats.Origin, p *stats.Portion, grad stats.Gradients, opt Options,
	w *progress.Work,
) (*run, error) {
	id, err := json.Marshal(struct {
		*stats.Origin
		Fisher       bool
		Spans, Begin int
	}{o, opt.Fisher, len(p.Spans), p.Sequence})
	if err != nil {
		return nil, err
	}
	r := &run{l: l, grad: grad, opt: opt, portion: p, tokens: p.Tokens(), saved: time.Now()}
	at, err := r.layOut()
	if err != nil {
		return nil, err
	}
	size := 4 * int64(r.tokens) * int64(l.Hidden())
	r.stream = [2]int64{at, at + size}
	if size <= opt.Memory {
		r.memory = make([]float32, r.tokens*l.Hidden())
	}
	key, end := sha256.Sum256(id), at+2*size
	if r.work, err = work.OpenFile(opt.Work, workMagic, "calibrate", key, len(r.steps), end); err != nil {
		return nil, err
	}
	r.done = r.work.Done
	if err := r.all(ctx, o.Tokens[p.First:p.End], w); err != nil {
		_ = r.work.Close()
		return nil, err
	}
	return r, nil
}

// all does all steps that an earlier run has not done.
func (r *run) all(ctx context.Context, tokens []int32, w *progress.Work) error {
	if err := r.start(tokens); err != nil {
		return err
	}
	blocks, _ := r.l.TokenWork()
	w.Skip(passes, float64(r.tokens)*blocks*float64(min(r.done, r.l.Count()))/float64(r.l.Count()))
	r.l.Watch(func(n float64) { w.Add(passes, n) })
	defer r.l.Watch(nil)
	for ; r.done < len(r.steps); r.done++ {
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// layOut sets steps, and returns the first place in the work file after the layers' statistics.
func (r *run) layOut() (end int64, err error) {
	end = work.DataAt
	for _, names := range entries(r.l) {
		var step []place
		for _, e := range names {
			_, cols, err := r.l.Shape(e.tensor)
			if err != nil {
				return 0, err
			}
			p := place{e, r.l.Experts(e.tensor), cols, end}
			step = append(step, p)
			end += 8 * int64(len(r.portion.Spans)) * int64(p.span())
		}
		r.steps = append(r.steps, step)
	}
	return end, nil
}

// groups calls f for groups of about groupTokens tokens of a span, with the first token and the number of tokens.
func (r *run) groups(span int, f func(first, count int, lengths []int) error) error {
	var lengths []int
	at := 0
	for i, s := range r.portion.Spans[:span+1] {
		for _, n := range s {
			if i < span {
				at += int(n)
			} else {
				lengths = append(lengths, int(n))
			}
		}
	}
	return groups(lengths, func(first, count int, lengths []int) error { return f(at+first, count, lengths) })
}

// start reads what an earlier run has left, or begins with the embeddings.
func (r *run) start(tokens []int32) error {
	if r.done > 0 {
		if r.opt.Resumed != nil {
			r.opt.Resumed(min(r.done, r.l.Count()))
		}
		if r.memory != nil {
			return r.work.ReadFloats(r.memory, r.stream[r.done%2])
		}
		return nil
	}
	for span := range r.portion.Spans {
		err := r.groups(span, func(first, count int, _ []int) error {
			x := r.rows(count)
			if r.memory != nil {
				x = r.memory[first*r.l.Hidden():][:len(x)]
			}
			if err := r.l.Embed(x, tokens[first:first+count]); err != nil {
				return err
			}
			return r.put(x, first, 0)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// rows returns a buffer for a number of tokens.
func (r *run) rows(tokens int) []float32 {
	r.buf = work.Resize(r.buf, tokens*r.l.Hidden())
	return r.buf
}

// get returns the residual stream of tokens.
func (r *run) get(first, count int) ([]float32, error) {
	if r.memory != nil {
		return r.memory[first*r.l.Hidden():][:count*r.l.Hidden()], nil
	}
	x := r.rows(count)
	return x, r.work.ReadFloats(x, r.stream[r.done%2]+4*int64(first)*int64(r.l.Hidden()))
}

// put stores a group's residual stream as it is after a number of steps.
func (r *run) put(x []float32, first, steps int) error {
	if r.memory != nil {
		return nil // x is a part of it
	}
	return r.work.WriteFloats(x, r.stream[steps%2]+4*int64(first)*int64(r.l.Hidden()))
}

// step gathers the statistics of the next block, or of the output matrix.
func (r *run) step(ctx context.Context) error {
	last := r.done == r.l.Count()
	if !last {
		if err := r.l.Load(ctx, r.done); err != nil {
			return err
		}
	}
	weights := map[string]tokenWeights{}
	for _, p := range r.steps[r.done] {
		if r.grad != nil {
			parts, err := r.grad.Norms(p.name)
			if err != nil {
				return err
			}
			weights[p.tensor] = stats.MatrixWeights(parts, p.experts)
		}
	}
	for span := range r.portion.Spans {
		if err := r.span(ctx, span, weights); err != nil {
			return err
		}
	}
	if last || r.memory != nil && time.Since(r.saved) < saveInterval {
		return nil
	}
	return r.save(r.done + 1)
}

// span does a step for a span. The weights are those of all of the text's tokens.
func (r *run) span(ctx context.Context, span int, weights map[string]tokenWeights) error {
	last := r.done == r.l.Count()
	moments := map[string][]*stats.Moments{}
	for _, p := range r.steps[r.done] {
		for range p.experts {
			moments[p.tensor] = append(moments[p.tensor], stats.NewMoments(p.cols, false))
		}
	}
	err := r.groups(span, func(first, count int, lengths []int) error {
		x, err := r.get(first, count)
		if err != nil {
			return err
		}
		add := func(in runtime.Inputs) error {
			w := weights[in.Tensor].of(&in, r.portion.First+first)
			moments[in.Tensor][in.Expert].Add(in, w, r.l.Threads())
			return nil
		}
		if last {
			return r.l.Finish(ctx, x, lengths, add, nil)
		}
		if err := r.l.Forward(ctx, x, lengths, runtime.Pass{Tap: add}); err != nil {
			return err
		}
		return r.put(x, first, r.done+1)
	})
	if err != nil {
		return err
	}
	for _, p := range r.steps[r.done] {
		if err := r.keep(p, span, moments[p.tensor]); err != nil {
			return err
		}
	}
	return nil
}

// keep writes a layer's statistics of a span to the work file.
func (r *run) keep(p place, span int, all []*stats.Moments) error {
	var values []float64
	for _, m := range all {
		values = m.Append(values)
	}
	for i, v := range values {
		if !floats.Finite(float32(v)) {
			return formats.FileErrorf(r.l.Path(), -1,
				"the inputs of %s are not finite (column %d): the weights are damaged or not of this architecture",
				p.name, i%(1+p.cols)-1)
		}
	}
	raw, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		return err
	}
	_, err = r.work.WriteAt(raw, p.at+int64(span)*int64(len(raw)))
	return err
}

// read returns what keep has written of a layer, of all spans.
func (r *run) read(p *place) io.Reader {
	return io.NewSectionReader(r.work, p.at, 8*int64(len(r.portion.Spans))*int64(p.span()))
}

// sums returns the statistics of a layer, for [stats.File.Add].
func (r *run) sums(p place) ([]float64, error) {
	values := make([]float64, len(r.portion.Spans)*p.span())
	return values, binary.Read(r.read(&p), binary.LittleEndian, values)
}

// save makes the work file one to continue from.
func (r *run) save(steps int) error {
	if r.memory != nil {
		if err := r.work.WriteFloats(r.memory, r.stream[steps%2]); err != nil {
			return err
		}
	}
	r.saved = time.Now()
	return r.work.Save(steps)
}
