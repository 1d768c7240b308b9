package runtime

import (
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/work"
)

// wholeAttention is attention over whole sequences, without a cache. Forward, it applies RoPE to the queries and keys
// in b.qkv and sets b.attn. Backward, if sinBack is set, the gradient in b.attn becomes that of b.qkv before RoPE,
// which replaces the queries, keys and values there. A task is a key-value head of a run, with its queries.
//
// Scores are computed for a block of queries at a time, and again backward. With
// P = softmax(S), S = scale·Q·Kᵀ:
//
//	dV = Pᵀ·dO    dP = dO·Vᵀ    dS = scale·P∘(dP - D), D = Σ P∘dP over a row
//	dQ = dS·K     dK = dSᵀ·Q
type wholeAttention struct {
	b       *batch
	sparse  *arch.BlockSparse // nil if the layer is not block-sparse
	sinBack []float32         // nil forward
}

// maxQueries is the greatest number of queries in a block.
const maxQueries = 32

// wholeScratch is a thread's memory for wholeAttention. n is the sequence's length, dim a head's
// dimensions, both rounded up to panels where they are in panels.
type wholeScratch struct {
	byPos      [2][]float32 // keys, values: panels of positions, [n/16][dim][16]
	byDim      [2][]float32 // keys, values: panels of dimensions, [dim/16][n][16]
	grad       [2][]float32 // gradients of keys, values: [dim][n]
	score      [2][]float32 // P; dP, then dS: [queries][positions]
	panels     [2][]float32 // dS, P: panels of positions, [positions/16][queries][16]
	transposed [2][]float32 // queries, dO: [dim][queries]
	out        []float32    // [queries][dim]
}

// Indices of wholeScratch's pairs: what belongs to keys, and to values.
const (
	ofKeys   = 0
	ofValues = 1
)

// head is a key-value head of a run.
type head struct {
	b        *batch
	s        *wholeScratch
	products *linear.Scratch
	run      *run
	kv       int // number of the key-value head
	n        int // positions, rounded up to panels
	sparse   *arch.BlockSparse
	sinBack  []float32
	dim      int // dimensions
	dimWidth int // dim, rounded up to panels
}

func (j *wholeAttention) Do(thread, i int) {
	c := j.b.model.cfg
	h := &head{
		b: j.b, s: &j.b.model.scratch[thread].whole, products: j.b.model.threads.Scratch[thread],
		run: &j.b.runs[i/c.KVHeads], kv: i % c.KVHeads, sparse: j.sparse, sinBack: j.sinBack,
		dim: c.HeadDim, dimWidth: linear.Padded(c.HeadDim),
	}
	h.n = linear.Padded(h.run.count)
	if j.sinBack == nil {
		h.forward()
	} else {
		h.backward()
	}
}

// row returns vector number v of a token: queries first, then keys, then values.
func (h *head) row(v, t int) []float32 {
	return h.b.qkv.Row(h.run.first + t)[v*h.dim : (v+1)*h.dim]
}

// vector returns the number, for row, of the head's key or value.
func (h *head) vector(of int) int {
	c := h.b.model.cfg
	return c.Heads + of*c.KVHeads + h.kv
}

// queries calls use for each block of queries of each query head of the group.
func (h *head) queries(use func(query, first, count int)) {
	c := h.b.model.cfg
	group := c.Heads / c.KVHeads
	block := min(max(1<<17/h.n, 8), maxQueries)
	for q := h.kv * group; q < (h.kv+1)*group; q++ {
		for first := 0; first < h.run.count; first += block {
			use(q, first, min(block, h.run.count-first))
		}
	}
}

// rotate applies RoPE to a vector of token t, or the transposed of RoPE if sin is sinBack.
func (h *head) rotate(x []float32, t int, sin []float32) {
	pairs := h.b.model.cfg.RotaryDims / 2
	at := (h.run.first + t) * pairs
	kern.Best().Rope(x[:2*pairs], h.b.cos[at:at+pairs], sin[at:at+pairs])
}

