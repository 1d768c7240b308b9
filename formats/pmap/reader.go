package pmap

import (
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"slices"
	"sort"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/mmap"
)

// Reasons for refusing a file, for [errors.Is]. The error itself is a
// *formats.Error that says where and what.
var (
	ErrNotPMAP     = errors.New("not a .pmap file")
	ErrUnsupported = errors.New("not supported") // a version, a required section or a layout
	ErrDamaged     = errors.New("damaged")       // a checksum does not agree, or the structure is broken
)

// File is an open .pmap file.
type File struct {
	Path     string
	Sections []Section // in the order of the table of contents
	Tensors  []Tensor  // in the order of the GGUF header

	r       io.ReaderAt
	gguf    *gguf.File // what GGUF returns
	header  Section    // of the GGUF header
	size    int64      // of the GGUF file
	byName  map[string]*Tensor
	closers []func() error
	mapped  []byte      // the whole file, nil if it is not mapped
	buffers chan []byte // of readTensor, while no call uses them
}

// Section is an entry of the table of contents.
type Section struct {
	Name        string
	Flags, CRC  uint32
	Offset, Len int64 // bytes of the file
}

// Tensor is a tensor of an open file.
type Tensor struct {
	*gguf.Tensor
	Layout   Layout
	Position int64  // of its data in the .pmap file; Offset is that in the GGUF file
	Len      int64  // bytes of its data in the .pmap file
	CRC      uint32 // CRC-32C of them
}

// Open opens the file at path and maps it. Header, table of contents and the sections with
// metadata are read and checked; of the weights nothing is read. See [File.Check]. The caller
// closes it.
func Open(path string) (*File, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	f, err := open(path, r)
	if err != nil {
		_ = r.Close()
		return nil, err
	}
	return f, nil
}

// Is reports whether the file at path begins as a .pmap file does. It is false if the file cannot be read.
func Is(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }() // only read from
	head := make([]byte, len(magic))
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == magic
}

// OpenGGUF opens a .pmap file as the GGUF file that it stands for, and any other file
// with [gguf.Open]. The caller closes it.
func OpenGGUF(path string) (*gguf.File, error) {
	if !Is(path) {
		return gguf.Open(path)
	}
	f, err := Open(path)
	if err != nil {
		return nil, err
	}
	g := f.GGUF()
	g.AddCloser(f)
	return g, nil
}

func open(path string, r *os.File) (*File, error) {
	info, err := r.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, formats.WrapFile(ErrNotPMAP, path, "not a regular file")
	}
	f, err := NewFile(r, info.Size())
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	if f.mapped, err = mmap.File(r); err != nil {
		return nil, err
	}
	f.Path = path
	f.closers = []func() error{func() error { return mmap.Unmap(f.mapped) }, r.Close}
	for i := range f.Tensors {
		f.Tensors[i].Path = path
	}
	f.gguf.Shards[0].Path = path
	return f, nil
}

// NewFile opens a file of size bytes that is not mapped. It keeps r and does not close it.
func NewFile(r io.ReaderAt, size int64) (*File, error) {
	f := &File{r: r, byName: map[string]*Tensor{}, buffers: make(chan []byte, 8)}
	if err := f.contents(size); err != nil {
		return nil, err
	}
	var err error
	if f.header, err = f.required(sectionGGUF); err != nil {
		return nil, err
	}
	// The size of the GGUF file follows from its header. Until that is read, no offset is too large.
	f.size = 1 << 62
	if f.gguf, err = gguf.NewFile(image{f}, f.size); err != nil {
		return nil, f.inSection(f.header, err)
	}
	if data := f.gguf.Shards[0].DataOffset; data != f.header.Len {
		return nil, formats.Wrapf(ErrDamaged, f.header.Offset, "section gguf has %d bytes, its header %d",
			f.header.Len, data)
	}
	f.size = f.header.Len
	for _, t := range f.gguf.Tensors {
		f.size = max(f.size, alignUp(t.Offset+t.Size(), f.gguf.Alignment))
	}
	f.gguf.Shards[0].Size = f.size
	return f, f.tensors()
}

