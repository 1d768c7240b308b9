package linear

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"sync"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/mmap"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
)

// Loader loads tensors of a model by their GGUF names: a vector when it is asked for, the matrices all together, by
// [Loader.Read] or [Loader.Map]. After an error its methods do nothing; [Loader.Err] tells.
type Loader struct {
	// Expand makes Read decode quantized matrices to float32, and read those that could be used where they are mapped.
	Expand bool

	src      *source.Model
	byName   map[string]*source.Tensor
	parts    map[string][]*source.Tensor // of a matrix that the file holds in parts, by its name
	matrices []*Matrix                   // that Read or Map loads
	tensors  []*source.Tensor            // what they are loaded from
	all      []*Matrix                   // those that Read or Map loads, and those that need no loading
	err      error
}

// NewLoader makes a loader for a model.
func NewLoader(src *source.Model) *Loader {
	ld := &Loader{src: src, byName: map[string]*source.Tensor{}, parts: map[string][]*source.Tensor{}}
	for i := range src.Tensors {
		t := &src.Tensors[i]
		ld.byName[t.GGUF] = t
		if t.Whole != "" {
			ld.parts[t.Whole] = append(ld.parts[t.Whole], t)
		}
	}
	return ld
}

// Matrices returns all matrices that have been asked for.
func (ld *Loader) Matrices() []*Matrix { return ld.all }

// Err returns the first error so far.
func (ld *Loader) Err() error { return ld.err }

// Tensor returns a tensor, nil after an error.
func (ld *Loader) Tensor(name string) *source.Tensor {
	t := ld.byName[name]
	if t == nil && ld.err == nil {
		ld.err = formats.FileErrorf(ld.src.Path, -1, "there is no tensor %s", name)
	}
	return t
}

// Vector reads a vector. The result is padded with zeros (see [Padded]), and nil after an error.
func (ld *Loader) Vector(name string) []float32 {
	t := ld.Tensor(name)
	if ld.err != nil {
		return nil
	}
	raw, values := make([]byte, t.RowBytes()), make([]float32, Padded(t.Cols()))
	if ld.err = t.ReadRows(raw, 0); ld.err != nil {
		return nil
	}
	t.Decode(values[:t.Cols()], raw)
	return values
}

// Norm reads the weight and the bias of a norm, see [Loader.Vector]. The bias is nil if there is none.
func (ld *Loader) Norm(n arch.Norm) (weight, bias []float32) {
	if n.Weight.GGUF == "" {
		return nil, nil
	}
	if n.Bias != nil {
		bias = ld.Vector(n.Bias.GGUF)
	}
	return ld.Vector(n.Weight.GGUF), bias
}

// Linear returns the matrix of a linear layer, with its bias, which can be used after Read or Map, or nil after an
// error. If the file holds it in parts, it is the first of them, see [Matrix.Next].
func (ld *Loader) Linear(l arch.Linear) *Matrix {
	m := ld.matrix(l.Weight.GGUF)
	if l.Bias != nil && ld.err == nil {
		m.Bias = ld.Vector(l.Bias.GGUF)
	}
	return m
}

// Experts returns the matrices of a stack, one for each expert.
func (ld *Loader) Experts(l arch.Linear) []*Matrix {
	t := ld.Tensor(l.Weight.GGUF)
	if ld.err != nil {
		return nil
	}
	all := make([]*Matrix, t.Shape[0])
	for e := range all {
		x := t.Expert(e)
		all[e] = ld.note(&x)
		all[e].Expert = e
	}
	return all
}

// matrix returns the matrix of a name, or the first of its parts if the file holds it so; nil after an error.
func (ld *Loader) matrix(name string) *Matrix {
	parts := ld.parts[name]
	if len(parts) == 0 || ld.byName[name] != nil {
		parts = []*source.Tensor{ld.Tensor(name)}
	}
	if ld.err != nil {
		return nil
	}
	var first *Matrix
	end := &first
	for _, t := range parts {
		*end = ld.note(t)
		end = &(*end).Next
	}
	return first
}

// note makes a matrix, to be loaded unless the file's own panels can be used.
func (ld *Loader) note(t *source.Tensor) *Matrix {
	m := newMatrix(t)
	ld.all = append(ld.all, m)
	if ld.Expand {
		m.expandType()
	}
	if t.Panels != nil && !ld.Expand {
		m.packed = t.Panels
	} else {
		ld.matrices, ld.tensors = append(ld.matrices, m), append(ld.tensors, t)
	}
	return m
}

// expandType makes the panels hold float32 if the file's type is quantized.
func (m *Matrix) expandType() {
	if m.typ.IsQuantized() {
		m.setType(quant.F32)
	}
}

// ExpandedBytes returns the bytes that the panels of a matrix or of a stack take where [Loader.Expand] is set.
func ExpandedBytes(t *source.Tensor) int64 {
	count, one := 1, *t
	if len(t.Shape) == 3 {
		count, one = int(t.Shape[0]), t.Expert(0)
	}
	m := newMatrix(&one)
	m.expandType()
	return int64(count) * int64(m.alignedBytes())
}

