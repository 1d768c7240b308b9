// Package tensorfile opens a GGUF file, a safetensors file or a directory of
// safetensors files as a list of tensors under their own names, whatever model
// they belong to.
package tensorfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/lora"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/quant"
)

// File is an open file or directory. Of GGUF and Safetensors one is nil.
type File struct {
	Format      string     // "GGUF", "pmap" or "safetensors"
	GGUF        *gguf.File // also what a .pmap file stands for
	Safetensors *safetensors.File
	Tensors     []Tensor // in the order of the file

	byName map[string]*Tensor
}

// Tensor is a tensor in an open file.
type Tensor struct {
	Name  string
	Type  string   // such as "Q4_K" or "F64"
	Shape []uint64 // the last axis varies fastest, also for GGUF
	Elems int64
	Bytes int64 // length of the data

	Path   string // the file that holds it
	Offset int64  // of the data in that file

	// Block is the type of the values, unless IsF64 or Unusable say otherwise.
	Block quant.Type
	IsF64 bool
	// Unusable says why the values cannot be read; nil if they can.
	Unusable error

	r io.ReaderAt
}

// IsGGUF tells by its first bytes whether the file at path is a GGUF file, or a .pmap
// file, which stands for one.
func IsGGUF(path string) (bool, error) {
	f, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read from
	var magic [4]byte
	_, err = io.ReadFull(f, magic[:])
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return false, nil
	}
	return string(magic[:]) == "GGUF" || pmap.Is(path), err
}

// Open opens a directory of safetensors files, a file whose name ends with
// .safetensors, a .pmap file, or a GGUF file or any part of a split one. The caller closes it.
func Open(path string) (*File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		if err := lora.Refuse(path); err != nil {
			return nil, err
		}
		return fromSafetensors(safetensors.OpenDir(path))
	}
	if strings.HasSuffix(strings.ToLower(path), ".safetensors") {
		return fromSafetensors(safetensors.Open(path))
	}
	is, err := IsGGUF(path)
	if err != nil {
		return nil, err
	}
	if !is {
		return nil, formats.FileErrorf(path, -1,
			"neither a GGUF file, nor a .safetensors file, nor a directory of them")
	}
	g, err := pmap.OpenGGUF(path)
	if err != nil {
		return nil, err
	}
	f := &File{Format: "GGUF", GGUF: g}
	if pmap.Is(path) {
		f.Format = "pmap"
	}
	for _, t := range g.Tensors {
		u := Tensor{
			Name: t.Name, Type: t.Type.String(), Elems: t.Elems(), Bytes: t.Size(), Path: t.Path, Offset: t.Offset,
			Block: t.Type, r: t.Source(),
		}
		for i := len(t.Dims) - 1; i >= 0; i-- {
			u.Shape = append(u.Shape, t.Dims[i])
		}
		f.Tensors = append(f.Tensors, u)
	}
	f.index()
	return f, nil
}

func fromSafetensors(s *safetensors.File, err error) (*File, error) {
	if err != nil {
		return nil, err
	}
	f := &File{Format: "safetensors", Safetensors: s}
	for _, t := range s.Tensors {
		u := Tensor{
			Name: t.Name, Type: t.DType.String(), Shape: t.Shape, Elems: t.Elems(), Bytes: t.Size(), Path: t.Path,
			Offset: t.Offset, r: t.Source(),
		}
		u.Unusable = t.DType.Usable()
		switch {
		case u.Unusable != nil:
		case t.DType == safetensors.F64:
			u.IsF64 = true
		default:
			u.Block, u.Unusable = quant.ByName(u.Type)
		}
		f.Tensors = append(f.Tensors, u)
	}
	f.index()
	return f, nil
}

func (f *File) index() {
	f.byName = make(map[string]*Tensor, len(f.Tensors))
	for i := range f.Tensors {
		f.byName[f.Tensors[i].Name] = &f.Tensors[i]
	}
}

// Tensor finds a tensor by its name. It returns nil when there is none.
func (f *File) Tensor(name string) *Tensor { return f.byName[name] }

// Close closes the files.
func (f *File) Close() error {
	if f.GGUF != nil {
		return f.GGUF.Close()
	}
	return f.Safetensors.Close()
}

// FromValues returns a vector that lies in memory.
func FromValues(name string, x []float32) Tensor {
	data := make([]byte, 0, 4*len(x))
	for _, v := range x {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(v))
	}
	return Tensor{
		Name: name, Type: quant.F32.String(), Shape: []uint64{uint64(len(x))}, Elems: int64(len(x)),
		Bytes: int64(len(data)), Block: quant.F32, r: bytes.NewReader(data),
	}
}

// FromModel returns a tensor of a model, under the name that it has in a GGUF file.
func FromModel(t *source.Tensor) Tensor {
	return Tensor{
		Name: t.GGUF, Type: t.TypeName(), Shape: t.Shape, Elems: t.Elems(), Bytes: t.Bytes(), Path: t.Path,
		Block: t.Type, IsF64: t.IsF64, r: t.Data(),
	}
}

// Rows returns n rows of a matrix from row first on, as a tensor of that name.
func (t *Tensor) Rows(name string, first, n int64) *Tensor {
	part := *t
	cols := int64(t.Shape[1])
	part.Name, part.Shape, part.Elems = name, []uint64{uint64(n), t.Shape[1]}, n*cols
	rowBytes := t.Bytes / int64(t.Shape[0])
	part.Offset, part.Bytes = t.Offset+first*rowBytes, n*rowBytes
	return &part
}

// ChunkElems is the number of elements that a [Reader] decodes at once, 1 MiB of
// float32. Every type's block length divides it.
const ChunkElems = 1 << 18

// Reader reads a tensor from its first element to its last.
type Reader struct {
	t      *Tensor
	next   int64 // index of the next element
	data   []byte
	values []float32
}

// ReadBytes fills data with the tensor's bytes from an offset among them.
func (t *Tensor) ReadBytes(data []byte, off int64) error {
	off += t.Offset
	k, err := t.r.ReadAt(data, off)
	if k == len(data) {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &formats.Error{Path: t.Path, Off: off + int64(k), What: "reading tensor " + t.Name, Err: err}
}

// Reader returns a new reader of the tensor's values, which must not be Unusable.
func (t *Tensor) Reader() *Reader { return &Reader{t: t} }

// Next returns the next values, [ChunkElems] of them or those that are left, and
// the bytes that encode them. Both are valid until the next call. After the last
// it returns io.EOF.
func (r *Reader) Next() (values []float32, data []byte, err error) {
	t := r.t
	n := min(ChunkElems, t.Elems-r.next)
	if n == 0 {
		return nil, nil, io.EOF
	}
	if r.values == nil {
		r.values, r.data = make([]float32, n), make([]byte, t.size(n))
	}
	values, data = r.values[:n], r.data[:t.size(n)]
	if err := t.ReadBytes(data, t.size(r.next)); err != nil {
		return nil, nil, err
	}
	if t.IsF64 {
		for i := range values {
			values[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(data[8*i:])))
		}
	} else {
		t.Block.Dequantize(values, data)
	}
	r.next += n
	return values, data, nil
}

// size returns the number of bytes that n elements take.
func (t *Tensor) size(n int64) int64 {
	if t.IsF64 {
		return 8 * n
	}
	return t.Block.Size(n)
}

// Place turns the index of an element into its row and column; a vector has one row.
func (t *Tensor) Place(index int64) (row, col int64) {
	cols := t.Elems
	if n := len(t.Shape); n > 1 {
		cols = int64(t.Shape[n-1])
	}
	return index / cols, index % cols
}
