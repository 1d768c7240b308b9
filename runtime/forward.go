package runtime

import (
	"context"
	"fmt"
	"math"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/machine"
)

// token is one token of a batch.
type token struct {
	id   int32
	want int // the index that Request.Logits gets, or -1 if no logits are wanted
	req  *Request
}

// batch is tokens that go through the model together, and the memory for that.
type batch struct {
	model  *Model
	tokens []token
	runs   []run
	before []int // Eval's: tokens of each request's sequence before it

	x, norm, qkv, attn, up, act linear.Rows // residual stream, its norm, …; up is gate and up, act what comes of them
	delta                       linear.Rows // what the next norm adds to x
	result                      linear.Rows // of a parallel block's feed-forward layer, or of an expert
	logits                      linear.Rows
	cos, sin                    []float32 // of each token's position, for each rotated pair of dimensions
	input                       linear.Input
	embedding                   []byte // a row as the file has it

	// tap, if not nil, is called with the input of every product.
	tap func(m *linear.Matrix, x linear.Rows, count int) error

	routes routes // of tokens to experts

	// Jobs, kept so that running one allocates nothing.
	normJob normJob
	actJob  activation
	addJob  addRows
	encJob  encodeJob
	ropeJob ropeStore
	attnJob attention
	product linear.Product
}

// batch returns the model's batch, which it makes at first use.
func (m *Model) batch() (*batch, error) {
	if m.b != nil {
		return m.b, nil
	}
	c := m.cfg
	b := &batch{model: m}
	n := m.opt.Batch
	type rows struct {
		rows         *linear.Rows
		tokens, cols int
	}
	var all []rows
	for i, r := range b.inner() {
		all = append(all, rows{r, n, innerWidths(c)[i]})
	}
	all = append(all, rows{&b.logits, min(n, logitRows), c.VocabSize})
	total := 0
	for _, a := range all {
		total += 4 * a.tokens * linear.Stride(a.cols)
	}
	if free := machine.FreeMemory(); uint64(total) > free {
		return nil, fmt.Errorf(
			"%s: a batch of %d tokens takes %d bytes of memory and %d are available: use a smaller batch",
			m.path, n, total, free)
	}
	for _, a := range all {
		*a.rows = linear.NewRows(a.tokens, a.cols)
	}
	b.cos, b.sin = make([]float32, n*c.RotaryDims/2), make([]float32, n*c.RotaryDims/2)
	b.embedding = make([]byte, m.embed.RowBytes())
	if tap := m.opt.Tap; tap != nil {
		b.tap = func(l *linear.Matrix, x linear.Rows, count int) error {
			for t := range count {
				tap(l.Name, x.Row(t)[:l.Cols])
			}
			return nil
		}
	}
	m.b = b
	return b, nil
}

// inner lists the rows of a batch that innerWidths gives the widths of.
func (b *batch) inner() []*linear.Rows {
	return []*linear.Rows{
		&b.x, &b.norm, &b.delta, &b.qkv, &b.attn, &b.up, &b.act, &b.result, &b.routes.x, &b.routes.logits,
	}
}

// innerWidths lists the columns of the rows of a batch. Matrices whose results lie side by side write whole panels.
func innerWidths(c *arch.Config) []int {
	qkv := linear.Padded(c.Heads*c.HeadDim) + 2*linear.Padded(c.KVHeads*c.HeadDim)
	up, result, gathered, experts := c.Intermediate, 0, 0, 0
	if c.Activation != arch.GELU {
		up += linear.Padded(c.Intermediate)
	}
	if c.Parallel {
		result = c.Hidden
	}
	if c.Experts != nil {
		result, gathered, experts = c.Hidden, c.Hidden, c.Experts.Count
	}
	return []int{
		c.Hidden, c.Hidden, c.Hidden, qkv, c.Heads * c.HeadDim, up, c.Intermediate, result, gathered, experts,
	}
}

// logitRows is how many rows of logits are computed at a time: enough to share
// the reading of the output matrix, few enough to be small.
const logitRows = 32

func (b *batch) reset() { b.tokens, b.runs = b.tokens[:0], b.runs[:0] }

