package verify

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/dustin/go-humanize"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/verify"
)

// oneAtATime evaluates the original, keeps its logits in a temporary file, and then opens one
// quantized model after the other.
func (r *run) oneAtATime(ctx context.Context) error {
	from := r.doneByAll()
	if from == len(r.windows) {
		return nil
	}
	logits, vocab, err := r.record(ctx, r.windows[from:])
	if err != nil {
		return err
	}
	defer logits.remove()
	for k := range r.Quants {
		if err := r.compareRecorded(ctx, k, logits, vocab, from); err != nil {
			return err
		}
	}
	return nil
}

// record evaluates windows with the original and returns a file of its logits, and how many there are for a
// token.
func (r *run) record(ctx context.Context, windows []verify.Window) (f *temporary, vocab int, err error) {
	base, err := r.open(ctx, r.Base, r.baseOptions())
	if err != nil {
		return nil, 0, err
	}
	defer base.Close()
	vocab = base.VocabSize()
	if f, err = newTemporary(r.Monitor, verify.RecordedBytes(windows, vocab)); err != nil {
		return nil, 0, err
	}
	w := bufio.NewWriterSize(f, 1<<20)
	watched := watch(r.Monitor, "original", windows, base.Meter)
	err = verify.Record(ctx, base, windows, w, func(int) { watched.windowDone() })
	watched.End()
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		f.remove()
		return nil, 0, err
	}
	return f, vocab, nil
}

// compareRecorded evaluates a quantized model and compares it with the original's logits, which begin with
// window number from.
func (r *run) compareRecorded(ctx context.Context, quant int, logits io.ReaderAt, vocab, from int) error {
	done := r.done(quant)
	if done == len(r.windows) {
		return nil
	}
	r.positions[quant] = r.positions[quant][:verify.Scored(r.windows[:done])]
	q, err := r.open(ctx, r.Quants[quant], r.Compute)
	if err != nil {
		return err
	}
	defer q.Close()
	skip, size := verify.RecordedBytes(r.windows[from:done], vocab), verify.RecordedBytes(r.windows[from:], vocab)
	rows := bufio.NewReaderSize(io.NewSectionReader(logits, skip, size-skip), 1<<20)
	w := watch(r.Monitor, "verifying", r.windows[done:], q.Meter)
	defer w.End()
	return verify.RunAll(ctx, verify.NewRecorded(vocab, rows), []verify.Predictor{q}, r.windows[done:],
		func(p [][]verify.Position) error {
			r.positions[quant] = append(r.positions[quant], p[0]...)
			w.windowDone()
			return r.save(false)
		})
}

// temporary is a file without a name, where the system allows that.
type temporary struct {
	*os.File
	named bool
}

// newTemporary makes a temporary file for so many bytes of logits, and says so.
func newTemporary(m progress.Monitor, size int64) (*temporary, error) {
	dir := os.TempDir()
	free, err := machine.FreeDisk(dir)
	if err != nil {
		return nil, &fs.PathError{Op: "free space", Path: dir, Err: err}
	}
	need := humanize.IBytes(uint64(size))
	if free < uint64(size) {
		err := fmt.Errorf("the original's logits take %s, but only %s are free; "+
			"set TMPDIR to another directory, or use --shard", need, humanize.IBytes(free))
		return nil, &fs.PathError{Op: "write", Path: dir, Err: err}
	}
	m.Note("the original's logits take %s in %s for now", need, dir)
	f, err := os.CreateTemp(dir, "phi3conv-logits-")
	if err != nil {
		return nil, err
	}
	// Without a name it is gone when the program ends, however that happens. Windows does not allow it.
	return &temporary{f, os.Remove(f.Name()) != nil}, nil
}

func (f *temporary) remove() {
	_ = f.Close() // only read from by now
	if f.named {
		_ = os.Remove(f.Name())
	}
}
