package gguf

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
)

// Writer writes a GGUF file, or a split set. The places of all tensors are known
// from the start, so their data may be written in any order and by several
// goroutines.
type Writer struct {
	plan    *plan
	out     []io.WriterAt      // one for each shard
	files   []*atomicfile.File // the same, or nil for NewWriter and for an object
	object  atomicfile.Object  // the same, if it is a single one in a store
	written []atomic.Int64     // bytes so far, for each tensor
	done    bool
}

// Create starts the file at path, version 3. It writes the header, and later
// the data, to temporary files beside the final ones; [Writer.Close] gives them
// their names. The caller defers [Writer.Abort].
//
// The tensors lie in the order given. The alignment is md's general.alignment,
// or 32; md may be nil. The split.* keys are the writer's own: md must not have
// them. Empty arrays are written, of the type of the slice; gguf-py refuses them.
func Create(path string, md *Metadata, tensors []TensorInfo, opt Options) (*Writer, error) {
	p, err := newPlan(path, md, tensors, opt)
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	w := &Writer{plan: p, written: make([]atomic.Int64, len(tensors))}
	if s := atomicfile.StoreOf(path); s != nil && len(p.shards) == 1 {
		if w.object, err = s.Create(path, p.shards[0].Size); err != nil {
			return nil, err
		}
		w.out = []io.WriterAt{w.object}
	}
	for _, s := range p.shards[len(w.out):] {
		f, err := atomicfile.Create(s.Path)
		if err != nil {
			w.Abort()
			return nil, err
		}
		f.Rescue = len(p.shards) == 1 // parts of a set are of no use
		w.files = append(w.files, f)
		w.out = append(w.out, f)
	}
	if err := w.writeHeaders(); err != nil {
		w.Abort()
		return nil, err
	}
	return w, nil
}

// NewWriter starts a single file in w, whose content it replaces from offset 0.
// [Writer.Close] completes it and does not close w.
func NewWriter(w io.WriterAt, md *Metadata, tensors []TensorInfo) (*Writer, error) {
	p, err := newPlan("", md, tensors, Options{})
	if err != nil {
		return nil, err
	}
	out := &Writer{plan: p, out: []io.WriterAt{w}, written: make([]atomic.Int64, len(tensors))}
	if err := out.writeHeaders(); err != nil {
		return nil, err
	}
	return out, nil
}

func (w *Writer) writeHeaders() error {
	for i, h := range w.plan.headers {
		if _, err := w.out[i].WriteAt(h, 0); err != nil {
			return w.failed(i, "", err)
		}
	}
	w.plan.headers = nil
	return nil
}

// failed says for which file and tensor (or "") a write failed.
func (w *Writer) failed(shard int, tensor string, err error) error {
	if w.object != nil { // its errors say where
		return err
	}
	var pe *fs.PathError
	if errors.As(err, &pe) { // it names the temporary file
		err = pe.Err
	}
	if tensor != "" {
		err = fmt.Errorf("tensor %q: %w", tensor, err)
	}
	if path := w.plan.shards[shard].Path; path != "" {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return fmt.Errorf("write: %w", err)
}

// WriteTensorAt writes p into the data of tensor i, off bytes from its start.
// Every byte must be written once. It may be called from several goroutines.
func (w *Writer) WriteTensorAt(i int, p []byte, off int64) error {
	t := &w.plan.tensors[i]
	if off < 0 || int64(len(p)) > t.size-off {
		return fmt.Errorf("tensor %q: write of %d bytes at %d, it has %d", t.name, len(p), off, t.size)
	}
	if _, err := w.out[t.shard].WriteAt(p, t.off+off); err != nil {
		return w.failed(t.shard, t.name, err)
	}
	return w.wrote(i, int64(len(p)))
}

// wrote counts n bytes of tensor i as written. After the last it pads the tensor, so that every byte of the file is
// written when all tensors are.
func (w *Writer) wrote(i int, n int64) error {
	t := &w.plan.tensors[i]
	if w.written[i].Add(n) != t.size {
		return nil
	}
	end := t.off + t.size
	if pad := alignUp(end, w.plan.alignment) - end; pad > 0 {
		if _, err := w.out[t.shard].WriteAt(make([]byte, pad), end); err != nil {
			return w.failed(t.shard, t.name, err)
		}
	}
	return nil
}

// TensorFile returns the file that tensor i goes to and the offset of its data
// there, for a caller that has a faster way of writing it (copy_file_range) and
// counts what it wrote with [Writer.Wrote]. The file is nil for a Writer of
// [NewWriter], and for an object in a store.
func (w *Writer) TensorFile(i int) (f *os.File, off int64) {
	t := &w.plan.tensors[i]
	if w.files != nil {
		f = w.files[t.shard].File
	}
	return f, t.off
}

// Wrote counts n bytes of tensor i as written by other means than
// [Writer.WriteTensorAt].
func (w *Writer) Wrote(i int, n int64) error { return w.wrote(i, n) }

// Close completes the output: it syncs and renames, or commits an object. Of a split set the
// first file, without which no reader takes the others, appears last. If anything
// fails, or not exactly all bytes of a tensor were written, the output is removed.
func (w *Writer) Close() error {
	if w.done {
		return errors.New("gguf: Writer is closed already")
	}
	defer w.Abort()
	for i := range w.written {
		if t, n := &w.plan.tensors[i], w.written[i].Load(); n != t.size {
			return fmt.Errorf("tensor %q: %d bytes written of %d", t.name, n, t.size)
		}
	}
	if w.object != nil {
		return w.object.Commit()
	}
	w.done = true
	return commit(w.files)
}

// commit gives the files their names, the first one last. If a set of the same
// names exists, its first file is removed before any other is replaced: if the
// program is killed, no complete set is left that mixes old and new files.
func commit(files []*atomicfile.File) error {
	for _, f := range files {
		if err := f.Sync(); err != nil { // all of them, before any name changes
			return fmt.Errorf("write %s: %w", f.Path(), err)
		}
	}
	if len(files) > 1 {
		if err := files[0].RemoveOld(); err != nil {
			return err
		}
	}
	for i, f := range slices.Backward(files) {
		if err := f.Commit(); err != nil {
			for _, done := range files[i+1:] {
				_ = os.Remove(done.Path())
			}
			return err
		}
	}
	return nil
}

// Abort removes the temporary files. After [Writer.Close] it does nothing.
func (w *Writer) Abort() {
	w.done = true
	for _, f := range w.files {
		f.Abort()
	}
	if w.object != nil {
		w.object.Abort()
	}
}
