package gguf

import (
	"cmp"
	"errors"
	"io"
	"math/bits"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/quant"
)

// Reasons for refusing a file, for [errors.Is]. The error itself is a
// *formats.Error that says where and what.
var (
	ErrNotGGUF     = errors.New("not a GGUF file")
	ErrUnsupported = errors.New("not supported")       // version, byte order or tensor type
	ErrTruncated   = errors.New("file is truncated")   // it ends before something that it announces
	ErrUnaligned   = errors.New("data is unaligned")   // a data offset is no multiple of the alignment
	ErrOverlap     = errors.New("tensors overlap")     // two tensors share bytes
	ErrSplit       = errors.New("incorrect split set") // a shard is missing, repeated or of another set
)

// Limits of the format, and our own.
const (
	maxKey  = 65535 // bytes
	maxName = 64    // bytes
	maxDims = 4

	defaultAlignment = 32
	maxAlignment     = 1 << 30 // ours, far above any use

	// Ours too: an entry takes more memory than bytes in the file. Models have a
	// few thousand tensors and less than a hundred keys.
	maxTensors = 65536 // in one file
	maxKeys    = 65536

	minKVSize     = 8 + 1 + 4 + 1         // key of one byte, type, value of one byte
	minTensorSize = 8 + 1 + 4 + 0 + 4 + 8 // name of one byte, count of dimensions, none, type, offset
)

const (
	magic        = "GGUF"
	alignmentKey = "general.alignment"
)

// File is an open GGUF file, or a set of split files presented as one.
type File struct {
	Version   uint32    // of the format: 2 or 3
	Alignment int64     // of tensor data, in bytes
	Metadata  *Metadata // of the first shard; [Open] leaves out the split.* keys
	Tensors   []*Tensor // in the order of the header, shard after shard
	Shards    []Shard   // the files; one unless the set is split

	byName map[string]*Tensor
	close  []io.Closer
}

// Shard is one file of a set.
type Shard struct {
	Path       string // empty for [NewFile]
	Size       int64  // length of the file in bytes
	DataOffset int64  // where tensor data begins
	First      int    // index of its first tensor
	Count      int    // number of its tensors
}

// Open opens the file at path. When it is one of a split set (its split.count
// is above 1, its name ends like -00001-of-00003.gguf) all files of the set are
// opened. The caller closes the File.
//
// The header is read and checked; of the tensor data nothing is read. A file
// that breaks the format is refused with a *formats.Error.
func Open(path string) (*File, error) { return OpenIn(formats.Disk, path) }

// OpenIn is [Open] for files that may be elsewhere.
func OpenIn(files formats.Files, path string) (*File, error) {
	f, err := openOne(files, path)
	if err != nil {
		return nil, err
	}
	if n, ok := f.Metadata.Uint(splitCountKey); ok && n > 1 {
		if f, err = openSet(files, f, n); err != nil {
			return nil, err
		}
	}
	for _, key := range splitKeys {
		f.Metadata.Delete(key)
	}
	return f, nil
}

