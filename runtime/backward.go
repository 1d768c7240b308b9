package runtime

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/mmap"
	"github.com/phi3conv/phi3conv/internal/work"
)

// OutputGroup is output rows of a linear layer that belong together, such as the queries of attn_qkv.
type OutputGroup struct {
	Tensor      string // GGUF name of the layer's weights
	Part        string // what the rows are: q, k, v, gate, up or an expert's number; empty for all of a layer
	First, Rows int    // its rows: First to First+Rows
}

// OutputGroups lists the output rows of all linear layers, in the order of evaluation. Those of each expert of a stack
// are a group.
func (l *Layers) OutputGroups() []OutputGroup {
	c := l.m.cfg
	var all []OutputGroup
	add := func(m arch.Linear) {
		first := 0
		experts := 1
		if len(m.Weight.Shape) == 3 {
			experts = int(m.Weight.Shape[0])
		}
		for e := range experts {
			for _, o := range m.Outputs {
				part := o.Name
				if experts > 1 {
					part = strconv.Itoa(e)
				}
				all = append(all, OutputGroup{m.Weight.GGUF, part, first, o.Rows})
				first += o.Rows
			}
		}
	}
	for i := range c.Layers {
		b := c.Block(i)
		for _, m := range b.Linear() {
			add(m)
		}
	}
	add(c.Head().Output)
	return all
}

// Label chooses the token that the loss expects after position pos of a sequence, p being
// the model's own distribution there. It is called from several threads, once for each
// position, in any order.
type Label func(sequence, pos int, p []float32) int32

// GradientNorms runs the model forward over sequences and backward from the loss Σ -log p[label], a sum over all their
// positions. It returns, for each of [Layers.OutputGroups] and each token of all sequences in order, the squared norm
// of the loss's gradient with respect to the group's outputs, before RoPE. Gradients with respect to weights are not
// computed. The choice of experts counts as given; norms at the outputs of an expert are 0 for tokens that it does not
// get.
//
// Everything is computed in float32, and the bits depend on a sequence's tokens and labels alone. Each block is loaded
// twice, however many sequences there are: once forward, and once backward, where its activations are computed again
// from the residual stream before it, which is kept, unless there is memory for them: [Layers.SetGradientMemory].
// [Layers.GradientBytes] says how much memory it takes without. progress,
// if not nil, is called with the share that is done, from 0 to 1. The block that was loaded before is replaced.
func (l *Layers) GradientNorms(
	ctx context.Context, sequences [][]int32, label Label, progress func(done float64),
) ([][]float32, error) {
	for i, s := range sequences {
		if n := len(s); n < 1 || n > l.m.cfg.Context {
			return nil, fmt.Errorf("sequence %d has %d tokens, expected 1 to %d", i, n, l.m.cfg.Context)
		}
	}
	g, err := newGradients(l, sequences)
	if err != nil {
		return nil, err
	}
	g.label = label
	if progress != nil {
		defer l.Watch(l.m.multiplied)
		l.Watch(func(n float64) { g.done += n; progress(min(1, g.done/g.total)) })
	}
	defer g.close()
	if err := g.run(ctx); err != nil {
		return nil, err
	}
	return g.norms, nil
}

// GradientBytes returns the bytes of memory that [Layers.GradientNorms] takes for that many tokens in sequences of at
// most longest tokens, the loaded weights included.
func (l *Layers) GradientBytes(tokens, longest int) int64 {
	m, c := l.m, l.m.cfg
	kept := int64(tokens) * int64(linear.Stride(c.Hidden)*(c.Layers+2)+len(l.OutputGroups()))
	together := int64(min(tokens, max(m.opt.Batch, longest)))
	row := linear.Stride(c.Hidden) + 3*c.RotaryDims/2 // g.part, angles
	for _, cols := range innerWidths(c) {
		row += linear.Stride(cols)
	}
	if c.Experts != nil {
		row += 6 * c.Experts.Used // routes
	}
	logits := int64(lossRows(c, int(together))) * int64(linear.Stride(c.VocabSize))
	tiles := max(logits, together*int64(slices.Max(innerWidths(c)))) // of a product's input
	transposed, weights := l.gradientWeights()
	// For each thread: scores of a block of queries, a head's keys and values in six layouts, vectors of that block;
	// a row of activations; results of four panels for all rows; 1 MiB of the file in three forms while it is read.
	dim := linear.Padded(c.HeadDim)
	thread := int64(linear.Padded(longest)*(4*maxQueries+6*dim)+3*maxQueries*dim+2*linear.Padded(c.Intermediate)) +
		together*4*kern.Rows + 3<<18
	scratch := int64(m.opt.Threads) * thread
	return weights + 4*(kept+together*int64(row)+logits+tiles+transposed+scratch)
}

