package runtime

import (
	"context"
	"fmt"

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

	x, norm, qkv, attn, up, act linear.Rows // residual stream, its norm, …; up is gate and up, act SwiGLU's result
	delta                       linear.Rows // what the next norm adds to x
	logits                      linear.Rows
	cos, sin                    []float32 // of each token's position, for each rotated pair of dimensions
	input                       linear.Input
	embedding                   []byte // a row as the file has it

	// tap, if not nil, is called with the input of every product.
	tap func(m *linear.Matrix, x linear.Rows, count int) error

	// Jobs, kept so that running one allocates nothing.
	normJob normJob
	siluJob siluJob
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
	all := []struct {
		rows         *linear.Rows
		tokens, cols int
	}{
		{&b.x, n, c.Hidden}, {&b.norm, n, c.Hidden}, {&b.delta, n, c.Hidden},
		{&b.qkv, n, linear.Padded(c.Heads*c.HeadDim) + 2*linear.Padded(c.KVHeads*c.HeadDim)},
		{&b.attn, n, c.Heads * c.HeadDim},
		{&b.up, n, 2 * c.Intermediate}, {&b.act, n, c.Intermediate},
		{&b.logits, min(n, logitRows), c.VocabSize},
	}
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
		if err := m.embed.ReadRows(b.embedding, int(tok.id)); err != nil {
			return err
		}
		m.embed.Decode(b.x.Row(t)[:m.cfg.Hidden], b.embedding)
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
	if err := b.runNorm(l.attnNorm, 0, n, add, l.qkv); err != nil {
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
	tasks := b.attnJob.plan(b, i, first)
	if err := m.threads.Run(&b.attnJob, tasks); err != nil {
		return err
	}
	if err := b.encode(l.o, b.attn, first, rest); err != nil {
		return err
	}
	if err := b.matmul(l.o, b.attn.From(first), b.delta.From(first), rest); err != nil {
		return err
	}
	if err := b.runNorm(l.ffnNorm, first, rest, true, l.up); err != nil {
		return err
	}
	if err := b.matmul(l.up, b.norm.From(first), b.up.From(first), rest); err != nil {
		return err
	}
	b.siluJob = siluJob{b: b, first: first, n: c.Intermediate}
	b.begin(l.down, b.act, rest)
	if err := m.threads.Run(&b.siluJob, rest); err != nil {
		return err
	}
	return b.matmul(l.down, b.act.From(first), b.delta.From(first), rest)
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
		for t+n < first+count && n < len(b.logits.Data)/b.logits.Stride && b.tokens[t+n].want >= 0 {
			n++
		}
		if n == 0 {
			break
		}
		if err := b.runNorm(m.norm, t, n, add, m.output); err != nil {
			return err
		}
		if err := b.matmul(m.output, b.norm.From(t), b.logits, n); err != nil {
			return err
		}
		for i := range n {
			tok := &b.tokens[t+i]
			logits := b.logits.Row(i)[:vocab]
			if !kern.Best().Below(logits, maxLogit) {
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

func notFinite(path string, token int) error {
	return fmt.Errorf(
		"%s: the logits after token %d are not finite: the weights are damaged or not of this architecture",
		path, token)
}

// maxLogit is far above any logit of a working model, and below infinity.
const maxLogit = 1e30

// runNorm sets norm = RMSNorm(x)·w for count rows from first on and encodes it as the input of next. If add is set, it
// adds delta to x first.
func (b *batch) runNorm(w []float32, first, count int, add bool, next *linear.Matrix) error {
	b.normJob = normJob{b: b, w: w, first: first, add: add}
	b.begin(next, b.norm, count)
	return b.model.threads.Run(&b.normJob, count)
}

// begin prepares b.input for count rows of x as the input of m.
func (b *batch) begin(m *linear.Matrix, x linear.Rows, count int) {
	b.input.Prepare(m, b.model.opt.Float32, count, x.Stride)
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

// matmul sets out = x·mᵀ for count rows. b.input holds x, encoded for m.
func (b *batch) matmul(m *linear.Matrix, x, out linear.Rows, count int) error {
	for ; ; m = m.Next {
		if b.tap != nil {
			if err := b.tap(m, x, count); err != nil {
				return err
			}
		}
		if err := b.product.Multiply(b.model.threads, m, &b.input, x, out); err != nil || m.Next == nil {
			return err
		}
		// What a part's last panel has beyond its rows, the next part overwrites.
		out = out.Columns(m.Rows)
		if !b.input.Suits(m.Next, b.model.opt.Float32, count) {
			if err := b.encode(m.Next, x, 0, count); err != nil {
				return err
			}
		}
	}
}

// normJob is RMSNorm; a task is a row.
type normJob struct {
	b     *batch
	w     []float32
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
	v.RMSNorm(b.norm.Row(t), x, j.w, c.Hidden, float32(c.NormEps))
	b.input.Encode(i, b.norm.Row(t))
}

// siluJob is SwiGLU: act = silu(gate)·up; a task is a row.
type siluJob struct {
	b        *batch
	first, n int
}

func (j *siluJob) Do(_, i int) {
	b, t := j.b, j.first+i
	gateUp, act := b.up.Row(t), b.act.Row(t)
	whole := j.n &^ (kern.Rows - 1)
	kern.Best().SiluMul(act[:whole], gateUp[:whole], gateUp[j.n:j.n+whole])
	if whole < j.n {
		var gate, up, out [kern.Rows]float32
		copy(gate[:], gateUp[whole:j.n])
		copy(up[:], gateUp[j.n+whole:2*j.n])
		kern.Best().SiluMul(out[:], gate[:], up[:])
		copy(act[whole:j.n], out[:])
	}
	b.input.Encode(i, act)
}

// encodeJob encodes rows; a task is a row.
type encodeJob struct {
	b     *batch
	x     linear.Rows
	first int
}

func (j *encodeJob) Do(_, i int) { j.b.input.Encode(i, j.x.Row(j.first+i)) }
