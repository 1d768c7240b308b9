package runtime

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/work"
)

// tokenRows says which tokens of all sequences some rows are: count tokens from first on, or those that tokens lists,
// counted from first on.
type tokenRows struct {
	first, count int
	tokens       []int32
}

// token returns the token of row i.
func (r *tokenRows) token(i int) int {
	if r.tokens != nil {
		return r.first + int(r.tokens[i])
	}
	return r.first + i
}

// inside computes the activations of block l from the stream x: the results of attention in b.attn, and in b.norm what
// the feed-forward layer reads, or the router.
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
	attention := &wholeAttention{b: b, sparse: l.sparse}
	if err := g.m.threads.Run(attention, len(p.runs)*g.m.cfg.KVHeads); err != nil {
		return err
	}
	if g.m.cfg.Parallel {
		return nil
	}
	if err := g.attentionOut(l, n); err != nil {
		return err
	}
	return b.runNorm(l.ffnNorm, 0, n, true, l.readsFFNNorm())
}

// attentionOut sets b.delta to what attention adds to the stream.
func (g *gradients) attentionOut(l *layer, n int) error {
	g.b.begin(l.o, g.b.attn, n)
	return g.b.matmulOne(l.o, g.b.attn, g.b.delta, n)
}

// forward computes the stream after block i.
func (g *gradients) forward(l *layer, i int, p *bundle) error {
	b, n := g.b, p.count
	g.use(i, p)
	err := g.inside(l, g.stream[i], p)
	if err != nil {
		return err
	}
	switch {
	case g.m.cfg.Parallel:
		if err = g.attentionOut(l, n); err == nil {
			err = b.addParallel(l, 0, n)
		}
	case l.router != nil:
		err = b.runExperts(l, 0, n)
	default:
		err = b.feedForward(&l.experts[0], b.norm, b.delta, n)
	}
	if err != nil {
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
// groups on the way. b.delta gets the gradients with respect to the norms: in a parallel block, that of the
// feed-forward layer and that of attention are added there.
func (g *gradients) backward(l *layer, i int, p *bundle) error {
	b, threads, parallel := g.b, g.m.threads, g.m.cfg.Parallel
	if err := g.restore(l, i, p); err != nil {
		return err
	}
	at, grad := tokenRows{first: p.first, count: p.count}, g.grad.From(p.first)
	if l.router != nil {
		if err := g.expertsBack(l, grad, at); err != nil {
			return err
		}
	} else {
		f := &l.experts[0]
		if !g.isKept(i) {
			b.begin(f.up[0], b.norm, at.count)
			if err := b.matmul(f.up, b.norm, b.up, at.count); err != nil {
				return err
			}
		}
		if err := g.feedForwardBack(f, grad, b.delta, at); err != nil {
			return err
		}
	}
	if !parallel {
		if err := threads.Run(&normBack{g, l.ffnNorm, b.x, b.delta, grad, true}, at.count); err != nil {
			return err
		}
	}
	if err := g.linearBack(linears{l.o}, grad, b.attn, at, false); err != nil {
		return err
	}
	attention := &wholeAttention{b: b, sparse: l.sparse, sinBack: g.sinBack}
	if err := threads.Run(attention, len(p.runs)*g.m.cfg.KVHeads); err != nil {
		return err
	}
	if err := g.linearBack(l.qkv, b.qkv, b.delta, at, parallel); err != nil {
		return err
	}
	return threads.Run(&normBack{g, l.attnNorm, g.stream[i].From(p.first), b.delta, grad, true}, at.count)
}

// feedForwardBack is backward through a feed-forward layer, whose outputs of gate and up are in b.up, for the rows at.
// grad is the gradient with respect to its results; out gets that with respect to its input.
func (g *gradients) feedForwardBack(f *feedForward, grad, out linear.Rows, at tokenRows) error {
	if err := g.linearBack(linears{f.down}, grad, g.b.act, at, false); err != nil {
		return err
	}
	if err := g.m.threads.Run(&activationBack{g}, at.count); err != nil {
		return err
	}
	return g.linearBack(f.up, g.b.up, out, at, false)
}

// linearBack is backward through matrices with one input, for the rows at. grad is the gradient with respect to their
// outputs side by side, which is measured. out is set to the sum of what comes of it, the gradient with respect to
// their input; or that is added to out.
func (g *gradients) linearBack(l linears, grad, out linear.Rows, at tokenRows, add bool) error {
	for i, m := range l {
		if err := g.measure(m, grad, at); err != nil {
			return err
		}
		to := out
		if add || i > 0 {
			to = g.part
		}
		if err := g.multiply(m, grad, to, at.count); err != nil {
			return err
		}
		if add || i > 0 {
			if err := g.m.threads.Run(&addRows{out, g.part}, at.count); err != nil {
				return err
			}
		}
		grad = grad.Columns(m.Rows)
	}
	return nil
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

// measure stores the squared norms of rows of grad, the gradient with respect to the outputs of m.
func (g *gradients) measure(m *linear.Matrix, grad linear.Rows, at tokenRows) error {
	if tap := g.l.gradientTap; tap != nil && at.tokens == nil {
		tap(Inputs{Tensor: m.Name, First: at.first, Rows: at.count, Cols: m.Rows, Stride: grad.Stride, X: grad.Data})
	}
	j := &squares{grad: grad, at: at}
	for _, i := range g.ofTensor[m.Name] {
		o := &g.groups[i]
		if first := o.First - m.Expert*m.Rows; first >= 0 && first < m.Rows {
			j.groups = append(j.groups, columns{first, o.Rows, g.norms[i]})
		}
	}
	return g.m.threads.Run(j, at.count)
}

// squares is the job of measure. A task is a row.
type squares struct {
	grad   linear.Rows
	at     tokenRows
	groups []columns
}

// columns are those of a group.
type columns struct {
	first, count int
	norms        []float32 // of all tokens, the result
}

func (j *squares) Do(_, i int) {
	row, token := j.grad.Data[i*j.grad.Stride:], j.at.token(i)
	for _, c := range j.groups {
		x := row[c.first : c.first+c.count]
		c.norms[token] = float32(dot(x, x))
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

// normBack is backward through a norm. In RMSNorm, y = x·r·w with r = 1/√(Σx²/n + ε): with g = dy·w,
// dx = r·g - x·r³·Σ(g·x)/n. For LayerNorm see [kern.LayerNormBack]. A task is a row.
type normBack struct {
	g           *gradients
	w           norm
	x, dy, grad linear.Rows
	add         bool // dx is added to what is in grad
}

func (j *normBack) Do(thread, i int) {
	n, eps := j.g.m.cfg.Hidden, float32(j.g.m.cfg.NormEps)
	x, dy, dx, weight := j.x.Row(i)[:n], j.dy.Row(i)[:n], j.grad.Row(i)[:n], j.w.weight[:n]
	if j.g.m.cfg.LayerNorm {
		kern.LayerNormBack(dx, dy, x, weight, eps, j.add)
		return
	}
	s := j.g.m.scratch[thread]
	s.values = work.Resize(s.values, n)
	g := s.values
	for k, v := range dy {
		g[k] = v * weight[k]
	}
	r := 1 / math.Sqrt(dot(x, x)/float64(n)+float64(eps))
	f := r * r * r * dot(g, x) / float64(n)
	for k, v := range g {
		d := float32(float64(r*float64(v)) - float64(f*float64(x[k])))
		if j.add {
			d += dx[k]
		}
		dx[k] = d
	}
}

// activationBack is backward through what is between the matrices of a feed-forward layer: the gradient in b.act
// becomes those of gate and up, which replace them in b.up. A task is a row.
type activationBack struct{ g *gradients }

func (j *activationBack) Do(thread, i int) {
	c, n := j.g.m.cfg, j.g.m.cfg.Intermediate
	row, act := j.g.b.up.Row(i), j.g.b.act.Row(i)[:n]
	s := j.g.m.scratch[thread]
	s.values = work.Resize(s.values, 2*linear.Padded(n))
	v := &kern.Best().Vector
	switch c.Activation {
	case arch.GELU:
		v.GeluBack(row[:n], act, s.values)
	case arch.GeGELU:
		v.GegeluBack(row[:n], row[n:2*n], act, gateLimit(c), s.values)
	default:
		j.siluBack(row[:n], row[n:2*n], act, s.values)
	}
}

// siluBack is backward through SwiGLU, s·up with s = gate·σ(gate), d being the gradient with respect to it.
func (j *activationBack) siluBack(gate, up, d, scratch []float32) {
	n := len(gate)
	s, gates := scratch[:linear.Padded(n)], scratch[linear.Padded(n):2*linear.Padded(n)]
	copy(gates, gate)
	clear(gates[n:])
	kern.Best().SiluMul(s, gates, j.g.ones)
	for k, d := range d {
		sigma := float32(0.5)
		if gate[k] != 0 {
			sigma = s[k] / gate[k]
		}
		slope := sigma + float32(s[k]*(1-sigma))
		gate[k], up[k] = float32(d*up[k])*slope, d*s[k]
	}
}
