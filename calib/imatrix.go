package calib

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/quant"
)

// Stats is what a statistics file holds: llama.cpp's importance matrix, in GGUF or in the
// older .dat form, and in files of this program what else was gathered.
type Stats struct {
	Path    string
	Entries []Entry // in the order of their names
	// Datasets names the texts. A chunk is ChunkSize tokens, 0 if unknown, and
	// ChunkCount the number of chunks.
	Datasets              []string
	ChunkCount, ChunkSize int
	// Origin says how this program made the statistics; nil for those of llama.cpp.
	Origin *Origin

	file *gguf.File // that holds the Hessians, if any
}

// Entry is the statistics of a linear layer's inputs.
type Entry struct {
	Name string // of the weights in a GGUF file
	// Sums holds Σx² of each column, for one matrix or for several in one tensor.
	Sums []float32
	// Counts holds the number of tokens, for each of the matrices.
	Counts []float32
	// HasHessian says that the whole matrix Σ x·xᵀ is in the file: see [Stats.Hessian].
	HasHessian bool
	// Parts is the number of parts of the layer's outputs whose squared gradients are in the file, by
	// which tokens are weighted in Sums: see [Stats.Gradients]. 0 if tokens count alike.
	Parts int
}

// Origin identifies model and text of statistics. Hashes are SHA-256 in hexadecimal.
type Origin struct {
	Weights   string // hash of the weights, see source.Model.SHA256
	Tokenizer string // hash of the tokens' texts
	Texts     []string
	Seed      uint64
	// Tokens of all sequences, one after the other, and how many each has.
	Tokens  []int32
	Lengths []int32
}

// Keys and names of llama.cpp's GGUF form, and of ours beside them. Readers of llama.cpp
// skip keys and tensors that they do not know.
const (
	keyType       = "general.type"
	typeImatrix   = "imatrix"
	keyDatasets   = "imatrix.datasets"
	keyChunkCount = "imatrix.chunk_count"
	keyChunkSize  = "imatrix.chunk_size"

	keyWeights   = "phi3conv.calibration.weights_sha256"
	keyTokenizer = "phi3conv.calibration.tokenizer_sha256"
	keyTexts     = "phi3conv.calibration.texts_sha256"
	keySeed      = "phi3conv.calibration.seed"
	keyTokens    = "phi3conv.calibration.tokens"
	keyLengths   = "phi3conv.calibration.lengths"

	suffixSums    = ".in_sum2"
	suffixCounts  = ".counts"
	suffixHessian = ".hessian" // lower triangle of Σ x·xᵀ, row by row

	suffixGradients = ".out_grad2" // squared gradients: for each part of the outputs, for each token
)

// Entry returns the statistics of a tensor, nil if there are none.
func (s *Stats) Entry(name string) *Entry {
	at, ok := slices.BinarySearchFunc(s.Entries, name, func(e Entry, name string) int { return strings.Compare(e.Name, name) })
	if !ok {
		return nil
	}
	return &s.Entries[at]
}

// Importance returns the mean square of each column, the weights that encoders take; 1 for
// a matrix that met no token.
func (e *Entry) Importance() []float32 {
	imp := make([]float32, len(e.Sums))
	cols := len(e.Sums) / len(e.Counts)
	for i, v := range e.Sums {
		if n := e.Counts[i/cols]; n > 0 {
			imp[i] = v / n
		} else {
			imp[i] = 1
		}
	}
	return imp
}

// Hessian returns the matrix Σ x·xᵀ of a layer's inputs x, of cols rows and columns.
func (s *Stats) Hessian(name string) (matrix []float32, cols int, err error) {
	e := s.Entry(name)
	if e == nil || !e.HasHessian {
		return nil, 0, &formats.Error{Path: s.Path, Off: -1, What: "no Hessian of " + name + ": calibrate with --hessian"}
	}
	lower, err := readFloats(s.file.Tensor(name + suffixHessian))
	if err != nil {
		return nil, 0, err
	}
	for i, v := range lower {
		if !finite(v) {
			return nil, 0, &formats.Error{Path: s.Path, Off: s.file.Tensor(name+suffixHessian).Offset + int64(4*i), What: fmt.Sprintf("the Hessian of %s has the value %g", name, v)}
		}
	}
	return Square(lower, len(e.Sums)), len(e.Sums), nil
}

// Close closes the file, after which there are no Hessians.
func (s *Stats) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Open reads a statistics file of either form. Sums and counts are in memory then.
func Open(path string) (*Stats, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &formats.Error{Path: path, Off: -1, What: "not a regular file, expected an importance matrix"}
	}
	magic := make([]byte, 4)
	if _, err := f.ReadAt(magic, 0); err == nil && string(magic) == "GGUF" {
		return openGGUF(path)
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return nil, err
	}
	s, err := parseDat(data)
	if err == nil {
		s.Path = path
		err = s.check()
	}
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	return s, nil
}

