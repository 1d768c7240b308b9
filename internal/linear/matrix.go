package linear

import (
	"bytes"
	"math"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
)

// Matrix is the weights of a linear layer: in panels of 16 rows (see [kern.Format]), or as a file has them.
type Matrix struct {
	Name       string // in a GGUF file
	Expert     int    // its number in the tensor of that name, if that is a stack of experts' matrices
	Rows, Cols int
	Panels     int       // how many
	Next       *Matrix   // the layer's next rows, if the file has them as another tensor; or nil
	Bias       []float32 // what is added to each row's result, padded (see [Padded]); or nil

	typ    quant.Type // of the panels
	format kern.Format
	form   *form // how the panels are made of what the file has; nil if they are the same bytes

	packed   []byte // the panels; nil if they are made from mapped at each use
	mapped   []byte // the rows as the file has them; nil if they have been packed
	rowBytes int    // of mapped
	size     int    // bytes of a panel
}

func newMatrix(t *source.Tensor) *Matrix {
	m := &Matrix{Name: t.GGUF, Rows: t.Rows(), Cols: t.Cols(), rowBytes: t.RowBytes()}
	m.Panels = (m.Rows + kern.Rows - 1) / kern.Rows
	m.setType(t.Type)
	return m
}

// setType sets the type of the weights.
func (m *Matrix) setType(t quant.Type) {
	if m.form = formOf(t); m.form != nil {
		m.typ, m.format = m.form.typ, m.form.format
	} else {
		m.typ, m.format = t, kern.FormatOf(t.GGML())
	}
	m.size = kern.PanelBytes(m.format, m.Cols)
}

// SetFloats replaces the weights by Rows·Cols values, row by row. Their panels are made in mem, of FloatBytes bytes.
func (m *Matrix) SetFloats(mem []byte, values []float32) {
	m.setType(quant.F32)
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), 4*len(values))
	for p := range m.Panels {
		rows := min(kern.Rows, m.Rows-p*kern.Rows)
		kern.Interleave(kern.F32, mem[p*m.size:(p+1)*m.size], raw[:rows*4*m.Cols], rows)
		raw = raw[rows*4*m.Cols:]
	}
	m.packed = mem[:m.bytes()]
}

// FloatBytes returns the bytes that the panels take in float32.
func (m *Matrix) FloatBytes() int { return m.Panels * kern.PanelBytes(kern.F32, m.Cols) }

// Equal reports whether o holds the same bytes in the same type.
func (m *Matrix) Equal(o *Matrix) bool {
	for ; m != nil && o != nil; m, o = m.Next, o.Next {
		if m.Rows != o.Rows || m.typ != o.typ || !bytes.Equal(m.packed, o.packed) || !bytes.Equal(m.mapped, o.mapped) {
			return false
		}
	}
	return m == o
}

// bytes returns the size of all panels.
func (m *Matrix) bytes() int { return m.Panels * m.size }

// Bytes returns the size of all panels.
func (m *Matrix) Bytes() int64 { return int64(m.bytes()) }

// Format returns what the panels hold.
func (m *Matrix) Format() kern.Format { return m.format }

// MainFormat returns the format that most of the matrices' bytes have.
func MainFormat(matrices []*Matrix) (most kern.Format) {
	var size [kern.NumFormats]int64
	for _, m := range matrices {
		size[m.Format()] += m.Bytes()
		if size[m.Format()] > size[most] {
			most = m.Format()
		}
	}
	return most
}

// Packed returns the panels, nil if they are made at each use.
func (m *Matrix) Packed() []byte { return m.packed }

// Part returns a matrix of n panels of m, whose panels are packed, from panel first on.
func (m *Matrix) Part(first, n int) *Matrix {
	p := *m
	p.Rows, p.Panels, p.packed = n*kern.Rows, n, m.packed[first*m.size:(first+n)*m.size]
	p.Next, p.Bias = nil, nil
	return &p
}

