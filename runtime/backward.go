package runtime

import (
	"context"
	"fmt"
	"math"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// OutputGroup is output rows of a linear layer that belong together.
type OutputGroup struct {
	Tensor      string // GGUF name of the layer's weights
	Part        string // what the rows are: q, k, v, gate or up; empty for all rows of a layer
	First, Rows int
}

// OutputGroups lists the output rows of all linear layers, in the order of evaluation.
func (m *Model) OutputGroups() []OutputGroup {
	c := m.cfg
	kv := c.KVHeads * c.HeadDim
	q := c.Heads * c.HeadDim
	var all []OutputGroup
	for i := range c.Layers {
		blk := fmt.Sprintf("blk.%d.", i)
		qkv, up := blk+"attn_qkv.weight", blk+"ffn_up.weight"
		all = append(all,
			OutputGroup{qkv, "q", 0, q}, OutputGroup{qkv, "k", q, kv}, OutputGroup{qkv, "v", q + kv, kv},
			OutputGroup{blk + "attn_output.weight", "", 0, c.Hidden},
			OutputGroup{up, "gate", 0, c.Intermediate}, OutputGroup{up, "up", c.Intermediate, c.Intermediate},
			OutputGroup{blk + "ffn_down.weight", "", 0, c.Hidden})
	}
	return append(all, OutputGroup{m.output.name, "", 0, c.VocabSize})
}

// Places of the groups of a layer in OutputGroups.
const (
	groupQKV = 0
	groupO   = 3
	groupUp  = 4
	groupDow = 6
	perLayer = 7
)

// Label chooses the token that the loss expects behind position pos of a sequence, p being
// the model's own distribution there. It is called from several threads, once for each
// position, in any order.
type Label func(sequence, pos int, p []float32) int32

// GradientNorms runs the model forward over sequences and backward from the loss Σ -log p[label],
// a sum over all their positions. It returns how steep that loss is at the outputs of
// the linear layers: for each of [Model.OutputGroups], for each token of all sequences in
// order, the squared norm of the gradient with respect to the group's outputs, RoPE not yet
// applied. Nothing is computed for weights: the pass goes through activations only.
//
// Everything is computed in float32, for which the model must have been opened, and the bits depend
// on a sequence's tokens and labels alone. Between the passes each block's input is kept, and what is
// inside of a block is computed again; [Model.GradientBytes] says how much memory that takes.
// Blocks are used twice, however many sequences there are. progress is called with the
// share that is done.
func (m *Model) GradientNorms(ctx context.Context, sequences [][]int32, label Label, progress func(done float64)) ([][]float32, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.closed:
		return nil, fmt.Errorf("%s: the model is closed", m.path)
	case !m.opt.Float32:
		return nil, fmt.Errorf("%s: gradients need a model that was opened for float32", m.path)
	}
	for i, s := range sequences {
		if len(s) > m.cfg.Context {
			return nil, fmt.Errorf("sequence %d: %w", i, &ContextError{Tokens: len(s), Context: m.cfg.Context})
		}
		for j, id := range s {
			if id < 0 || int(id) >= m.cfg.VocabSize {
				return nil, fmt.Errorf("sequence %d: token %d has id %d, expected 0 to %d", i, j, id, m.cfg.VocabSize-1)
			}
		}
	}
	g, err := newGradients(m, sequences)
	if err != nil {
		return nil, err
	}
	g.label = label
	if err := g.run(ctx, progress); err != nil {
		return nil, err
	}
	return g.norms, nil
}

// GradientBytes returns the memory that GradientNorms takes for that many tokens in
// sequences of at most longest, beside the weights.
func (m *Model) GradientBytes(tokens, longest int) int64 {
	c := m.cfg
	hidden := int64(padded(c.Hidden))
	kept := int64(tokens) * 4 * (hidden*int64(c.Layers+2) + int64(len(m.OutputGroups())))
	inner := int64(0)
	for _, cols := range innerWidths(m) {
		inner += 4 * int64(padded(cols)+rowGap)
	}
	vocab := int64(padded(c.VocabSize))
	inner *= int64(min(tokens, max(m.opt.Batch, longest)))
	logits := 4 * vocab * int64(headRows(m, tokens))
	turned := int64(0)
	for _, rows := range []int{c.VocabSize, 2 * c.Intermediate, (c.Heads + 2*c.KVHeads) * c.HeadDim, c.Hidden} {
		turned = max(turned, 4*int64(padded(rows))*int64(turnedCols(rows)))
	}
	// Scores of a block of queries, and a head's keys and values in three layouts, for each thread.
	n := int64(padded(longest))
	scratch := int64(m.opt.Threads) * 4 * n * (4*maxQueries + 5*int64(padded(c.HeadDim)))
	return kept + inner + logits + turned + scratch
}