func openGGUF(path string) (*Stats, error) {
	f, err := gguf.Open(path)
	if err != nil {
		return nil, err
	}
	s, err := readGGUF(path, f)
	if err == nil {
		err = s.check()
	}
	if err != nil {
		_ = f.Close()
		return nil, formats.WithPath(err, path)
	}
	return s, nil
}

func readGGUF(path string, f *gguf.File) (*Stats, error) {
	s := &Stats{Path: path, file: f}
	if t, _ := f.Metadata.Str(keyType); t != typeImatrix {
		return nil, formats.Errorf(-1, "%s is %q, expected %q: not an importance matrix", keyType, t, typeImatrix)
	}
	var ok [3]bool
	var count, size uint64
	s.Datasets, ok[0] = f.Metadata.Strings(keyDatasets)
	count, ok[1] = f.Metadata.Uint(keyChunkCount)
	size, ok[2] = f.Metadata.Uint(keyChunkSize)
	for i, key := range []string{keyDatasets, keyChunkCount, keyChunkSize} {
		if !ok[i] {
			return nil, formats.Errorf(-1, "key %s is missing or of another type", key)
		}
	}
	s.ChunkCount, s.ChunkSize = int(min(count, math.MaxInt32)), int(min(size, math.MaxInt32))
	if err := s.readOrigin(f.Metadata); err != nil {
		return nil, err
	}
	for _, t := range f.Tensors {
		name, isSums := strings.CutSuffix(t.Name, suffixSums)
		if base, isCounts := strings.CutSuffix(t.Name, suffixCounts); isCounts && f.Tensor(base+suffixSums) == nil {
			return nil, formats.Errorf(t.Offset, "tensor %s without %s", t.Name, base+suffixSums)
		}
		if !isSums {
			continue
		}
		counts := f.Tensor(name + suffixCounts)
		if counts == nil {
			return nil, formats.Errorf(t.Offset, "tensor %s without %s", t.Name, name+suffixCounts)
		}
		e := Entry{Name: name}
		var err error
		if e.Sums, err = readFloats(t); err != nil {
			return nil, err
		}
		if e.Counts, err = readFloats(counts); err != nil {
			return nil, err
		}
		if h := f.Tensor(name + suffixHessian); h != nil {
			if n := int64(len(e.Sums)); h.Type != quant.F32 || h.Elems() != n*(n+1)/2 {
				return nil, formats.Errorf(h.Offset, "tensor %s has %d values of type %s, expected %d of type F32", h.Name, h.Elems(), h.Type, n*(n+1)/2)
			}
			e.HasHessian = true
		}
		if g := f.Tensor(name + suffixGradients); g != nil {
			if s.Origin == nil || g.Type != quant.F32 || len(g.Dims) > 2 || g.Cols() != int64(len(s.Origin.Tokens)) {
				return nil, formats.Errorf(g.Offset, "tensor %s has the shape %v and the type %s, expected an F32 for each token and part of the outputs", g.Name, g.Dims, g.Type)
			}
			if e.Parts = 1; len(g.Dims) == 2 {
				e.Parts = int(g.Dims[1])
			}
		}
		s.Entries = append(s.Entries, e)
	}
	return s, nil
}

func (s *Stats) readOrigin(md *gguf.Metadata) error {
	weights, ok := md.Str(keyWeights)
	if !ok {
		return nil
	}
	o := &Origin{Weights: weights}
	o.Tokenizer, _ = md.Str(keyTokenizer)
	o.Texts, _ = md.Strings(keyTexts)
	o.Seed, _ = md.Uint(keySeed)
	o.Tokens, _ = md.Int32s(keyTokens)
	o.Lengths, _ = md.Int32s(keyLengths)
	total := int64(0)
	for i, n := range o.Lengths {
		if n < 1 {
			return formats.Errorf(-1, "%s: sequence %d has %d tokens, expected at least 1", keyLengths, i, n)
		}
		total += int64(n)
	}
	if total != int64(len(o.Tokens)) {
		return formats.Errorf(-1, "%s has %d tokens, %s says %d", keyTokens, len(o.Tokens), keyLengths, total)
	}
	s.Origin = o
	return nil
}

// readFloats reads a tensor of float32.
func readFloats(t *gguf.Tensor) ([]float32, error) {
	if t.Type != quant.F32 {
		return nil, formats.Errorf(t.Offset, "tensor %s is %s, expected F32", t.Name, t.Type)
	}
	raw := make([]byte, t.Size())
	if _, err := t.ReadAt(raw, 0); err != nil {
		return nil, &formats.Error{Off: t.Offset, What: "reading tensor " + t.Name, Err: err}
	}
	return toFloats(raw), nil
}