// layByPos sets s.byPos to keys or values, in panels of positions.
func (h *head) layByPos(of int) {
	s := h.s
	s.byPos[of] = work.Resize(s.byPos[of], h.n*h.dim)
	dst := s.byPos[of]
	clear(dst[(h.n-kern.Rows)*h.dim:]) // positions after the last
	for t := range h.run.count {
		at := t/kern.Rows*kern.Rows*h.dim + t%kern.Rows
		for d, x := range h.row(h.vector(of), t) {
			dst[at+d*kern.Rows] = x
		}
	}
}

// layByDim sets s.byDim to keys or values, in panels of dimensions.
func (h *head) layByDim(of int) {
	s := h.s
	s.byDim[of] = work.Resize(s.byDim[of], h.n*h.dimWidth)
	dst := s.byDim[of]
	clear(dst[(h.dimWidth-kern.Rows)*h.n:]) // dimensions after the last
	for t := range h.run.count {
		row := h.row(h.vector(of), t)
		for d := 0; d < h.dim; d += kern.Rows {
			copy(dst[d*h.n+t*kern.Rows:][:kern.Rows], row[d:])
		}
	}
}

// visible returns the keys, lo to end, that query q sees; in a block-sparse layer see also hide.
func (h *head) visible(q int) (lo, end int) {
	if window := h.b.model.cfg.SlidingWindow; window > 0 {
		lo = max(0, q-window+1)
	}
	return lo, q + 1
}

// span returns the first key of the panels that a block of queries sees, and how many
// there are in panels.
func (h *head) span(first, count int) (start, width int) {
	lo, _ := h.visible(first)
	start = lo &^ (kern.Rows - 1)
	return start, linear.Padded(first+count) - start
}

// byKeys sets out[queries][width] to the products of count rows of x with keys or values from start on.
func (h *head) byKeys(of int, out []float32, x linear.Rows, count, start, width int) {
	h.products.Multiply(kern.Product{T: int64(count), Blocks: int64(h.dim), Panels: int64(width / kern.Rows)},
		out, width, x.Data, x.Stride, h.s.byPos[of][start*h.dim:], kern.Rows*h.dim)
}

// sumKeys sets s.out[queries][dim] to sums of keys or values from start on, weighted by the rows of x.
func (h *head) sumKeys(of int, x []float32, width, count, start, end int) {
	s := h.s
	s.out = work.Resize(s.out, count*h.dimWidth)
	h.products.Multiply(
		kern.Product{T: int64(count), Blocks: int64(end - start), Panels: int64(h.dimWidth / kern.Rows)},
		s.out, h.dimWidth, x, width, s.byDim[of][start*kern.Rows:], kern.Rows*h.n)
}

// weights sets score[0] to P for a block of queries. It returns the span of keys that the block sees.
func (h *head) weights(query, first, count int) (start, width int) {
	s := h.s
	start, width = h.span(first, count)
	s.score[0] = work.Resize(s.score[0], count*width)
	q := h.b.qkv.From(h.run.first + first)
	h.byKeys(ofKeys, s.score[0], q.Columns(query*h.dim), count, start, width)
	for i := range count {
		lo, end := h.visible(first + i)
		row := s.score[0][i*width : (i+1)*width]
		if h.sparse != nil {
			hideKeys(h.sparse, row, query, first+i, start)
		}
		kern.Best().Softmax(row, lo-start, end-start, h.b.model.attnScale)
	}
	return start, width
}