// Map maps the files and lets the matrices use their pages, but for those whose rows do not follow each other there:
// [Loader.Read] loads those. It returns the mapped files by their paths, which the caller unmaps, after an error too.
func (ld *Loader) Map() (map[string][]byte, error) {
	maps := map[string][]byte{}
	var rest []*Matrix
	var restTensors []*source.Tensor
	for i, m := range ld.matrices {
		t := ld.tensors[i]
		file, isFile := t.R.(*os.File)
		if !t.Contiguous() || !isFile {
			rest, restTensors = append(rest, m), append(restTensors, t)
			continue
		}
		if t.IsF64 {
			return maps, formats.FileErrorf(t.Path, t.Offset,
				"tensor %s is F64, which cannot be used in place; open the model without NoRepack", t.GGUF)
		}
		b, ok := maps[t.Path]
		if !ok {
			var err error
			if b, err = mmap.File(file); err != nil {
				return maps, err
			}
			maps[t.Path] = b
		}
		end := t.Offset + int64(m.Rows)*int64(m.rowBytes)
		if end > int64(len(b)) {
			return maps, formats.FileErrorf(t.Path, t.Offset,
				"tensor %s ends at byte %d of %d: the file has become shorter", t.GGUF, end, len(b))
		}
		m.mapped = b[t.Offset:end]
	}
	ld.matrices, ld.tensors = rest, restTensors
	return maps, nil
}

// Read reads all matrices into panels, in pieces of about pieceBytes on all threads, so that reading, interleaving and
// the system's zeroing of memory overlap. It returns the memory that holds the panels, which the caller unmaps, or nil
// if there are no matrices. progress, which may be nil, is called with bytes done and in all, from any thread.
func (ld *Loader) Read(ctx context.Context, threads *Threads, progress func(done, total int64)) ([]byte, error) {
	const pieceBytes = 1 << 20
	if len(ld.matrices) == 0 {
		return nil, nil
	}
	total := 0
	job := reading{ctx: ctx, threads: threads, progress: progress}
	for i, m := range ld.matrices {
		at := total
		total += m.alignedBytes()
		job.total += int64(m.bytes())
		step := max(1, pieceBytes/m.size)
		for p := 0; p < m.Panels; p += step {
			job.pieces = append(job.pieces, piece{m, ld.tensors[i], at, p, min(step, m.Panels-p)})
		}
	}
	if free := machine.FreeMemory(); uint64(total) > free {
		return nil, fmt.Errorf(
			"%s: the weights take %d bytes of memory and %d are available; NoRepack uses the file in place",
			ld.src.Path, total, free)
	}
	mem, err := mmap.Memory(total)
	if err != nil {
		return nil, err
	}
	job.mem = mem
	if err = threads.Run(&job, len(job.pieces)); err == nil {
		err = job.err
	}
	if err != nil {
		_ = mmap.Unmap(mem)
		return nil, err
	}
	at := 0
	for _, m := range ld.matrices {
		m.packed = mem[at : at+m.bytes()]
		at += m.alignedBytes()
	}
	return mem, nil
}

// alignedBytes returns the size of all panels, rounded up to a cache line.
func (m *Matrix) alignedBytes() int { return (m.bytes() + 63) &^ 63 }

// piece is some panels of a matrix.
type piece struct {
	m            *Matrix
	t            *source.Tensor
	at           int // where the matrix begins in reading.mem
	first, count int // panels
}

// reading is the job of Read. A task is a piece.
type reading struct {
	ctx      context.Context
	threads  *Threads
	pieces   []piece
	mem      []byte // where the panels go
	progress func(done, total int64)
	total    int64 // bytes

	mu   sync.Mutex
	done int64
	err  error
}

func (j *reading) Do(thread, i int) {
	p := &j.pieces[i]
	err := j.ctx.Err()
	if err == nil {
		err = j.read(j.threads.Scratch[thread], p)
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

// read reads the rows of a piece and interleaves them.
func (j *reading) read(w *Scratch, p *piece) error {
	m := p.m
	first := p.first * kern.Rows
	n := min(p.count*kern.Rows, m.Rows-first)
	w.bytes = work.Resize(w.bytes, n*m.rowBytes)
	if err := p.t.ReadRows(w.bytes, first); err != nil {
		return err
	}
	src, rowBytes := w.bytes, m.rowBytes
	if at := p.t.Type.BadScale(src); at >= 0 {
		return formats.FileErrorf(p.t.Path, p.t.Offset+int64(first)*int64(rowBytes)+int64(at),
			"tensor %s: the scale of a %s block is infinite or not a number", m.Name, p.t.Type)
	}
	switch {
	case m.form != nil:
		src, rowBytes = m.recode(w, src, n), m.form.rowBytes(m.Cols)
	case p.t.IsF64 || p.t.Type != m.typ:
		src, rowBytes = w.decode(p.t, src), 4*m.Cols
	}
	dst := j.mem[p.at+p.first*m.size:]
	for ; n > 0; n -= kern.Rows {
		rows := min(n, kern.Rows)
		kern.Interleave(m.format, dst[:m.size], src[:rows*rowBytes], rows)
		src, dst = src[rows*rowBytes:], dst[m.size:]
	}
	return nil
}

// decode converts rows to float32, little-endian. The result is valid until w is used again.
func (w *Scratch) decode(t *source.Tensor, raw []byte) []byte {
	w.values = work.Resize(w.values, len(raw)/t.RowBytes()*t.Cols())
	t.Decode(w.values, raw)
	w.rows = work.Resize(w.rows, 4*len(w.values))
	for i, v := range w.values {
		binary.LittleEndian.PutUint32(w.rows[4*i:], math.Float32bits(v))
	}
	return w.rows
}
