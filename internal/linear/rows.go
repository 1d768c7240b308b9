package linear

import "github.com/phi3conv/phi3conv/internal/kern"

// Rows is a row of float32 for each token of a batch, padded with zeros.
type Rows struct {
	Data   []float32
	Width  int // a multiple of 16
	Stride int // values from a row to the next
}

// NewRows makes rows of zeros for cols values each.
func NewRows(tokens, cols int) Rows {
	return Rows{make([]float32, tokens*Stride(cols)), Padded(cols), Stride(cols)}
}

// Row returns row t.
func (r Rows) Row(t int) []float32 { return r.Data[t*r.Stride:][:r.Width] }

// From returns the rows from row t on.
func (r Rows) From(t int) Rows { return Rows{r.Data[t*r.Stride:], r.Width, r.Stride} }

// Columns returns the rows without the columns before column c. Their Width is 0: [Rows.Row] is not for them.
func (r Rows) Columns(c int) Rows { return Rows{r.Data[c:], 0, r.Stride} }

// Padded rounds a number of values up to whole vectors, a multiple of 16.
func Padded(n int) int { return (n + kern.Rows - 1) &^ (kern.Rows - 1) }

// RowGap is added to the stride where rows would lie whole pages apart: equal columns of all rows would then compete
// for the same few lines of a core's first cache.
const RowGap = 128

// Stride returns how many values lie from a row of n values to the next.
func Stride(n int) int {
	stride := Padded(n)
	if stride%1024 == 0 {
		stride += RowGap
	}
	return stride
}
