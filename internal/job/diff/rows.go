package diff

import (
	"errors"
	"io"
	"math"
	"strings"

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
	for _, dependent := range []bool{false, true} { // first those whose columns tell the gains of others' rows
		for i, p := range pairs {
			reader := gainsFrom(tensors[i].Name)
			if p.rows == nil || (reader != "") != dependent {
				continue
			}
			if from := byName[reader]; from != nil && from.rows != nil && c != nil {
				p.setGains(from, tensors[i].Name, c)
			}
			if err := p.sample(); err != nil {
				return err
			}
		}
	}
	return nil
}

// gainsFrom returns the matrix that reads the channels which a tensor's rows make, "" for none that can be scaled:
// attention takes weighted sums of values, and down reads the output of up, which SwiGLU multiplies.
func gainsFrom(name string) string {
	for rows, columns := range map[string]string{
		"attn_qkv.weight": "attn_output.weight", "attn_v.weight": "attn_output.weight",
		"ffn_up.weight": "ffn_down.weight", "ffn_up_exps.weight": "ffn_down_exps.weight",
	} {
		if block, ok := strings.CutSuffix(name, rows); ok {
			return block + columns
		}
	}
	return ""
}

// setGains says what the rows were multiplied by: the last of them make the channels that from's columns read.
func (p *pair) setGains(from *pair, name string, c *arch.Config) {
	if len(from.rows) != len(p.rows) {
		return
	}
	for k, r := range p.rows {
		channels := from.rows[k].Gains()
		if strings.Contains(name, "attn_") { // the query heads of a group read the same values
			channels = valueGains(channels, c)
		}
		gains := make([]float64, p.matrixRows())
		first := len(gains) - len(channels)
		if first < 0 {
			return
		}
		for i := range gains {
			gains[i] = 1
			if i >= first {
				gains[i] = channels[i-first]
			}
		}
		r.SetGains(gains)
	}
}

// valueGains returns the gain of each row of values from those of the columns of the attention's output matrix.
func valueGains(columns []float64, c *arch.Config) []float64 {
	gains := make([]float64, c.KVHeads*c.HeadDim)
	for i := range gains {
		head, dim := i/c.HeadDim, i%c.HeadDim
		gains[i] = math.NaN()
		for h := range c.Heads / c.KVHeads {
			at := (head*(c.Heads/c.KVHeads)+h)*c.HeadDim + dim
			if at < len(columns) && !math.IsNaN(columns[at]) {
				gains[i] = columns[at]
			}
		}
	}
	return gains
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
