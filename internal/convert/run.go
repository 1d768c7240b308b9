package convert

import (
	"context"
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/quant"
)

// Limits bound what Run uses. They do not change the result.
type Limits struct {
	Threads int
	// Memory is the number of bytes for buffers, all threads together.
	Memory int64
	// Progress is called with the bytes of the source that are done, from any
	// thread; nil is allowed.
	Progress func(done int64)
}

// A piece of work is as many rows as have pieceBytes in the source: large enough
// that system calls cost nothing, small enough to stay in a core's cache.
const pieceBytes = 1 << 20

// piece is a range of a tensor's rows.
type piece struct {
	tensor    int
	row, rows int
}

// Run writes the output to path. The file appears under that name only when it
// is complete.
func (p *Plan) Run(ctx context.Context, path string, lim Limits) error {
	threads := max(1, lim.Threads)
	bytes, room := pieceBytes, lim.Memory/int64(threads)
	unit := 1
	if IsPMAP(path) {
		unit = pmap.PanelRows
	}
	pieces, need := p.pieces(bytes, unit)
	for ; need > room && bytes > 1; bytes /= 2 { // in the end a single row, or a panel of them
		pieces, need = p.pieces(bytes/2, unit)
	}
	if need > room {
		return fmt.Errorf("%d threads need %d bytes of buffers, --max-ram leaves %d: use fewer threads or more memory", threads, need*int64(threads), lim.Memory)
	}
	w, err := p.create(path, threads)
	if err != nil {
		return err
	}
	defer w.Abort()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var next, done atomic.Int64
	var wg sync.WaitGroup
	var copying sync.Mutex
	for range threads {
		wg.Go(func() {
			work := worker{plan: p, out: w, copying: &copying}
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(pieces) {
					return
				}
				n, err := work.do(pieces[i])
				if err != nil {
					cancel(err)
					return
				}
				if n := done.Add(n); lim.Progress != nil {
					lim.Progress(n)
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return w.Close()
}

// pieces divides the tensors into multiples of unit rows, and returns how many bytes of
// buffers the hungriest piece needs.
func (p *Plan) pieces(bytes, unit int) (all []piece, need int64) {
	for i := range p.Tensors {
		t := &p.Tensors[i]
		if t.source == nil {
			all = append(all, piece{tensor: i})
			continue
		}
		rows := t.source.Rows()
		step := min(rows, (max(1, bytes/t.source.RowBytes())+unit-1)/unit*unit)
		for row := 0; row < rows; row += step {
			all = append(all, piece{i, row, min(step, rows-row)})
		}
		cols := int64(t.source.Cols())
		need = max(need, int64(step)*(int64(t.source.RowBytes())+t.Type.Size(cols))+4*cols)
	}
	return all, need
}

// worker converts pieces with buffers of its own.
type worker struct {
	plan    *Plan
	out     output
	in, enc []byte
	row     []float32
	// copying is held while the kernel copies: writers of one file wait for each
	// other there, and lose a third of the speed to it.
	copying *sync.Mutex
}

// do converts one piece and returns the number of source bytes that it had.
func (w *worker) do(p piece) (int64, error) {
	t := &w.plan.Tensors[p.tensor]
	if t.source == nil {
		w.enc = grow(w.enc, int(t.Size()))
		t.Type.Quantize(w.enc, t.values, len(t.values), nil)
		return 0, w.out.WriteRows(p.tensor, 0, w.enc)
	}
	rowBytes := t.source.RowBytes()
	size := int64(p.rows) * int64(rowBytes)
	if t.encoded != nil {
		rowBytes := int(t.Type.Size(int64(t.source.Cols())))
		w.enc = grow(w.enc, p.rows*rowBytes)
		if _, err := t.encoded.ReadAt(w.enc, int64(p.row)*int64(rowBytes)); err != nil {
			return 0, err
		}
		return size, w.out.WriteRows(p.tensor, p.row, w.enc)
	}
	if t.Type == t.source.Type && !t.source.IsF64 {
		return size, w.copy(t.source, p, size)
	}
	cols := t.source.Cols()
	outBytes := int(t.Type.Size(int64(cols)))
	w.in, w.enc, w.row = grow(w.in, int(size)), grow(w.enc, p.rows*outBytes), grow(w.row, cols)
	if err := t.source.ReadRows(w.in, p.row); err != nil {
		return 0, err
	}
	checked := t.Type.IsQuantized() || t.Type == quant.F16
	for r := range p.rows {
		t.source.Decode(w.row, w.in[r*rowBytes:(r+1)*rowBytes])
		if checked {
			if c := quant.CheckRange(w.row); c >= 0 {
				return 0, &formats.Error{Path: t.source.Path, Off: -1, What: fmt.Sprintf(
					"tensor %s [%d,%d] is %g, which %s cannot hold: expected a magnitude below %d", t.source.HF, p.row+r, c, w.row[c], t.Type, quant.Limit)}
			}
		}
		t.Type.QuantizeRefit(w.enc[r*outBytes:(r+1)*outBytes], w.row, cols, t.importance)
	}
	return size, w.out.WriteRows(p.tensor, p.row, w.enc)
}

// copy moves a piece that needs no conversion, in the kernel where that is possible.
func (w *worker) copy(t *source.Tensor, p piece, size int64) error {
	if out, ok := w.out.(*ggufOutput); ok {
		off := int64(p.row) * int64(t.RowBytes())
		dst, at := out.TensorFile(p.tensor)
		if src, ok := t.R.(*os.File); ok {
			w.copying.Lock()
			copied := copyFileRange(dst, at+off, src, t.Offset+off, size)
			w.copying.Unlock()
			if copied {
				out.Wrote(p.tensor, size)
				return nil
			}
		}
	}
	w.in = grow(w.in, int(size))
	if err := t.ReadRows(w.in, p.row); err != nil {
		return err
	}
	return w.out.WriteRows(p.tensor, p.row, w.in)
}

// grow returns a slice of length n, b's own memory where that suffices.
func grow[T any](b []T, n int) []T {
	if cap(b) < n {
		return make([]T, n)
	}
	return b[:n]
}
