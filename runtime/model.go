package runtime

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	goruntime "runtime"
	"sync"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/mmap"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/quant"
)

// Options say how a model is run. The zero value is the fast way.
type Options struct {
	Threads int       // 0: one for each physical core that the process may use
	Cache   CacheType // of keys and values
	// Batch is the number of tokens that go through the model together, 0 for 512.
	Batch int
	// Float32 computes everything in float32: what quantized weights stand for is multiplied
	// with unrounded activations. Slow, and the same bits everywhere.
	Float32 bool
	// NoRepack maps the file and interleaves weights at each use instead of once: no
	// memory but the file's own pages, several times slower.
	NoRepack bool
	// Tap is called with the input of each linear layer, the tensor's GGUF name and a row
	// that it must not keep, for every token that is evaluated; of the output layer, for
	// those whose logits are asked for. Calls come from the goroutine that calls Eval.
	Tap func(tensor string, x []float32)
	// Progress is called while a model is opened, with bytes done and in all, from any thread.
	Progress func(done, total int64)
}

// Model is an opened model. Its methods may be called from several goroutines; Eval
// calls wait for each other.
type Model struct {
	path   string
	opt    Options
	cfg    *arch.Config
	src    *source.Model
	pool   *pool
	geo    *geometry
	rope   *rope
	layers []layer
	norm   []float32 // padded with zeros, as all norms
	output *matrix
	embed  *source.Tensor // rows are read when needed

	attnScale float32
	mem       []byte            // the panels of all matrices
	maps      map[string][]byte // files, with NoRepack

	mu     sync.Mutex
	b      *batch
	closed bool
}

// layer is the weights of a block.
type layer struct {
	attnNorm, ffnNorm []float32
	qkv, o, up, down  *matrix // up holds the rows of gate, then those of up
}

// Open opens a checkpoint directory or a GGUF file and reads its weights, until ctx is done.
func Open(ctx context.Context, path string, opt Options) (*Model, error) {
	src, err := source.Open(path)
	if err != nil {
		return nil, err
	}
	m := newModel(path, src, opt)
	if err := m.load(ctx); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

// newModel makes a model without weights.
func newModel(path string, src *source.Model, opt Options) *Model {
	if opt.Threads <= 0 {
		opt.Threads = DefaultThreads()
	}
	if opt.Batch <= 0 {
		opt.Batch = 512
	}
	c := src.Config
	opt.Batch = min(opt.Batch, c.Context)
	return &Model{path: path, opt: opt, cfg: c, src: src, pool: newPool(opt.Threads), geo: newGeometry(c, opt.Cache), rope: newRope(c),
		attnScale: float32(1 / math.Sqrt(float64(c.HeadDim)))}
}

// Close releases the model's memory, files and threads. It waits for a running Eval.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.pool.close()
	if m.mem != nil {
		_ = mmap.Unmap(m.mem)
	}
	for _, b := range m.maps {
		_ = mmap.Unmap(b)
	}
	m.b, m.layers, m.output = nil, nil, nil
	return m.src.Close()
}

// Path returns the path that Open was given.
func (m *Model) Path() string { return m.path }

// VocabSize returns the number of logits.
func (m *Model) VocabSize() int { return m.cfg.VocabSize }

// Context returns the longest sequence that the model was made for, in tokens.
func (m *Model) Context() int { return m.cfg.Context }

// Threads returns the number of threads in use.
func (m *Model) Threads() int { return m.opt.Threads }

// Params returns the number of weights.
func (m *Model) Params() int64 { return m.src.Params() }

// WeightBytes returns the size of the weights in the file, and of those that
// every token reads: all but the rows of the embedding, unless that is the output matrix too.
func (m *Model) WeightBytes() (file, perToken int64) {
	for i := range m.src.Tensors {
		t := &m.src.Tensors[i]
		n := t.Bytes()
		file += n
		if t.GGUF != embedName || m.cfg.Tied {
			perToken += n
		} else {
			perToken += int64(t.RowBytes())
		}
	}
	return file, perToken
}

// CacheBytes returns the memory that the keys and values of n tokens take.
func (m *Model) CacheBytes(n int) int64 {
	return int64((n+chunkLen-1)/chunkLen) * m.geo.bytes()
}

const (
	embedName = "token_embd.weight"
	normName  = "output_norm.weight"
)