// gradientWeights returns the greatest number of values that a matrix takes when it is transposed, and the bytes of the
// largest block and of the output matrix.
func (l *Layers) gradientWeights() (transposed, bytes int64) {
	head := l.m.cfg.Head()
	add := func(m arch.Linear, sum *int64) {
		t, err := l.tensor(m.Weight.GGUF)
		if err != nil {
			return // every model has these
		}
		rows := t.Rows()
		if len(t.Shape) == 3 {
			rows = int(t.Shape[1]) // one expert at a time
		}
		width := min(t.Cols(), linear.TransposedCols(rows))
		transposed = max(transposed, int64(linear.Padded(rows))*int64(linear.Padded(width)))
		*sum += linear.ExpandedBytes(t)
	}
	largest := int64(0)
	for i := range l.m.cfg.Layers {
		b, block := l.m.cfg.Block(i), int64(0)
		for _, m := range b.Linear() {
			add(m, &block)
		}
		largest = max(largest, block)
	}
	add(head.Output, &bytes)
	return transposed, bytes + largest
}

// gradients is the state of a pass forward and backward.
type gradients struct {
	l          *Layers
	m          *Model
	b          *batch // activations inside a block, of the tokens of a bundle; b.x is the stream after attention
	sequences  [][]int32
	bundles    []bundle
	groups     []OutputGroup
	ofTensor   map[string][]int // the numbers of a tensor's groups
	stream     []linear.Rows    // the residual stream before each block and after the last, for all tokens
	grad       linear.Rows      // the loss's gradient with respect to the stream
	label      Label
	norms      [][]float32       // the result, of each group
	part       linear.Rows       // of a sum of gradients
	ofWeights  []float64         // the loss's gradient with respect to b.routes.weight
	sinBack    []float32         // -b.sin: RoPE with it is the transposed one
	ones       []float32         // in place of up, so that SwiGLU is SiLU
	transposed linear.Transposed // columns of a matrix as rows
	norm       norm              // the last one
	own        activations       // of a bundle in a block whose activations are not kept
	kept       []activations     // of all tokens in each block
	output     *linear.Matrix
	outputMem  []byte // its panels

	done, total float64 // multiplications with matrices
}

// bundle is sequences that go through a block together.
type bundle struct {
	first, count int // tokens of all sequences
	sequence     int // number of the first sequence
	runs         []run
}

// lossRows is the number of tokens whose logits are computed together, as many as take 128 MiB.
func lossRows(c *arch.Config, tokens int) int {
	const logitBytes = 128 << 20
	return min(tokens, max(logitRows, logitBytes/(4*linear.Padded(c.VocabSize))))
}

func newGradients(l *Layers, sequences [][]int32) (*gradients, error) {
	m, c := l.m, l.m.cfg
	g := &gradients{l: l, m: m, sequences: sequences, groups: l.OutputGroups(), ofTensor: map[string][]int{}}
	tokens, longest, most := 0, 0, 0
	for i, s := range sequences {
		longest = max(longest, len(s))
		k := len(g.bundles) - 1
		if k < 0 || g.bundles[k].count+len(s) > m.opt.Batch {
			g.bundles = append(g.bundles, bundle{first: tokens, sequence: i})
			k++
		}
		p := &g.bundles[k]
		p.runs = append(p.runs, run{first: p.count, count: len(s), long: m.rope.IsLong(len(s))})
		p.count += len(s)
		tokens += len(s)
		most = max(most, p.count)
	}
	need, free := l.GradientBytes(tokens, longest), machine.FreeMemory()
	if uint64(need) > free {
		return nil, fmt.Errorf(
			"%s: gradients of %d tokens take %d bytes of memory and %d are available: use fewer at a time",
			m.path, tokens, need, free)
	}
	b := &batch{model: m, logits: linear.NewRows(lossRows(c, most), c.VocabSize)}
	for i, r := range b.inner() {
		*r = linear.NewRows(most, innerWidths(c)[i])
	}
	pairs := c.RotaryDims / 2
	b.cos, b.sin, g.sinBack = make([]float32, most*pairs), make([]float32, most*pairs), make([]float32, most*pairs)
	g.b = b
	for range c.Layers + 1 {
		g.stream = append(g.stream, linear.NewRows(tokens, c.Hidden))
	}
	g.grad, g.part = linear.NewRows(tokens, c.Hidden), linear.NewRows(most, c.Hidden)
	for i, o := range g.groups {
		g.ofTensor[o.Tensor] = append(g.ofTensor[o.Tensor], i)
		g.norms = append(g.norms, make([]float32, tokens))
	}
	g.ones = make([]float32, linear.Padded(c.Intermediate))
	for i := range g.ones {
		g.ones[i] = 1
	}
	w := c.TokenWork()
	g.total = float64(tokens) * (3*w.Blocks - w.Down + 2*w.Head)
	return g, g.keep(tokens, int64(min(uint64(max(0, l.gradientMemory)), free))-need)
}

func (g *gradients) close() {
	if g.outputMem != nil {
		_ = mmap.Unmap(g.outputMem)
	}
}

