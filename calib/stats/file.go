package stats

import (
	"io"
	"os"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/floats"
)

// File is what a statistics file holds: llama.cpp's importance matrix, in GGUF or in the
// older .dat form, and in files of this program what else was gathered.
type File struct {
	Path    string
	Entries []Entry // in the order of their names
	// Datasets names the texts. A chunk is ChunkSize tokens, 0 if unknown, and
	// ChunkCount the number of chunks.
	Datasets              []string
	ChunkCount, ChunkSize int
	// Origin says how this program made the statistics; nil for those of llama.cpp.
	Origin *Origin

	file *gguf.File // that holds the gradients, if any
}

// Entry is the statistics of a linear layer's inputs.
type Entry struct {
	Name string // of the weights in a GGUF file
	// Sums holds Σx² of each column, for one matrix or for those of experts, which are stacked in one tensor.
	Sums []float32
	// Counts holds the number of tokens, for each of the matrices. The older form has one number for all experts.
	Counts []float32
	// Parts is the number of parts of the layer's outputs whose squared gradients are in the file, by
	// which tokens are weighted in Sums: see [File.Gradients]. The experts of a stack are its parts. 0 if tokens count
	// alike.
	Parts int
	// Outputs is the number of the layer's outputs for which the file says how gradients there go together: see
	// [File.OutputMoments]. 0 if it does not.
	Outputs int
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

// OutputEntry is the name of the statistics of the output matrix, even where that is the embedding.
const OutputEntry = arch.Output

// Entry returns the statistics of a tensor, nil if there are none.
func (s *File) Entry(name string) *Entry {
	compare := func(e Entry, name string) int { return strings.Compare(e.Name, name) }
	at, ok := slices.BinarySearchFunc(s.Entries, name, compare)
	if !ok {
		return nil
	}
	return &s.Entries[at]
}

// Importance returns the mean square of each column, the weights that encoders take; 1 for a matrix that met no token.
// Experts that few tokens reached have in part that of all experts: see [FloorTokens].
func (e *Entry) Importance() []float32 {
	imp := make([]float32, len(e.Sums))
	cols := len(e.Sums) / len(e.Counts)
	all := e.pooled()
	for i, v := range e.Sums {
		switch n := e.Counts[i/cols]; {
		case len(e.Counts) > 1 && n < FloorTokens && all != nil:
			sum := float64(float64(FloorTokens-n) * all[i%cols])
			if n > 0 {
				sum += float64(v)
			}
			imp[i] = float32(sum / FloorTokens)
		case n > 0:
			imp[i] = v / n
		default:
			imp[i] = 1
		}
	}
	return imp
}

// Close closes the file, after which there are no gradients.
func (s *File) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

// Open reads a statistics file of either form. Sums and counts are in memory then.
func Open(path string) (*File, error) {
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
		return nil, formats.FileErrorf(path, -1, "not a regular file, expected an importance matrix")
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

// check refuses values that no text gives, and puts the entries in order.
func (s *File) check() error {
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
			if !(v >= 0) || !floats.Finite(v) {
				return formats.Errorf(-1,
					"entry %s: column %d has the sum of squares %g, expected a finite number of at least 0",
					e.Name, j, v)
			}
		}
		for j, v := range e.Counts {
			if !(v >= 0) || !floats.Finite(v) {
				return formats.Errorf(-1,
					"entry %s: count %d is %g, expected a finite number of at least 0", e.Name, j, v)
			}
		}
	}
	return nil
}