// openOne opens a single file, whether or not others belong to it.
func openOne(files formats.Files, path string) (*File, error) {
	r, err := files.Open(path)
	var refused *formats.Error
	if errors.As(err, &refused) { // a directory, say
		return nil, formats.WrapFile(ErrNotGGUF, path, refused.What)
	}
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

// NewFile reads the header of a single GGUF file of size bytes. A file of a
// split set is presented alone, with its split.* keys. The File keeps r and
// does not close it.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	d := newDecoder(r, size)
	f := &File{Metadata: new(Metadata), byName: make(map[string]*Tensor)}
	f.Version = d.version()
	tensors := d.limitedCount("tensors", minTensorSize, maxTensors)
	pairs := d.limitedCount("keys", minKVSize, maxKeys)
	d.metadata(f.Metadata, pairs)
	f.Alignment = d.alignment(f.Metadata)
	for i := range tensors {
		d.begin("tensor", i)
		t := d.tensor()
		if d.err != nil {
			break
		}
		if f.byName[t.Name] != nil {
			d.fail(d.off, nil, "it is there twice")
			break
		}
		f.byName[t.Name] = t
		f.Tensors = append(f.Tensors, t)
	}
	if d.err != nil {
		return nil, d.err
	}
	data := alignUp(d.off, f.Alignment)
	f.Shards = []Shard{{Size: size, DataOffset: data, Count: len(f.Tensors)}}
	if err := placeTensors(f.Tensors, data, size, f.Alignment); err != nil {
		return nil, err
	}
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

// AddCloser makes Close close c too.
func (f *File) AddCloser(c io.Closer) { f.close = append(f.close, c) }

// version reads magic and version.
func (d *decoder) version() uint32 {
	if m := d.next(len(magic)); string(m) == "vers" {
		d.fail(0, ErrNotGGUF, "file begins with %q, as a pointer of Git LFS does: run git lfs pull where it was "+
			"cloned, or download the file", m)
	} else if m != nil && string(m) != magic {
		d.fail(0, ErrNotGGUF, "file begins with %q, must be %q", m, magic)
	}
	v := d.u32()
	swapped := bits.ReverseBytes32(v)
	switch {
	case v == 2 || v == 3:
	case v == 1:
		d.fail(4, ErrUnsupported, "GGUF version 1, an obsolete layout; convert the model again")
	case swapped >= 1 && swapped <= 3:
		d.fail(4, ErrUnsupported, "GGUF version %d in big-endian byte order; only little-endian files are read",
			swapped)
	default:
		d.fail(4, ErrUnsupported, "GGUF version %d; versions 2 and 3 are read", v)
	}
	return v
}

// metadata reads n keys with their values.
func (d *decoder) metadata(m *Metadata, n int) {
	for i := range n {
		d.begin("key", i)
		off := d.off
		key := d.name(maxKey)
		if d.err != nil {
			return
		}
		d.id = key
		if _, ok := m.Get(key); ok {
			d.fail(off, nil, "it is there twice")
		}
		m.Set(key, d.value())
	}
	d.begin("", 0)
}

// alignment returns the alignment that the metadata ask for.
func (d *decoder) alignment(m *Metadata) int64 {
	v, ok := m.Get(alignmentKey)
	if !ok {
		return defaultAlignment
	}
	n, ok := m.Uint(alignmentKey)
	if !ok || n > maxAlignment || bits.OnesCount64(n) != 1 {
		d.fail(-1, nil, "%s is %s, must be a power of two of at most %d", alignmentKey, show(v), maxAlignment)
		return defaultAlignment
	}
	return int64(n)
}

// tensor reads an entry of the tensor table. Its Offset counts from the data section.
func (d *decoder) tensor() *Tensor {
	off := d.off
	t := &Tensor{r: d.r}
	t.Name = d.name(maxName)
	if d.err != nil {
		return nil
	}
	d.id = t.Name
	n := d.u32()
	if n > maxDims {
		d.fail(off, nil, "%d dimensions, at most %d are allowed", n, maxDims)
		return nil
	}
	t.Dims = make([]uint64, n)
	for i := range t.Dims {
		t.Dims[i] = d.u64()
	}
	id := d.u32()
	data := d.u64()
	if d.err != nil {
		return nil
	}
	var ok bool
	if t.Type, ok = quant.ByGGML(id); !ok {
		d.fail(off, ErrUnsupported, "tensor type %d (%s)", id, quant.GGMLName(id))
		return nil
	}
	if err := t.check(); err != nil {
		d.fail(off, nil, "%v", err)
		return nil
	}
	if data > uint64(d.size) {
		d.fail(off, ErrTruncated, "data at %d of the data section, the file has %d bytes", data, d.size)
		return nil
	}
	t.Offset = int64(data)
	return t
}

// placeTensors checks where the data of the tensors lies, which begins at data, and
// makes their offsets count from the start of the file.
func placeTensors(tensors []*Tensor, data, size, alignment int64) error {
	for _, t := range tensors {
		if t.Offset%alignment != 0 {
			return formats.Wrapf(ErrUnaligned, -1,
				"tensor %q: data at %d of the data section, must be a multiple of %d", t.Name, t.Offset, alignment)
		}
		if data > size || t.Offset > size-data || t.Size() > size-data-t.Offset {
			return formats.Wrapf(ErrTruncated, data,
				"tensor %q: %d bytes at %d of the data section, the file has %d bytes", t.Name, t.Size(), t.Offset,
				size)
		}
		t.Offset += data
	}
	sorted := slices.Clone(tensors)
	slices.SortFunc(sorted, func(a, b *Tensor) int { return cmp.Compare(a.Offset, b.Offset) })
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if end := a.Offset + a.Size(); b.Offset < end {
			return formats.Wrapf(ErrOverlap, b.Offset, "tensor %q begins inside %q, which ends at %d",
				b.Name, a.Name, end)
		}
	}
	return nil
}

// alignUp returns n rounded up to a multiple of the alignment, a power of two.
func alignUp(n, alignment int64) int64 { return (n + alignment - 1) &^ (alignment - 1) }
