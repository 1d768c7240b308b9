package runtime

import (
	"math"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/arch"
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
	spans  []span    // of the keys of a block of queries
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

// attention is the job that computes softmax(scale·q·K)·V. A task is a block of queries of one run and
// one key-value head.
type attention struct {
	b      *batch
	layer  int
	sparse *arch.BlockSparse // nil if the layer is not block-sparse
	tasks  []attnTask
}

type attnTask struct {
	run          *run
	head         int
	first, count int // queries: tokens of the batch
}

// plan divides the queries of tokens from needed on into tasks and returns their number. The queries of a block use the
// keys together; its scores should stay in a core's second cache. In a block-sparse layer they are in one block of its
// pattern, so that they see the same keys. Keys and values are in layer index of the cache.
func (a *attention) plan(b *batch, l *layer, index, needed int) int {
	a.b, a.layer, a.tasks, a.sparse = b, index, a.tasks[:0], l.sparse
	for i := range b.runs {
		r := &b.runs[i]
		first := max(r.first, needed)
		end := r.first + r.count // not after first if no query of the run is needed
		keys := r.pos + r.count  // that a query sees, at most
		if a.sparse != nil {
			keys = min(keys, a.sparse.LocalBlocks*a.sparse.BlockSize+keys/a.sparse.Stride)
		}
		block := min(max(1<<17/keys, 8), 32)
		for head := range b.model.cfg.KVHeads {
			for q := first; q < end; {
				count := min(block, end-q)
				if a.sparse != nil {
					pos := r.pos + q - r.first
					count = min(count, a.sparse.BlockSize-pos%a.sparse.BlockSize)
				}
				a.tasks = append(a.tasks, attnTask{r, head, q, count})
				q += count
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
	if t.count == 1 && a.sparse == nil {
		a.heads(thread, t, t.head*group, group)
		return
	}
	for h := t.head * group; h < (t.head+1)*group; h++ {
		a.heads(thread, t, h, 1)
	}
}

// span is positions of keys, from start, a multiple of 16, to end.
type span struct{ start, end int }

// visible returns the spans of keys that queries of head h see, the first of which is at position pos, and the last at
// end - 1. All but the last consist of whole panels. Queries see all of them but what is after themselves or, in the
// first, before their window, or what hideKeys hides.
func (a *attention) visible(spans []span, h, pos, end int) []span {
	if a.sparse == nil || a.masks() {
		start := 0
		if w := a.b.model.cfg.SlidingWindow; w > 0 {
			start = max(0, pos-w+1) &^ (kern.Rows - 1)
		}
		return append(spans, span{start, end})
	}
	local := a.sparse.Local(pos)
	for k := a.sparse.Vertical(h); k < local; k += a.sparse.Stride {
		spans = append(spans, span{k * a.sparse.BlockSize, (k + 1) * a.sparse.BlockSize})
	}
	return append(spans, span{local * a.sparse.BlockSize, end})
}

// masks reports whether the blocks of a pattern are no whole panels: then all keys are read, and some hidden.
func (a *attention) masks() bool { return a.sparse != nil && a.sparse.BlockSize%kern.Rows != 0 }

// hideKeys sets the scores of keys that a query of a head, at position pos, does not see in a block-sparse layer to -∞,
// which Softmax turns into exactly 0. Score 0 is that of key start.
func hideKeys(s *arch.BlockSparse, score []float32, head, pos, start int) {
	vertical := s.Vertical(head)
	for key := start; key < s.Local(pos)*s.BlockSize; key++ {
		if key/s.BlockSize%s.Stride != vertical {
			score[key-start] = float32(math.Inf(-1))
		}
	}
}

// heads does the task for n query heads from h on; n > 1 only if the task is one token.
func (a *attention) heads(thread int, t *attnTask, h, n int) {
	b, c := a.b, a.b.model.cfg
	s := b.model.scratch[thread]
	dim := c.HeadDim
	pos := t.run.pos + t.first - t.run.first // of the first query
	end := pos + t.count                     // after the last visible key
	s.spans = a.visible(s.spans[:0], h, pos, end)
	last := s.spans[len(s.spans)-1]
	before := 0 // columns of scores before the last span's
	for _, p := range s.spans[:len(s.spans)-1] {
		before += p.end - p.start
	}
	width := before + linear.Padded(end-last.start)
	rows, stride := t.count, b.qkv.Stride // of queries: tokens of a head, or heads of a token
	if n > 1 {
		rows, stride = n, dim
	}
	padded := b.model.cache.PaddedDim()
	s.score, s.out = work.Resize(s.score, rows*width), work.Resize(s.out, rows*padded)
	a.scores(thread, t, b.qkv.Row(t.first)[h*dim:], stride, rows, width)
	for r := range rows {
		q := pos
		if n == 1 {
			q += r
		}
		lo := 0
		if c.SlidingWindow > 0 {
			lo = max(0, q-c.SlidingWindow+1-last.start)
		}
		if a.masks() {
			hideKeys(a.sparse, s.score[r*width:(r+1)*width], h, q, last.start)
		}
		kern.Best().Softmax(s.score[r*width:(r+1)*width], lo, before+q+1-last.start, b.model.attnScale)
	}
	a.sums(thread, t, rows, width)
	for r := range rows {
		token, head := t.first+r, h
		if n > 1 {
			token, head = t.first, h+r
		}
		copy(b.attn.Row(token)[head*dim:(head+1)*dim], s.out[r*padded:])
	}
}

// scores sets a thread's scores to the products of queries with the keys of its spans.
func (a *attention) scores(thread int, t *attnTask, query []float32, stride, rows, width int) {
	b, cache := a.b, a.b.model.cache
	w, s := b.model.threads.Scratch[thread], b.model.scratch[thread]
	k, col := &w.Call, 0
	for _, span := range s.spans {
		end := span.start + linear.Padded(span.end-span.start)
		for p := span.start; p < end; {
			chunk := t.run.seq.chunks[p/kvcache.ChunkLen]
			in := p % kvcache.ChunkLen
			count := min(kvcache.ChunkLen-in, end-p)
			*k = kern.Product{
				Out: &s.score[col], OutStride: int64(4 * width),
				A: (*byte)(unsafe.Pointer(&query[0])), AStride: int64(4 * stride),
				T: int64(rows), Blocks: int64(b.model.cfg.HeadDim), Panels: int64(count / kern.Rows),
				Scratch: w.Memory(),
			}
			kern.Multiply(cache.Keys(k, &s.cache, chunk, a.layer, t.head, in, count), k)
			p, col = p+count, col+count
		}
	}
}

// sums sets a thread's out to the sums of the values of its spans, weighted by the scores. It reads only values that
// belong to tokens: what a failed evaluation left after them may be NaN.
func (a *attention) sums(thread int, t *attnTask, rows, width int) {
	b, cache := a.b, a.b.model.cache
	w, s := b.model.threads.Scratch[thread], b.model.scratch[thread]
	padded := cache.PaddedDim()
	k, col := &w.Call, 0
	for _, span := range s.spans {
		for p := span.start; p < span.end; {
			chunk := t.run.seq.chunks[p/kvcache.ChunkLen]
			in := p % kvcache.ChunkLen
			count := min(kvcache.ChunkLen-in, span.end-p)
			*k = kern.Product{
				Out: &s.out[0], OutStride: int64(4 * padded),
				A: (*byte)(unsafe.Pointer(&s.score[col])), AStride: int64(4 * width),
				T: int64(rows), Blocks: int64(count), Panels: int64(padded / kern.Rows), Scratch: w.Memory(),
			}
			if col > 0 {
				k.Add = 1
			}
			kern.Multiply(cache.Values(k, &s.cache, chunk, a.layer, t.head, in, count), k)
			p, col = p+count, col+count
		}
	}
}