func (g *gradients) run(ctx context.Context) error {
	if err := g.embed(); err != nil {
		return err
	}
	layers := g.m.cfg.Layers
	block := &g.m.layers[0]
	for i := range layers {
		if err := g.l.Load(ctx, i); err != nil {
			return err
		}
		if err := g.each(ctx, func(p *bundle) error { return g.forward(block, i, p) }); err != nil {
			return err
		}
	}
	if err := g.loadOutput(ctx); err != nil {
		return err
	}
	if err := g.each(ctx, g.loss); err != nil {
		return err
	}
	for i := layers - 1; i >= 0; i-- {
		if g.l.index != i {
			if err := g.l.Load(ctx, i); err != nil {
				return err
			}
		}
		if err := g.each(ctx, func(p *bundle) error { return g.backward(block, i, p) }); err != nil {
			return err
		}
	}
	for i, group := range g.norms {
		for t, v := range group {
			if !(v <= math.MaxFloat32) {
				return fmt.Errorf("%s: the gradient at the output of %s is not finite at token %d",
					g.m.path, g.groups[i].Tensor, t)
			}
		}
	}
	return nil
}

// each calls f for all bundles.
func (g *gradients) each(ctx context.Context, f func(p *bundle) error) error {
	for i := range g.bundles {
		p := &g.bundles[i]
		if err := ctx.Err(); err != nil {
			return err
		}
		g.b.runs = p.runs
		g.b.angles()
		for i, s := range g.b.sin {
			g.sinBack[i] = -s
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// loadOutput reads the last norm and the output matrix.
func (g *gradients) loadOutput(ctx context.Context) (err error) {
	ld := linear.NewLoader(g.m.src)
	ld.Expand = true
	head := g.m.cfg.Head()
	g.norm, g.output = newNorm(ld, head.Norm), ld.Linear(head.Output)
	if ld.Err() != nil {
		return ld.Err()
	}
	g.outputMem, err = ld.Read(ctx, g.m.threads, nil)
	return err
}

// embed sets the residual stream before the first block.
func (g *gradients) embed() error {
	x, first := []float32(nil), 0
	for i, s := range g.sequences {
		x = work.Resize(x, len(s)*g.m.cfg.Hidden)
		if err := g.l.Embed(x, s); err != nil {
			return fmt.Errorf("sequence %d: %w", i, err)
		}
		for t := range s {
			copy(g.stream[0].Row(first+t), x[t*g.m.cfg.Hidden:(t+1)*g.m.cfg.Hidden])
		}
		first += len(s)
	}
	return nil
}

// loss computes the gradient with respect to the stream after the last block, some rows of
// logits at a time.
func (g *gradients) loss(p *bundle) error {
	m, b := g.m, g.b
	stream := g.stream[m.cfg.Layers]
	b.x = g.own.x
	for t := range p.count {
		copy(b.x.Row(t), stream.Row(p.first+t))
	}
	most := len(b.logits.Data) / b.logits.Stride
	for first := 0; first < p.count; first += most {
		n := min(most, p.count-first)
		if err := b.runNorm(g.norm, first, n, false, g.output); err != nil {
			return err
		}
		if err := b.matmulOne(g.output, b.norm.From(first), b.logits, n); err != nil {
			return err
		}
		loss := &lossBack{g: g, p: p, first: first, bad: make([]bool, n)}
		if err := m.threads.Run(loss, n); err != nil {
			return err
		}
		for i, bad := range loss.bad {
			if bad {
				return notFinite(m.path, p.first+first+i)
			}
		}
		at := tokenRows{first: p.first + first, count: n}
		if err := g.linearBack(linears{g.output}, b.logits, b.norm.From(first), at, false); err != nil {
			return err
		}
	}
	return m.threads.Run(&normBack{g, g.norm, b.x, b.norm, g.grad.From(p.first), false}, p.count)
}

// lossBack turns rows of the output matrix's results into the loss's gradient: p, less 1 for the label, times the
// logits' scale; 0 for tokens that are masked. A task is a row.
type lossBack struct {
	g     *gradients
	p     *bundle
	first int // of the bundle's tokens
	bad   []bool
}

func (j *lossBack) Do(_, i int) {
	m := j.g.m
	row, vocab := j.g.b.logits.Row(i), m.cfg.VocabSize
	if !m.finish(row[:vocab]) {
		j.bad[i] = true
		return
	}
	k, t := 0, j.first+i
	for t >= j.p.runs[k].first+j.p.runs[k].count {
		k++
	}
	kern.Best().Softmax(row, 0, vocab, 1)
	p := row[:vocab]
	label := j.g.label(j.p.sequence+k, t-j.p.runs[k].first, p)
	// 1 - p would lose digits where the model is sure. It is the sum of the others.
	p[label] = 0
	sum := 0.0
	for _, v := range p {
		sum += float64(v)
	}
	p[label] = float32(-sum)
	for _, id := range m.masked {
		p[id] = 0
	}
	if scale := float32(m.cfg.LogitScale); scale != 1 {
		for k := range p {
			p[k] *= scale
		}
	}
}