func (h *head) forward() {
	c := h.b.model.cfg
	group := c.Heads / c.KVHeads
	for t := range h.run.count {
		for q := h.kv * group; q < (h.kv+1)*group; q++ {
			h.rotate(h.row(q, t), t, h.b.sin)
		}
		h.rotate(h.row(h.vector(ofKeys), t), t, h.b.sin)
	}
	h.layByPos(ofKeys)
	h.layByDim(ofValues)
	s := h.s
	h.queries(func(query, first, count int) {
		start, width := h.weights(query, first, count)
		h.sumKeys(ofValues, s.score[0], width, count, start, first+count)
		for i := range count {
			copy(h.b.attn.Row(h.run.first + first + i)[query*h.dim:(query+1)*h.dim], s.out[i*h.dimWidth:])
		}
	})
}

func (h *head) backward() {
	h.layByPos(ofKeys)
	h.layByPos(ofValues)
	h.layByDim(ofKeys)
	s := h.s
	for of := range s.grad {
		s.grad[of] = work.Resize(s.grad[of], h.dim*h.n)
		clear(s.grad[of])
	}
	h.queries(func(query, first, count int) {
		start, width := h.weights(query, first, count)
		out := h.b.attn.From(h.run.first + first)
		out = out.Columns(query * h.dim)
		s.score[1] = work.Resize(s.score[1], count*width)
		h.byKeys(ofValues, s.score[1], out, count, start, width)
		for i := range count {
			lo, end := h.visible(first + i)
			lo, end = lo-start, end-start
			row := s.score[1][i*width : (i+1)*width]
			clear(row[:lo])
			clear(row[end:])
			softmaxBack(row[lo:end], s.score[0][i*width+lo:i*width+end], h.b.model.attnScale)
		}
		queries := h.b.qkv.From(h.run.first + first)
		queries = queries.Columns(query * h.dim)
		h.addKeys(ofKeys, s.score[1], queries, count, start, width)
		h.addKeys(ofValues, s.score[0], out, count, start, width)

		h.sumKeys(ofKeys, s.score[1], width, count, start, first+count)
		for i := range count {
			row := h.row(query, first+i)
			copy(row, s.out[i*h.dimWidth:])
			h.rotate(row, first+i, h.sinBack)
		}
	})
	for t := range h.run.count {
		for of, grad := range s.grad {
			row := h.row(h.vector(of), t)
			for d := range row {
				row[d] = grad[d*h.n+t]
			}
		}
		h.rotate(h.row(h.vector(ofKeys), t), t, h.sinBack)
	}
}

// softmaxBack replaces dP, a row, by dS = scale·P∘(dP - D). A constant that is added to all dP changes nothing, so the
// value at the greatest weight is subtracted first: where that weight is almost 1, D is almost that value, and the
// difference would lose digits.
func softmaxBack(dp, p []float32, scale float32) {
	p = p[:len(dp)]
	top := 0
	for i, v := range p {
		if v > p[top] {
			top = i
		}
	}
	at := dp[top]
	for i := range dp {
		dp[i] -= at
	}
	mean := float32(dot(p, dp))
	for i, d := range dp {
		dp[i] = float32(p[i]*(d-mean)) * scale
	}
}

// addKeys adds to the gradients of keys or values the sums over a block of queries of x, weighted
// by score[queries][width].
func (h *head) addKeys(of int, score []float32, x linear.Rows, count, start, width int) {
	s := h.s
	s.panels[of], s.transposed[of] = work.Resize(s.panels[of], width*count), work.Resize(s.transposed[of], h.dim*count)
	panels, transposed := s.panels[of], s.transposed[of]
	for i := range count {
		row := score[i*width : (i+1)*width]
		for j := 0; j < width; j += kern.Rows {
			copy(panels[j*count+i*kern.Rows:][:kern.Rows], row[j:])
		}
		for d, v := range x.Data[i*x.Stride:][:h.dim] {
			transposed[d*count+i] = v
		}
	}
	h.products.Multiply(kern.Product{T: int64(h.dim), Blocks: int64(count), Panels: int64(width / kern.Rows), Add: 1},
		s.grad[of][start:], h.n, transposed, count, panels, kern.Rows*count)
}
