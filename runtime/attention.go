package runtime

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// run is a part of a batch: tokens of one sequence, one after the other.
type run struct {
	seq          *Sequence
	first, count int // tokens of the batch
	pos          int // position of the first
	long         bool
}

// attnScratch is a worker's memory for attention.
type attnScratch struct {
	score []float32 // [queries][positions]
	out   []float32 // [queries][dimensions, padded to panels]
	keys  []float32 // a panel or more of keys or values, decoded
	scale []float32
	half  []uint16
	lanes [kern.Rows]float32
}

// ropeStore turns the queries and keys of a batch and puts keys and values into the
// cache. A task is one key-value head with its queries.
type ropeStore struct {
	b     *batch
	layer int
}

func (j *ropeStore) do(w *worker, head int) {
	b, c := j.b, j.b.model.cfg
	group, dim, pairs := c.Heads/c.KVHeads, c.HeadDim, c.RotaryDims/2
	v := &kern.Best().Vector
	w.attn.half = grow(w.attn.half, dim)
	for _, r := range b.runs {
		for i := range r.count {
			t := r.first + i
			row := b.qkv.row(t)
			cos, sin := b.cos[t*pairs:(t+1)*pairs], b.sin[t*pairs:(t+1)*pairs]
			for h := head * group; h < (head+1)*group; h++ {
				v.Rope(row[h*dim:h*dim+2*pairs], cos, sin)
			}
			key := row[(c.Heads+head)*dim:][:dim]
			v.Rope(key[:2*pairs], cos, sin)
			pos := r.pos + i
			b.model.geo.store(r.seq.chunks[pos/chunkLen], j.layer, head, pos%chunkLen, key, row[(c.Heads+c.KVHeads+head)*dim:][:dim], w.attn.half)
		}
	}
}

// attention computes softmax(q·K/√dim)·V. A task is a block of queries of one run and
// one key-value head.
type attention struct {
	b     *batch
	layer int
	tasks []attnTask
}

type attnTask struct {
	run          *run
	head         int
	first, count int // queries: tokens of the batch
}

// plan divides the queries from token needed on. A block of queries shares the
// reading of the keys; its scores should stay in a core's second cache.
func (a *attention) plan(b *batch, layer, needed int) int {
	a.b, a.layer, a.tasks = b, layer, a.tasks[:0]
	for i := range b.runs {
		r := &b.runs[i]
		first := max(r.first, needed)
		count := r.first + r.count - first // not positive if no query of the run is needed
		block := min(max(1<<17/(r.pos+r.count), 8), 32)
		for head := range b.model.cfg.KVHeads {
			for q := 0; q < count; q += block {
				a.tasks = append(a.tasks, attnTask{r, head, first + q, min(block, count-q)})
			}
		}
	}
	return len(a.tasks)
}

func (a *attention) do(w *worker, i int) {
	t := &a.tasks[i]
	c := a.b.model.cfg
	group := c.Heads / c.KVHeads
	// The heads of a group read the same keys: a single token's do so together.
	if t.count == 1 {
		a.heads(w, t, t.head*group, group)
		return
	}
	for h := t.head * group; h < (t.head+1)*group; h++ {
		a.heads(w, t, h, 1)
	}
}

