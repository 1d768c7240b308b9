// Package source opens a model as a set of tensors under one naming, whatever
// file format holds it: a checkpoint directory, a GGUF or a .pmap file.
package source

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
)

// Model is an opened model. Nothing but headers has been read.
type Model struct {
	Path   string
	Format string // name of the format
	Config *arch.Config
	// Tensors lists the model's tensors in the order of a GGUF file, LongRoPE
	// factors excepted, which Config holds.
	Tensors []Tensor
	// Metadata is the GGUF file's, or of that which a .pmap file stands for; nil for a
	// checkpoint directory.
	Metadata *gguf.Metadata
	// Notes say what the files hold beside the model and is left out.
	Notes []string

	close   func() error
	factors struct{ weights, bytes int64 } // of LongRoPE, that the file holds as tensors
}

// Close closes the files.
func (m *Model) Close() error { return m.close() }

// Files lists the files of the model that are read: of a checkpoint directory
// all that it holds.
func (m *Model) Files() ([]string, error) {
	var files []string
	if m.Metadata != nil {
		for i := range m.Tensors {
			for _, p := range m.Tensors[i].Paths() {
				if !slices.Contains(files, p) {
					files = append(files, p)
				}
			}
		}
		return files, nil
	}
	entries, err := os.ReadDir(m.Path)
	for _, e := range entries {
		files = append(files, filepath.Join(m.Path, e.Name()))
	}
	return files, err
}

// Params returns the number of weights, the LongRoPE factors of a GGUF file included.
func (m *Model) Params() int64 {
	n := m.factors.weights
	for i := range m.Tensors {
		n += m.Tensors[i].Elems()
	}
	return n
}

// Bytes returns the size of the weights in the file, the LongRoPE factors of a GGUF file included.
func (m *Model) Bytes() int64 {
	n := m.factors.bytes
	for i := range m.Tensors {
		n += m.Tensors[i].Bytes()
	}
	return n
}

// Tensor is one tensor.
type Tensor struct {
	arch.Tensor
	Type   quant.Type // F32 when IsF64
	IsF64  bool       // stored as float64, which has no quant.Type
	Path   string     // the file that holds it, or its first rows
	Offset int64      // of its bytes in that file
	R      io.ReaderAt
	// Panels are the rows as package kern multiplies them, in memory that is mapped until the
	// model is closed; nil if the file does not hold them so.
	Panels []byte

	computed bool // R computes the bytes: Path and Offset are not where they lie

	spans []span // where its rows are, if they do not follow each other in one file
}

// Cols returns the length of a row.
func (t *Tensor) Cols() int { return int(t.Shape[len(t.Shape)-1]) }

// Rows returns the number of rows, 1 for a vector.
func (t *Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[:len(t.Shape)-1] {
		n *= int(d)
	}
	return n
}

// Elems returns the number of elements.
func (t *Tensor) Elems() int64 { return int64(t.Rows()) * int64(t.Cols()) }

// Bytes returns the size in the file.
func (t *Tensor) Bytes() int64 { return int64(t.Rows()) * int64(t.RowBytes()) }

// TypeName names the type that the file holds.
func (t *Tensor) TypeName() string {
	if t.IsF64 {
		return "F64"
	}
	return t.Type.String()
}

// RowBytes returns the number of bytes of a row in the file.
func (t *Tensor) RowBytes() int {
	if t.IsF64 {
		return 8 * t.Cols()
	}
	return int(t.Type.Size(int64(t.Cols())))
}

// Paths lists the files that hold it: none if it is zeros that no checkpoint holds, several if its rows are in several.
func (t *Tensor) Paths() []string {
	if _, ok := t.R.(zeros); ok {
		return nil
	}
	paths := []string{t.Path}
	for _, s := range t.spans {
		if !slices.Contains(paths, s.path) {
			paths = append(paths, s.path)
		}
	}
	return paths
}

// Contiguous reports whether the rows follow each other, from Offset on.
func (t *Tensor) Contiguous() bool { return t.spans == nil }

// Pieces returns the tensors that a GGUF file may hold in place of t, each with its rows of it; nil if
// there is no such choice.
func (t *Tensor) Pieces() []Tensor {
	var parts []Tensor
	for _, p := range t.Parts {
		part := t.slice(p.First, int(p.Shape[0]))
		part.Tensor = p
		parts = append(parts, part)
	}
	return parts
}