// Panel returns n panels from panel i on, valid until w is used again.
func (m *Matrix) Panel(w *Scratch, i, n int) []byte {
	if m.packed != nil {
		return m.packed[i*m.size : (i+n)*m.size]
	}
	w.bytes = work.Resize(w.bytes, n*m.size)
	for p := range n {
		first := (i + p) * kern.Rows
		rows := min(kern.Rows, m.Rows-first)
		src := m.mapped[first*m.rowBytes : (first+rows)*m.rowBytes]
		if m.form != nil {
			src = m.recode(w, src, rows)
		}
		kern.Interleave(m.format, w.bytes[p*m.size:(p+1)*m.size], src, rows)
	}
	return w.bytes
}

// recode returns rows of the file as the panels hold them, valid until w is used again.
func (m *Matrix) recode(w *Scratch, src []byte, rows int) []byte {
	size := m.form.rowBytes(m.Cols)
	w.rows = work.Resize(w.rows, rows*size)
	for r := range rows {
		m.form.recode(m.form, w.rows[r*size:(r+1)*size], src[r*m.rowBytes:(r+1)*m.rowBytes])
	}
	return w.rows
}

// floats converts columns c to c+n of a panel to float32: dst[16·column + row]. c is even.
func (m *Matrix) floats(w *Scratch, dst []float32, panel []byte, c, n int) {
	if m.typ.IsQuantized() {
		m.dequantize(w, dst, panel, c, n)
	} else {
		m.expand(dst, panel, c, n)
	}
}

// dequantize decodes columns c to c+n of a panel of a quantized matrix: dst[16·column + row].
func (m *Matrix) dequantize(w *Scratch, dst []float32, panel []byte, c, n int) {
	l := kern.Layouts[m.format]
	blocks, size := n/l.Cols, l.BlockBytes()
	w.rows = work.Resize(w.rows, kern.Rows*floatBlock/l.Cols*size)
	rows := w.rows[:kern.Rows*blocks*size]
	kern.Deinterleave(m.format, rows, panel[c/l.Cols*size*kern.Rows:][:len(rows)], kern.Rows)
	w.values = work.Resize(w.values, kern.Rows*floatBlock)
	for r := range kern.Rows {
		values, row := w.values[r*n:r*n+n], rows[r*blocks*size:(r+1)*blocks*size]
		if m.form != nil && m.form.table != nil {
			m.form.decodeTable(values, row)
		} else {
			m.typ.Dequantize(values, row)
		}
	}
	src, out := &w.tile[0], &w.tile[1]
	for k := 0; k < n; k += 32 {
		for r := range kern.Rows {
			copy(src[32*r:32*r+32], w.values[r*n+k:])
		}
		kern.Best().Transpose(out, src, 32)
		copy(dst[kern.Rows*k:], out[:])
	}
}

// expand converts columns c to c+n of a panel of a float matrix to float32: dst[16·column + row]. c is even.
func (m *Matrix) expand(dst []float32, panel []byte, c, n int) {
	dst = dst[:n*kern.Rows]
	switch m.format {
	case kern.F16:
		kern.Best().ExpandF16(dst, unsafe.Slice((*uint16)(unsafe.Pointer(&panel[2*kern.Rows*c])), len(dst)))
	case kern.BF16: // a unit is two columns of a row
		units := unsafe.Slice((*uint32)(unsafe.Pointer(&panel[2*kern.Rows*c])), Padded(len(dst)/2))
		whole := len(dst) / (2 * kern.Rows) * kern.Rows
		kern.Best().ExpandPairs(dst[:2*whole], units[:whole])
		for r := range len(dst) - 2*whole { // an odd column
			dst[2*whole+r] = math.Float32frombits(units[whole+r] << 16)
		}
	default: // float32
		copy(dst, unsafe.Slice((*float32)(unsafe.Pointer(&panel[4*kern.Rows*c])), len(dst)))
	}
}