// add appends token n of r's sequence.
func (b *batch) add(r *Request, n, want int) {
	s := r.Seq
	if k := len(b.runs) - 1; k >= 0 && b.runs[k].seq == s {
		b.runs[k].count++
	} else {
		b.runs = append(b.runs, run{seq: s, first: len(b.tokens), count: 1, pos: n, long: s.long})
	}
	b.tokens = append(b.tokens, token{id: s.tokens[n], want: want, req: r})
}

// flush runs the batch through the model, if it has tokens, and empties it.
func (b *batch) flush(ctx context.Context) error {
	if len(b.tokens) == 0 {
		return nil
	}
	if err := b.forward(ctx); err != nil {
		return err
	}
	for _, r := range b.runs {
		r.seq.valid = r.pos + r.count
	}
	b.reset()
	return nil
}

// forward runs the model, block by block.
func (b *batch) forward(ctx context.Context) error {
	m := b.model
	for t, tok := range b.tokens {
		if err := m.readEmbedding(b.x.Row(t)[:m.cfg.Hidden], m.embed, b.embedding, tok.id); err != nil {
			return err
		}
	}
	b.angles()
	needed := 0
	for i := range m.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		// In the last block, after the keys and values, only tokens whose logits are wanted matter.
		if i == len(m.layers)-1 && m.opt.Tap == nil {
			needed = b.firstWanted()
		}
		if err := b.block(&m.layers[i], i, needed, i > 0); err != nil {
			return err
		}
	}
	return b.output(needed, len(b.tokens)-needed, true)
}

// angles sets cos and sin of every token's position.
func (b *batch) angles() {
	m := b.model
	pairs := m.cfg.RotaryDims / 2
	for _, r := range b.runs {
		for i := range r.count {
			t := r.first + i
			m.rope.At(b.cos[t*pairs:(t+1)*pairs], b.sin[t*pairs:(t+1)*pairs], r.pos+i, r.long)
		}
	}
}

// block runs a block with the weights l, whose keys and values are in layer i of the cache. If add is set, it adds
// delta to x first; what the block itself adds to x is left in delta. After the keys and values, only rows from needed
// on are computed.
func (b *batch) block(l *layer, i, needed int, add bool) error {
	m := b.model
	c := m.cfg
	n := len(b.tokens)
	if err := b.runNorm(l.attnNorm, 0, n, add, l.qkv[0]); err != nil {
		return err
	}
	if err := b.matmul(l.qkv, b.norm, b.qkv, n); err != nil {
		return err
	}
	b.ropeJob = ropeStore{b, i}
	if err := m.threads.Run(&b.ropeJob, c.KVHeads); err != nil {
		return err
	}
	first, rest := needed, n-needed
	if rest == 0 {
		return nil
	}
	tasks := b.attnJob.plan(b, l, i, first)
	if err := m.threads.Run(&b.attnJob, tasks); err != nil {
		return err
	}
	return b.afterAttention(l, first, rest)
}

// afterAttention is what follows the results of attention in a block, for count rows from first on.
func (b *batch) afterAttention(l *layer, first, count int) error {
	if err := b.encode(l.o, b.attn, first, count); err != nil {
		return err
	}
	if err := b.matmulOne(l.o, b.attn.From(first), b.delta.From(first), count); err != nil {
		return err
	}
	if b.model.cfg.Parallel {
		return b.addParallel(l, first, count)
	}
	return b.secondHalf(l, first, count, true)
}

// secondHalf is what follows the stream after attention. If add is set, it adds delta to x first.
func (b *batch) secondHalf(l *layer, first, count int, add bool) error {
	if err := b.runNorm(l.ffnNorm, first, count, add, l.readsFFNNorm()); err != nil {
		return err
	}
	if l.router != nil {
		return b.runExperts(l, first, count)
	}
	return b.feedForward(&l.experts[0], b.norm.From(first), b.delta.From(first), count)
}

