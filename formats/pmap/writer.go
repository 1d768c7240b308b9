package pmap

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// TensorInfo is a tensor to be written.
type TensorInfo struct {
	gguf.TensorInfo
	Layout Layout
}

// Extra is an optional section to be written, such as [SectionSeal].
type Extra struct {
	Name string // of at most 16 bytes, and of no other section
	Data []byte
}

// Writer writes a .pmap file. The places of all tensors are known from the start, so
// their rows may be written in any order and by several goroutines.
type Writer struct {
	path     string
	out      *atomicfile.File
	content  [][]byte // of the first sections, until they are written
	sections []Section
	tensors  []Tensor
	written  []atomic.Int64 // rows so far, of each tensor
	done     bool
}

// Create starts the file at path. It goes to a temporary file beside the final one until
// [Writer.Close]. The caller defers [Writer.Abort]. Metadata and tensors are those of the GGUF file
// that the result stands for, and refused as [gguf.Create] refuses them.
func Create(path string, md *gguf.Metadata, tensors []TensorInfo, extra ...Extra) (*Writer, error) {
	w, err := newWriter(md, tensors, extra)
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	w.path = path
	if w.out, err = atomicfile.Create(path); err != nil {
		return nil, err
	}
	w.out.Rescue = true
	for i, b := range w.content {
		w.sections[i].CRC = checksum(b)
		if err := w.writeAt(b, w.sections[i].Offset); err != nil {
			w.Abort()
			return nil, err
		}
	}
	w.content = nil
	return w, nil
}

// Size returns the length of the file that [Create] would make.
func Size(md *gguf.Metadata, tensors []TensorInfo, extra ...Extra) (int64, error) {
	w, err := newWriter(md, tensors, extra)
	if err != nil {
		return 0, err
	}
	return w.size(), nil
}

// newWriter decides where everything goes.
func newWriter(md *gguf.Metadata, tensors []TensorInfo, extra []Extra) (*Writer, error) {
	infos := make([]gguf.TensorInfo, len(tensors))
	for i, t := range tensors {
		infos[i] = t.TensorInfo
	}
	header, _, err := gguf.Header(md, infos)
	if err != nil {
		return nil, err
	}
	w := &Writer{tensors: make([]Tensor, len(tensors)), written: make([]atomic.Int64, len(tensors))}
	end := headerBytes + int64(4+len(extra))*entryBytes
	add := func(name string, flags uint32, n int64) {
		s := Section{Name: name, Flags: flags, Offset: alignUp(end, pageBytes), Len: n}
		w.sections = append(w.sections, s)
		end = s.Offset + n
	}
	add(sectionGGUF, flagRequired, int64(len(header)))
	w.content = append(w.content, header)
	names := []string{sectionGGUF, sectionTensors, sectionWeights, sectionSHA256}
	for _, e := range extra {
		if len(e.Name) > 16 {
			return nil, formats.Errorf(-1, "the name %q of a section has more than 16 bytes", e.Name)
		}
		if slices.Contains(names, e.Name) {
			return nil, formats.Errorf(-1, "a second section %q", e.Name)
		}
		names = append(names, e.Name)
		add(e.Name, 0, int64(len(e.Data)))
		w.content = append(w.content, e.Data)
	}
	add(sectionTensors, flagRequired, int64(len(tensors))*tensorBytes)
	first := alignUp(end, pageBytes)
	at := first
	for i, t := range tensors {
		at = alignUp(at, tensorAlign)
		if err := t.Layout.check(t.Name, t.Type); err != nil {
			return nil, err
		}
		n := t.Layout.size(t.Type, t.Rows(), t.Cols())
		w.tensors[i] = Tensor{Tensor: &gguf.Tensor{TensorInfo: infos[i]}, Layout: t.Layout, Position: at, Len: n}
		at += n
	}
	add(sectionWeights, flagRequired|flagOwn, at-first)
	add(sectionSHA256, flagRequired|flagOwn, treeBytes(alignUp(end, pageBytes)))
	return w, nil
}

// size returns the length of the file, which ends with its last section.
func (w *Writer) size() int64 {
	last := w.sections[len(w.sections)-1]
	return last.Offset + last.Len
}

