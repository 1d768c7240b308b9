package runtime

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/quant"
)

// matrix is the weights of a linear layer, in panels of 16 rows (see kern.Format).
type matrix struct {
	name       string // in a GGUF file
	typ        quant.Type
	format     kern.Format
	rows, cols int

	// packed holds the panels; nil if they are made from mapped at each use.
	packed []byte
	// mapped holds the rows as the file has them.
	mapped   []byte
	rowBytes int
	panels   int // number of panels
	size     int // bytes of a panel

	next *matrix // the rows behind these where the file has them as another tensor; or nil
}

func newMatrix(t *source.Tensor) *matrix {
	m := &matrix{name: t.GGUF, rows: t.Rows(), cols: t.Cols(), rowBytes: t.RowBytes()}
	m.panels = (m.rows + kern.Rows - 1) / kern.Rows
	m.setType(t.Type)
	return m
}

// setType says what the panels hold.
func (m *matrix) setType(t quant.Type) {
	m.typ, m.format = t, kern.FormatOf(t.GGML())
	m.size = kern.PanelBytes(m.format, m.cols)
}

// bytes returns the size of all panels.
func (m *matrix) bytes() int { return m.panels * m.size }

// panel returns n panels from panel i on.
func (m *matrix) panel(w *worker, i, n int) []byte {
	if m.packed != nil {
		return m.packed[i*m.size : (i+n)*m.size]
	}
	w.bytes = grow(w.bytes, n*m.size)
	for p := range n {
		first := (i + p) * kern.Rows
		rows := min(kern.Rows, m.rows-first)
		kern.Interleave(m.format, w.bytes[p*m.size:(p+1)*m.size], m.mapped[first*m.rowBytes:(first+rows)*m.rowBytes], rows)
	}
	return w.bytes
}

// activation is how the input of a product is encoded.
type activation uint8

const (
	asF32  activation = iota // float32, for float weights and the float32 mode
	asBF16                   // bfloat16, for BF16 weights where the CPU multiplies those
	as256                    // kern.A256, for K types
	as32                     // kern.A32, for the other quantized types
)

// input is the encoded input of a product: tokens rows of cols columns.
type input struct {
	kind   activation
	tokens int
	cols   int
	f32    []float32 // rows of stride values
	stride int
	enc    []byte // records or bfloat16 values
}

// activation returns how m takes its input for that many tokens. Single tokens
// stay in float32 with BF16 weights: reading the weights decides there.
func (m *matrix) activation(exact bool, tokens int) activation {
	switch l := kern.Layouts[m.format]; {
	case exact, m.format == kern.F32, m.format == kern.F16:
		return asF32
	case m.format == kern.BF16:
		if kern.Best().ProductBF16 != nil && tokens > 1 {
			return asBF16
		}
		return asF32
	case l.Cols == 256:
		return as256
	}
	return as32
}

// encodedBytes returns the size of in.enc for cols columns of that many tokens.
func encodedBytes(kind activation, tokens, cols int) int {
	switch kind {
	case asBF16:
		return tokens * (cols + cols&1) * 2
	case as256:
		return tokens * cols / 256 * kern.A256Bytes
	case as32:
		return tokens * cols / 32 * kern.A32Bytes
	}
	return 0
}

// encode fills in.enc for token t from its row.
func (in *input) encode(t int, x []float32) {
	v := &kern.Best().Vector
	switch in.kind {
	case as256:
		v.Quantize256(in.enc[t*kern.A256Bytes:], x[:in.cols], in.tokens*kern.A256Bytes)
	case as32:
		v.Quantize32(in.enc[t*kern.A32Bytes:], x[:in.cols], in.tokens*kern.A32Bytes)
	case asBF16:
		n := in.cols + in.cols&1
		row := unsafe.Slice((*uint16)(unsafe.Pointer(&in.enc[2*t*n])), n)
		v.ToBF16(row, x[:n]) // a row is padded with zeros
	}
}

// product is the job of multiplying an input with a matrix: out[t][r] for every token.
// A task is a range of panels.
type product struct {
	m         *matrix
	in        *input
	out       []float32
	outStride int // values; at least the rows of all panels
	bounds    [maxTasks + 1]int32
}

const maxTasks = 96

// plan divides the panels into tasks and returns their number. Tasks become smaller and
// smaller: long ones keep the reading sequential, and the last ones are short, so that no thread
// waits long for another. minTask bytes take some 5 µs to read.
func (p *product) plan(threads int) (tasks int) {
	const minTask = 64 << 10
	least := max(1, minTask/(p.m.size*min(p.in.tokens, 16)))
	for first := 0; first < p.m.panels; tasks++ {
		left := p.m.panels - first
		n := max(least, left/(2*threads), (left+maxTasks-tasks-1)/(maxTasks-tasks))
		first += min(n, left)
		p.bounds[tasks+1] = int32(first)
	}
	return tasks
}

func (p *product) do(w *worker, i int) {
	first, end := int(p.bounds[i]), int(p.bounds[i+1])
	if p.in.kind != asF32 {
		p.encoded(w, first, end)
		return
	}
	for ; first < end; first += floatPanels {
		p.float(w, first, min(floatPanels, end-first))
	}
}

// floatPanels is how many panels the float kernels get at a time: side by side
// they keep the arithmetic units busy while each waits for its own sums.
const floatPanels = 4

