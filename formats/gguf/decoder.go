package gguf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/formats"
)

var le = binary.LittleEndian

const (
	bufferSize = 64 << 10

	// maxHeader limits what comes before the tensor data. A vocabulary of 200,000
	// tokens with merges takes about 12 MB.
	maxHeader = 256 << 20
)

// decoder reads the header of a file from its start, through a buffer. The first
// error sticks: later reads return zero values.
type decoder struct {
	r     io.ReaderAt
	size  int64  // of the file
	limit int64  // where the header must end at the latest: size or maxHeader
	off   int64  // of the next byte
	buf   []byte // bytes from off on that have been read already
	space [bufferSize]byte
	err   error

	// What is being read, for errors.
	item string // "key", "tensor" or ""
	no   int    // its number
	id   string // its name, "" before that is read
}

func newDecoder(r io.ReaderAt, size int64) *decoder {
	return &decoder{r: r, size: size, limit: min(size, maxHeader)}
}

// left returns the number of bytes that can still come.
func (d *decoder) left() uint64 { return uint64(d.limit - d.off) }

// begin says that key or tensor number no is read next.
func (d *decoder) begin(item string, no int) { d.item, d.no, d.id = item, no, "" }

// where names what is being read, for the beginning of an error.
func (d *decoder) where() string {
	switch {
	case d.item == "":
		return ""
	case d.id == "":
		return fmt.Sprintf("%s %d: ", d.item, d.no)
	}
	return fmt.Sprintf("%s %.80q: ", d.item, d.id)
}

// fail records an error at offset off, unless there is one already. cause may be nil.
func (d *decoder) fail(off int64, cause error, format string, args ...any) {
	if d.err == nil {
		d.err = &formats.Error{Off: off, What: d.where() + fmt.Sprintf(format, args...), Err: cause}
	}
}

// tooShort records an error: something does not fit in what is left.
func (d *decoder) tooShort(format string, args ...any) {
	cause := ErrTruncated
	if d.limit < d.size {
		cause = fmt.Errorf("the header is limited to %d bytes", maxHeader)
	}
	d.fail(d.off, cause, "%s needed, %d left", fmt.Sprintf(format, args...), d.left())
}

// next returns the next n ≤ bufferSize bytes, valid until the next call, or nil.
func (d *decoder) next(n int) []byte {
	if d.err != nil {
		return nil
	}
	if len(d.buf) < n {
		if uint64(n) > d.left() {
			d.tooShort("%d bytes", n)
			return nil
		}
		have := copy(d.space[:], d.buf)
		want := int(min(bufferSize, d.left()))
		if !d.readAt(d.space[have:want], d.off+int64(have)) {
			return nil
		}
		d.buf = d.space[:want]
	}
	b := d.buf[:n]
	d.buf = d.buf[n:]
	d.off += int64(n)
	return b
}

// readAt fills b from off.
func (d *decoder) readAt(b []byte, off int64) bool {
	n, err := d.r.ReadAt(b, off)
	if n == len(b) {
		return true
	}
	if errors.Is(err, io.EOF) {
		err = ErrTruncated // the file is shorter than it was said to be
	}
	d.fail(off+int64(n), err, "read")
	return false
}

func (d *decoder) u32() uint32 {
	if b := d.next(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if b := d.next(8); b != nil {
		return le.Uint64(b)
	}
	return 0
}

// limitedCount is count of at most limit things.
func (d *decoder) limitedCount(what string, size, limit int) int {
	off := d.off
	n := d.count(what, size)
	if n > limit {
		d.fail(off, nil, "%d %s, at most %d are allowed", n, what, limit)
		return 0
	}
	return n
}

// count reads a number of things that take at least size bytes each, so that it is limited by the bytes that are left.
func (d *decoder) count(what string, size int) int {
	n := d.u64()
	if d.err == nil && n > d.left()/uint64(size) {
		d.tooShort("%d %s of at least %d bytes", n, what, size)
	}
	if d.err != nil {
		return 0
	}
	return int(n)
}

func (d *decoder) str() string {
	n := d.u64()
	if d.err == nil && n > d.left() {
		d.tooShort("string of %d bytes", n)
	}
	if d.err != nil {
		return ""
	}
	if n <= bufferSize {
		return string(d.next(int(n)))
	}
	b := make([]byte, n)
	have := copy(b, d.buf)
	if !d.readAt(b[have:], d.off+int64(have)) {
		return ""
	}
	d.buf = nil
	d.off += int64(n)
	return string(b)
}

// name reads a key or a tensor's name.
func (d *decoder) name(limit int) string {
	off := d.off
	s := d.str()
	if d.err == nil {
		if err := checkName(s, limit); err != nil {
			d.fail(off, nil, "%v", err)
		}
	}
	return s
}

// checkName applies the rules for keys and tensor names.
func checkName(s string, limit int) error {
	switch {
	case s == "":
		return errors.New("empty name")
	case len(s) > limit:
		return fmt.Errorf("name %.80q… has %d bytes, at most %d are allowed", s, len(s), limit)
	case !utf8.ValidString(s):
		return fmt.Errorf("name %.80q is not valid UTF-8", s)
	case strings.Contains(s, "\x00"):
		return fmt.Errorf("name %.80q has a zero byte", s)
	}
	return nil
}

func (d *decoder) string() any { return d.str() }

func (d *decoder) strings(n int) any {
	out := make([]string, n)
	for i := range out {
		if out[i] = d.str(); d.err != nil {
			break
		}
	}
	return out
}

func (d *decoder) bool() any { return d.bools(1).([]bool)[0] }

func (d *decoder) bools(n int) any {
	out := make([]bool, n)
	for i := range out {
		off := d.off
		b := d.next(1)
		if b == nil {
			break
		}
		if b[0] > 1 {
			d.fail(off, nil, "bool is %d, must be 0 or 1", b[0])
			break
		}
		out[i] = b[0] == 1
	}
	return out
}

// value reads a value's type and the value.
func (d *decoder) value() any {
	off := d.off
	id := d.u32()
	if id == typeArray {
		return d.array(1)
	}
	k := kindOf(id)
	if k == nil {
		d.fail(off, nil, "value type %d, must be 0 to 12", id)
		return nil
	}
	return k.value(d)
}

// array reads an array; depth is 1 unless it is in another array.
func (d *decoder) array(depth int) any {
	off := d.off
	id := d.u32()
	if id == typeArray {
		if depth == maxDepth {
			d.fail(off, nil, "arrays nested more than %d deep", maxDepth)
			return nil
		}
		n := d.count("arrays", 4+8)
		out := make([]any, n)
		for i := range out {
			if out[i] = d.array(depth + 1); d.err != nil {
				break
			}
		}
		return out
	}
	k := kindOf(id)
	if k == nil {
		d.fail(off, nil, "array of value type %d, must be 0 to 12", id)
		return nil
	}
	return k.array(d, d.count("array elements", k.size))
}