// contents reads header and table of contents of a file of size bytes.
func (f *File) contents(size int64) error {
	head := make([]byte, headerBytes)
	if err := f.read(head[:min(size, headerBytes)], 0); err != nil {
		return err
	}
	if !bytes.HasPrefix(head, []byte(magic)) {
		return formats.Wrapf(ErrNotPMAP, 0, "begins with %q, must be %q", head[:len(magic)], magic)
	}
	if v := le.Uint32(head[8:]); v != Version {
		return formats.Wrapf(ErrUnsupported, 8, "version %d, version %d is read", v, Version)
	}
	if size < headerBytes {
		return formats.Wrapf(io.ErrUnexpectedEOF, size, "the file ends in its header of %d bytes", headerBytes)
	}
	n := le.Uint32(head[12:])
	if n > maxSections || headerBytes+int64(n)*entryBytes > size {
		return formats.Wrapf(ErrDamaged, 12, "%d sections, expected at most %d in a file of %d bytes",
			n, maxSections, size)
	}
	table := make([]byte, headerBytes+int(n)*entryBytes)
	if err := f.read(table, 0); err != nil {
		return err
	}
	want := le.Uint32(head[24:])
	clear(table[24:28])
	if got := checksum(table); got != want {
		return formats.Wrapf(ErrDamaged, 24, "checksum of header and table of contents is %08x, expected %08x",
			got, want)
	}
	if length := le.Uint64(head[16:]); length != uint64(size) {
		return formats.Wrapf(io.ErrUnexpectedEOF, 16, "the file has %d bytes, its header says %d", size, length)
	}
	end := int64(len(table))
	for at := headerBytes; at < len(table); at += entryBytes {
		e := table[at : at+entryBytes]
		s := Section{Name: string(bytes.TrimRight(e[:16], "\x00")), Flags: le.Uint32(e[16:]), CRC: le.Uint32(e[20:])}
		off, length := le.Uint64(e[24:]), le.Uint64(e[32:])
		if off%pageBytes != 0 || off < uint64(end) || off > uint64(size) || length > uint64(size)-off {
			return formats.Wrapf(ErrDamaged, int64(at),
				"section %q has %d bytes at %d, expected a multiple of %d from %d on within %d", s.Name, length, off,
				pageBytes, end, size)
		}
		s.Offset, s.Len = int64(off), int64(length)
		end = s.Offset + s.Len
		if slices.ContainsFunc(f.Sections, func(o Section) bool { return o.Name == s.Name }) {
			return formats.Wrapf(ErrDamaged, int64(at), "a second section %q", s.Name)
		}
		if !slices.Contains(knownSections, s.Name) && s.Flags&flagRequired != 0 {
			return formats.Wrapf(ErrUnsupported, int64(at),
				"section %q is required and this program does not know it", s.Name)
		}
		f.Sections = append(f.Sections, s)
	}
	if end != size {
		return formats.Wrapf(ErrDamaged, end, "%d bytes after the last section", size-end)
	}
	return nil
}

// Section finds a section by its name.
func (f *File) Section(name string) (Section, bool) {
	i := slices.IndexFunc(f.Sections, func(s Section) bool { return s.Name == name })
	if i < 0 {
		return Section{}, false
	}
	return f.Sections[i], true
}

// required returns a section that must be there, and checks its checksum.
func (f *File) required(name string) (Section, error) {
	s, ok := f.Section(name)
	if !ok {
		return s, formats.Wrapf(ErrDamaged, headerBytes, "section %q is missing", name)
	}
	return s, f.checkSection(s)
}

// checkSection compares a section with its checksum.
func (f *File) checkSection(s Section) error {
	if s.Flags&flagOwn != 0 {
		return nil
	}
	got, err := f.crc(s.Offset, s.Len)
	if err != nil {
		return err
	}
	if got != s.CRC {
		return formats.Wrapf(ErrDamaged, s.Offset, "section %q has checksum %08x, expected %08x", s.Name, got, s.CRC)
	}
	return nil
}

// crc returns the CRC-32C of a part of the file.
func (f *File) crc(off, n int64) (uint32, error) {
	h := crc32.New(castagnoli)
	if _, err := io.CopyBuffer(h, io.NewSectionReader(f.r, off, n), make([]byte, min(n, chunkBytes)+1)); err != nil {
		return 0, formats.Wrapf(err, off, "reading %d bytes", n)
	}
	return h.Sum32(), nil
}