// addParallel adds to delta what the feed-forward layer makes of the norm that attention has read.
func (b *batch) addParallel(l *layer, first, count int) error {
	f := &l.experts[0]
	if err := b.encode(f.up[0], b.norm, first, count); err != nil {
		return err
	}
	if err := b.feedForward(f, b.norm.From(first), b.result, count); err != nil {
		return err
	}
	b.addJob = addRows{b.delta.From(first), b.result}
	return b.model.threads.Run(&b.addJob, count)
}

// feedForward sets out to what a feed-forward layer makes of count rows of x, which b.input holds encoded.
func (b *batch) feedForward(f *feedForward, x, out linear.Rows, count int) error {
	if err := b.matmul(f.up, x, b.up, count); err != nil {
		return err
	}
	b.actJob = activation{b: b}
	b.begin(f.down, b.act, count)
	if err := b.model.threads.Run(&b.actJob, count); err != nil {
		return err
	}
	return b.matmulOne(f.down, b.act, out, count)
}

// firstWanted returns the first token whose logits are wanted, or the number of tokens if none is.
func (b *batch) firstWanted() int {
	for t, tok := range b.tokens {
		if tok.want >= 0 {
			return t
		}
	}
	return len(b.tokens)
}

// output computes the logits that are wanted of count tokens from first on, some at a time, and hands them to the
// requests. If add is set, it adds delta to x first.
func (b *batch) output(first, count int, add bool) error {
	m := b.model
	vocab := m.cfg.VocabSize
	for t := first; t < first+count; {
		// Rows that follow each other go through the output matrix together.
		for t < first+count && b.tokens[t].want < 0 {
			t++
		}
		n := 0
		for t+n < first+count && n < len(b.logits.Data)/b.logits.Stride && b.tokens[t+n].want >= 0 &&
			(b.tokens[t+n].req.Hidden == nil) == (b.tokens[t].req.Hidden == nil) {
			n++
		}
		if n == 0 {
			break
		}
		if err := b.runNorm(m.norm, t, n, add, m.output); err != nil {
			return err
		}
		if b.tokens[t].req.Hidden != nil {
			for _, tok := range b.tokens[t : t+n] {
				tok.req.Hidden(tok.want, b.norm.Row(t)[:m.cfg.Hidden])
				t++
			}
			continue
		}
		if err := b.matmulOne(m.output, b.norm.From(t), b.logits, n); err != nil {
			return err
		}
		for i := range n {
			tok := &b.tokens[t+i]
			logits := b.logits.Row(i)[:vocab]
			if !m.finish(logits) {
				return notFinite(m.path, tok.want)
			}
			if err := tok.req.Logits(tok.want, logits); err != nil {
				return err
			}
		}
		t += n
	}
	return nil
}

// finish scales logits and masks tokens. It reports whether all are finite.
func (m *Model) finish(logits []float32) bool {
	if scale := float32(m.cfg.LogitScale); scale != 1 {
		for i := range logits {
			logits[i] *= scale
		}
	}
	if !kern.Best().Below(logits, maxLogit) {
		return false
	}
	for _, id := range m.masked {
		logits[id] = -math.MaxFloat32
	}
	return true
}

func notFinite(path string, token int) error {
	return fmt.Errorf(
		"%s: the logits after token %d are not finite: the weights are damaged or not of this architecture",
		path, token)
}

// maxLogit is far above any logit of a working model, and below infinity.
const maxLogit = 1e30

// runNorm sets norm to the norm of x for count rows from first on and encodes it as the input of next. If add is set,
// it adds delta to x first.
func (b *batch) runNorm(w norm, first, count int, add bool, next *linear.Matrix) error {
	b.normJob = normJob{b: b, w: w, first: first, add: add}
	b.begin(next, b.norm, count)
	return b.model.threads.Run(&b.normJob, count)
}

// begin prepares b.input for count rows of x as the input of m.
func (b *batch) begin(m *linear.Matrix, x linear.Rows, count int) {
	b.input.Prepare(m, b.model.mode, count, x.Stride)
}

// encode encodes count rows of x from first on as the input of m.
func (b *batch) encode(m *linear.Matrix, x linear.Rows, first, count int) error {
	b.begin(m, x, count)
	if !b.input.Encodes() {
		return nil
	}
	b.encJob = encodeJob{b: b, x: x, first: first}
	return b.model.threads.Run(&b.encJob, count)
}

