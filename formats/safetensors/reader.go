package safetensors

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/quant"
)

// Reasons for refusing a file, for [errors.Is]. The error itself is a
// *formats.Error that says where and what.
var (
	ErrTruncated = errors.New("file is truncated")            // it ends before something that it announces
	ErrOverlap   = errors.New("tensors overlap")              // two tensors share bytes
	ErrGap       = errors.New("bytes belong to no tensor")    // before, between or after tensors
	ErrIndex     = errors.New("index and files do not agree") // a file or a tensor is missing or unexpected
	ErrNoWeights = errors.New("no safetensors weights")       // the directory has none of the file names
)

// maxHeader is the largest length of a header in bytes, from the specification.
const maxHeader = 100_000_000

// maxDims is the largest number of dimensions of a tensor, PyTorch's. The format
// sets none.
const maxDims = 64

const metadataName = "__metadata__"

// File is an open safetensors file, or the files of an index presented as one.
type File struct {
	Metadata map[string]string // the entries of __metadata__; of several files the first that has a key wins
	Tensors  []*Tensor         // in the order of their bytes; files in the order of their names
	Shards   []Shard           // the files; one unless there is an index

	byName map[string]*Tensor
	close  []io.Closer
}

// Shard is one file.
type Shard struct {
	Path  string // empty for [NewFile]
	Size  int64  // length in bytes
	First int    // index of its first tensor
	Count int    // number of its tensors
}

// Tensor is a tensor in an open file. Its data is read on demand.
type Tensor struct {
	Name  string
	DType DType
	Shape []uint64 // PyTorch's order: the last axis varies fastest; empty for a scalar

	Path   string // the file that holds it; empty when read through [NewFile]
	Offset int64  // where its data begins, from the start of that file

	elems, size int64
	r           io.ReaderAt
}

// Elems returns the number of elements.
func (t *Tensor) Elems() int64 { return t.elems }

// Size returns the length of the data in bytes.
func (t *Tensor) Size() int64 { return t.size }

// ReadAt reads len(p) bytes of the tensor's data from off, which counts from
// the tensor's first byte. It may be called from several goroutines.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) { return t.Data().ReadAt(p, off) }

// Data returns a new reader of the tensor's bytes: little-endian elements,
// row-major, without padding.
func (t *Tensor) Data() *io.SectionReader { return io.NewSectionReader(t.r, t.Offset, t.size) }

// Source returns the reader of the whole file that holds the tensor, an
// *os.File if the file is on this machine and was opened by its path. The data lies there at t.Offset.
func (t *Tensor) Source() io.ReaderAt { return t.r }

// ReadFloat32 fills dst with the elements from first on, in row-major order.
// The type must be [DType.Usable]; F64 is rounded to float32.
func (t *Tensor) ReadFloat32(dst []float32, first int64) error {
	fail := func(err error, format string, args ...any) error {
		return &formats.Error{
			Path: t.Path, Off: t.Offset, What: fmt.Sprintf("tensor %.80q: ", t.Name) + fmt.Sprintf(format, args...),
			Err: err,
		}
	}
	if err := t.DType.Usable(); err != nil {
		return fail(err, "read")
	}
	if first < 0 || int64(len(dst)) > t.elems-first {
		return fail(nil, "%d elements from %d, it has %d", len(dst), first, t.elems)
	}
	size := t.DType.Bits() / 8
	buf := make([]byte, min(len(dst)*size, 64<<10))
	for len(dst) > 0 {
		n := min(len(dst), len(buf)/size)
		b := buf[:n*size]
		if k, err := t.ReadAt(b, first*int64(size)); k < len(b) {
			return fail(err, "read at %d", first*int64(size))
		}
		switch t.DType {
		case F16:
			quant.F16.Dequantize(dst[:n], b)
		case BF16:
			quant.BF16.Dequantize(dst[:n], b)
		case F32:
			quant.F32.Dequantize(dst[:n], b)
		case F64:
			for i := range dst[:n] {
				dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(b[8*i:])))
			}
		}
		dst = dst[n:]
		first += int64(n)
	}
	return nil
}

// Open opens a single file. The caller closes the File.
//
// The header is read and checked; of the tensor data nothing is read. A file
// that breaks a rule of the format is refused with a *formats.Error.
func Open(path string) (*File, error) { return OpenIn(formats.Disk, path) }

// OpenIn is [Open] for a file that may be elsewhere.
func OpenIn(files formats.Files, path string) (*File, error) {
	r, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := NewFile(r.ReaderAt, r.Size)
	if err != nil {
		_ = r.Close()
		return nil, formats.WithPath(err, path)
	}
	f.close = []io.Closer{r}
	f.Shards[0].Path = path
	for _, t := range f.Tensors {
		t.Path = path
	}
	return f, nil
}

// NewFile reads the header of a safetensors file of size bytes. The File keeps
// r and does not close it.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	if size < 8 {
		return nil, formats.Wrapf(ErrTruncated, 0, "file has %d bytes, the header's length alone takes 8", size)
	}
	var length [8]byte
	if err := readAt(r, length[:], 0); err != nil {
		return nil, err
	}
	n := binary.LittleEndian.Uint64(length[:])
	if n > maxHeader {
		begin := make([]byte, min(size, 64))
		if err := readAt(r, begin, 0); err != nil {
			return nil, err
		}
		if err := formats.LFSPointer(begin); err != nil {
			return nil, err
		}
		return nil, formats.Errorf(0,
			"header of %d bytes, at most %d are allowed; this is probably no safetensors file", n, maxHeader)
	}
	if int64(n) > size-8 {
		return nil, formats.Wrapf(ErrTruncated, 0, "header of %d bytes, %d are left", n, size-8)
	}
	header := make([]byte, n)
	if err := readAt(r, header, 8); err != nil {
		return nil, err
	}
	f, err := parseHeader(header)
	if err != nil {
		return nil, err
	}
	if err := f.place(8+int64(n), size); err != nil {
		return nil, err
	}
	for _, t := range f.Tensors {
		t.r = r
	}
	f.Shards = []Shard{{Size: size, Count: len(f.Tensors)}}
	return f, nil
}