// SectionReader checks a section's checksum and returns a reader of it.
func (f *File) SectionReader(name string) (*io.SectionReader, error) {
	s, err := f.required(name)
	if err != nil {
		return nil, formats.WithPath(err, f.Path)
	}
	return io.NewSectionReader(f.r, s.Offset, s.Len), nil
}

// tensors reads the tensor table.
func (f *File) tensors() error {
	s, err := f.required(sectionTensors)
	if err != nil {
		return err
	}
	weights, err := f.required(sectionWeights)
	if err != nil {
		return err
	}
	if s.Len != int64(len(f.gguf.Tensors))*tensorBytes {
		return formats.Wrapf(ErrDamaged, s.Offset,
			"section tensors has %d bytes, expected %d for each of %d tensors", s.Len, tensorBytes, len(f.gguf.Tensors))
	}
	table := make([]byte, s.Len)
	if err := f.read(table, s.Offset); err != nil {
		return err
	}
	f.Tensors = make([]Tensor, len(f.gguf.Tensors))
	end := weights.Offset
	for i, g := range f.gguf.Tensors {
		at := s.Offset + int64(i)*tensorBytes
		e := table[i*tensorBytes:]
		t := Tensor{Tensor: g, Layout: Layout(le.Uint32(e[16:])), CRC: le.Uint32(e[20:])}
		if t.Layout > Panels || le.Uint64(e[24:]) != 0 {
			return formats.Wrapf(ErrUnsupported, at+16,
				"tensor %q has layout %d, 0 (rows) and 1 (panels) are read", t.Name, t.Layout)
		}
		if err := t.Layout.check(t.Name, t.Type); err != nil {
			return err
		}
		if t.Size() > weights.Len {
			return formats.Wrapf(ErrDamaged, at,
				"tensor %q needs %d bytes, all weights have %d", t.Name, t.Size(), weights.Len)
		}
		if i > 0 && t.Offset < f.Tensors[i-1].Offset+f.Tensors[i-1].Size() {
			return formats.Wrapf(ErrDamaged, f.header.Offset, "tensor %q does not lie after the tensor before it",
				t.Name)
		}
		t.Len = t.Layout.size(t.Type, t.Rows(), t.Cols())
		off, n := le.Uint64(e), le.Uint64(e[8:])
		if off%tensorAlign != 0 || off < uint64(end) || n != uint64(t.Len) ||
			off > uint64(weights.Offset+weights.Len) || n > uint64(weights.Offset+weights.Len)-off {
			return formats.Wrapf(ErrDamaged, at,
				"tensor %q has %d bytes at %d, expected %d at a multiple of %d from %d on, up to %d", t.Name, n, off,
				t.Len, tensorAlign, end, weights.Offset+weights.Len)
		}
		t.Position = int64(off)
		end = t.Position + t.Len
		f.Tensors[i] = t
		f.byName[t.Name] = &f.Tensors[i]
	}
	if end != weights.Offset+weights.Len {
		return formats.Wrapf(ErrDamaged, end, "%d bytes after the last tensor", weights.Offset+weights.Len-end)
	}
	return nil
}

// Tensor finds a tensor by its name. It returns nil when there is none.
func (f *File) Tensor(name string) *Tensor { return f.byName[name] }

// GGUF presents the file as the GGUF file that it stands for. Offsets are those of that file.
// It is closed with f.
func (f *File) GGUF() *gguf.File { return f.gguf }

// Image reads the GGUF file that this one stands for, byte for byte.
func (f *File) Image() *io.SectionReader { return io.NewSectionReader(image{f}, 0, f.size) }

// Mapped returns the data of a tensor as they lie in the file, in mapped memory that is valid until
// Close. If the file becomes shorter meanwhile, reading them is a memory fault (see
// [runtime/debug.SetPanicOnFault]). It is nil for a File of [NewFile].
func (f *File) Mapped(t *Tensor) []byte {
	if f.mapped == nil {
		return nil
	}
	return f.mapped[t.Position : t.Position+t.Len : t.Position+t.Len]
}

