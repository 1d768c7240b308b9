package convert

import (
	"context"
	"fmt"
	"os"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/readahead"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/work"
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
	lim.Threads = max(1, lim.Threads)
	pieces, err := p.piecesWithin(lim, IsPMAP(path))
	if err != nil {
		return err
	}
	w, err := p.create(path, lim.Threads)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := p.convert(ctx, w, pieces, lim); err != nil {
		return err
	}
	return w.Close()
}

// piecesWithin divides the tensors into pieces for which all threads' buffers fit into the memory. Those of a .pmap
// file consist of whole panels.
func (p *Plan) piecesWithin(lim Limits, panels bool) ([]piece, error) {
	unit := 1
	if panels {
		unit = pmap.PanelRows
	}
	bytes, room := pieceBytes, lim.Memory/int64(lim.Threads)
	pieces, need := p.pieces(bytes, unit)
	for ; need > room && bytes > 1; bytes /= 2 { // in the end a single row, or a panel of them
		pieces, need = p.pieces(bytes/2, unit)
	}
	if need > room {
		return nil, fmt.Errorf("%d threads need %d bytes of buffers, --max-ram leaves %d: "+
			"use fewer threads or more memory", lim.Threads, need*int64(lim.Threads), lim.Memory)
	}
	return pieces, nil
}

// convert lets threads take and write pieces until all are written, one fails or ctx is done.
func (p *Plan) convert(ctx context.Context, out output, pieces []piece, lim Limits) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	reading := readahead.Start(ctx, p.reads(pieces))
	defer reading.Stop()
	var next, done atomic.Int64
	var wg sync.WaitGroup
	var copying sync.Mutex
	for range lim.Threads {
		wg.Go(func() {
			w := worker{plan: p, out: out, copying: &copying}
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= len(pieces) {
					return
				}
				n, err := w.do(pieces[i])
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
	return nil
}

// reads lists what the pieces read, in their order, for files that are not on this machine. Of rows that do not follow
// each other it lists nothing: they are read as they are needed.
func (p *Plan) reads(pieces []piece) []readahead.Range {
	var all []readahead.Range
	for _, x := range pieces {
		t := &p.Tensors[x.tensor]
		if t.source == nil || t.encoded != nil {
			continue
		}
		for _, r := range t.source.Ranges(x.row, x.rows) {
			all = append(all, readahead.Range(r))
		}
	}
	return all
}

// pieces divides the tensors into multiples of unit rows, and returns how many bytes of
// buffers a thread needs for the largest piece.
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

// do writes one piece and returns the number of source bytes that it had.
func (w *worker) do(p piece) (int64, error) {
	t := &w.plan.Tensors[p.tensor]
	if t.source == nil {
		w.enc = work.Resize(w.enc, int(t.Size()))
		t.Type.Quantize(w.enc, t.values, len(t.values), nil)
		return 0, w.out.WriteRows(p.tensor, 0, w.enc)
	}
	size := int64(p.rows) * int64(t.source.RowBytes())
	switch {
	case t.encoded != nil:
		return size, w.takeEncoded(t, p)
	case t.Type == t.source.Type && !t.source.IsF64 && !w.plan.checksFinite(t):
		return size, w.copy(t.source, p, size)
	}
	return size, w.encode(t, p, size)
}

// takeEncoded writes blocks that a method has made.
func (w *worker) takeEncoded(t *Tensor, p piece) error {
	rowBytes := int(t.Type.Size(int64(t.source.Cols())))
	w.enc = work.Resize(w.enc, p.rows*rowBytes)
	if n, err := t.encoded.ReadAt(w.enc, int64(p.row)*int64(rowBytes)); n < len(w.enc) {
		return err
	}
	return w.out.WriteRows(p.tensor, p.row, w.enc)
}

// encode decodes a piece's rows to float32 and encodes them in the tensor's type.
func (w *worker) encode(t *Tensor, p piece, size int64) error {
	cols, rowBytes := t.source.Cols(), t.source.RowBytes()
	outBytes := int(t.Type.Size(int64(cols)))
	w.in, w.enc, w.row = work.Resize(w.in, int(size)), work.Resize(w.enc, p.rows*outBytes), work.Resize(w.row, cols)
	if err := t.source.ReadRows(w.in, p.row); err != nil {
		return err
	}
	checked := t.Type.IsQuantized() || t.Type == quant.F16
	for r := range p.rows {
		t.source.Decode(w.row, w.in[r*rowBytes:(r+1)*rowBytes])
		if checked {
			if c := quant.CheckRange(w.row); c >= 0 {
				return formats.FileErrorf(t.source.Path, -1,
					"tensor %s [%d,%d] is %g, which %s cannot hold: expected a magnitude below %d",
					t.source.HF, p.row+r, c, w.row[c], t.Type, quant.Limit)
			}
		} else if c := slices.IndexFunc(w.row, notFinite); c >= 0 && w.plan.checksFinite(t) {
			place := fmt.Sprintf("[%d]", c)
			if len(t.Dims) > 1 {
				place = fmt.Sprintf("[%d,%d]", p.row+r, c)
			}
			return formats.FileErrorf(t.source.Path, -1,
				"tensor %s %s is %g, with which nothing can be computed: expected a finite number",
				t.source.HF, place, w.row[c])
		}
		t.Type.QuantizeRefit(w.enc[r*outBytes:(r+1)*outBytes], w.row, cols, t.columns(p.row+r))
	}
	return w.out.WriteRows(p.tensor, p.row, w.enc)
}

func notFinite(x float32) bool { return !floats.Finite(x) }

// checksFinite reports whether a tensor is checked though its type can hold all numbers: in a model whose other
// matrices are checked, one NaN in a norm, a bias or the router of experts makes all logits NaN.
func (p *Plan) checksFinite(t *Tensor) bool {
	return (len(t.Dims) == 1 || t.Type == quant.F32) && slices.ContainsFunc(p.Tensors, func(m Tensor) bool {
		return m.Type.IsQuantized() || m.Type == quant.F16
	})
}

// copy moves a piece that needs no conversion, in the kernel where that is possible.
func (w *worker) copy(t *source.Tensor, p piece, size int64) error {
	if out, ok := w.out.(*ggufOutput); ok && t.Contiguous() {
		off := int64(p.row) * int64(t.RowBytes())
		dst, at := out.TensorFile(p.tensor)
		if src, ok := t.R.(*os.File); ok {
			w.copying.Lock()
			copied := copyFileRange(dst, at+off, src, t.Offset+off, size)
			w.copying.Unlock()
			if copied {
				return out.Wrote(p.tensor, size)
			}
		}
	}
	w.in = work.Resize(w.in, int(size))
	if err := t.ReadRows(w.in, p.row); err != nil {
		return err
	}
	return w.out.WriteRows(p.tensor, p.row, w.in)
}
