package linear

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/pool"
)

// Threads are a pool that runs products and other jobs, and what each thread works in.
type Threads struct {
	*pool.Pool
	Scratch []*Scratch // of each thread; a job's Do uses that of its own
}

// NewThreads makes a pool of n threads.
func NewThreads(n int) *Threads {
	t := &Threads{Pool: pool.New(n)}
	for range n {
		t.Scratch = append(t.Scratch, &Scratch{})
	}
	return t
}

// Scratch is a thread's memory for products.
type Scratch struct {
	// Call is the product under way. It is kept here because kernels are called through function values: a local
	// variable would be allocated for each call.
	Call kern.Product

	mem    *byte     // Memory
	bytes  []byte    // panels, or rows as a file has them
	rows   []byte    // some columns of a panel, row by row
	values []float32 // these decoded
	panel  []float32 // these as panels of float32
	tile   [2][512]float32
	out    []float32 // results of some panels for every token of a batch
}

// Memory returns what [kern.Product.Scratch] is set to.
func (w *Scratch) Memory() *byte {
	if w.mem == nil {
		w.mem = kern.NewScratch()
	}
	return w.mem
}

// Multiply multiplies float32 with float32 on this thread: k.T rows of a, aStride values apart, with k.Panels panels,
// size values apart. Results of a row go to out, outStride values after those of the row before. Of k, only T, Blocks,
// Panels and Add are to be set.
func (w *Scratch) Multiply(
	k kern.Product, out []float32, outStride int, a []float32, aStride int, panels []float32, size int,
) {
	k.Out, k.OutStride = &out[0], int64(4*outStride)
	k.A, k.AStride = (*byte)(unsafe.Pointer(&a[0])), int64(4*aStride)
	k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&panels[0])), int64(4*size)
	k.Scratch = w.Memory()
	w.Call = k
	kern.Multiply(kern.F32, &w.Call)
}
