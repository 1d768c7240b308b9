package tensorstats

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/quant"
)

// matrix is a reference, and what a method made of it.
type matrix struct {
	typ        quant.Type
	rows, cols int
	a          []float32
	b          []byte
	gains      []float64 // of the rows, nil for 1
}

// newMatrix quantizes weights with a few large ones, in columns scaled by up to the factor, after adding noise of this
// share of the mean column.
func newMatrix(seed uint64, typ quant.Type, rows, cols int, noise, factor float64) *matrix {
	rng := rand.New(rand.NewPCG(seed, 10))
	m := &matrix{typ: typ, rows: rows, cols: cols, a: make([]float32, rows*cols)}
	factors := make([]float64, cols)
	for j := range factors {
		factors[j] = math.Pow(factor, 2*rng.Float64()-1)
	}
	mean := 0.0
	for _, f := range factors {
		mean += f * f / float64(cols)
	}
	mean = math.Sqrt(mean)
	moved := make([]float32, len(m.a))
	for i := range rows {
		size := math.Exp(0.3 * rng.NormFloat64())
		for j := range cols {
			x := size * rng.NormFloat64()
			if rng.IntN(200) == 0 {
				x *= 4
			}
			m.a[i*cols+j] = float32(x)
			moved[i*cols+j] = float32(factors[j]*x + noise*mean*size*rng.NormFloat64())
		}
	}
	m.b = make([]byte, typ.Size(int64(len(m.a))))
	typ.Quantize(m.b, moved, cols, nil)
	return m
}

// unlike compares with other bytes.
func (m *matrix) unlike(b []byte) []UnlikeRow {
	values := make([]float32, len(m.a))
	m.typ.Dequantize(values, b)
	r := NewRows(m.typ, m.rows, m.cols)
	r.SetGains(m.gains)
	for i := range SampleRows {
		row := i * m.rows / SampleRows
		r.Sample(row, m.a[row*m.cols:(row+1)*m.cols], values[row*m.cols:(row+1)*m.cols])
	}
	for from := 0; from < len(m.a); from += 1024 { // wherever pieces end
		to := min(len(m.a), from+1024)
		r.Add(m.a[from:to], values[from:to], b[m.typ.Size(int64(from)):m.typ.Size(int64(to))])
	}
	return r.Unlike("w")
}

// rowBytes is what a row of b takes.
func (m *matrix) row(b []byte, i int) []byte {
	n := int(m.typ.Size(int64(m.cols)))
	return b[i*n : (i+1)*n]
}

func (m *matrix) swap(i, j int) []byte {
	b := slices.Clone(m.b)
	copy(m.row(b, i), m.row(m.b, j))
	copy(m.row(b, j), m.row(m.b, i))
	return b
}

// No method's noise, and no scaling of channels, makes a row unlike.
func TestGoodRows(t *testing.T) {
	for _, typ := range quant.Types() {
		for _, noise := range []float64{0, 0.3, 1, 2} {
			for _, factor := range []float64{1, 16} {
				if noise > 0 && !typ.IsQuantized() || noise > 1 && typ.BitsPerWeight() < 2.6 {
					continue // of two bits for a weight, twice its size leaves nothing to go by
				}
				for _, cols := range []int{256, 1024} {
					m := newMatrix(uint64(100*noise), typ, 150, cols, noise, factor)
					if got := m.unlike(m.b); got != nil {
						t.Errorf("%s, %d columns, noise %v, factors to %v: %+v", typ, cols, noise, factor, got)
					}
				}
			}
		}
	}
}

// Nor is a row unlike that a method moved far farther than all others: in types of few bits, where rows are some way
// off anyhow, by as much as gptq moves one of a matrix that few tokens reached.
func TestFarRow(t *testing.T) {
	for _, typ := range quant.Types() {
		if !typ.IsQuantized() {
			continue
		}
		m := newMatrix(17, typ, 300, 1024, 0, 1)
		for _, noise := range []float64{0.28, 0.6} {
			if noise > 0.3 && typ.BitsPerWeight() > 5 {
				continue
			}
			far := newMatrix(17, typ, 34, 1024, noise, 1)
			copy(m.row(m.b, 33), far.row(far.b, 33))
			if got := m.unlike(m.b); got != nil {
				t.Errorf("%s, noise %v: %+v", typ, noise, got)
			}
		}
	}
}

