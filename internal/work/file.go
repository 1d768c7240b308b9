package work

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/output"
)

// File holds intermediate results of a run that may be interrupted and continued:
//
//	a text that says what the file is
//	at 512 and 1024: records of 40 bytes: key of the run, number of steps done, CRC-32 of both
//	from DataAt on: results
//
// The records are a sector apart, since sectors are written whole. They are written in turns, and the
// latest counts. Integers are little-endian.
type File struct {
	*os.File
	// Done is the number of steps that an earlier run with the same key has saved; 0 if there was none.
	Done int
	key  [sha256.Size]byte
}

const (
	recordAt   = 512
	recordStep = 512
	recordLen  = sha256.Size + 8
	// DataAt is the first place for results.
	DataAt = 4096
)

// OpenFile opens a work file, or makes an empty one. magic says what it is, in less than 512 bytes, and owner which
// command writes it. key is a hash of what the results depend on, and steps the number of steps of a whole run:
// what other runs have left is dropped. A file that another process has open is refused, and one that does not begin
// with magic, and one for which there is no space: it will have size bytes.
func OpenFile(path, magic, owner string, key [sha256.Size]byte, steps int, size int64) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if !atomicfile.TryLock(f) {
		_ = f.Close()
		return nil, fmt.Errorf("%s: another %s is using it: wait, or choose another output", path, owner)
	}
	w := &File{File: f, key: key}
	if err = w.resume(magic, owner, steps); err == nil {
		err = w.room(size)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return w, nil
}

// resume sets Done, and empties the file if that is 0.
func (f *File) resume(magic, owner string, steps int) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() > 0 {
		begin := make([]byte, len(magic))
		if _, err := f.ReadAt(begin, 0); err != nil || string(begin) != magic {
			return formats.FileErrorf(f.Name(), 0, "not a work file of %s: rename it, or choose another output", owner)
		}
	}
	if n := f.read(); n <= steps {
		f.Done = n
	}
	if f.Done > 0 {
		return nil
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(magic), 0)
	return err
}

// room refuses a file of size bytes for which there is no space beside what it has.
func (f *File) room(size int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return output.Room(f.Name(), max(0, size-info.Size()))
}

// read returns the number of steps done by the run of that key.
func (f *File) read() (done int) {
	record := make([]byte, recordLen)
	for i := range int64(2) {
		if _, err := f.ReadAt(record, recordAt+i*recordStep); err != nil || !bytes.HasPrefix(record, f.key[:]) {
			continue
		}
		if binary.LittleEndian.Uint32(record[sha256.Size+4:]) == crc32.ChecksumIEEE(record[:sha256.Size+4]) {
			done = max(done, int(binary.LittleEndian.Uint32(record[sha256.Size:])))
		}
	}
	return done
}

// Save syncs what was written, and then records that so many steps are done.
func (f *File) Save(done int) error {
	if err := f.Sync(); err != nil {
		return err
	}
	record := binary.LittleEndian.AppendUint32(f.key[:len(f.key):len(f.key)], uint32(done))
	record = binary.LittleEndian.AppendUint32(record, crc32.ChecksumIEEE(record))
	_, err := f.WriteAt(record, recordAt+int64(done%2)*recordStep)
	return err
}

// Remove closes the file and removes it.
func (f *File) Remove() error {
	_ = f.Close()
	return os.Remove(f.Name())
}

// ioBytes is how much is converted and read or written at a time.
const ioBytes = 1 << 20

// ReadFloats fills dst with the float32 values from offset at on.
func (f *File) ReadFloats(dst []float32, at int64) error {
	raw := make([]byte, min(ioBytes, 4*len(dst)))
	for len(dst) > 0 {
		n := min(len(raw)/4, len(dst))
		if _, err := f.ReadAt(raw[:4*n], at); err != nil {
			return err
		}
		for i := range dst[:n] {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
		dst, at = dst[n:], at+int64(4*n)
	}
	return nil
}

// WriteFloats writes float32 values from offset at on.
func (f *File) WriteFloats(src []float32, at int64) error {
	raw := make([]byte, 0, min(ioBytes, 4*len(src)))
	for len(src) > 0 {
		n := min(cap(raw)/4, len(src))
		raw = raw[:0]
		for _, v := range src[:n] {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		if _, err := f.WriteAt(raw, at); err != nil {
			return err
		}
		src, at = src[n:], at+int64(4*n)
	}
	return nil
}