// gradients is the state of a pass forward and backward.
type gradients struct {
	m         *Model
	b         *batch // what is inside of a block, for the tokens of a part; b.x is the stream behind attention
	sequences [][]int32
	parts     []part
	stream    []rows // the residual stream before each block and behind the last, for all tokens
	grad      rows   // the loss's gradient with respect to the stream
	label     Label
	norms     [][]float32 // for each group, for each token
	sinBack   []float32   // -b.sin
	ones      []float32
	turned    []float32 // columns of a matrix as rows

	done, total int // of tokens × blocks; backward counts twice
	progress    func(float64)
}

// part is sequences that go through a block together.
type part struct {
	first, count int // tokens of all sequences
	sequence     int // number of the first sequence
	runs         []run
}

// rowGap is added to a row's stride where rows would lie whole pages apart, and share lines of a
// core's first cache.
const rowGap = 128

func newRows(tokens, cols int) rows {
	width := padded(cols)
	stride := width
	if stride%1024 == 0 {
		stride += rowGap
	}
	return rows{make([]float32, tokens*stride), width, stride}
}

// innerWidths lists the columns of a batch's x, norm, delta, qkv, attn, up and act.
func innerWidths(m *Model) [7]int {
	c := m.cfg
	return [...]int{c.Hidden, c.Hidden, c.Hidden, (c.Heads + 2*c.KVHeads) * c.HeadDim, c.Heads * c.HeadDim, 2 * c.Intermediate, c.Intermediate}
}

// headRows is the number of tokens whose logits are computed together.
func headRows(m *Model, tokens int) int {
	const logitBytes = 128 << 20
	return min(tokens, max(logitRows, logitBytes/(4*padded(m.cfg.VocabSize))))
}

// turnedCols is the number of columns of a matrix that are transposed at a time: whole blocks
// of quantized types, about 32 MiB.
func turnedCols(rows int) int {
	const bytes = 32 << 20
	return max(256, bytes/(4*padded(rows))&^255)
}

func newGradients(m *Model, sequences [][]int32) (*gradients, error) {
	g := &gradients{m: m, sequences: sequences}
	tokens, longest, most := 0, 0, 0
	for i, s := range sequences {
		if len(s) == 0 {
			continue
		}
		longest = max(longest, len(s))
		k := len(g.parts) - 1
		if k < 0 || g.parts[k].count+len(s) > m.opt.Batch {
			g.parts = append(g.parts, part{first: tokens, sequence: i})
			k++
		}
		p := &g.parts[k]
		p.runs = append(p.runs, run{first: p.count, count: len(s), long: m.rope.isLong(len(s))})
		p.count += len(s)
		tokens += len(s)
		most = max(most, p.count)
	}
	if need, free := m.GradientBytes(tokens, longest), availableMemory(); uint64(need) > free {
		return nil, fmt.Errorf("%s: gradients of %d tokens take %d bytes of memory and %d are available: use fewer at a time", m.path, tokens, need, free)
	}
	c := m.cfg
	b := &batch{model: m, logits: newRows(headRows(m, most), c.VocabSize)}
	for i, r := range []*rows{&b.x, &b.norm, &b.delta, &b.qkv, &b.attn, &b.up, &b.act} {
		*r = newRows(most, innerWidths(m)[i])
	}
	pairs := c.RotaryDims / 2
	b.cos, b.sin, g.sinBack = make([]float32, most*pairs), make([]float32, most*pairs), make([]float32, most*pairs)
	b.byteRow = make([]byte, m.embed.RowBytes())
	g.b = b
	for range c.Layers + 1 {
		g.stream = append(g.stream, newRows(tokens, c.Hidden))
	}
	g.grad = newRows(tokens, c.Hidden)
	for range m.OutputGroups() {
		g.norms = append(g.norms, make([]float32, tokens))
	}
	g.ones = make([]float32, padded(c.Intermediate))
	for i := range g.ones {
		g.ones[i] = 1
	}
	g.total = 3 * tokens * (c.Layers + 1)
	return g, nil
}

