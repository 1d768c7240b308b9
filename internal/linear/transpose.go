package linear

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
)

// Transposed is some columns of a matrix as the rows of another, in float32.
type Transposed struct {
	m   Matrix
	mem []float32 // m's panels, and spare values
}

// Transpose returns columns first to first+cols of m, which holds float32, float16 or bfloat16, as the rows of a
// matrix. It is valid until t's next Transpose, which uses the memory again.
func (t *Transposed) Transpose(threads *Threads, m *Matrix, first, cols int) (*Matrix, error) {
	t.m = Matrix{
		typ: quant.F32, format: kern.F32, Rows: cols, Cols: m.Panels * kern.Rows, Panels: Padded(cols) / kern.Rows,
	}
	t.m.size = kern.PanelBytes(t.m.format, t.m.Cols)
	t.mem = work.Resize(t.mem, t.m.bytes()/4+spare)
	t.m.packed = unsafe.Slice((*byte)(unsafe.Pointer(&t.mem[0])), t.m.bytes())
	err := threads.Run(&transposition{threads, m, first, cols, t.mem, t.m.size / 4}, m.Panels)
	return &t.m, err
}

// TransposedCols returns how many columns of a matrix of that many rows are best transposed at a time: as many as
// make about 32 MiB of float32, a multiple of 256.
func TransposedCols(rows int) int {
	const bytes = 32 << 20
	return max(256, bytes/(4*Padded(rows))&^255)
}

// transposition is the job of [Transposed.Transpose]. A task is a panel of the matrix, which becomes 16 columns of all
// panels of out.
type transposition struct {
	threads     *Threads
	m           *Matrix
	first, cols int
	out         []float32
	size        int // values of a panel of out
}

// spare is how many values lie after the last ones of a buffer, since kern's Transpose takes a pointer to 512 values
// and uses 256 of them here.
const spare = 256

func (j *transposition) Do(thread, i int) {
	const tile = kern.Rows * kern.Rows
	w := j.threads.Scratch[thread]
	panel := j.m.Panel(w, i, 1)
	w.panel = work.Resize(w.panel, floatBlock*kern.Rows+spare)
	for c := 0; c < j.cols; c += floatBlock {
		n := min(floatBlock, j.cols-c)
		j.m.expand(w.panel, panel, j.first+c, n)
		clear(w.panel[n*kern.Rows : Padded(n)*kern.Rows])
		for k := 0; k < n; k += kern.Rows {
			dst := j.out[(c+k)/kern.Rows*j.size+i*tile:]
			kern.Best().Transpose((*[512]float32)(dst), (*[512]float32)(w.panel[k*kern.Rows:]), kern.Rows)
		}
	}
}
