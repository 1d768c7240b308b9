package seal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"

	"github.com/phi3conv/phi3conv/formats"
)

// A file is the magic, the version and sections.
const (
	magic   = "\x89seal\r\n\x1a" // with a line end, so that a transfer as text is noticed
	version = 2

	headerSection   = "HEAD"
	tokensSection   = "TOKS"
	positionSection = "POSN"
	endSection      = "DONE"

	maxHeaderBytes = 1 << 20 // of JSON
	maxBlock       = 4 << 20 // bytes of a POSN section, compressed and decompressed
)

// ErrTruncated is the cause of the error for a file that ends too early.
var ErrTruncated = errors.New("file is truncated")

var errClosed = errors.New("the seal is closed")

var (
	le         = binary.LittleEndian
	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

// appendSection appends a section to b: name, length, payload, and the CRC of
// these three.
func appendSection(b []byte, name string, payload []byte) []byte {
	start := len(b)
	b = append(b, name...)
	b = le.AppendUint32(b, uint32(len(payload)))
	b = append(b, payload...)
	return le.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// source reads a file from its start to its end.
type source struct {
	r   io.Reader
	off int64 // of the next byte
}

// read fills b.
func (s *source) read(b []byte, what string) error {
	n, err := io.ReadFull(s.r, b)
	off := s.off
	s.off += int64(n)
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return formats.Wrapf(ErrTruncated, off, "%s: %d bytes needed, %d left", what, len(b), n)
	} else if err != nil {
		return formats.Wrapf(err, s.off, "%s", what)
	}
	return nil
}

// start reads the magic and the version.
func (s *source) start() error {
	var b [len(magic) + 4]byte
	if err := s.read(b[:], "magic and version"); err != nil {
		return err
	}
	if string(b[:len(magic)]) != magic {
		return formats.Errorf(0, "begins with %q, must be %q: this is no seal", b[:len(magic)], magic)
	}
	if v := le.Uint32(b[len(magic):]); v != version {
		return formats.Errorf(int64(len(magic)), "version %d, this program reads %d", v, version)
	}
	return nil
}

// section reads the next section, which must have that name and a payload of
// least to most bytes. It returns the payload and its offset. The payload is in
// buf's memory if that suffices; more is allocated as bytes come, not by the
// length that the section claims.
func (s *source) section(name string, buf []byte, least, most int) (payload []byte, off int64, err error) {
	start := s.off
	var head [8]byte
	if err := s.read(head[:], "section "+name); err != nil {
		return nil, 0, err
	}
	if string(head[:4]) != name {
		return nil, 0, formats.Errorf(start, "section %q, must be %q", head[:4], name)
	}
	n := le.Uint32(head[4:])
	if int64(n) < int64(least) || int64(n) > int64(most) {
		return nil, 0, formats.Errorf(start+4, "section %s: length %d, must be %d to %d", name, n, least, most)
	}
	off = s.off
	const step = 1 << 20
	buf = buf[:0]
	for left := int(n); left > 0; {
		part := min(left, step)
		have := len(buf)
		if cap(buf)-have < part {
			buf = append(make([]byte, 0, have+max(have, part)), buf...)
		}
		buf = buf[:have+part]
		if err := s.read(buf[have:], "section "+name); err != nil {
			return nil, 0, err
		}
		left -= part
	}
	var sum [4]byte
	if err := s.read(sum[:], "section "+name+": CRC"); err != nil {
		return nil, 0, err
	}
	crc := crc32.Update(crc32.Checksum(head[:], castagnoli), castagnoli, buf)
	if want := le.Uint32(sum[:]); crc != want {
		return nil, 0, formats.Errorf(start,
			"section %s: its %d bytes have the CRC %08x, must be %08x: the file is damaged", name, n, crc, want)
	}
	return buf, off, nil
}

// end makes sure that nothing follows.
func (s *source) end() error {
	var b [1]byte
	switch n, err := io.ReadFull(s.r, b[:]); {
	case n > 0:
		return formats.Errorf(s.off, "something follows the last section")
	case err != io.EOF:
		return formats.Wrapf(err, s.off, "read")
	}
	return nil
}