func (g *gradients) run(ctx context.Context, progress func(float64)) error {
	m := g.m
	each := func(work int, f func(p *part) error) error {
		for i := range g.parts {
			p := &g.parts[i]
			if err := ctx.Err(); err != nil {
				return err
			}
			g.b.runs = p.runs
			g.angles(p)
			if err := f(p); err != nil {
				return err
			}
			if g.done += work * p.count; progress != nil {
				progress(float64(g.done) / float64(g.total))
			}
		}
		return nil
	}
	if err := g.embed(); err != nil {
		return err
	}
	for i := range m.layers {
		if err := each(1, func(p *part) error { return g.forward(&m.layers[i], i, p) }); err != nil {
			return err
		}
	}
	if err := each(3, g.head); err != nil {
		return err
	}
	for i := len(m.layers) - 1; i >= 0; i-- {
		if err := each(2, func(p *part) error { return g.backward(&m.layers[i], i, p) }); err != nil {
			return err
		}
	}
	for i, group := range g.norms {
		for t, v := range group {
			if !(v <= math.MaxFloat32) {
				o := m.OutputGroups()[i]
				return fmt.Errorf("%s: the gradient at the output of %s is not finite at token %d", m.path, o.Tensor, t)
			}
		}
	}
	return nil
}

func (g *gradients) embed() error {
	m, t := g.m, 0
	for _, s := range g.sequences {
		for _, id := range s {
			if err := m.embed.ReadRows(g.b.byteRow, int(id)); err != nil {
				return err
			}
			m.embed.Decode(g.stream[0].row(t)[:m.cfg.Hidden], g.b.byteRow)
			t++
		}
	}
	return nil
}

// angles sets cos and sin of every position.
func (g *gradients) angles(p *part) {
	b, pairs := g.b, g.m.cfg.RotaryDims/2
	for _, r := range p.runs {
		for i := range r.count {
			t := r.first + i
			g.m.rope.at(b.cos[t*pairs:(t+1)*pairs], b.sin[t*pairs:(t+1)*pairs], i, r.long)
		}
	}
	for i, s := range b.sin {
		g.sinBack[i] = -s
	}
}

// inside computes what is inside of block l up to the outputs of gate and up, from the stream x.
func (g *gradients) inside(l *layer, x rows, p *part) error {
	b, n := g.b, p.count
	for t := range n {
		copy(b.x.row(t), x.row(p.first+t))
	}
	if err := b.runNorm(l.attnNorm, 0, n, false, l.qkv); err != nil {
		return err
	}
	if err := b.matmul(l.qkv, b.norm, b.qkv, n); err != nil {
		return err
	}
	if err := g.m.pool.run(&wholeAttention{b: b}, len(p.runs)*g.m.cfg.KVHeads); err != nil {
		return err
	}
	b.begin(l.o, b.attn, n)
	if err := b.matmul(l.o, b.attn, b.delta, n); err != nil {
		return err
	}
	if err := b.runNorm(l.ffnNorm, 0, n, true, l.up); err != nil {
		return err
	}
	return b.matmul(l.up, b.norm, b.up, n)
}

// forward computes the stream behind block i.
func (g *gradients) forward(l *layer, i int, p *part) error {
	b, n := g.b, p.count
	if err := g.inside(l, g.stream[i], p); err != nil {
		return err
	}
	b.siluJob = siluJob{b: b, n: g.m.cfg.Intermediate}
	b.begin(l.down, b.act, n)
	if err := g.m.pool.run(&b.siluJob, n); err != nil {
		return err
	}
	if err := b.matmul(l.down, b.act, b.delta, n); err != nil {
		return err
	}
	for t := range n {
		out := g.stream[i+1].row(p.first + t)
		copy(out, b.x.row(t))
		kern.Best().Add(out, b.delta.row(t))
	}
	return nil
}

