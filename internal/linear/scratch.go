// Package linear multiplies rows of activations with the matrices of a model: how both are laid out in memory, how
// matrices are read into it, and the work of several threads on a product.
package linear

import (
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/pool"
)

// Threads run products and other jobs.
type Threads struct {
	*pool.Pool
	Scratch []*Scratch // of each thread
}

// NewThreads starts so many threads.
func NewThreads(n int) *Threads {
	t := &Threads{Pool: pool.New(n)}
	for range n {
		t.Scratch = append(t.Scratch, &Scratch{})
	}
	return t
}

// Scratch is a thread's memory for products.
type Scratch struct {
	// Call is the product under way. It is here since kernels are called through pointers, so that it would be
	// allocated otherwise.
	Call kern.Product

	mem    []byte    // of product kernels, 64-byte aligned
	bytes  []byte    // a panel
	rows   []byte    // columns of a panel, row by row
	values []float32 // the same decoded
	panel  []float32 // the same as a panel of float32
	tile   [2][512]float32
	out    []float32 // a panel's results for every token of a batch
}

// Memory returns the memory that product kernels work in.
func (w *Scratch) Memory() *byte {
	if w.mem == nil {
		b := make([]byte, kern.ScratchBytes+63)
		w.mem = b[-uintptr(unsafe.Pointer(&b[0]))&63:][:kern.ScratchBytes]
	}
	return &w.mem[0]
}

// Multiply calls the float32 product for k.T rows of a that are aStride values apart with k.Panels panels that are
// size values apart.
func (w *Scratch) Multiply(
	k kern.Product, out []float32, outStride int, a []float32, aStride int, panels []float32, size int,
) {
	k.Out, k.OutStride = &out[0], int64(4*outStride)
	k.A, k.AStride = (*byte)(unsafe.Pointer(&a[0])), int64(4*aStride)
	k.W, k.PanelBytes = (*byte)(unsafe.Pointer(&panels[0])), int64(4*size)
	k.Scratch = w.Memory()
	w.Call = k
	kern.Best().Products[kern.F32](&w.Call)
}