// loader finds tensors, reads vectors at once, and notes the matrices that are to be read.
type loader struct {
	byName   map[string]*source.Tensor
	parts    map[string][]*source.Tensor // of a matrix that the file holds in parts
	expand   bool                        // decode quantized matrices to float32
	matrices []*matrix
	tensors  []*source.Tensor // of matrices
	err      error
}

func newLoader(src *source.Model) *loader {
	ld := &loader{byName: map[string]*source.Tensor{}, parts: map[string][]*source.Tensor{}}
	for i := range src.Tensors {
		t := &src.Tensors[i]
		ld.byName[t.GGUF] = t
		if t.Whole != "" {
			ld.parts[t.Whole] = append(ld.parts[t.Whole], t)
		}
	}
	return ld
}

func (ld *loader) vector(name string) []float32 {
	t := ld.byName[name]
	if ld.err != nil {
		return nil
	}
	raw, values := make([]byte, t.RowBytes()), make([]float32, padded(t.Cols()))
	if ld.err = t.ReadRows(raw, 0); ld.err != nil {
		return nil
	}
	t.Decode(values[:t.Cols()], raw)
	return values
}

// matrix notes a matrix, or the parts of it.
func (ld *loader) matrix(name string) *matrix {
	if t := ld.byName[name]; t != nil {
		return ld.part(t)
	}
	var first *matrix
	end := &first
	for _, t := range ld.parts[name] {
		*end = ld.part(t)
		end = &(*end).next
	}
	return first
}

func (ld *loader) part(t *source.Tensor) *matrix {
	m := newMatrix(t)
	if ld.expand && t.Type.IsQuantized() {
		m.setType(quant.F32)
	}
	ld.matrices, ld.tensors = append(ld.matrices, m), append(ld.tensors, t)
	return m
}

func (ld *loader) layer(i int) layer {
	blk := fmt.Sprintf("blk.%d.", i)
	return layer{
		attnNorm: ld.vector(blk + "attn_norm.weight"), ffnNorm: ld.vector(blk + "ffn_norm.weight"),
		qkv: ld.matrix(blk + "attn_qkv.weight"), o: ld.matrix(blk + "attn_output.weight"),
		up: ld.matrix(blk + "ffn_up.weight"), down: ld.matrix(blk + "ffn_down.weight"),
	}
}

// outputName names the output matrix.
func (m *Model) outputName() string {
	if m.cfg.Tied {
		return embedName
	}
	return "output.weight"
}

// load reads the weights.
func (m *Model) load(ctx context.Context) error {
	ld := newLoader(m.src)
	m.embed = ld.byName[embedName]
	for i := range m.cfg.Layers {
		m.layers = append(m.layers, ld.layer(i))
	}
	m.norm = ld.vector(normName)
	m.output = ld.matrix(m.outputName())
	if ld.err != nil {
		return ld.err
	}
	// What a .pmap file holds in panels is used in place.
	all, tensors := ld.matrices, ld.tensors
	n := 0
	for i, t := range tensors {
		if all[i].packed = t.Panels; t.Panels == nil {
			all[n], tensors[n] = all[i], t
			n++
		}
	}
	all, tensors = all[:n], tensors[:n]
	switch {
	case n == 0:
		return nil
	case m.opt.NoRepack:
		return m.mapAll(all, tensors)
	}
	var err error
	m.mem, err = m.repack(ctx, all, tensors, m.opt.Progress)
	return err
}

// mapAll lets the matrices use the files' own pages.
func (m *Model) mapAll(all []*matrix, tensors []*source.Tensor) error {
	m.maps = map[string][]byte{}
	for i, mat := range all {
		t := tensors[i]
		if t.IsF64 {
			return &formats.Error{Path: t.Path, Off: t.Offset, What: "tensor " + t.GGUF + " is F64, which cannot be used in place; open the model without NoRepack"}
		}
		b, ok := m.maps[t.Path]
		if !ok {
			var err error
			if b, err = mmap.File(t.R.(*os.File)); err != nil {
				return err
			}
			m.maps[t.Path] = b
		}
		end := t.Offset + int64(mat.rows)*int64(mat.rowBytes)
		if end > int64(len(b)) {
			return &formats.Error{Path: t.Path, Off: t.Offset, What: fmt.Sprintf("tensor %s ends at byte %d of %d: the file has become shorter", t.GGUF, end, len(b))}
		}
		mat.mapped = b[t.Offset:end]
	}
	return nil
}

