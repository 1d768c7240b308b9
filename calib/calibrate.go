package calib

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math"
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
	w := opt.begin(l, len(s.Origin.Tokens))
	var grad *gradients
	if opt.Fisher {
		var err error
		if grad, err = gatherGradients(ctx, l, s.Origin, opt, w); err != nil {
			return err
		}
		defer func() { _ = grad.work.Close() }()
	}
	r, err := newRun(l, s.Origin, grad, opt)
	if err != nil {
		return err
	}
	blocks, _ := l.TokenWork()
	w.Skip(passes, float64(r.tokens)*blocks*float64(min(r.done, l.Count()))/float64(l.Count()))
	l.Watch(func(n float64) { w.Add(passes, n) })
	defer l.Watch(nil)
	defer func() { _ = r.work.Close() }()
	for ; r.done < len(r.steps); r.done++ {
		if err := r.step(ctx); err != nil {
			return err
		}
	}
	if err := r.fill(s); err != nil {
		return err
	}
	write := func(path string) error { return s.Write(path, entryGradients{grad, l.Output()}) }
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

// begin begins to report the progress of so many tokens.
func (opt *Options) begin(l *runtime.Layers, tokens int) *progress.Work {
	blocks, _ := l.TokenWork()
	kinds := []progress.Kind{passes: {Total: float64(tokens) * blocks, Cost: 1}}
	if opt.Fisher {
		kinds = append(kinds, progress.Kind{Total: float64(tokens), Cost: gradientCost(l)})
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

// run is a run of Calibrate. A step is a block, and after the last one the output matrix.
//
// From work.DataAt on, the work file holds
//
//	for each linear layer: count, sums; of experts all counts, then all sums
//	2 residual streams: that after an even number of steps, that after an odd one
type run struct {
	l    *runtime.Layers
	grad *gradients // nil if tokens count alike
	opt  Options
	work *work.File

	steps   [][]place
	lengths []int
	tokens  int
	stream  [2]int64  // places of the residual streams
	memory  []float32 // the residual stream; nil if it is in the file
	buf     []float32
	done    int // steps
	saved   time.Time
}

// place is where the statistics of a linear layer are in the work file.
type place struct {
	name, tensor  string // of the entry, and of the weights
	experts, cols int    // matrices in the tensor, and columns of each
	at            int64  // offset in bytes
}

const workMagic = "phi3conv calibration 1\n"

func newRun(l *runtime.Layers, o *stats.Origin, grad *gradients, opt Options) (*run, error) {
	id, err := json.Marshal(struct {
		*stats.Origin
		Fisher bool
	}{o, opt.Fisher})
	if err != nil {
		return nil, err
	}
	r := &run{l: l, grad: grad, opt: opt, tokens: len(o.Tokens), saved: time.Now()}
	for _, n := range o.Lengths {
		r.lengths = append(r.lengths, int(n))
	}
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
	if err := r.start(o.Tokens); err != nil {
		_ = r.work.Close()
		return nil, err
	}
	return r, nil
}

// layOut sets steps, and returns the first place in the work file after the layers' statistics.
func (r *run) layOut() (end int64, err error) {
	end = work.DataAt
	for i := range r.l.Count() + 1 {
		names := []string{r.l.Output()}
		if i < r.l.Count() {
			names = r.l.Linear(i)
		}
		var step []place
		for _, name := range names {
			_, cols, err := r.l.Shape(name)
			if err != nil {
				return 0, err
			}
			p := place{name, name, r.l.Experts(name), cols, end}
			if i == r.l.Count() {
				p.name = stats.OutputEntry
			}
			step = append(step, p)
			end += 4 * int64(p.experts) * int64(1+cols)
		}
		r.steps = append(r.steps, step)
	}
	return end, nil
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
	return groups(r.lengths, func(first, count int, _ []int) error {
		x := r.rows(count)
		if r.memory != nil {
			x = r.memory[first*r.l.Hidden():][:len(x)]
		}
		if err := r.l.Embed(x, tokens[first:first+count]); err != nil {
			return err
		}
		return r.put(x, first, 0)
	})
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
	moments, weights := map[string][]*stats.Moments{}, map[string]tokenWeights{}
	for _, p := range r.steps[r.done] {
		for range p.experts {
			moments[p.tensor] = append(moments[p.tensor], stats.NewMoments(p.cols, false))
		}
		if r.grad != nil {
			parts, err := r.grad.parts(p.tensor)
			if err != nil {
				return err
			}
			weights[p.tensor] = stats.MatrixWeights(parts, p.experts)
		}
	}
	err := groups(r.lengths, func(first, count int, lengths []int) error {
		x, err := r.get(first, count)
		if err != nil {
			return err
		}
		add := func(in runtime.Inputs) error {
			moments[in.Tensor][in.Expert].Add(in, weights[in.Tensor].of(&in, first), r.l.Threads())
			return nil
		}
		if last {
			err = r.l.Finish(ctx, x, lengths, add, nil)
		} else {
			err = r.l.Forward(ctx, x, lengths, runtime.Pass{Tap: add})
		}
		if err != nil {
			return err
		}
		if last {
			return nil
		}
		return r.put(x, first, r.done+1)
	})
	if err != nil {
		return err
	}
	for _, p := range r.steps[r.done] {
		if err := r.keep(p, moments[p.tensor]); err != nil {
			return err
		}
	}
	if last || r.memory != nil && time.Since(r.saved) < saveInterval {
		return nil
	}
	return r.save(r.done + 1)
}

// keep writes a layer's statistics to the work file.
func (r *run) keep(p place, all []*stats.Moments) error {
	var counts, sums []float32
	for _, m := range all {
		counts, sums = append(counts, float32(math.Round(m.Count))), append(sums, m.Sums()...)
	}
	for i, v := range sums {
		if !floats.Finite(v) {
			return formats.FileErrorf(r.l.Path(), -1,
				"the inputs of %s are not finite (column %d): the weights are damaged or not of this architecture",
				p.name, i%p.cols)
		}
	}
	return r.work.WriteFloats(append(counts, sums...), p.at)
}

// fill adds all layers' statistics to s.
func (r *run) fill(s *stats.File) error {
	for _, p := range slices.Concat(r.steps...) {
		values := make([]float32, p.experts*(1+p.cols))
		if err := r.work.ReadFloats(values, p.at); err != nil {
			return err
		}
		e := stats.Entry{Name: p.name, Counts: values[:p.experts], Sums: values[p.experts:]}
		if r.grad != nil {
			e.Parts = r.grad.count(p.tensor)
			if o := r.grad.outputs[p.name]; o != nil {
				for _, n := range o.Blocks {
					e.Outputs += n
				}
			}
		}
		s.Entries = append(s.Entries, e)
		s.ChunkCount = max(s.ChunkCount, int(e.Counts[0])/max(1, s.ChunkSize))
	}
	return nil
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
