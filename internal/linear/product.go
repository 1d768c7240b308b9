package linear

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Product is the job of multiplying an input with a matrix: out[token][row of the matrix]. A task is a range of panels.
// It is kept between products, so that they allocate nothing.
type Product struct {
	threads   *Threads
	m         *Matrix
	in        *Input
	out       []float32
	outStride int                 // values; at least the rows of all panels
	bounds    [maxTasks + 1]int32 // task i is panels bounds[i] to bounds[i+1]

	tiles []float32 // in.f32 in tiles, for each floatBlock columns those of all tokens; empty for few tokens
	lay   tiling
}

const maxTasks = 96

// Multiply sets out = x·mᵀ + m.Bias for the tokens of in, which has encoded the rows of x. A row of out needs room for
// all panels of m, the rows that are missing in the last one included. It allocates nothing.
func (p *Product) Multiply(t *Threads, m *Matrix, in *Input, x, out Rows) error {
	in.f32 = x.Data
	p.threads, p.m, p.in, p.out, p.outStride = t, m, in, out.Data, out.Stride
	p.tiles = p.tiles[:0]
	if in.kind == asF32 && in.tokens >= leastTiled {
		p.tiles = work.Resize(p.tiles, kern.TiledLen(in.tokens, p.cols()))
		p.lay = tiling{p}
		if err := t.Run(&p.lay, (p.cols()+floatBlock-1)/floatBlock); err != nil {
			return err
		}
	}
	return t.Run(p, p.plan(t.Threads()))
}

// leastTiled is the number of tokens from which on float32 activations are laid as tiles, and weights of 16 bits become
// float32 first: enough that this takes little of the time.
const leastTiled = 4 * kern.TileTokens

// cols returns the columns that are multiplied: panels of BF16 hold pairs, and rows of activations are padded.
func (p *Product) cols() int {
	if p.m.format == kern.BF16 {
		return p.m.Cols + p.m.Cols&1
	}
	return p.m.Cols
}

// tiling is the job that lays float32 activations as tiles. A task is a block of columns.
type tiling struct{ p *Product }

func (j *tiling) Do(_, i int) {
	p, c := j.p, i*floatBlock
	in := p.in
	kern.LayTiles(p.tiles[kern.TiledLen(in.tokens, c):], in.f32[c:], in.stride, in.tokens, min(floatBlock, p.cols()-c))
}

// plan divides the panels into tasks and returns their number. Tasks become smaller and smaller: long ones keep the
// reading sequential, and the last ones are short, so that no thread waits long for another. They do not become smaller
// than minTask bytes for few tokens, since each begins without prefetched weights, and less for more.
func (p *Product) plan(threads int) (tasks int) {
	const minTask = 128 << 10
	least := max(1, minTask/(p.m.size*max(1, min(p.in.tokens, 16)/4)))
	for first := 0; first < p.m.Panels; tasks++ {
		left := p.m.Panels - first
		n := max(least, left/(2*threads), (left+maxTasks-tasks-1)/(maxTasks-tasks))
		first += min(n, left)
		p.bounds[tasks+1] = int32(first)
	}
	return tasks
}

// Do does a task of Multiply.
func (p *Product) Do(thread, i int) {
	w := p.threads.Scratch[thread]
	first, end := int(p.bounds[i]), int(p.bounds[i+1])
	if p.in.kind != asF32 {
		p.multiplyEncoded(w, first, end)
		return
	}
	for ; first < end; first += floatPanels {
		p.multiplyFloat(w, first, min(floatPanels, end-first))
	}
}

// floatPanels is how many panels the float kernels get at a time. A sum has to wait for its last addition; with several
// panels there are others to go on with.
const floatPanels = 4

// setOut sets where k puts the results of n panels from i on for k.T tokens from t on: in out for a single token, and
// for few with encoded weights. With several tokens that would be pages apart, and the kernel updates each token's
// results many times, so they go to w.out first; see scatter.
func (p *Product) setOut(w *Scratch, k *kern.Product, i, n, t int) {
	if p.inPlace(k) {
		k.Out, k.OutStride = &p.out[t*p.outStride+i*kern.Rows], int64(4*p.outStride)
		return
	}
	w.out = work.Resize(w.out, int(k.T)*n*kern.Rows)
	k.Out, k.OutStride = &w.out[0], int64(4*n*kern.Rows)
}

// inPlace reports whether results go to out at once.
func (p *Product) inPlace(k *kern.Product) bool {
	return k.T == 1 || p.in.kind == as256 || p.in.kind == as32
}

// scatter copies what k has computed from w.out to out, if that is where setOut put it, and adds the bias.
func (p *Product) scatter(w *Scratch, k *kern.Product, i, n, t int) {
	first, end := i*kern.Rows, (i+n)*kern.Rows
	for r := range int(k.T) {
		out := p.out[(t+r)*p.outStride+first:][:end-first]
		if !p.inPlace(k) {
			copy(out, w.out[r*len(out):])
		}
		if p.m.Bias != nil {
			kern.Best().Add(out, p.m.Bias[first:end])
		}
	}
}

// tokenBytes is how many bytes of encoded activations the panels of a task are multiplied with at a time: they should
// stay in a core's second cache.
const tokenBytes = 768 << 10

