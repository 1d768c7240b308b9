package gguf

import (
	"fmt"
	"io"
	"math/bits"

	"github.com/phi3conv/phi3conv/quant"
)

// TensorInfo names a tensor and says what it holds.
type TensorInfo struct {
	Name string
	Type quant.Type
	// Dims are the dimensions in ggml's order: the fastest varying axis, the
	// row's length, comes first. That is the reverse of PyTorch's shape; the
	// bytes are the same. At most four; none means a single element.
	Dims []uint64
}

// Elems returns the number of elements.
func (t *TensorInfo) Elems() int64 {
	n := int64(1)
	for _, d := range t.Dims {
		n *= int64(d)
	}
	return n
}

// Size returns the length of the data in bytes.
func (t *TensorInfo) Size() int64 { return t.Type.Size(t.Elems()) }

// Cols returns the length of a row in elements, Dims[0].
func (t *TensorInfo) Cols() int64 {
	if len(t.Dims) == 0 {
		return 1
	}
	return int64(t.Dims[0])
}

// Rows returns the number of rows, the product of all dimensions but the first.
func (t *TensorInfo) Rows() int64 {
	n := int64(1)
	for _, d := range t.Dims[min(1, len(t.Dims)):] {
		n *= int64(d)
	}
	return n
}

// check refuses a shape that the type cannot have. After it, [TensorInfo.Elems] and
// [TensorInfo.Size] do not overflow and are above zero.
func (t *TensorInfo) check() error {
	n := uint64(1)
	for _, dim := range t.Dims {
		hi, lo := bits.Mul64(n, dim)
		if dim == 0 {
			return fmt.Errorf("dimensions %d: there is no element", t.Dims)
		}
		// 2^59 elements of the largest type, 4 bytes each, still fit in an int64.
		if hi != 0 || lo > 1<<59 {
			return fmt.Errorf("dimensions %d: too many elements", t.Dims)
		}
		n = lo
	}
	if b := int64(t.Type.BlockLen()); t.Cols()%b != 0 {
		return fmt.Errorf("rows of %d elements, type %s needs a multiple of %d", t.Cols(), t.Type, b)
	}
	return nil
}

// Tensor is a tensor in an open file. Its data is read on demand.
type Tensor struct {
	TensorInfo
	Path   string // the file that holds it; empty when read through [NewFile]
	Offset int64  // where its data begins, from the start of that file

	r io.ReaderAt
}

// ReadAt reads len(p) bytes of the tensor's data from off, which counts from
// the tensor's first byte. It may be called from several goroutines.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) { return t.Data().ReadAt(p, off) }

// Data returns a new reader of the tensor's bytes, which package quant decodes.
func (t *Tensor) Data() *io.SectionReader { return io.NewSectionReader(t.r, t.Offset, t.Size()) }

// Source returns the reader of the whole file that holds the tensor, an
// *os.File unless it came from [NewFile]. The data lies there at t.Offset.
func (t *Tensor) Source() io.ReaderAt { return t.r }
