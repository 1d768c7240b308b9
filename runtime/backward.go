package runtime

import (
	"context"
	"fmt"
	"math"
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
	Part        string // what the rows are: q, k, v, gate or up; empty for all rows of a layer
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

// The order of a block's groups in [Layers.OutputGroups].
const (
	groupQ = iota
	groupK
	groupV
	groupO
	groupGate
	groupUp
	groupDown
	groupsPerBlock
)

// Label chooses the token that the loss expects after position pos of a sequence, p being
// the model's own distribution there. It is called from several threads, once for each
// position, in any order.
type Label func(sequence, pos int, p []float32) int32

// GradientNorms runs the model forward over sequences and backward from the loss Σ -log p[label], a sum over all their
// positions. It returns, for each of [Layers.OutputGroups] and each token of all sequences in order, the squared norm
// of the loss's gradient with respect to the group's outputs, before RoPE. Gradients with respect to weights are not
// computed.
//
// Everything is computed in float32, and the bits depend on a sequence's tokens and labels alone. Each block is loaded
// twice, however many sequences there are: once forward, and once backward, where its activations are computed again
// from the residual stream before it, which is kept. [Layers.GradientBytes] says how much memory that takes. progress,
// if not nil, is called with the share that is done, from 0 to 1. The block that was loaded before is replaced.
func (l *Layers) GradientNorms(
	ctx context.Context, sequences [][]int32, label Label, progress func(done float64),
) ([][]float32, error) {
	if l.m.cfg.LayerNorm {
		return nil, fmt.Errorf("%s: gradients of %s models are not computed", l.m.path, l.m.cfg.Arch.Name)
	}
	for i, s := range sequences {
		if n := len(s); n < 1 || n > l.m.cfg.Context {
			return nil, fmt.Errorf("sequence %d has %d tokens, expected 1 to %d", i, n, l.m.cfg.Context)
		}
	}
	g, err := newGradients(l, sequences)
	if err != nil {
		return nil, err
	}
	g.label, g.progress = label, progress
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
	kept := int64(tokens) * 4 * (int64(linear.Padded(c.Hidden)+linear.RowGap)*int64(c.Layers+2) +
		int64(len(l.OutputGroups())))
	together := min(tokens, max(m.opt.Batch, longest))
	inner := int64(0)
	for _, cols := range innerWidths(c) {
		inner += 4 * int64(together) * int64(linear.Padded(cols)+linear.RowGap)
	}
	logits := 4 * int64(linear.Padded(c.VocabSize)+linear.RowGap) * int64(lossRows(c, together))
	transposed, weights := int64(0), int64(0)
	for _, name := range append(l.Linear(0), l.Output()) {
		rows, cols, err := l.Shape(name)
		if err != nil {
			continue // every model has these
		}
		width := min(cols, linear.TransposedCols(rows))
		transposed = max(transposed, 4*int64(linear.Padded(rows))*int64(linear.Padded(width)))
		weights += 4 * int64(linear.Padded(rows)) * int64(cols)
	}
	// Scores of a block of queries, and a head's keys and values in five layouts, for each thread.
	scratch := int64(m.opt.Threads) * 4 * int64(linear.Padded(longest)) * int64(4*maxQueries+5*linear.Padded(c.HeadDim))
	return kept + inner + logits + transposed + weights + scratch
}

// gradients is the state of a pass forward and backward.
type gradients struct {
	l          *Layers
	m          *Model
	b          *batch // activations inside a block, of the tokens of a bundle; b.x is the stream after attention
	sequences  [][]int32
	bundles    []bundle
	stream     []linear.Rows // the residual stream before each block and after the last, for all tokens
	grad       linear.Rows   // the loss's gradient with respect to the stream
	label      Label
	norms      [][]float32       // the result
	sinBack    []float32         // -b.sin: RoPE with it is the inverse
	ones       []float32         // in place of up, so that SwiGLU is SiLU
	transposed linear.Transposed // columns of a matrix as rows
	norm       norm              // the last one
	output     *linear.Matrix
	outputMem  []byte // its panels

	done, total int // work in tokens × blocks; a token counts 1 forward and 2 backward
	progress    func(float64)
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
	g := &gradients{l: l, m: m, sequences: sequences}
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
	if need, free := l.GradientBytes(tokens, longest), machine.FreeMemory(); uint64(need) > free {
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
	g.grad = linear.NewRows(tokens, c.Hidden)
	for range l.OutputGroups() {
		g.norms = append(g.norms, make([]float32, tokens))
	}
	g.ones = make([]float32, linear.Padded(c.Intermediate))
	for i := range g.ones {
		g.ones[i] = 1
	}
	g.total = 3 * tokens * (c.Layers + 1)
	return g, nil
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
		if err := g.each(ctx, 1, func(p *bundle) error { return g.forward(block, i, p) }); err != nil {
			return err
		}
	}
	if err := g.loadOutput(ctx); err != nil {
		return err
	}
	if err := g.each(ctx, 3, g.loss); err != nil {
		return err
	}
	for i := layers - 1; i >= 0; i-- {
		if g.l.index != i {
			if err := g.l.Load(ctx, i); err != nil {
				return err
			}
		}
		if err := g.each(ctx, 2, func(p *bundle) error { return g.backward(block, i, p) }); err != nil {
			return err
		}
	}
	for i, group := range g.norms {
		for t, v := range group {
			if !(v <= math.MaxFloat32) {
				return fmt.Errorf("%s: the gradient at the output of %s is not finite at token %d",
					g.m.path, g.l.OutputGroups()[i].Tensor, t)
			}
		}
	}
	return nil
}

// each calls f for all bundles. work is what that counts for a token, see done.
func (g *gradients) each(ctx context.Context, work int, f func(p *bundle) error) error {
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
		if g.done += work * p.count; g.progress != nil {
			g.progress(float64(g.done) / float64(g.total))
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

// inside computes the activations of block l up to the outputs of gate and up, from the stream x.
func (g *gradients) inside(l *layer, x linear.Rows, p *bundle) error {
	b, n := g.b, p.count
	for t := range n {
		copy(b.x.Row(t), x.Row(p.first+t))
	}
	if err := b.runNorm(l.attnNorm, 0, n, false, l.qkv[0]); err != nil {
		return err
	}
	if err := b.matmul(l.qkv, b.norm, b.qkv, n); err != nil {
		return err
	}
	if err := g.m.threads.Run(&wholeAttention{b: b}, len(p.runs)*g.m.cfg.KVHeads); err != nil {
		return err
	}
	b.begin(l.o, b.attn, n)
	if err := b.matmulOne(l.o, b.attn, b.delta, n); err != nil {
		return err
	}
	up := l.experts[0].up
	if err := b.runNorm(l.ffnNorm, 0, n, true, up[0]); err != nil {
		return err
	}
	return b.matmul(up, b.norm, b.up, n)
}

// forward computes the stream after block i.
func (g *gradients) forward(l *layer, i int, p *bundle) error {
	b, n := g.b, p.count
	if err := g.inside(l, g.stream[i], p); err != nil {
		return err
	}
	down := l.experts[0].down
	b.actJob = activation{b}
	b.begin(down, b.act, n)
	if err := g.m.threads.Run(&b.actJob, n); err != nil {
		return err
	}
	if err := b.matmulOne(down, b.act, b.delta, n); err != nil {
		return err
	}
	for t := range n {
		out := g.stream[i+1].Row(p.first + t)
		copy(out, b.x.Row(t))
		kern.Best().Add(out, b.delta.Row(t))
	}
	return nil
}

// backward turns the gradient with respect to the stream after block i into that before it, and measures the block's
// groups on the way.
func (g *gradients) backward(l *layer, i int, p *bundle) error {
	b, n, c, threads := g.b, p.count, g.m.cfg, g.m.threads
	if err := g.inside(l, g.stream[i], p); err != nil {
		return err
	}
	grad, groups := g.grad.From(p.first), i*groupsPerBlock
	if err := g.measure(groups+groupDown, grad, p.first, n, c.Hidden); err != nil {
		return err
	}
	if err := g.multiply(l.experts[0].down, grad, b.act, n); err != nil {
		return err
	}
	if err := threads.Run(&siluBack{g}, n); err != nil {
		return err
	}
	if err := g.measure(groups+groupGate, b.up, p.first, n, c.Intermediate, c.Intermediate); err != nil {
		return err
	}
	if err := g.multiply(l.experts[0].up[0], b.up, b.norm, n); err != nil {
		return err
	}
	if err := threads.Run(&normBack{g, l.ffnNorm.weight, b.x, grad, true}, n); err != nil {
		return err
	}
	if err := g.measure(groups+groupO, grad, p.first, n, c.Hidden); err != nil {
		return err
	}
	if err := g.multiply(l.o, grad, b.attn, n); err != nil {
		return err
	}
	if err := threads.Run(&wholeAttention{b: b, sinBack: g.sinBack}, len(p.runs)*c.KVHeads); err != nil {
		return err
	}
	kv := c.KVHeads * c.HeadDim
	if err := g.measure(groups+groupQ, b.qkv, p.first, n, c.Heads*c.HeadDim, kv, kv); err != nil {
		return err
	}
	if err := g.multiply(l.qkv[0], b.qkv, b.norm, n); err != nil {
		return err
	}
	return threads.Run(&normBack{g, l.attnNorm.weight, g.stream[i].From(p.first), grad, true}, n)
}

// loss computes the gradient with respect to the stream after the last block, some rows of
// logits at a time.
func (g *gradients) loss(p *bundle) error {
	m, b := g.m, g.b
	stream, last := g.stream[m.cfg.Layers], len(g.norms)-1
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
		if err := g.measure(last, b.logits, p.first+first, n, m.cfg.VocabSize); err != nil {
			return err
		}
		if err := g.multiply(g.output, b.logits, b.norm.From(first), n); err != nil {
			return err
		}
	}
	return m.threads.Run(&normBack{g, g.norm.weight, b.x, g.grad.From(p.first), false}, p.count)
}

// measure stores the squared norms of n rows of grad, the tokens from first on. The columns are those of the groups
// from group on, of these widths.
func (g *gradients) measure(group int, grad linear.Rows, first, n int, widths ...int) error {
	return g.m.threads.Run(&squares{g, grad, first, group, widths}, n)
}

// multiply sets out = grad·l for n rows, by transposing some columns of l at a time.
func (g *gradients) multiply(l *linear.Matrix, grad, out linear.Rows, n int) error {
	step := linear.TransposedCols(l.Rows)
	for first := 0; first < l.Cols; first += step {
		cols := min(step, l.Cols-first)
		t, err := g.transposed.Transpose(g.m.threads, l, first, cols)
		if err != nil {
			return err
		}
		g.b.begin(t, grad, n)
		if err := g.b.matmulOne(t, grad, out.Columns(first), n); err != nil {
			return err
		}
	}
	return nil
}

// squares is the job of measure. A task is a row.
type squares struct {
	g            *gradients
	grad         linear.Rows
	first, group int
	widths       []int
}

func (j *squares) Do(_, i int) {
	row := j.grad.Row(i)
	for k, n := range j.widths {
		j.g.norms[j.group+k][j.first+i] = float32(dot(row[:n], row[:n]))
		row = row[n:]
	}
}

// dot returns Σ a·b in float64. The products are exact there, so the bits are the same whether or not a compiler fuses
// them with the sums.
func dot(a, b []float32) float64 {
	var s0, s1, s2, s3 float64
	b = b[:len(a)]
	for ; len(a) >= 4; a, b = a[4:], b[4:] {
		b := b[:4]
		s0 += float64(a[0]) * float64(b[0])
		s1 += float64(a[1]) * float64(b[1])
		s2 += float64(a[2]) * float64(b[2])
		s3 += float64(a[3]) * float64(b[3])
	}
	for i, x := range a {
		s0 += float64(x) * float64(b[i])
	}
	return (s0 + s2) + (s1 + s3)
}

// lossBack turns rows of logits into the loss's gradient: p, less 1 for the label. A task is a row.
type lossBack struct {
	g     *gradients
	p     *bundle
	first int // of the bundle's tokens
	bad   []bool
}

func (j *lossBack) Do(_, i int) {
	row, vocab := j.g.b.logits.Row(i), j.g.m.cfg.VocabSize
	if !kern.Best().Below(row[:vocab], maxLogit) {
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
}

// normBack is backward through RMSNorm, y = x·r·w with r = 1/√(Σx²/n + ε): with the
// gradient dy in b.norm and g = dy·w, dx = r·g - x·r³·Σ(g·x)/n. A task is a row.
type normBack struct {
	g    *gradients
	w    []float32
	x    linear.Rows
	grad linear.Rows // dx, which is added to what is there if add is set
	add  bool
}

func (j *normBack) Do(thread, i int) {
	n := j.g.m.cfg.Hidden
	x, dy, dx, weight := j.x.Row(i)[:n], j.g.b.norm.Row(i)[:n], j.grad.Row(i)[:n], j.w[:n]
	s := j.g.m.scratch[thread]
	s.values = work.Resize(s.values, n)
	g := s.values
	for k, v := range dy {
		g[k] = v * weight[k]
	}
	r := 1 / math.Sqrt(dot(x, x)/float64(n)+float64(float32(j.g.m.cfg.NormEps)))
	f := r * r * r * dot(g, x) / float64(n)
	for k, v := range g {
		d := float32(float64(r*float64(v)) - float64(f*float64(x[k])))
		if j.add {
			d += dx[k]
		}
		dx[k] = d
	}
}

// siluBack is backward through SwiGLU, act = s·up with s = gate·σ(gate): the gradient in b.act becomes those of gate
// and up, which replace them in b.up. A task is a row.
type siluBack struct{ g *gradients }

func (j *siluBack) Do(thread, i int) {
	b, n := j.g.b, j.g.m.cfg.Intermediate
	w := j.g.m.scratch[thread]
	w.values = work.Resize(w.values, 2*linear.Padded(n))
	s, gates := w.values[:linear.Padded(n)], w.values[linear.Padded(n):2*linear.Padded(n)]
	row, act := b.up.Row(i), b.act.Row(i)[:n]
	copy(gates, row[:n])
	clear(gates[n:])
	kern.Best().SiluMul(s, gates, j.g.ones)
	gate, up := row[:n], row[n:2*n]
	for k, d := range act {
		sigma := float32(0.5)
		if gate[k] != 0 {
			sigma = s[k] / gate[k]
		}
		slope := sigma + float32(s[k]*(1-sigma))
		gate[k], up[k] = float32(d*up[k])*slope, d*s[k]
	}
}