// Tensor finds a tensor by its name. It returns nil when there is none.
func (f *File) Tensor(name string) *Tensor { return f.byName[name] }

// Close closes the files. Tensors cannot be read afterwards.
func (f *File) Close() error {
	var errs []error
	for _, c := range f.close {
		errs = append(errs, c.Close())
	}
	f.close = nil
	return errors.Join(errs...)
}

// readAt fills b from off.
func readAt(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		err = ErrTruncated // the file is shorter than it was said to be
	}
	return formats.Wrapf(err, off+int64(n), "read")
}

// parseHeader reads the JSON. The tensors' Offset counts from the start of the data.
func parseHeader(header []byte) (*File, error) {
	if len(header) == 0 || header[0] != '{' {
		return nil, formats.Errorf(8, "header begins with %.8q, must be \"{\"", header)
	}
	p, err := newParser(header, 8)
	if err != nil {
		return nil, err
	}
	f := &File{byName: make(map[string]*Tensor)}
	err = p.object(func(name string) error {
		if name == metadataName {
			f.Metadata = make(map[string]string)
			return p.object(func(key string) (err error) {
				f.Metadata[key], err = p.str()
				return err
			})
		}
		t, err := p.tensor(name)
		if err != nil {
			return err
		}
		f.Tensors = append(f.Tensors, t)
		f.byName[name] = t
		return nil
	})
	if err != nil {
		return nil, err
	}
	end := p.dec.InputOffset()
	if rest := bytes.TrimLeft(header[end:], " "); len(rest) > 0 {
		return nil, formats.Errorf(8+int64(len(header)-len(rest)),
			"%.8q after the header's JSON, only spaces are allowed", rest)
	}
	return f, nil
}

// tensor reads an entry of the header.
func (p *parser) tensor(name string) (*Tensor, error) {
	t := &Tensor{Name: name}
	var dtype string
	var offsets []uint64
	err := p.object(func(field string) (err error) {
		switch field {
		case "dtype":
			dtype, err = p.str()
		case "shape":
			t.Shape, err = p.uints(maxDims)
		case "data_offsets":
			offsets, err = p.uints(2)
		default:
			err = p.errorf("tensor %.80q: unknown field %.80q", name, field)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var ok bool
	if t.DType, ok = ParseDType(dtype); !ok {
		return nil, p.errorf("tensor %.80q: dtype %.80q is missing or unknown", name, dtype)
	}
	if t.Shape == nil {
		return nil, p.errorf("tensor %.80q: shape is missing", name)
	}
	if len(offsets) != 2 || offsets[0] > offsets[1] || offsets[1] > math.MaxInt64 {
		return nil, p.errorf("tensor %.80q: data_offsets are %d, must be begin and end", name, offsets)
	}
	if t.elems, t.size, err = measure(t.DType, t.Shape); err != nil {
		return nil, p.errorf("tensor %.80q: %v", name, err)
	}
	if n := offsets[1] - offsets[0]; n != uint64(t.size) {
		return nil, p.errorf("tensor %.80q: data_offsets %d span %d bytes, %s %d takes %d",
			name, offsets, n, t.DType, t.Shape, t.size)
	}
	t.Offset = int64(offsets[0])
	return t, nil
}

// measure returns the number of elements and of bytes of a tensor.
func measure(d DType, shape []uint64) (elems, size int64, err error) {
	if len(shape) > maxDims {
		return 0, 0, fmt.Errorf("%d dimensions, at most %d are allowed", len(shape), maxDims)
	}
	n := uint64(1)
	for _, dim := range shape {
		hi, lo := bits.Mul64(n, dim)
		if hi != 0 {
			return 0, 0, fmt.Errorf("shape %d: too many elements", shape)
		}
		n = lo
	}
	hi, nbits := bits.Mul64(n, uint64(d.Bits()))
	if hi != 0 {
		return 0, 0, fmt.Errorf("shape %d of %s: too many bytes", shape, d)
	}
	if nbits%8 != 0 {
		return 0, 0, fmt.Errorf("shape %d of %s takes %d bits, must be whole bytes", shape, d, nbits)
	}
	return int64(n), int64(nbits / 8), nil
}

// place sorts the tensors by their offset, checks that they tile the bytes from
// data to the end of the file, and makes the offsets count from the start of
// the file.
func (f *File) place(data, size int64) error {
	slices.SortFunc(f.Tensors, func(a, b *Tensor) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.size, b.size), cmp.Compare(a.Name, b.Name))
	})
	var end int64 // of the data so far
	for _, t := range f.Tensors {
		cause := error(nil)
		switch {
		case t.Offset < end:
			cause = ErrOverlap
		case t.Offset > end:
			cause = ErrGap
		case t.size > size-data-end:
			cause = ErrTruncated
		}
		if cause != nil {
			return formats.Wrapf(cause, data+end,
				"tensor %.80q: %d bytes of data at %d of %d, the tensor before it ends at %d", t.Name, t.size,
				t.Offset, size-data, end)
		}
		t.Offset += data
		end += t.size
	}
	if data+end != size {
		return formats.Wrapf(ErrGap, data+end, "%d bytes after the last tensor", size-data-end)
	}
	return nil
}