// matmul sets out = x·mᵀ for count rows and all matrices of l, side by side. b.input holds x, encoded for the first.
func (b *batch) matmul(l linears, x, out linear.Rows, count int) error {
	for i, m := range l {
		if i > 0 && !b.input.Suits(m, b.model.mode, count) {
			if err := b.encode(m, x, 0, count); err != nil {
				return err
			}
		}
		if err := b.matmulOne(m, x, out, count); err != nil {
			return err
		}
		for ; m != nil; m = m.Next {
			// What a matrix's last panel has beyond its rows, the next one overwrites.
			out = out.Columns(m.Rows)
		}
	}
	return nil
}

// matmulOne is matmul for one matrix.
func (b *batch) matmulOne(m *linear.Matrix, x, out linear.Rows, count int) error {
	for ; ; m = m.Next {
		if b.tap != nil {
			if err := b.tap(m, x, count); err != nil {
				return err
			}
		}
		err := b.product.Multiply(b.model.threads, m, &b.input, x, out)
		if f := b.model.multiplied; f != nil {
			f(float64(count) * float64(m.Rows) * float64(m.Cols))
		}
		if err != nil || m.Next == nil {
			return err
		}
		out = out.Columns(m.Rows)
		if !b.input.Suits(m.Next, b.model.mode, count) {
			if err := b.encode(m.Next, x, 0, count); err != nil {
				return err
			}
		}
	}
}

// normJob is a norm; a task is a row.
type normJob struct {
	b     *batch
	w     norm
	first int
	add   bool
}

func (j *normJob) Do(_, i int) {
	b, c, t := j.b, j.b.model.cfg, j.first+i
	v := &kern.Best().Vector
	x := b.x.Row(t)
	if j.add {
		v.Add(x, b.delta.Row(t))
	}
	if c.LayerNorm {
		v.LayerNorm(b.norm.Row(t), x, j.w.weight, j.w.bias, c.Hidden, float32(c.NormEps))
	} else {
		v.RMSNorm(b.norm.Row(t), x, j.w.weight, c.Hidden, float32(c.NormEps))
	}
	b.input.Encode(i, b.norm.Row(t))
}

// activation is what is between the matrices of a feed-forward layer; a task is a row.
type activation struct{ b *batch }

func (j *activation) Do(_, i int) {
	b, c := j.b, j.b.model.cfg
	n := c.Intermediate
	row, act := b.up.Row(i), b.act.Row(i)
	gate, up := row[:n], row[:n]
	if c.Activation != arch.GELU {
		up = row[n : 2*n]
	}
	whole := n &^ (kern.Rows - 1)
	activate(c, act[:whole], gate[:whole], up[:whole])
	if whole < n {
		var g, u, out [kern.Rows]float32
		copy(g[:], gate[whole:])
		copy(u[:], up[whole:])
		activate(c, out[:], g[:], u[:])
		copy(act[whole:n], out[:])
	}
	b.input.Encode(i, act)
}

// activate sets act to the activation of gate and up, whose length is a multiple of 16. GELU has no gate.
func activate(c *arch.Config, act, gate, up []float32) {
	v := &kern.Best().Vector
	switch c.Activation {
	case arch.GELU:
		v.Gelu(act, up)
	case arch.GeGELU:
		v.Gegelu(act, gate, up, gateLimit(c))
	default:
		v.SiluMul(act, gate, up)
	}
}

// gateLimit returns the limit of GeGELU.
func gateLimit(c *arch.Config) float32 {
	if c.GateLimit > 0 {
		return float32(c.GateLimit)
	}
	return float32(math.Inf(1))
}

// addRows adds rows to others; a task is a row.
type addRows struct{ to, from linear.Rows }

func (j *addRows) Do(_, i int) { kern.Best().Add(j.to.Row(i), j.from.Row(i)) }

// encodeJob encodes rows; a task is a row.
type encodeJob struct {
	b     *batch
	x     linear.Rows
	first int
}

func (j *encodeJob) Do(_, i int) { j.b.input.Encode(i, j.x.Row(j.first+i)) }