// backward takes the gradient from behind block i to before it.
func (g *gradients) backward(l *layer, i int, p *part) error {
	b, n, c, pool := g.b, p.count, g.m.cfg, g.m.pool
	if err := g.inside(l, g.stream[i], p); err != nil {
		return err
	}
	grad, groups := g.grad.from(p.first), i*perLayer
	if err := g.measure(groups+groupDow, grad, p.first, n, c.Hidden); err != nil {
		return err
	}
	if err := g.multiply(l.down, grad, b.act, n); err != nil {
		return err
	}
	if err := pool.run(&siluBack{g}, n); err != nil {
		return err
	}
	if err := g.measure(groups+groupUp, b.up, p.first, n, c.Intermediate, c.Intermediate); err != nil {
		return err
	}
	if err := g.multiply(l.up, b.up, b.norm, n); err != nil {
		return err
	}
	if err := pool.run(&normBack{g, l.ffnNorm, b.x, grad, true}, n); err != nil {
		return err
	}
	if err := g.measure(groups+groupO, grad, p.first, n, c.Hidden); err != nil {
		return err
	}
	if err := g.multiply(l.o, grad, b.attn, n); err != nil {
		return err
	}
	if err := pool.run(&wholeAttention{b: b, sinBack: g.sinBack}, len(p.runs)*c.KVHeads); err != nil {
		return err
	}
	kv := c.KVHeads * c.HeadDim
	if err := g.measure(groups+groupQKV, b.qkv, p.first, n, c.Heads*c.HeadDim, kv, kv); err != nil {
		return err
	}
	if err := g.multiply(l.qkv, b.qkv, b.norm, n); err != nil {
		return err
	}
	return pool.run(&normBack{g, l.attnNorm, g.stream[i].from(p.first), grad, true}, n)
}

// head computes the gradient with respect to the stream behind the last block, some rows of
// logits at a time.
func (g *gradients) head(p *part) error {
	m, b := g.m, g.b
	stream, last := g.stream[len(m.layers)], len(g.norms)-1
	for t := range p.count {
		copy(b.x.row(t), stream.row(p.first+t))
	}
	most := len(b.logits.data) / b.logits.stride
	for first := 0; first < p.count; first += most {
		n := min(most, p.count-first)
		if err := b.runNorm(m.norm, first, n, false, m.output); err != nil {
			return err
		}
		if err := b.matmul(m.output, b.norm.from(first), b.logits, n); err != nil {
			return err
		}
		loss := &lossBack{g: g, p: p, first: first, bad: make([]bool, n)}
		if err := m.pool.run(loss, n); err != nil {
			return err
		}
		for i, bad := range loss.bad {
			if bad {
				return fmt.Errorf("%s: the logits behind token %d are not finite: the weights are damaged or not of this architecture", m.path, p.first+first+i)
			}
		}
		if err := g.measure(last, b.logits, p.first+first, n, m.cfg.VocabSize); err != nil {
			return err
		}
		if err := g.multiply(m.output, b.logits, b.norm.from(first), n); err != nil {
			return err
		}
	}
	return m.pool.run(&normBack{g, m.norm, b.x, g.grad.from(p.first), false}, p.count)
}

// measure stores the squared norms of n rows of grad, of the groups from group on, which have
// these widths.
func (g *gradients) measure(group int, grad rows, first, n int, widths ...int) error {
	return g.m.pool.run(&squares{g, grad, first, group, widths}, n)
}

// multiply sets out = grad·l for n rows, l transposed some columns at a time.
func (g *gradients) multiply(l *matrix, grad, out rows, n int) error {
	step := turnedCols(l.rows)
	for first := 0; first < l.cols; first += step {
		cols := min(step, l.cols-first)
		t := &matrix{typ: quant.F32, format: kern.F32, rows: cols, cols: l.panels * kern.Rows, panels: padded(cols) / kern.Rows}
		t.size = kern.PanelBytes(t.format, t.cols)
		g.turned = grow(g.turned, t.bytes()/4+spare)
		t.packed = unsafe.Slice((*byte)(unsafe.Pointer(&g.turned[0])), t.bytes())
		if err := g.m.pool.run(&transposition{l, first, cols, g.turned, t.size / 4}, l.panels); err != nil {
			return err
		}
		g.b.begin(t, grad, n)
		if err := g.b.matmul(t, grad, rows{out.data[first:], 0, out.stride}, n); err != nil {
			return err
		}
	}
	return nil
}

// transposition lays columns of a matrix in panels, as if they were rows of float32. A task is a panel
// of the matrix, which becomes 16 columns of all panels of out.
type transposition struct {
	m           *matrix
	first, cols int
	out         []float32
	size        int // values of a panel of out
}