// WriteRows writes rows of tensor i from row first on, as a GGUF file holds them. For a tensor
// in panels, first is a multiple of 16, and so is the number of rows unless they are the last.
// Every row must be written once. It may be called from several goroutines.
func (w *Writer) WriteRows(i, first int, rows []byte) error {
	t := &w.tensors[i]
	rowBytes := int(t.Type.Size(t.Cols()))
	n := len(rows) / rowBytes
	if len(rows)%rowBytes != 0 || first < 0 || int64(first+n) > t.Rows() {
		return fmt.Errorf("tensor %q: %d bytes from row %d on, it has %d rows of %d",
			t.Name, len(rows), first, t.Rows(), rowBytes)
	}
	data, off := rows, int64(first)*int64(rowBytes)
	if t.Layout == Panels {
		if first%kern.Rows != 0 || n%kern.Rows != 0 && int64(first+n) < t.Rows() {
			return fmt.Errorf("tensor %q: rows %d to %d are no whole panels", t.Name, first, first+n)
		}
		size := kern.PanelBytes(kern.FormatOf(t.Type.GGML()), int(t.Cols()))
		data, off = interleave(t.Type, rows, rowBytes, size), int64(first/kern.Rows)*int64(size)
	}
	if err := w.writeAt(data, t.Position+off); err != nil {
		return err
	}
	w.written[i].Add(int64(n))
	return nil
}

// interleave returns rows in panels of size bytes.
func interleave(t quant.Type, rows []byte, rowBytes, size int) []byte {
	panelRows := kern.Rows * rowBytes
	panels := make([]byte, (len(rows)+panelRows-1)/panelRows*size)
	for p := 0; len(rows) > 0; p++ {
		part := rows[:min(panelRows, len(rows))]
		kern.Interleave(kern.FormatOf(t.GGML()), panels[p*size:(p+1)*size], part, len(part)/rowBytes)
		rows = rows[len(part):]
	}
	return panels
}

func (w *Writer) writeAt(b []byte, off int64) error {
	_, err := w.out.WriteAt(b, off)
	var pe *fs.PathError
	if errors.As(err, &pe) { // it names the temporary file
		err = pe.Err
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	return nil
}

// Close completes the file: it reads back what was written, on that many threads, adds the checksums, syncs and
// renames. If rows are missing or anything fails, nothing is left.
func (w *Writer) Close(threads int) error {
	if w.done {
		return errors.New("pmap: Writer is closed already")
	}
	defer w.Abort()
	for i := range w.written {
		if t, n := &w.tensors[i], w.written[i].Load(); n != t.Rows() {
			return fmt.Errorf("tensor %q: %d rows written of %d", t.Name, n, t.Rows())
		}
	}
	f := &File{r: w.out, Sections: w.sections, Tensors: w.tensors}
	last := w.sections[len(w.sections)-1]
	if err := w.out.Truncate(w.size()); err != nil {
		return fmt.Errorf("write %s: %w", w.path, err)
	}
	if err := parallel(threads, len(w.tensors), func(i int) (err error) {
		t := &w.tensors[i]
		t.CRC, err = f.crc(t.Position, t.Len)
		return err
	}); err != nil {
		return formats.WithPath(err, w.path)
	}
	if err := w.writeTables(); err != nil {
		return err
	}
	leaves, err := f.leaves(threads, last.Offset)
	if err != nil {
		return formats.WithPath(err, w.path)
	}
	if err := w.writeAt(append(root(leaves, last.Offset), leaves...), last.Offset); err != nil {
		return err
	}
	w.done = true
	return w.out.Commit()
}

// writeTables writes the tensor table, and header and table of contents with their checksum.
func (w *Writer) writeTables() error {
	var table []byte
	for i := range w.tensors {
		t := &w.tensors[i]
		table = le.AppendUint64(table, uint64(t.Position))
		table = le.AppendUint64(table, uint64(t.Len))
		table = le.AppendUint32(table, uint32(t.Layout))
		table = le.AppendUint32(table, t.CRC)
		table = le.AppendUint64(table, 0)
	}
	head := []byte(magic)
	head = le.AppendUint32(head, Version)
	head = le.AppendUint32(head, uint32(len(w.sections)))
	head = le.AppendUint64(head, uint64(w.size()))
	head = le.AppendUint64(head, 0)
	for _, s := range w.sections {
		if s.Name == sectionTensors {
			s.CRC = checksum(table)
			if err := w.writeAt(table, s.Offset); err != nil {
				return err
			}
		}
		var name [16]byte
		copy(name[:], s.Name)
		head = append(head, name[:]...)
		head = le.AppendUint32(head, s.Flags)
		head = le.AppendUint32(head, s.CRC)
		head = le.AppendUint64(head, uint64(s.Offset))
		head = le.AppendUint64(head, uint64(s.Len))
	}
	le.PutUint32(head[24:], checksum(head))
	return w.writeAt(head, 0)
}

// Abort removes the temporary file. After [Writer.Close] it does nothing.
func (w *Writer) Abort() {
	w.done = true
	w.out.Abort()
}
