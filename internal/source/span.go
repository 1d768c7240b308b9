package source

import (
	"io"
	"iter"

	"github.com/phi3conv/phi3conv/formats"
)

// span is some rows of a tensor of a file: count of them, each step rows after the one before. The rows of a vector are
// its elements.
type span struct {
	path        string
	r           io.ReaderAt
	offset      int64 // of the first row in the file, in bytes
	count, step int
}

// from returns s without its first n rows, of unit bytes each.
func (s span) from(n, unit int) span {
	s.offset += int64(n) * int64(s.step) * int64(unit)
	s.count -= n
	return s
}

// read reads len(buf)/unit rows of unit bytes each.
func (s span) read(buf []byte, unit int, tensor string) error {
	if s.step == 1 {
		return readAt(s.r, buf, s.offset, s.path, tensor)
	}
	// What lies between the rows is read too: many small reads would take longer.
	const window = 128 << 10
	most := max(1, window/(s.step*unit))
	between := make([]byte, ((min(most, len(buf)/unit)-1)*s.step+1)*unit)
	for len(buf) > 0 {
		n := min(most, len(buf)/unit)
		raw := between[:((n-1)*s.step+1)*unit]
		if err := readAt(s.r, raw, s.offset, s.path, tensor); err != nil {
			return err
		}
		for i := range n {
			copy(buf[i*unit:(i+1)*unit], raw[i*s.step*unit:])
		}
		buf, s = buf[n*unit:], s.from(n, unit)
	}
	return nil
}

// Range is a part of a file.
type Range struct {
	R        io.ReaderAt
	Off, Len int64 // bytes
}

// Ranges lists what [Tensor.ReadRows] reads of so many rows from row first on, each byte once; nothing of rows that lie
// apart in a file.
func (t *Tensor) Ranges(first, rows int) []Range {
	if t.spans == nil {
		n := int64(t.RowBytes())
		return []Range{{t.R, t.Offset + int64(first)*n, int64(rows) * n}}
	}
	unit := t.unitBytes()
	if len(t.Shape) == 1 {
		first, rows = 0, t.Cols()
	}
	var all []Range
	for s := range t.units(first, rows) {
		if s.step == 1 {
			all = append(all, Range{s.r, s.offset, int64(s.count) * int64(unit)})
		}
	}
	return all
}

// units yields the parts of the spans that n units from first on lie in.
func (t *Tensor) units(first, n int) iter.Seq[span] {
	return func(yield func(span) bool) {
		first, n := first, n
		for _, s := range t.spans {
			if first >= s.count {
				first -= s.count
				continue
			}
			if n == 0 {
				return
			}
			s = s.from(first, t.unitBytes())
			first, s.count = 0, min(s.count, n)
			if n -= s.count; !yield(s) {
				return
			}
		}
	}
}

// readAt fills buf from an offset of a file.
func readAt(r io.ReaderAt, buf []byte, off int64, path, tensor string) error {
	if n, err := r.ReadAt(buf, off); n < len(buf) {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return &formats.Error{Path: path, Off: off + int64(n), What: "reading tensor " + tensor, Err: err}
	}
	return nil
}

// unitBytes returns the bytes of a row, or of an element of a vector.
func (t *Tensor) unitBytes() int {
	if len(t.Shape) == 1 {
		return t.RowBytes() / t.Cols()
	}
	return t.RowBytes()
}

// Data reads the tensor's bytes as if its rows followed each other in a file of their own.
func (t *Tensor) Data() io.ReaderAt {
	if t.Contiguous() {
		return io.NewSectionReader(t.R, t.Offset, t.Bytes())
	}
	return rowReader{t}
}

// rowReader reads bytes of a tensor whose rows are in several places.
type rowReader struct{ t *Tensor }

func (r rowReader) ReadAt(b []byte, off int64) (int, error) {
	left := r.t.Bytes() - off
	if left <= 0 {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), left))
	unit := int64(r.t.unitBytes())
	first, end := off/unit, (off+int64(n)+unit-1)/unit
	rows := make([]byte, (end-first)*unit)
	if err := r.t.ReadRows(rows, int(first)); err != nil {
		return 0, err
	}
	copy(b[:n], rows[off-first*unit:])
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// zeros is a file of zeros.
type zeros struct{}

func (zeros) ReadAt(b []byte, _ int64) (int, error) {
	clear(b)
	return len(b), nil
}