// repack reads all matrices into panels. Threads take pieces of about pieceBytes,
// so that reading, interleaving and the system's zeroing of memory overlap. It returns the
// memory that holds the panels, to be unmapped.
func (m *Model) repack(ctx context.Context, all []*matrix, tensors []*source.Tensor, progress func(done, total int64)) ([]byte, error) {
	const pieceBytes = 1 << 20
	total := 0
	job := repackJob{ctx: ctx, progress: progress}
	for i, mat := range all {
		at := total
		total += (mat.bytes() + 63) &^ 63
		job.total += int64(mat.bytes())
		step := max(1, pieceBytes/mat.size)
		for p := 0; p < mat.panels; p += step {
			job.pieces = append(job.pieces, repackPiece{mat, tensors[i], at, p, min(step, mat.panels-p)})
		}
	}
	if free := machine.FreeMemory(); uint64(total) > free {
		return nil, fmt.Errorf("%s: the weights take %d bytes of memory and %d are available; NoRepack uses the file in place", m.path, total, free)
	}
	mem, err := mmap.Memory(total)
	if err != nil {
		return nil, err
	}
	job.mem = mem
	if err = m.pool.run(&job, len(job.pieces)); err == nil {
		err = job.err
	}
	if err != nil {
		_ = mmap.Unmap(mem)
		return nil, err
	}
	at := 0
	for _, mat := range all {
		mat.packed = mem[at : at+mat.bytes()]
		at += (mat.bytes() + 63) &^ 63
	}
	return mem, nil
}

type repackPiece struct {
	m            *matrix
	t            *source.Tensor
	at           int // of the matrix in mem
	first, count int // panels
}

// repackJob reads pieces of matrices and interleaves them.
type repackJob struct {
	ctx      context.Context
	pieces   []repackPiece
	mem      []byte
	progress func(done, total int64)
	total    int64

	mu   sync.Mutex
	done int64
	err  error
}

func (j *repackJob) do(w *worker, i int) {
	p := &j.pieces[i]
	err := j.ctx.Err()
	if err == nil {
		err = j.repack(w, p)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil && j.err == nil {
		j.err = err
	}
	j.done += int64(p.count * p.m.size)
	if j.progress != nil {
		j.progress(j.done, j.total)
	}
}

func (j *repackJob) repack(w *worker, p *repackPiece) error {
	m := p.m
	first := p.first * kern.Rows
	n := min(p.count*kern.Rows, m.rows-first)
	w.bytes = grow(w.bytes, n*m.rowBytes)
	if err := p.t.ReadRows(w.bytes, first); err != nil {
		return err
	}
	src, rowBytes := w.bytes, m.rowBytes
	if at := p.t.Type.BadScale(src); at >= 0 {
		return &formats.Error{Path: p.t.Path, Off: p.t.Offset + int64(first)*int64(rowBytes) + int64(at), What: fmt.Sprintf("tensor %s: the scale of a %s block is infinite or not a number", m.name, p.t.Type)}
	}
	if p.t.IsF64 || p.t.Type != m.typ {
		src, rowBytes = w.decode(p.t, src), 4*m.cols
	}
	dst := j.mem[p.at+p.first*m.size:]
	for ; n > 0; n -= kern.Rows {
		rows := min(n, kern.Rows)
		kern.Interleave(m.format, dst[:m.size], src[:rows*rowBytes], rows)
		src, dst = src[rows*rowBytes:], dst[m.size:]
	}
	return nil
}

// decode converts rows to float32.
func (w *worker) decode(t *source.Tensor, raw []byte) []byte {
	w.values = grow(w.values, len(raw)/t.RowBytes()*t.Cols())
	t.Decode(w.values, raw)
	w.rows = grow(w.rows, 4*len(w.values))
	for i, v := range w.values {
		binary.LittleEndian.PutUint32(w.rows[4*i:], math.Float32bits(v))
	}
	return w.rows
}

// DefaultThreads returns the number of physical cores that the process may use.
func DefaultThreads() int {
	n := goruntime.GOMAXPROCS(0) // what the scheduler and the control group allow
	if cores := machine.Cores(); cores > 0 {
		n = min(n, cores)
	}
	return max(1, n)
}
