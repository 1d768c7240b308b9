package diff

import (
	"errors"
	"io"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/tensorfile"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
)

// newPair prepares the comparison of a tensor, and of its rows if it is a matrix or a stack of them.
func newPair(a, b *tensorfile.Tensor) *pair {
	p := &pair{a: a, b: b}
	n := len(a.Shape)
	if n < 2 || n > 3 || b.IsF64 || a.Elems == 0 {
		return p
	}
	rows, cols := int(a.Shape[n-2]), int(a.Shape[n-1])
	for range int(a.Elems) / rows / cols {
		if r := tensorstats.NewRows(b.Block, rows, cols); r != nil {
			p.rows = append(p.rows, r)
		}
	}
	return p
}

// matrixRows returns the number of rows of each matrix.
func (p *pair) matrixRows() int { return int(p.a.Shape[len(p.a.Shape)-2]) }

// rowsCompared returns the number of rows of all matrices.
func (p *pair) rowsCompared() int {
	if p.rows == nil {
		return 0
	}
	return len(p.rows) * p.matrixRows()
}

// addRows takes the next values of both tensors.
func (p *pair) addRows(x, y []float32, data []byte) {
	if p.rows == nil {
		return
	}
	matrix := int64(p.matrixRows()) * int64(p.a.Shape[len(p.a.Shape)-1])
	for len(x) > 0 {
		n := min(int64(len(x)), matrix-p.added%matrix)
		bytes := p.b.Block.Size(n)
		p.rows[p.added/matrix].Add(x[:n], y[:n], data[:bytes])
		x, y, data = x[n:], y[n:], data[bytes:]
		p.added += n
	}
}

// unlike lists the rows that are unlike; those of a stack are counted through.
func (p *pair) unlike(name string) (list []tensorstats.UnlikeRow) {
	for k, r := range p.rows {
		for _, u := range r.Unlike(name) {
			u.Row += k * p.matrixRows()
			list = append(list, u)
		}
	}
	return list
}

// sampleRows reads some rows of each matrix, which tell whether channels were scaled.
func sampleRows(pairs []*pair, tensors []TensorDiff, c *arch.Config) error {
	byName := make(map[string]*pair)
	for i, p := range pairs {
		byName[tensors[i].Name] = p
	}
	made := madeChannels(c)
	for _, makes := range []bool{false, true} { // first those whose columns tell the gains of others' rows
		for i, p := range pairs {
			list := made[tensors[i].Name]
			if p.rows == nil || (list != nil) != makes {
				continue
			}
			if list != nil {
				p.setGains(list, byName[list[0].reader])
			}
			if err := p.sample(); err != nil {
				return err
			}
		}
	}
	return nil
}

// channels are those that some rows of a matrix make, and the columns of another one read.
type channels struct {
	first   int    // row of the matrix, from 0 in each one of a stack, that makes channel 0
	count   int    // of channels
	reader  string // the other matrix
	columns []int  // the channel that each of its columns reads
}

// madeChannels lists the channels that matrices make and that methods may scale, by the matrices' names: of a stack
// those of each matrix. It is empty for an unknown model.
func madeChannels(c *arch.Config) map[string][]channels {
	made := make(map[string][]channels)
	if c == nil {
		return made
	}
	for l := range c.Layers {
		for _, f := range c.Folds(l) {
			maker := f.Makers[0]
			if len(maker.Tensor.Shape) < 2 { // a norm
				continue
			}
			rows := int(maker.Tensor.Shape[len(maker.Tensor.Shape)-2])
			m := channels{maker.First % rows, f.Channels, f.Readers[0].Tensor.GGUF, f.Channel}
			made[maker.Tensor.GGUF] = append(made[maker.Tensor.GGUF], m)
			for _, p := range maker.Tensor.Parts {
				if part := m; m.first >= p.First && m.first < p.First+int(p.Shape[0]) {
					part.first -= p.First
					made[p.GGUF] = []channels{part}
				}
			}
		}
	}
	return made
}

// setGains says what the rows were multiplied by, from the columns of the matrix that reads what they make.
func (p *pair) setGains(list []channels, reader *pair) {
	if reader == nil || len(reader.rows) != len(p.rows) || len(list) != len(p.rows) {
		return
	}
	for k, r := range p.rows {
		m, columns := list[k], reader.rows[k].Gains()
		gains := slices.Repeat([]float64{1}, p.matrixRows())
		if len(columns) != len(m.columns) || m.first+m.count > len(gains) {
			return
		}
		made := gains[m.first : m.first+m.count]
		for i := range made {
			made[i] = math.NaN()
		}
		for c, channel := range m.columns { // several columns may read one channel
			if !math.IsNaN(columns[c]) {
				made[channel] = columns[c]
			}
		}
		r.SetGains(gains)
	}
}

// sample reads rows that are spread over each matrix.
func (p *pair) sample() error {
	rows := p.matrixRows()
	cols := int64(p.a.Shape[len(p.a.Shape)-1])
	for k, r := range p.rows {
		n := min(rows, tensorstats.SampleRows)
		for i := range n {
			row := i * rows / n
			x, err := readRow(p.a, int64(k*rows+row), cols)
			if err != nil {
				return err
			}
			y, err := readRow(p.b, int64(k*rows+row), cols)
			if err != nil {
				return err
			}
			r.Sample(row, x, y)
		}
	}
	return nil
}

// readRow reads a row of a matrix or of a stack.
func readRow(t *tensorfile.Tensor, row, cols int64) ([]float32, error) {
	flat := *t
	flat.Shape = []uint64{uint64(t.Elems / cols), uint64(cols)}
	r := flat.Rows(t.Name, row, 1).Reader()
	var all []float32
	for {
		x, _, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		all = append(all, x...)
	}
}