// A transposition kernel takes a pointer to 512 values, and uses 256 here. So many lie behind
// the last ones.
const spare = 256

func (j *transposition) do(w *worker, i int) {
	const tile = kern.Rows * kern.Rows
	panel := j.m.panel(w, i, 1)
	w.panel = grow(w.panel, floatBlock*kern.Rows+spare)
	for c := 0; c < j.cols; c += floatBlock {
		n := min(floatBlock, j.cols-c)
		j.m.expand(w, w.panel, panel, j.first+c, n)
		clear(w.panel[n*kern.Rows : padded(n)*kern.Rows])
		for k := 0; k < n; k += kern.Rows {
			dst := j.out[(c+k)/kern.Rows*j.size+i*tile:]
			kern.Best().Transpose((*[512]float32)(dst), (*[512]float32)(w.panel[k*kern.Rows:]), kern.Rows)
		}
	}
}

// expand converts columns c to c+n of a panel to float32: dst[16·column + row]. c is a
// multiple of [floatBlock].
func (m *matrix) expand(w *worker, dst []float32, panel []byte, c, n int) {
	dst = dst[:n*kern.Rows]
	switch m.format {
	case kern.F32:
		copy(dst, unsafe.Slice((*float32)(unsafe.Pointer(&panel[4*kern.Rows*c])), len(dst)))
	case kern.F16:
		kern.Best().ExpandF16(dst, unsafe.Slice((*uint16)(unsafe.Pointer(&panel[2*kern.Rows*c])), len(dst)))
	case kern.BF16: // a unit is two columns of a row
		units := unsafe.Slice((*uint32)(unsafe.Pointer(&panel[2*kern.Rows*c])), padded(len(dst)/2))
		for ; len(dst) > 0; dst, units = dst[min(2*kern.Rows, len(dst)):], units[kern.Rows:] {
			first := (*[kern.Rows]float32)(dst)
			for r, u := range units[:kern.Rows] {
				first[r] = math.Float32frombits(u << 16)
			}
			if len(dst) > kern.Rows {
				second := (*[kern.Rows]float32)(dst[kern.Rows:])
				for r, u := range units[:kern.Rows] {
					second[r] = math.Float32frombits(u &^ 0xffff)
				}
			}
		}
	default:
		m.floats(w, dst, panel, c, n)
	}
}

// squares is the job of measure. A task is a row.
type squares struct {
	g            *gradients
	grad         rows
	first, group int
	widths       []int
}

func (j *squares) do(_ *worker, i int) {
	row := j.grad.row(i)
	for k, n := range j.widths {
		j.g.norms[j.group+k][j.first+i] = float32(dot(row[:n], row[:n]))
		row = row[n:]
	}
}

// dot returns Σ a·b in float64, in which the products are exact: whether they are fused with the
// sums does not matter.
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
	p     *part
	first int // of the part's tokens
	bad   []bool
}

func (j *lossBack) do(_ *worker, i int) {
	row, vocab := j.g.b.logits.row(i), j.g.m.cfg.VocabSize
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

// normBack takes the gradient through RMSNorm, y = x·r·w with r = 1/√(Σx²/n + ε): with the
// gradient dy in b.norm and g = dy·w, dx = r·g - x·r³·Σ(g·x)/n. A task is a row.
type normBack struct {
	g    *gradients
	w    []float32
	x    rows
	grad rows // dx, which is added to what is there if add is set
	add  bool
}

func (j *normBack) do(w *worker, i int) {
	n := j.g.m.cfg.Hidden
	x, dy, dx, weight := j.x.row(i)[:n], j.g.b.norm.row(i)[:n], j.grad.row(i)[:n], j.w[:n]
	w.values = grow(w.values, n)
	g := w.values
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

// siluBack takes the gradient through SwiGLU, act = s·up with s = gate·σ(gate): from b.act, to b.up
// in place of gate and up. A task is a row.
type siluBack struct{ g *gradients }

func (j *siluBack) do(w *worker, i int) {
	b, n := j.g.b, j.g.m.cfg.Intermediate
	w.values = grow(w.values, 2*padded(n))
	s, gates := w.values[:padded(n)], w.values[padded(n):2*padded(n)]
	row, act := b.up.row(i), b.act.row(i)[:n]
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
