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
	"github.com/phi3conv/phi3conv/quant"
)

// Options of [Create] and [Layout].
type Options struct {
	// SplitMaxSize is the largest number of bytes of tensor data, padding
	// included, in one file. When the tensors need more, the output is a split
	// set, divided as by llama-gguf-split --split-max-size. A tensor that is
	// larger by itself gets a file of its own. 0 means one file; a
	// negative number is refused.
	SplitMaxSize int64
}

// maxWrittenName is one byte less than the format allows: llama.cpp keeps names
// in 64 bytes with a terminating zero.
const maxWrittenName = 63

// Writer writes a GGUF file, or a split set. The places of all tensors are known
// from the start, so their data may be written in any order and by several
// goroutines.
type Writer struct {
	plan    *plan
	out     []io.WriterAt      // one for each shard
	files   []*atomicfile.File // the same, or nil for NewWriter
	written []atomic.Int64     // bytes so far, for each tensor
	done    bool
}

// Create starts the file at path, version 3. It writes the header, and later
// the data, to temporary files beside the final ones; [Writer.Close] gives them
// their names. The caller defers [Writer.Abort].
//
// The tensors lie in the order given. The alignment is md's general.alignment,
// or 32; md may be nil. The split.* keys are the writer's own: md must not have
// them. Empty arrays are written, since a slice knows its type; gguf-py refuses
// them.
func Create(path string, md *Metadata, tensors []TensorInfo, opt Options) (*Writer, error) {
	p, err := newPlan(path, md, tensors, opt)
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	w := &Writer{plan: p, written: make([]atomic.Int64, len(tensors))}
	for _, s := range p.shards {
		f, err := atomicfile.Create(s.Path)
		if err != nil {
			w.Abort()
			return nil, err
		}
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

// Layout returns the files that [Create] would write, with their sizes. It
// refuses what Create refuses and touches no file.
func Layout(path string, md *Metadata, tensors []TensorInfo, opt Options) ([]Shard, error) {
	p, err := newPlan(path, md, tensors, opt)
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	return p.shards, nil
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
// Every byte is to be written once. Calls for different ranges may run at the
// same time.
func (w *Writer) WriteTensorAt(i int, p []byte, off int64) error {
	t := &w.plan.tensors[i]
	if off < 0 || int64(len(p)) > t.size-off {
		return fmt.Errorf("tensor %q: write of %d bytes at %d, it has %d", t.name, len(p), off, t.size)
	}
	if _, err := w.out[t.shard].WriteAt(p, t.off+off); err != nil {
		return w.failed(t.shard, t.name, err)
	}
	w.written[i].Add(int64(len(p)))
	return nil
}

// TensorFile returns the file that tensor i goes to and where its data begins
// there, for a caller that has a faster way of filling it (copy_file_range); it
// then reports the bytes with [Writer.Wrote]. The file is nil when the
// destination came from [NewWriter].
func (w *Writer) TensorFile(i int) (f *os.File, off int64) {
	t := &w.plan.tensors[i]
	if w.files != nil {
		f = w.files[t.shard].File
	}
	return f, t.off
}

// Wrote counts n bytes of tensor i as written by other means than
// [Writer.WriteTensorAt].
func (w *Writer) Wrote(i int, n int64) { w.written[i].Add(n) }

// Close completes the output: it pads, syncs and renames. Of a split set the
// first file, without which no reader takes the others, appears last. When fewer
// bytes than its size were written of a tensor, or more, or anything fails, the
// output is removed.
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
	for _, t := range w.plan.tensors {
		end := t.off + t.size
		pad := make([]byte, alignUp(end, w.plan.alignment)-end)
		if _, err := w.out[t.shard].WriteAt(pad, end); err != nil {
			return w.failed(t.shard, t.name, err)
		}
	}
	w.done = true
	return commit(w.files)
}

// commit gives the files their names, the first one last. A set of the same
// names that exists loses its first file before any other is replaced: whenever
// the program ends, there is no complete set of mixed files.
func commit(files []*atomicfile.File) error {
	for _, f := range files {
		if err := f.Sync(); err != nil { // all of them, before any name changes
			return fmt.Errorf("write %s: %w", f.Path(), err)
		}
	}
	if len(files) > 1 {
		if err := os.Remove(files[0].Path()); err != nil && !errors.Is(err, fs.ErrNotExist) {
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
}

// plan is where everything goes.
type plan struct {
	alignment int64
	shards    []Shard
	headers   [][]byte // of each shard, padded up to its data
	tensors   []placed
}

// placed is a tensor's place.
type placed struct {
	name  string
	shard int
	off   int64 // in the shard's file
	size  int64
}

func newPlan(path string, md *Metadata, tensors []TensorInfo, opt Options) (*plan, error) {
	if md == nil {
		md = new(Metadata)
	}
	if opt.SplitMaxSize < 0 {
		return nil, formats.Errorf(-1, "files of %d bytes, the limit must be positive, or 0 for one file",
			opt.SplitMaxSize)
	}
	if err := checkTensors(tensors); err != nil {
		return nil, err
	}
	if err := checkMetadata(md); err != nil {
		return nil, err
	}
	p := &plan{alignment: defaultAlignment, tensors: make([]placed, len(tensors))}
	if n, ok := md.Uint(alignmentKey); ok {
		p.alignment = int64(n)
	}

	// Offsets in the data sections, and which shard.
	p.shards = []Shard{{}}
	var end int64 // of the data section of the current shard
	for i := range tensors {
		t := &tensors[i]
		size := alignUp(t.Size(), p.alignment)
		s := &p.shards[len(p.shards)-1]
		if opt.SplitMaxSize > 0 && s.Count > 0 && size > opt.SplitMaxSize-end {
			p.shards = append(p.shards, Shard{First: i})
			s, end = &p.shards[len(p.shards)-1], 0
		}
		s.Count++
		p.tensors[i] = placed{t.Name, len(p.shards) - 1, end, t.Size()}
		if end += size; end > 1<<62 {
			return nil, formats.Errorf(-1, "tensor %q: the data are larger than any file", t.Name)
		}
		s.Size = end
	}
	if len(p.shards) > maxShards {
		return nil, formats.Errorf(-1, "%d files of %d bytes, at most %d are possible",
			len(p.shards), opt.SplitMaxSize, maxShards)
	}

	for i := range p.shards {
		s := &p.shards[i]
		keys := md
		s.Path = path
		if count := len(p.shards); count > 1 {
			s.Path = splitPath(path, i, count)
			keys = shardMetadata(md, i, count, len(tensors))
		}
		h, err := p.header(keys, tensors, s)
		if err != nil {
			return nil, err
		}
		s.DataOffset = int64(len(h))
		s.Size += s.DataOffset
		p.headers = append(p.headers, h)
	}
	for i := range p.tensors {
		p.tensors[i].off += p.shards[p.tensors[i].shard].DataOffset
	}
	return p, nil
}

// shardMetadata returns the keys of one file of a split set. The first has all
// of md, as llama-gguf-split has it.
func shardMetadata(md *Metadata, no, count, tensors int) *Metadata {
	keys := md.Clone()
	if no > 0 {
		keys = new(Metadata)
		if v, ok := md.Get(alignmentKey); ok { // every file is read by its own
			keys.Set(alignmentKey, v)
		}
	}
	keys.Set(splitNoKey, uint16(no))
	keys.Set(splitCountKey, uint16(count))
	keys.Set(splitTensorsKey, int32(tensors))
	return keys
}

// header encodes what comes before the data of a shard. The tensors' off
// counts from the data section.
func (p *plan) header(md *Metadata, tensors []TensorInfo, s *Shard) ([]byte, error) {
	if s.Count > maxTensors {
		return nil, formats.Errorf(-1, "%d tensors, at most %d are allowed", s.Count, maxTensors)
	}
	if md.Len() > maxKeys {
		return nil, formats.Errorf(-1, "%d keys, at most %d are allowed", md.Len(), maxKeys)
	}
	b := []byte(magic)
	b = le.AppendUint32(b, 3)
	b = le.AppendUint64(b, uint64(s.Count))
	b = le.AppendUint64(b, uint64(md.Len()))
	for key, v := range md.All() {
		b = appendString(b, key)
		var err error
		if b, err = appendValue(b, v, 0); err != nil {
			return nil, formats.Errorf(-1, "key %.80q: %v", key, err)
		}
	}
	for i := s.First; i < s.First+s.Count; i++ {
		t := &tensors[i]
		b = appendString(b, t.Name)
		b = le.AppendUint32(b, uint32(len(t.Dims)))
		for _, d := range t.Dims {
			b = le.AppendUint64(b, d)
		}
		b = le.AppendUint32(b, t.Type.GGML())
		b = le.AppendUint64(b, uint64(p.tensors[i].off))
	}
	if len(b) > maxHeader {
		return nil, formats.Errorf(-1, "metadata of %d bytes, at most %d are allowed", len(b), maxHeader)
	}
	return append(b, make([]byte, alignUp(int64(len(b)), p.alignment)-int64(len(b)))...), nil
}

// checkTensors refuses what a reader would.
func checkTensors(tensors []TensorInfo) error {
	types := quant.Types()
	seen := make(map[string]bool, len(tensors))
	for i := range tensors {
		t := &tensors[i]
		if err := checkName(t.Name, maxWrittenName); err != nil {
			return formats.Errorf(-1, "tensor %d: %v", i, err)
		}
		if seen[t.Name] {
			return formats.Errorf(-1, "second tensor of the name %q", t.Name)
		}
		seen[t.Name] = true
		if int(t.Type) >= len(types) {
			return formats.Errorf(-1, "tensor %q: %s is no type", t.Name, t.Type)
		}
		if len(t.Dims) > maxDims {
			return formats.Errorf(-1, "tensor %q: %d dimensions, at most %d are allowed", t.Name, len(t.Dims), maxDims)
		}
		if err := t.check(); err != nil {
			return formats.Errorf(-1, "tensor %q: %v", t.Name, err)
		}
	}
	return nil
}

// checkMetadata refuses keys that a reader would refuse. Values are checked when
// they are encoded.
func checkMetadata(md *Metadata) error {
	for key, v := range md.All() {
		if err := checkName(key, maxKey); err != nil {
			return formats.Errorf(-1, "key: %v", err)
		}
		if slices.Contains(splitKeys, key) {
			return formats.Errorf(-1, "key %q is set by the writer", key)
		}
		if key == alignmentKey {
			n, ok := v.(uint32) // llama.cpp takes no other type
			if !ok || n < 8 || n > maxAlignment || n&(n-1) != 0 {
				return formats.Errorf(-1, "%s is %s (%T), must be a uint32 and a power of two from 8 to %d",
					key, show(v), v, maxAlignment)
			}
		}
	}
	return nil
}

// Header returns the bytes that a single file of these tensors begins with, up to its tensor
// data, and the length of the whole file. It refuses what [Create] refuses.
func Header(md *Metadata, tensors []TensorInfo) (header []byte, size int64, err error) {
	p, err := newPlan("", md, tensors, Options{})
	if err != nil {
		return nil, 0, err
	}
	return p.headers[0], p.shards[0].Size, nil
}
