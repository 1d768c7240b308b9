package stats

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// The .dat form, little-endian, integers of 32 bits:
//
//	entries
//	for each entry: length of the name, name, calls, columns, float32 for each column
//	chunks, length of the dataset's name, name     (may be missing)
//
// A column holds its mean square times calls, the number of chunks.

// IsDat says whether a file of that name is written in the older form.
func IsDat(path string) bool { return strings.EqualFold(filepath.Ext(path), ".dat") }

// maxNameDat is far above the 63 bytes that a tensor's name has at most.
const maxNameDat = 1024

// parseDat reads a .dat file. An entry's count is in chunks, not tokens.
func parseDat(data []byte) (*File, error) {
	d := datReader{data: data}
	s := &File{}
	n := d.int("number of entries", 1, len(data)/12)
	for i := range n {
		d.entry = fmt.Sprintf("entry %d of %d: ", i+1, n)
		e := Entry{Name: string(d.bytes("name", d.int("length of the name", 1, maxNameDat)))}
		calls := d.int("number of calls", 0, math.MaxInt32)
		e.Counts = []float32{float32(max(1, calls))}
		cols := d.int("number of columns", 1, len(data)/4)
		e.Sums = toFloats(d.bytes("columns", 4*cols))
		if d.err != nil {
			return nil, d.err
		}
		s.Entries = append(s.Entries, e)
	}
	d.entry = ""
	if d.err == nil && d.at < len(data) {
		s.ChunkCount = d.int("number of chunks", 0, math.MaxInt32)
		if n := d.int("length of the dataset's name", 0, len(data)); n > 0 {
			s.Datasets = []string{string(d.bytes("name of the dataset", n))}
		}
	}
	return s, d.err
}

type datReader struct {
	data  []byte
	at    int
	entry string
	err   error
}

func (d *datReader) fail(format string, args ...any) {
	if d.err == nil {
		d.err = formats.Errorf(int64(d.at), "importance matrix: "+d.entry+format, args...)
	}
}

func (d *datReader) bytes(what string, n int) []byte {
	if d.err == nil && n > len(d.data)-d.at {
		d.fail("%s of %d bytes, and %d are left", what, n, len(d.data)-d.at)
	}
	if d.err != nil {
		return nil
	}
	d.at += n
	return d.data[d.at-n : d.at]
}

func (d *datReader) int(what string, least, most int) int {
	b := d.bytes(what, 4)
	if d.err != nil {
		return 0
	}
	n := int(int32(binary.LittleEndian.Uint32(b)))
	if n < least || n > most {
		d.at -= 4
		d.fail("%s is %d, expected %d to %d", what, n, least, most)
		return 0
	}
	return n
}

// writeDat writes the older form: without gradients and origin, counts in chunks.
func (s *File) writeDat(path string) error {
	if s.ChunkSize < 1 {
		return fmt.Errorf("write %s: the statistics do not say how many tokens a chunk has", path)
	}
	var b bytes.Buffer
	put := func(n int) { b.Write(binary.LittleEndian.AppendUint32(nil, uint32(n))) }
	put(len(s.Entries))
	for i := range s.Entries {
		e := &s.Entries[i]
		calls := (int(slices.Max(e.Counts)) + s.ChunkSize - 1) / s.ChunkSize
		put(len(e.Name))
		b.WriteString(e.Name)
		put(calls)
		put(len(e.Sums))
		for _, v := range e.Importance() {
			b.Write(binary.LittleEndian.AppendUint32(nil, math.Float32bits(float32(v*float32(calls)))))
		}
	}
	put(s.ChunkCount)
	name := strings.Join(s.Datasets, ", ")
	put(len(name))
	b.WriteString(name)
	return atomicfile.Save(path, b.Bytes())
}