// multiplyEncoded multiplies the panels from first to end with encoded activations.
func (p *Product) multiplyEncoded(w *Scratch, first, end int) {
	parts := 1
	if p.in.kind != asBF16 && p.m.packed != nil { // else panels would be made again for each part
		parts = (len(p.in.enc) + tokenBytes - 1) / tokenBytes
	}
	for i := range parts {
		t := i * p.in.tokens / parts
		p.multiplyTokens(w, first, end, t, (i+1)*p.in.tokens/parts-t)
	}
}

// multiplyTokens multiplies the panels from first to end with n tokens from t on.
func (p *Product) multiplyTokens(w *Scratch, first, end, t, n int) {
	m, in, k := p.m, p.in, &w.Call
	*k = kern.Product{T: int64(n), PanelBytes: int64(m.size), Scratch: w.Memory()}
	form := kern.FormFor(m.format, n) // one for all calls: another may be chosen meanwhile
	step, record := 1, 0
	if form.Panels(n) {
		step = fewPanels
	}
	switch in.kind {
	case as256:
		if m.form != nil {
			k.Table = m.form.table
		}
		record = kern.A256Bytes
		k.Blocks, k.AStride = int64(in.cols/256), int64(in.tokens*record)
	case as32:
		record = kern.A32Bytes
		k.Blocks, k.AStride = int64(in.cols/32), int64(in.tokens*record)
	case asBF16:
		cols := in.cols + in.cols&1
		record = 2 * cols
		k.Blocks, k.AStride = int64(cols), int64(record)
		step = floatPanels
	}
	k.A = &in.enc[t*record]
	if step == 1 {
		p.multiplyPanels(w, form, first, end, t)
		return
	}
	for i := first; i < end; i += step {
		n := min(step, end-i)
		k.W, k.Panels = &m.Panel(w, i, n)[0], int64(n)
		p.setOut(w, k, i, n, t)
		if in.kind == asBF16 {
			kern.Best().ProductBF16(k)
		} else {
			form.Multiply(k)
		}
		p.scatter(w, k, i, n, t)
	}
}

// severalPanels is how many panels' results are copied together: rows of out are pages apart, and going to each for
// more than a line of the cache costs little more.
const severalPanels = 8

// multiplyPanels multiplies the panels from first to end one by one, with several tokens from t on: w.Call is complete
// but for weights and results. w.out holds results by panel, token and row.
func (p *Product) multiplyPanels(w *Scratch, form *kern.Form, first, end, t int) {
	k := &w.Call
	k.Panels, k.OutStride = 1, 4*kern.Rows
	size := int(k.T) * kern.Rows
	w.out = work.Resize(w.out, severalPanels*size)
	for ; first < end; first += severalPanels {
		n := min(severalPanels, end-first)
		for i := range n {
			k.W, k.Out = &p.m.Panel(w, first+i, 1)[0], &w.out[i*size]
			form.Multiply(k)
		}
		for r := range int(k.T) {
			out := p.out[(t+r)*p.outStride+first*kern.Rows:][:n*kern.Rows]
			for i := range n {
				row := *(*[kern.Rows]float32)(w.out[i*size+r*kern.Rows:]) // copied in place is a call of memmove
				*(*[kern.Rows]float32)(out[i*kern.Rows:]) = row
			}
			if p.m.Bias != nil {
				kern.Best().Add(out, p.m.Bias[first*kern.Rows:(first+n)*kern.Rows])
			}
		}
	}
}

// fewPanels is how many panels the kernels of quantized weights get at a time for a single token or few: enough that
// the time between two calls does not count, few enough that panels which are made for a call (NoRepack) take little
// memory.
const fewPanels = 16

// multiplyFloat multiplies n panels from i on with float32 activations, decoding quantized weights.
func (p *Product) multiplyFloat(w *Scratch, i, n int) {
	m, in, k := p.m, p.in, &w.Call
	cols, panels := p.cols(), m.Panel(w, i, n)
	*k = kern.Product{
		T: int64(in.tokens), AStride: int64(4 * in.stride), Panels: int64(n), PanelBytes: int64(m.size),
		Scratch: w.Memory(),
	}
	p.setOut(w, k, i, n, 0)
	tiled := len(p.tiles) > 0
	format, block := m.format, floatBlock
	expanded := m.typ.IsQuantized() || tiled && format != kern.F32
	if expanded {
		format, k.PanelBytes = kern.F32, 4*floatBlock*kern.Rows
		w.panel = work.Resize(w.panel, n*floatBlock*kern.Rows)
	} else if in.tokens == 1 {
		block = cols // no other token would find the weights in the cache
	}
	l := kern.Layouts[m.format]
	for c := 0; c < cols; c += block {
		b := min(block, cols-c)
		if expanded {
			for j := range n {
				m.floats(w, w.panel[j*floatBlock*kern.Rows:][:b*kern.Rows], panels[j*m.size:(j+1)*m.size], c, b)
			}
			k.W = (*byte)(unsafe.Pointer(&w.panel[0]))
		} else {
			k.W = &panels[c/l.Cols*l.BlockBytes()*kern.Rows]
		}
		a := &in.f32[c]
		if tiled {
			a = &p.tiles[kern.TiledLen(in.tokens, c)]
			k.Tiled, k.AStride = 1, int64(4*kern.TileTokens*b)
		}
		k.A, k.Blocks = (*byte)(unsafe.Pointer(a)), int64(b)
		kern.Multiply(format, k)
		k.Add = 1
	}
	p.scatter(w, k, i, n, 0)
}

// floatBlock is how many columns are multiplied at a time, so that the weights stay in a core's first caches while all
// tokens use them. It is a multiple of every block length.
const floatBlock = 256