// Expert returns matrix number e of stacked experts.
func (t *Tensor) Expert(e int) Tensor {
	rows := int(t.Shape[1])
	m := t.slice(e*rows, rows)
	m.Shape = t.Shape[1:]
	if t.Panels != nil { // whole panels: see package convert
		n := len(t.Panels) / int(t.Shape[0])
		m.Panels = t.Panels[e*n : (e+1)*n]
	}
	return m
}

// slice returns count rows from row first on. Its Shape is that of t.
func (t *Tensor) slice(first, count int) Tensor {
	s := *t
	s.Panels = nil
	if t.spans == nil {
		s.Offset += int64(first) * int64(t.RowBytes())
		return s
	}
	s.spans = nil
	for _, p := range t.spans {
		if skip := min(first, p.count); skip > 0 {
			first -= skip
			p = p.from(skip, t.unitBytes())
		}
		p.count = min(p.count, count)
		if count -= p.count; p.count > 0 {
			s.spans = append(s.spans, p)
		}
	}
	s.Path, s.Offset, s.R = s.spans[0].path, s.spans[0].offset, s.spans[0].r
	return s
}

// Stored returns the tensors that a file may hold for one of the model's: its parts, and the tensor itself.
func (m *Model) Stored(name string) []Tensor {
	t := &m.Tensors[slices.IndexFunc(m.Tensors, func(t Tensor) bool { return t.GGUF == name })]
	return append(t.Pieces(), *t)
}

// Decode converts whole rows, as they are in the file, to float32.
func (t *Tensor) Decode(dst []float32, src []byte) {
	if !t.IsF64 {
		t.Type.Dequantize(dst, src)
		return
	}
	for i := range dst {
		dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
	}
}

// ReadRows reads len(buf)/RowBytes rows from row first on as the file holds them.
func (t *Tensor) ReadRows(buf []byte, first int) error {
	if t.spans == nil {
		return readAt(t.R, buf, t.Offset+int64(first)*int64(t.RowBytes()), t.Path, t.GGUF)
	}
	unit := t.unitBytes()
	for s := range t.units(first, len(buf)/unit) {
		n := s.count * unit
		if err := s.read(buf[:n], unit, t.GGUF); err != nil {
			return err
		}
		buf = buf[n:]
	}
	return nil
}

// EachRows decodes the tensor piece by piece, at most about 1 MiB of float32 at
// a time, and calls f with the index of the first row and the values of a
// piece's rows. f must not keep values.
func (t *Tensor) EachRows(f func(first int, values []float32) error) error {
	cols, rows := t.Cols(), t.Rows()
	step := max(1, (1<<18)/max(1, cols))
	buf, values := make([]byte, step*t.RowBytes()), make([]float32, step*cols)
	for first := 0; first < rows; first += step {
		n := min(step, rows-first)
		if err := t.ReadRows(buf[:n*t.RowBytes()], first); err != nil {
			return err
		}
		t.Decode(values[:n*cols], buf[:n*t.RowBytes()])
		if err := f(first, values[:n*cols]); err != nil {
			return err
		}
	}
	return nil
}

// format is one row of the table of formats.
type format struct {
	name string
	// is reports whether path looks like this format.
	is   func(path string, info os.FileInfo) bool
	open func(path string) (*Model, error)
}

// modelFormats is the table of formats that hold a model: a new one is its own file and one line here.
var modelFormats = []format{
	{"safetensors", isCheckpoint, openCheckpoint},
	{"pmap", isPMAP, openPMAP},
	{"GGUF", isGGUF, openGGUF},
}

// Open opens a model: a checkpoint directory, a .pmap file, or a GGUF file or any part of a
// split one.
func Open(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	for _, f := range modelFormats {
		if f.is(path, info) {
			m, err := f.open(path)
			if err != nil {
				return nil, err
			}
			m.Path, m.Format = path, f.name
			return m, nil
		}
	}
	return nil, formats.FileErrorf(path, -1,
		"neither a checkpoint directory nor a .gguf or .pmap file; "+
			"of a .safetensors file, give the directory that holds it")
}

// OpenIn is [Open] for a model whose files with weights may be elsewhere: a checkpoint directory, whose other files are
// on this machine, or a GGUF file.
func OpenIn(files formats.Files, path string) (*Model, error) {
	m, name := (*Model)(nil), "GGUF"
	info, err := os.Stat(path)
	if err == nil && info.IsDir() {
		name = "safetensors"
		m, err = openDirectory(files, path, nil)
	} else {
		m, err = openGGUFIn(files, path)
	}
	if err != nil {
		return nil, err
	}
	m.Path, m.Format = path, name
	return m, nil
}

