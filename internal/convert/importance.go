package convert

import (
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
)

// Imatrix is an importance matrix: how much an error in each column of a matrix counts.
type Imatrix struct {
	Path     string
	Datasets []string // that it was gathered from
	Chunks   int      // of text, 0 if unknown
	Tensors  []Importance
}

// Importance is how much errors in the columns of one matrix count.
type Importance struct {
	// Tensor is the matrix's name in a GGUF file; of an embedding that is the output matrix too, "output.weight".
	Tensor string
	// Columns are mean squares, of stacked experts those of each, one after the other.
	Columns []float32
}

// tensor returns the importance of a matrix's columns, nil if there is none.
func (m *Imatrix) tensor(name string) []float32 {
	for i := range m.Tensors {
		if m.Tensors[i].Tensor == name {
			return m.Tensors[i].Columns
		}
	}
	return nil
}

// addImportance gives each tensor the importance of its columns, as llama-quantize does. An embedding that is the
// output matrix too gets that of the output matrix.
func (p *Plan) addImportance(m *Imatrix) error {
	used := 0
	for i := range p.Tensors {
		t := &p.Tensors[i]
		columns := m.tensor(t.role())
		if columns == nil && t.Name == arch.Embedding && p.Source.Config.Tied {
			columns = m.tensor(arch.Output)
		}
		if columns == nil {
			continue
		}
		matrices := 1
		if t.source != nil {
			matrices = t.source.Stacked()
		}
		if cols := matrices * int(t.Dims[0]); len(columns) != cols {
			return formats.FileErrorf(m.Path, -1, "the statistics of %s are for %d columns, and the model has %d: "+
				"they are another model's", t.Name, len(columns), cols)
		}
		for c := range slices.Chunk(columns, int(t.Dims[0])) {
			t.importance = append(t.importance, quant.Relative(c))
		}
		used++
	}
	for _, importance := range m.Tensors {
		isIt := func(t Tensor) bool { return t.role() == importance.Tensor }
		if strings.HasPrefix(importance.Tensor, "blk.") && !slices.ContainsFunc(p.Tensors, isIt) {
			return formats.FileErrorf(m.Path, -1, "it has statistics of %s, which the model does not have: "+
				"they are another model's", importance.Tensor)
		}
	}
	if used == 0 {
		return formats.FileErrorf(m.Path, -1, "it has statistics of no tensor of the model")
	}
	return nil
}
