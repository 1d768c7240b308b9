package gguf

import (
	"slices"

	"github.com/phi3conv/phi3conv/formats"
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

// Layout returns the files that [Create] would write, with their sizes. It
// refuses what Create refuses and touches no file.
func Layout(path string, md *Metadata, tensors []TensorInfo, opt Options) ([]Shard, error) {
	p, err := newPlan(path, md, tensors, opt)
	if err != nil {
		return nil, formats.WithPath(err, path)
	}
	return p.shards, nil
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

// plan is what a [Writer] writes where.
type plan struct {
	alignment int64
	shards    []Shard
	headers   [][]byte // of each shard, padded up to its data
	tensors   []placed
}

// placed is a tensor and its place.
type placed struct {
	name  string
	shard int
	off   int64 // in the shard's file
	size  int64
}

// newPlan checks what is to be written and decides where it goes.
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

	// Each tensor's shard, and its offset in the data section of that.
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

// checkTensors refuses tensors that a reader would refuse.
func checkTensors(tensors []TensorInfo) error {
	types := quant.ReadTypes()
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