// heads does the task for n heads from h on; n > 1 only if the task is one token.
func (a *attention) heads(w *worker, t *attnTask, h, n int) {
	b, c, g, s := a.b, a.b.model.cfg, a.b.model.geo, &w.attn
	dim := c.HeadDim
	pos := t.run.pos + t.first - t.run.first // of the first query
	end := pos + t.count                     // behind the last visible key
	start := 0                               // of the first panel with a visible key
	if c.SlidingWindow > 0 {
		start = max(0, pos-c.SlidingWindow+1) &^ (kern.Rows - 1)
	}
	width := (end - start + kern.Rows - 1) &^ (kern.Rows - 1)
	rows, stride := t.count, b.qkv.stride
	if n > 1 {
		rows, stride = n, dim
	}
	query := b.qkv.row(t.first)[h*dim:]
	padded := g.vPanels * kern.Rows
	s.score, s.out = grow(s.score, rows*width), grow(s.out, rows*padded)

	at := (a.layer*g.heads + t.head) * g.head
	k := &w.call
	for p := start; p < start+width; {
		chunk := t.run.seq.chunks[p/chunkLen]
		in := p % chunkLen
		count := min(chunkLen-in, start+width-p)
		*k = kern.Product{Out: &s.score[p-start], OutStride: int64(4 * width), A: (*byte)(unsafe.Pointer(&query[0])), AStride: int64(4 * stride),
			T: int64(rows), Blocks: int64(dim), Panels: int64(count / kern.Rows), Scratch: &w.scratch()[0]}
		g.call(w, k, chunk, at+in*dim, dim*kern.Rows, func() { s.decodeKeys(g, chunk, a.layer, t.head, in, count) })
		p += count
	}
	for r := range rows {
		q := pos
		if n == 1 {
			q += r
		}
		lo := 0
		if c.SlidingWindow > 0 {
			lo = max(0, q-c.SlidingWindow+1)
		}
		kern.Best().Softmax(s.score[r*width:(r+1)*width], lo-start, q+1-start, b.model.attnScale)
	}
	// Only values that belong to tokens: what a failed evaluation left behind them may be NaN.
	for p := start; p < end; {
		chunk := t.run.seq.chunks[p/chunkLen]
		in := p % chunkLen
		count := min(chunkLen-in, end-p)
		*k = kern.Product{Out: &s.out[0], OutStride: int64(4 * padded), A: (*byte)(unsafe.Pointer(&s.score[p-start])), AStride: int64(4 * width),
			T: int64(rows), Blocks: int64(count), Panels: int64(g.vPanels), Scratch: &w.scratch()[0]}
		if p > start {
			k.Add = 1
		}
		g.call(w, k, chunk, at+g.keys+in*kern.Rows, chunkLen*kern.Rows, func() { s.decodeValues(g, chunk, a.layer, t.head, in, count) })
		p += count
	}
	for r := range rows {
		token, head := t.first+r, h
		if n > 1 {
			token, head = t.first, h+r
		}
		copy(b.attn.row(token)[head*dim:(head+1)*dim], s.out[r*padded:])
	}
}

// call multiplies with panels of the cache that begin at element at and are size
// elements apart; decode puts them into w.attn.keys if they are 8-bit.
func (g *geometry) call(w *worker, k *kern.Product, c *kvChunk, at, size int, decode func()) {
	format := kern.F32
	switch g.typ {
	case CacheF32:
		k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&c.f32[at])), int64(4*size)
	case CacheF16:
		format = kern.F16
		k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&c.f16[at])), int64(2*size)
	case CacheQ8_0:
		decode()
		k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&w.attn.keys[0])), 4*k.Blocks*kern.Rows
	}
	kern.Best().Products[format](k)
}

// decodeKeys decodes the panels of count positions from position i of the chunk on.
func (s *attnScratch) decodeKeys(g *geometry, c *kvChunk, layer, head, i, count int) {
	v := &kern.Best().Vector
	s.keys = grow(s.keys, count*g.dim)
	at := (layer*g.heads+head)*g.head + i*g.dim
	scales := (layer*g.heads+head)*2*g.scales + i*g.groups
	for p := range count / kern.Rows {
		for j := range g.groups {
			v.ExpandF16(s.lanes[:], c.scale[scales+(p*g.groups+j)*kern.Rows:][:kern.Rows])
			from := (p*g.dim + 32*j) * kern.Rows
			n := min(32, g.dim-32*j) * kern.Rows
			v.ScaleLanes(s.keys[from:from+n], c.q8[at+from:at+from+n], &s.lanes)
		}
	}
}

// decodeValues decodes count positions from position i of the chunk on, panel by panel.
func (s *attnScratch) decodeValues(g *geometry, c *kvChunk, layer, head, i, count int) {
	v := &kern.Best().Vector
	s.keys, s.scale = grow(s.keys, g.vPanels*count*kern.Rows), grow(s.scale, count)
	at := (layer*g.heads+head)*g.head + g.keys + i*kern.Rows
	scales := (layer*g.heads+head)*2*g.scales + g.scales + i
	for p := range g.vPanels {
		if p%2 == 0 { // a group is two panels
			v.ExpandF16(s.scale, c.scale[scales+p/2*chunkLen:][:count])
		}
		n := count * kern.Rows
		v.ScaleRows(s.keys[p*n:(p+1)*n], c.q8[at+p*chunkLen*kern.Rows:][:n], s.scale)
	}
}