// Every bit of every scale's exponent is named, and swapped rows are, in every type. Only where eight weights are
// chosen together, a block has too few choices to tell a flip from a choice.
func TestDamagedRows(t *testing.T) {
	for _, typ := range quant.Types() {
		for _, cols := range []int{256, 1024} {
			for _, noise := range []float64{0, 0.05} {
				if noise > 0 && !typ.IsQuantized() {
					continue
				}
				m := newMatrix(7, typ, 128, cols, noise, 3)
				where := fmt.Sprintf("%s, %d columns, noise %v", typ, cols, noise)
				got := m.unlike(m.swap(20, 25))
				if len(got) != 2 || got[0].Row+got[1].Row != 45 || got[0].Row*got[1].Row != 500 ||
					!strings.HasPrefix(got[0].Why, "swapped with row 2") {
					t.Errorf("%s: rows 20 and 25 were swapped, got %+v", where, got)
				}
				if typ == quant.IQ2_XS || typ == quant.IQ2_S {
					continue
				}
				for _, scale := range typ.ScaleOffsets() {
					for bit := range 5 {
						m.checkFlip(t, where, scale, bit)
					}
				}
			}
		}
	}
}

// checkFlip flips a bit of the exponent of a scale.
func (m *matrix) checkFlip(t *testing.T, where string, scale, bit int) {
	t.Helper()
	b := slices.Clone(m.b)
	block := m.cols / m.typ.BlockLen() / 2
	m.row(b, 100)[block*m.typ.BlockBytes()+scale+1] ^= 4 << bit
	got := m.unlike(b)
	if len(got) != 1 || got[0].Row != 100 ||
		!strings.HasPrefix(got[0].Why, fmt.Sprintf("bit %d of the scale at byte %d of a block", 10+bit, scale)) {
		t.Errorf("%s: bit %d of the scale at %d was flipped in row 100, got %+v", where, 10+bit, scale, got)
	}
}

// Rows that are alike are still told apart when swapped.
func TestSimilarRowsSwapped(t *testing.T) {
	m := newMatrix(3, quant.Q4_K, 300, 256, 0, 1)
	for j := range m.cols {
		m.a[250*m.cols+j] = m.a[20*m.cols+j] + 0.5*m.a[250*m.cols+j]
	}
	m.typ.Quantize(m.b, m.a, m.cols, nil)
	if got := m.unlike(m.swap(20, 250)); len(got) != 2 {
		t.Errorf("got %+v", got)
	}
}

// Rows whose channels were scaled are known by what reads them, even where a row is a single block.
func TestGains(t *testing.T) {
	m := newMatrix(5, quant.Q6_K, 300, 256, 0, 1)
	m.gains = make([]float64, m.rows)
	scaled := slices.Clone(m.a)
	for i := range m.gains {
		m.gains[i] = math.Pow(2, float64(i%9-4))
		for j := range m.cols {
			scaled[i*m.cols+j] *= float32(m.gains[i])
		}
	}
	m.typ.Quantize(m.b, scaled, m.cols, nil)
	if got := m.unlike(m.b); got != nil {
		t.Errorf("good rows: %+v", got)
	}
	for bit := range 5 {
		m.checkFlip(t, "scaled rows", 208, bit)
	}
}

// A row of zeros, one of other values and one that is not finite are damaged. A dead row may become anything.
func TestOtherDamage(t *testing.T) {
	m := newMatrix(11, quant.Q4_0, 300, 256, 0, 1)
	clear(m.a[7*m.cols : 8*m.cols])
	b := slices.Clone(m.b)
	clear(m.row(b, 150))
	for i := range m.row(b, 40) {
		if i%18 > 1 {
			m.row(b, 40)[i] = byte(37 * i)
		}
	}
	m.row(b, 60)[1] = 0x7e
	var rows []int
	for _, u := range m.unlike(b) {
		rows = append(rows, u.Row)
	}
	slices.Sort(rows)
	if want := []int{40, 60, 150}; !slices.Equal(rows, want) {
		t.Errorf("rows %d, expected %d", rows, want)
	}
}