func toFloats(raw []byte) []float32 {
	values := make([]float32, len(raw)/4)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return values
}

func finite(v float32) bool { return v-v == 0 }

// check refuses values that no text gives, and puts the entries in order.
func (s *Stats) check() error {
	if len(s.Entries) == 0 {
		return formats.Errorf(-1, "no entries, expected the statistics of at least one tensor")
	}
	slices.SortFunc(s.Entries, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	for i := range s.Entries {
		e := &s.Entries[i]
		if i > 0 && e.Name == s.Entries[i-1].Name {
			return formats.Errorf(-1, "two entries of the name %q", e.Name)
		}
		if len(e.Counts) == 0 || len(e.Sums) == 0 || len(e.Sums)%len(e.Counts) != 0 {
			return formats.Errorf(-1, "entry %s has %d columns and %d counts", e.Name, len(e.Sums), len(e.Counts))
		}
		for j, v := range e.Sums {
			if !(v >= 0) || !finite(v) {
				return formats.Errorf(-1, "entry %s: column %d has the sum of squares %g, expected a finite number of at least 0", e.Name, j, v)
			}
		}
		for j, v := range e.Counts {
			if !(v >= 0) || !finite(v) {
				return formats.Errorf(-1, "entry %s: count %d is %g, expected a finite number of at least 0", e.Name, j, v)
			}
		}
	}
	return nil
}

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
func parseDat(data []byte) (*Stats, error) {
	d := datReader{data: data}
	s := &Stats{}
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

// WriteDat writes the older form: without Hessians and origin, counts in chunks.
func (s *Stats) WriteDat(path string) error {
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
	return atomicfile.WriteFile(path, b.Bytes())
}

// Write writes the GGUF form, Hessians and gradients included. more gives the lower triangle of an entry's Hessian, and
// the squared gradients for each part of the outputs; it is called for entries that have either.
func (s *Stats) Write(path string, more func(e *Entry) (lower []float32, parts [][]float32, err error)) error {
	md := new(gguf.Metadata)
	md.Set(keyType, typeImatrix)
	md.Set(keyDatasets, append([]string{}, s.Datasets...))
	md.Set(keyChunkCount, uint32(s.ChunkCount))
	md.Set(keyChunkSize, uint32(s.ChunkSize))
	if o := s.Origin; o != nil {
		md.Set(keyWeights, o.Weights)
		md.Set(keyTokenizer, o.Tokenizer)
		md.Set(keyTexts, append([]string{}, o.Texts...))
		md.Set(keySeed, o.Seed)
		md.Set(keyTokens, append([]int32{}, o.Tokens...))
		md.Set(keyLengths, append([]int32{}, o.Lengths...))
	}
	var infos []gguf.TensorInfo
	for i := range s.Entries {
		e := &s.Entries[i]
		n, cols := uint64(len(e.Counts)), uint64(len(e.Sums)/len(e.Counts))
		sums, counts := []uint64{cols}, []uint64{1}
		if n > 1 {
			sums, counts = append(sums, n), append(counts, n)
		}
		infos = append(infos, gguf.TensorInfo{Name: e.Name + suffixSums, Dims: sums}, gguf.TensorInfo{Name: e.Name + suffixCounts, Dims: counts})
		if e.HasHessian {
			infos = append(infos, gguf.TensorInfo{Name: e.Name + suffixHessian, Dims: []uint64{cols * (cols + 1) / 2}})
		}
		if e.Parts > 0 {
			dims := []uint64{uint64(len(s.Origin.Tokens))}
			if e.Parts > 1 {
				dims = append(dims, uint64(e.Parts))
			}
			infos = append(infos, gguf.TensorInfo{Name: e.Name + suffixGradients, Dims: dims})
		}
	}
	w, err := gguf.Create(path, md, infos, gguf.Options{})
	if err != nil {
		return err
	}
	defer w.Abort()
	at := 0
	put := func(values []float32) error {
		raw := make([]byte, 0, 4*len(values))
		for _, v := range values {
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(v))
		}
		at++
		return w.WriteTensorAt(at-1, raw, 0)
	}
	for i := range s.Entries {
		e := &s.Entries[i]
		if err := put(e.Sums); err != nil {
			return err
		}
		if err := put(e.Counts); err != nil {
			return err
		}
		if !e.HasHessian && e.Parts == 0 {
			continue
		}
		lower, parts, err := more(e)
		if err != nil {
			return err
		}
		if e.HasHessian {
			if err := put(lower); err != nil {
				return err
			}
		}
		if e.Parts > 0 {
			if err := put(slices.Concat(parts...)); err != nil {
				return err
			}
		}
	}
	return w.Close()
}