// Close unmaps and closes the file.
func (f *File) Close() error {
	var errs []error
	for _, c := range f.closers {
		errs = append(errs, c())
	}
	f.closers, f.mapped = nil, nil
	return errors.Join(errs...)
}

// read fills b from off.
func (f *File) read(b []byte, off int64) error {
	n, err := f.r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return formats.Wrapf(err, off+int64(n), "reading %d bytes", len(b))
}

// inSection makes the offset of an error about a section's content count from the start of the file.
func (f *File) inSection(s Section, err error) error {
	var e *formats.Error
	if errors.As(err, &e) && e.Off >= 0 {
		e.Off += s.Offset
	}
	return err
}

// image is the GGUF file that f stands for.
type image struct{ f *File }

// ReadAt implements [io.ReaderAt].
func (m image) ReadAt(b []byte, off int64) (int, error) {
	f, done := m.f, 0
	if off < 0 {
		return 0, fmt.Errorf("negative offset %d", off)
	}
	for done < len(b) {
		at := off + int64(done)
		rest := b[done:]
		rest = rest[:max(0, min(int64(len(rest)), f.size-at))]
		if len(rest) == 0 {
			return done, io.EOF
		}
		n, err := f.readImage(rest, at)
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// readImage fills b from offset at of the GGUF file, or a first part of b.
func (f *File) readImage(b []byte, at int64) (int, error) {
	if at < f.header.Len {
		return f.r.ReadAt(b[:min(int64(len(b)), f.header.Len-at)], f.header.Offset+at)
	}
	// The last tensor that begins at or before at.
	i := sort.Search(len(f.Tensors), func(i int) bool { return f.Tensors[i].Offset > at }) - 1
	end := f.size // of the zeros after tensor i
	if i+1 < len(f.Tensors) {
		end = f.Tensors[i+1].Offset
	}
	if i >= 0 {
		if t := &f.Tensors[i]; at < t.Offset+t.Size() {
			return f.readTensor(t, b[:min(int64(len(b)), t.Offset+t.Size()-at)], at-t.Offset)
		}
	}
	b = b[:min(int64(len(b)), end-at)]
	clear(b)
	return len(b), nil
}

// readTensor fills b from byte off of a tensor's rows, or a first part of b that reaches the end of a panel.
func (f *File) readTensor(t *Tensor, b []byte, off int64) (int, error) {
	if t.Layout == Rows {
		return f.r.ReadAt(b, t.Position+off)
	}
	const most = 1 << 20 // bytes of panels at a time, or one
	rowBytes := t.Type.Size(t.Cols())
	size := kern.PanelBytes(kern.FormatOf(t.Type.GGML()), int(t.Cols()))
	first := off / (rowBytes * kern.Rows) // panel
	skip := int(off - first*rowBytes*kern.Rows)
	last := (off + int64(len(b)) - 1) / (rowBytes * kern.Rows)
	n := int(min(last-first+1, max(1, most/int64(size))))
	var buffer []byte // used again, since a row of a tied embedding is read for every token
	select {
	case buffer = <-f.buffers:
	default:
	}
	buffer = slices.Grow(buffer[:0], n*size+kern.Rows*int(rowBytes))
	defer func() {
		select {
		case f.buffers <- buffer:
		default:
		}
	}()
	panels, row := buffer[:n*size], buffer[n*size:cap(buffer)]
	if k, err := f.r.ReadAt(panels, t.Position+first*int64(size)); k < len(panels) {
		return 0, err
	}
	done := 0
	for p := range n {
		rows := int(min(kern.Rows, t.Rows()-(first+int64(p))*kern.Rows))
		whole := rows * int(rowBytes)
		panel := panels[p*size : (p+1)*size]
		if skip == 0 && len(b)-done >= whole {
			kern.Deinterleave(kern.FormatOf(t.Type.GGML()), b[done:done+whole], panel, rows)
			done += whole
			continue
		}
		tmp := row[:whole]
		kern.Deinterleave(kern.FormatOf(t.Type.GGML()), tmp, panel, rows)
		done += copy(b[done:], tmp[skip:])
		skip = 0
	}
	return done, nil
}