// match pairs the tensors that are expected with those of a file, whose names are those of a GGUF file or of a
// checkpoint. find looks one up. It returns the names that were found too.
func match(
	expected []arch.Tensor, path string, inGGUF bool, find func(name string) (Tensor, error),
) (all []Tensor, used map[string]bool, err error) {
	used = map[string]bool{}
	var missing []string
	for _, want := range expected {
		t, err := gather(&want, want.Ways(inGGUF), find, used)
		if errors.Is(err, errMissing) {
			for _, name := range absent(want.Ways(inGGUF), find, used) {
				if !slices.Contains(missing, name) {
					missing = append(missing, name)
				}
			}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		t.Tensor = want
		all = append(all, t)
	}
	if len(missing) > 0 {
		err := &missingError{names: missing, of: len(missing) + len(used)}
		return nil, nil, formats.WrapFile(err, path, "")
	}
	return all, used, nil
}

// absent lists what is missing in the way that a file most likely means to hold a tensor in: the first of which
// something is there, or the usual one. It notes the names of the way that are there.
func absent(ways [][]arch.Rows, find func(name string) (Tensor, error), used map[string]bool) []string {
	isMissing := func(r arch.Rows) bool {
		_, err := find(r.Name)
		return errors.Is(err, errMissing)
	}
	way := ways[0]
	for _, rows := range ways {
		if slices.ContainsFunc(rows, func(r arch.Rows) bool { return !isMissing(r) }) {
			way = rows
			break
		}
	}
	var names []string
	for _, r := range way {
		if isMissing(r) {
			names = append(names, r.Name)
		} else {
			used[r.Name] = true
		}
	}
	return names
}

// gather makes a tensor in the first of the ways for which all is there, and notes the names that it uses.
func gather(
	want *arch.Tensor, ways [][]arch.Rows, find func(name string) (Tensor, error), used map[string]bool,
) (Tensor, error) {
	if want.Zero {
		return Tensor{Type: quant.F32, R: zeros{}, Path: "zeros"}, nil
	}
	for _, rows := range ways {
		t, err := joined(want, rows, find)
		if errors.Is(err, errMissing) {
			continue
		}
		for _, r := range rows {
			used[r.Name] = true
		}
		return t, err
	}
	return Tensor{}, errMissing
}

// joined makes a tensor of rows of others, which must have one type.
func joined(want *arch.Tensor, rows []arch.Rows, find func(name string) (Tensor, error)) (Tensor, error) {
	var t Tensor
	for i, r := range rows {
		part, err := find(r.Name)
		if err != nil {
			return Tensor{}, err
		}
		switch {
		case !slices.Equal(part.Shape, r.Shape):
			return Tensor{}, formats.FileErrorf(part.Path, -1,
				"tensor %s has shape %v, expected %v from the configuration", r.Name, part.Shape, r.Shape)
		case len(r.Shape) == 1 && part.Type.IsQuantized():
			return Tensor{}, formats.FileErrorf(part.Path, -1, "tensor %s is %s, expected F32: it is a vector", r.Name,
				part.TypeName())
		case i > 0 && (part.Type != t.Type || part.IsF64 != t.IsF64):
			return Tensor{}, formats.FileErrorf(part.Path, -1, "tensor %s is %s, and %s is %s: expected one type",
				r.Name, part.TypeName(), rows[0].Name, t.TypeName())
		}
		s := span{part.Path, part.R, part.Offset, r.Count, r.Step}
		s.offset += int64(r.First) * int64(part.unitBytes())
		if i == 0 {
			t = part
			t.Shape, t.Path, t.Offset, t.R = want.Shape, s.path, s.offset, s.r
		}
		t.spans = append(t.spans, s)
	}
	if len(t.spans) == 1 && t.spans[0].step == 1 && !t.computed {
		t.spans = nil
	}
	return t, nil
}

var errMissing = errors.New("missing")

// missingError says which tensors a file lacks.
type missingError struct {
	names []string
	of    int    // how many there should be
	there string // what is there instead
}

func (e *missingError) Error() string {
	shown := strings.Join(e.names[:min(len(e.names), 3)], ", ")
	if len(e.names) > 3 {
		shown += ", …"
	}
	return fmt.Sprintf("%d of %d tensors are missing: %s%s", len(e.names), e.of, shown, e.there)
}