// results sets where k puts the results of n panels from i on: in place for a single token.
// The kernel comes back to every token's results again and again, so many tokens' are
// gathered first: their places are pages apart.
func (p *product) results(w *worker, k *kern.Product, i, n int) {
	if p.in.tokens == 1 {
		k.Out, k.OutStride = &p.out[i*kern.Rows], int64(4*p.outStride)
		return
	}
	w.out = grow(w.out, p.in.tokens*n*kern.Rows)
	k.Out, k.OutStride = &w.out[0], int64(4*n*kern.Rows)
}

// scatter puts what results gathered in place.
func (p *product) scatter(w *worker, i, n int) {
	if p.in.tokens == 1 {
		return
	}
	for t := range p.in.tokens {
		copy(p.out[t*p.outStride+i*kern.Rows:], w.out[t*n*kern.Rows:(t+1)*n*kern.Rows])
	}
}

// encoded multiplies the panels from first to end with encoded activations.
func (p *product) encoded(w *worker, first, end int) {
	m, in, k := p.m, p.in, &w.call
	*k = kern.Product{A: &in.enc[0], T: int64(in.tokens), PanelBytes: int64(m.size), Scratch: &w.scratch()[0]}
	kernel, step := kern.Best().Products[m.format], 1
	if in.tokens == 1 {
		step = singlePanels
	}
	switch in.kind {
	case as256:
		k.Blocks, k.AStride = int64(in.cols/256), int64(in.tokens*kern.A256Bytes)
	case as32:
		k.Blocks, k.AStride = int64(in.cols/32), int64(in.tokens*kern.A32Bytes)
	case asBF16:
		cols := int64(in.cols + in.cols&1)
		k.Blocks, k.AStride = cols, 2*cols
		kernel, step = kern.Best().ProductBF16, floatPanels
	}
	for i := first; i < end; i += step {
		n := min(step, end-i)
		k.W, k.Panels = &m.panel(w, i, n)[0], int64(n)
		p.results(w, k, i, n)
		kernel(k)
		p.scatter(w, i, n)
	}
}

// singlePanels is how many panels the kernels of quantized weights get at a time for a single
// token: enough that what lies between two calls does not count, few enough that panels which are
// made for a call (NoRepack) take little memory.
const singlePanels = 16

// float multiplies n panels from i on with float32 activations.
func (p *product) float(w *worker, i, n int) {
	m, in, k := p.m, p.in, &w.call
	cols := m.cols
	if m.format == kern.BF16 {
		cols += cols & 1 // its panels hold pairs, and rows of activations are padded
	}
	panels := m.panel(w, i, n)
	*k = kern.Product{T: int64(in.tokens), AStride: int64(4 * in.stride), Panels: int64(n), PanelBytes: int64(m.size), Scratch: &w.scratch()[0]}
	p.results(w, k, i, n)
	kernel, block := kern.Best().Products[m.format], floatBlock
	if m.typ.IsQuantized() {
		kernel, k.PanelBytes = kern.Best().Products[kern.F32], 4*floatBlock*kern.Rows
		w.panel = grow(w.panel, n*floatBlock*kern.Rows)
	} else if in.tokens == 1 {
		block = cols // nothing to keep in the cache for
	}
	l := kern.Layouts[m.format]
	for c := 0; c < cols; c += block {
		b := min(block, cols-c)
		if m.typ.IsQuantized() {
			for j := range n {
				m.floats(w, w.panel[j*floatBlock*kern.Rows:][:b*kern.Rows], panels[j*m.size:(j+1)*m.size], c, b)
			}
			k.W = (*byte)(unsafe.Pointer(&w.panel[0]))
		} else {
			k.W = &panels[c/l.Cols*l.BlockBytes()*kern.Rows]
		}
		k.A, k.Blocks = (*byte)(unsafe.Pointer(&in.f32[c])), int64(b)
		kernel(k)
		k.Add = 1
	}
	p.scatter(w, i, n)
}

// floatBlock is how many columns are multiplied at a time: 16 rows of them stay in
// a core's first cache. A multiple of every block length.
const floatBlock = 256

// floats decodes columns c to c+n of a panel to float32: dst[16·column + row].
func (m *matrix) floats(w *worker, dst []float32, panel []byte, c, n int) {
	l := kern.Layouts[m.format]
	blocks, size := n/l.Cols, l.BlockBytes()
	w.rows = grow(w.rows, kern.Rows*floatBlock/l.Cols*size)
	rows := w.rows[:kern.Rows*blocks*size]
	kern.Deinterleave(m.format, rows, panel[c/l.Cols*size*kern.Rows:][:len(rows)], kern.Rows)
	w.values = grow(w.values, kern.Rows*floatBlock)
	for r := range kern.Rows {
		m.typ.Dequantize(w.values[r*n:r*n+n], rows[r*blocks*size:(r+1)*blocks*size])
	}
	src, out := &w.tile[0], &w.tile[1]
	for k := 0; k < n; k += 32 {
		for r := range kern.Rows {
			copy(src[32*r:32*r+32], w.values[r*n+k:])
		}
		kern.Best().Transpose(out, src, 32)
		copy(dst[kern.Rows*k:], out[:])
	}
}

// grow returns a slice of length n, b's own memory where that suffices.
func grow[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}
