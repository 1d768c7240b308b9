package runtime

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/kvcache"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/work"
)

// run is consecutive tokens of one sequence in a batch.
type run struct {
	seq          *Sequence
	first, count int  // tokens of the batch
	pos          int  // position of the first in the sequence
	long         bool // whether LongRoPE's long factors apply
}

// scratch is a thread's memory for what is not a product with weights.
type scratch struct {
	score  []float32 // [queries][positions]
	out    []float32 // [queries][dimensions, padded to panels]
	cache  kvcache.Scratch
	whole  wholeScratch
	values []float32 // a row of activations or gradients
}

// ropeStore is the job that applies RoPE to the queries and keys of a batch and stores keys and values in the
// cache. A task is a key-value head with its queries.
type ropeStore struct {
	b     *batch
	layer int
}

func (j *ropeStore) Do(thread, head int) {
	b, c := j.b, j.b.model.cfg
	group, dim, pairs := c.Heads/c.KVHeads, c.HeadDim, c.RotaryDims/2
	v := &kern.Best().Vector
	s := &b.model.scratch[thread].cache
	for _, r := range b.runs {
		for i := range r.count {
			t := r.first + i
			row := b.qkv.Row(t)
			cos, sin := b.cos[t*pairs:(t+1)*pairs], b.sin[t*pairs:(t+1)*pairs]
			for h := head * group; h < (head+1)*group; h++ {
				v.Rope(row[h*dim:h*dim+2*pairs], cos, sin)
			}
			key := row[(c.Heads+head)*dim:][:dim]
			v.Rope(key[:2*pairs], cos, sin)
			pos := r.pos + i
			value := row[(c.Heads+c.KVHeads+head)*dim:][:dim]
			chunk := r.seq.chunks[pos/kvcache.ChunkLen]
			b.model.cache.Store(s, chunk, j.layer, head, pos%kvcache.ChunkLen, key, value)
		}
	}
}

// attention is the job that computes softmax(q·K/√dim)·V. A task is a block of queries of one run and
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

// plan divides the queries of tokens from needed on into tasks and returns their number. The queries of a block use the
// keys together; its scores should stay in a core's second cache.
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

func (a *attention) Do(thread, i int) {
	t := &a.tasks[i]
	c := a.b.model.cfg
	group := c.Heads / c.KVHeads
	// The heads of a group read the same keys: a single token's do so together.
	if t.count == 1 {
		a.heads(thread, t, t.head*group, group)
		return
	}
	for h := t.head * group; h < (t.head+1)*group; h++ {
		a.heads(thread, t, h, 1)
	}
}

// heads does the task for n query heads from h on; n > 1 only if the task is one token.
func (a *attention) heads(thread int, t *attnTask, h, n int) {
	b, c, cache := a.b, a.b.model.cfg, a.b.model.cache
	w, s := b.model.threads.Scratch[thread], b.model.scratch[thread]
	dim := c.HeadDim
	pos := t.run.pos + t.first - t.run.first // of the first query
	end := pos + t.count                     // after the last visible key
	start := 0                               // of the first panel with a visible key
	if c.SlidingWindow > 0 {
		start = max(0, pos-c.SlidingWindow+1) &^ (kern.Rows - 1)
	}
	width := linear.Padded(end - start)
	rows, stride := t.count, b.qkv.Stride // of queries: tokens of a head, or heads of a token
	if n > 1 {
		rows, stride = n, dim
	}
	query := b.qkv.Row(t.first)[h*dim:]
	padded := cache.PaddedDim()
	s.score, s.out = work.Resize(s.score, rows*width), work.Resize(s.out, rows*padded)

	k := &w.Call
	for p := start; p < start+width; {
		chunk := t.run.seq.chunks[p/kvcache.ChunkLen]
		in := p % kvcache.ChunkLen
		count := min(kvcache.ChunkLen-in, start+width-p)
		*k = kern.Product{
			Out: &s.score[p-start], OutStride: int64(4 * width),
			A: (*byte)(unsafe.Pointer(&query[0])), AStride: int64(4 * stride),
			T: int64(rows), Blocks: int64(dim), Panels: int64(count / kern.Rows), Scratch: w.Memory(),
		}
		kern.Best().Products[cache.Keys(k, &s.cache, chunk, a.layer, t.head, in, count)](k)
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
	// Only values that belong to tokens: what a failed evaluation left after them may be NaN.
	for p := start; p < end; {
		chunk := t.run.seq.chunks[p/kvcache.ChunkLen]
		in := p % kvcache.ChunkLen
		count := min(kvcache.ChunkLen-in, end-p)
		*k = kern.Product{
			Out: &s.out[0], OutStride: int64(4 * padded),
			A: (*byte)(unsafe.Pointer(&s.score[p-start])), AStride: int64(4 * width),
			T: int64(rows), Blocks: int64(count), Panels: int64(padded / kern.Rows), Scratch: w.Memory(),
		}
		if p > start {
			k.Add = 1
		}
		kern.Best().Products[cache.Values(k, &s.cache, chunk, a.layer, t.head, in, count)](k)
		p += count
	}
	for r := range rows {
		token, head := t.first+r, h
		if n > 1 {
			token, head = t.first, h+r
		}
		copy(b.attn.Row(token)[head*dim:(head+1)*dim], s.out[r*padded:])
	}
}
