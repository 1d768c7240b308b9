package stats

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/work"
)

// ShardFile is a file of what a shard gathered: a line that says what it is, a line of JSON, and then for each layer
//
//	float64: for each span: for each expert: the count and the columns' sums
//
// or, if Gradients is set,
//
//	float32: for each part of the layer's outputs: the squared gradients of the portion's tokens
//	float32: for each span: the sums of products of gradients, if the layer has Blocks
type ShardFile struct {
	ShardHeader
	Path string

	file    *os.File
	portion *Portion
	data    []int64 // where each layer begins, and the end
}

// ShardHeader is what the file says of itself.
type ShardHeader struct {
	Shard     Shard
	Gradients bool // of which there are two kinds of files if Fisher is set
	Fisher    bool // tokens are weighted by gradients
	Outputs   bool // there are sums of products of gradients too
	Datasets  []string
	ChunkSize int
	Origin    *Origin // of the whole text
	Layers    []ShardLayer
}

// ShardLayer is a linear layer.
type ShardLayer struct {
	Name          string
	Experts, Cols int
	Parts         int   // of its outputs, if Fisher is set
	Blocks        []int `json:",omitempty"` // of its outputs, if Outputs is set
}

const (
	shardMagic = "phi3conv calibration shard 1\n"
	maxHeader  = 256 << 20 // a text of 30 million tokens
	maxCount   = 1 << 24   // of a layer's columns, experts or parts
)

// size returns how many bytes of a file of so many spans and tokens a layer takes.
func (l *ShardLayer) size(h *ShardHeader, p *Portion) int64 {
	if !h.Gradients {
		return 8 * int64(len(p.Spans)) * int64(l.Experts) * int64(1+l.Cols)
	}
	return 4 * (int64(l.Parts)*int64(p.Tokens()) + int64(len(p.Spans))*int64(OutputSumsLen(l.Blocks)))
}

// Write writes a file. data is asked for what each layer has.
func (h *ShardHeader) Write(path string, data func(w io.Writer, layer *ShardLayer) error) error {
	header, err := json.Marshal(h)
	if err != nil {
		return err
	}
	return atomicfile.Stream(path, true, func(w io.Writer) error {
		if _, err := io.WriteString(w, shardMagic+string(header)+"\n"); err != nil {
			return err
		}
		for i := range h.Layers {
			if err := data(w, &h.Layers[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// OpenShard opens a file.
func OpenShard(path string) (*ShardFile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	s := &ShardFile{Path: path, file: f}
	if err := s.read(); err != nil {
		_ = f.Close()
		return nil, formats.WithPath(err, path)
	}
	return s, nil
}

// Close closes the file.
func (s *ShardFile) Close() error { return s.file.Close() }

func (s *ShardFile) read() error {
	r := bufio.NewReader(io.LimitReader(s.file, maxHeader))
	magic := make([]byte, len(shardMagic))
	if _, err := io.ReadFull(r, magic); err != nil || string(magic) != shardMagic {
		return formats.Errorf(0, "no file of calibrate --shard")
	}
	header, err := r.ReadBytes('\n')
	if err != nil {
		return formats.Wrapf(err, int64(len(magic)), "reading the header")
	}
	d := json.NewDecoder(bytes.NewReader(header))
	d.DisallowUnknownFields()
	if err := d.Decode(&s.ShardHeader); err != nil {
		return formats.Wrapf(err, int64(len(magic)), "reading the header")
	}
	if err := s.check(); err != nil {
		return err
	}
	at := int64(len(magic) + len(header))
	for i := range s.Layers {
		s.data = append(s.data, at)
		if at += s.Layers[i].size(&s.ShardHeader, s.portion); at > math.MaxInt64/4 {
			return formats.Errorf(-1, "layers of more than %d bytes", at)
		}
	}
	s.data = append(s.data, at)
	info, err := s.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() != at {
		return formats.Errorf(-1, "%d bytes, expected %d by its header: it was not copied as a whole", info.Size(), at)
	}
	return nil
}

// check refuses what no shard has.
func (s *ShardFile) check() (err error) {
	if s.Origin == nil || len(s.Origin.Lengths) == 0 {
		return formats.Errorf(-1, "it does not say which text it is of")
	}
	if err := s.Origin.check("lengths", "tokens"); err != nil {
		return err
	}
	if s.portion, err = s.Shard.Of(s.Origin.Lengths); err != nil {
		return formats.Errorf(-1, "%v", err)
	}
	seen := map[string]bool{}
	for _, l := range s.Layers {
		for _, n := range l.Blocks {
			if n < 1 || n > outputBlock {
				return formats.Errorf(-1, "%s has a block of %d outputs, expected 1 to %d", l.Name, n, outputBlock)
			}
		}
		if l.Experts < 1 || l.Cols < 1 || l.Parts < 0 || max(l.Experts, l.Cols, l.Parts, len(l.Blocks)) > maxCount {
			return formats.Errorf(-1, "%s has %d matrices of %d columns, and %d parts of its outputs",
				l.Name, l.Experts, l.Cols, l.Parts)
		}
		if seen[l.Name] {
			return formats.Errorf(-1, "two layers of the name %q", l.Name)
		}
		seen[l.Name] = true
	}
	return nil
}

// readInto reads values of a layer, from a byte of it on; they must be finite, and not negative unless signed.
func (s *ShardFile) readInto(values any, layer int, off int64, signed bool) error {
	at := s.data[layer] + off
	r := io.NewSectionReader(s.file, at, s.data[layer+1]-at)
	if err := binary.Read(bufio.NewReader(r), binary.LittleEndian, values); err != nil {
		return formats.WithPath(formats.Wrapf(err, at, "reading %s", s.Layers[layer].Name), s.Path)
	}
	bad := func(v float64) bool { return !floats.Finite(float32(v)) || v < 0 && !signed }
	var wrong bool
	switch values := values.(type) {
	case []float64:
		wrong = slices.ContainsFunc(values, bad)
	case []float32:
		wrong = slices.ContainsFunc(values, func(v float32) bool { return bad(float64(v)) })
	}
	if wrong {
		return formats.FileErrorf(s.Path, at, "a value of %s is not finite or negative", s.Layers[layer].Name)
	}
	return nil
}

// Shards are the files of one kind, of all parts of a calibration, in order.
type Shards []*ShardFile

// OpenShards opens files, of which there may be both kinds, and checks that nothing is missing, and that all are of one
// calibration. sums is nil if there are only gradients, and gradients if tokens count alike.
func OpenShards(paths []string) (sums, gradients Shards, err error) {
	defer func() {
		if err != nil {
			sums.Close()
			gradients.Close()
		}
	}()
	var first *ShardFile
	for _, path := range paths {
		s, err := OpenShard(path)
		if err != nil {
			return sums, gradients, err
		}
		if s.Gradients {
			gradients = append(gradients, s)
		} else {
			sums = append(sums, s)
		}
		if first == nil {
			first = s
		}
		if what := first.differs(s); what != "" {
			return sums, gradients, formats.FileErrorf(path, -1, "it has %s than %s: not one calibration",
				what, first.Path)
		}
	}
	for _, all := range []Shards{sums, gradients} {
		if err := all.complete(); err != nil {
			return sums, gradients, err
		}
	}
	return sums, gradients, nil
}

// differs says what the shards of one calibration would have alike, "" for nothing.
func (s *ShardFile) differs(o *ShardFile) string {
	if what := s.Origin.differs(o.Origin); what != "" {
		return what
	}
	switch {
	case !slices.Equal(s.Datasets, o.Datasets), s.ChunkSize != o.ChunkSize:
		return "another text"
	case s.Fisher != o.Fisher:
		return "another --fisher"
	case s.Gradients && o.Gradients && s.Outputs != o.Outputs:
		return "another --fisher-outputs"
	case !slices.EqualFunc(s.Layers, o.Layers, func(a, b ShardLayer) bool {
		return a.Name == b.Name && a.Experts == b.Experts && a.Cols == b.Cols && a.Parts == b.Parts &&
			(s.Gradients != o.Gradients || slices.Equal(a.Blocks, b.Blocks))
	}):
		return "other layers"
	}
	return ""
}

func (o *Origin) differs(other *Origin) string {
	switch {
	case o.Weights != other.Weights:
		return "another model"
	case o.Tokenizer != other.Tokenizer:
		return "another tokenizer"
	case o.Seed != other.Seed:
		return "another seed"
	case !slices.Equal(o.Tokens, other.Tokens), !slices.Equal(o.Lengths, other.Lengths),
		!slices.Equal(o.Texts, other.Texts):
		return "another text"
	}
	return ""
}

// Of returns an error unless the shards are of a model and text.
func (s Shards) Of(o *Origin) error {
	if what := s[0].Origin.differs(o); what != "" {
		return formats.FileErrorf(s[0].Path, -1, "it is of %s", what)
	}
	return nil
}

// complete puts the files in order. There must be one of each part.
func (s Shards) complete() error {
	slices.SortStableFunc(s, func(a, b *ShardFile) int { return a.Shard.I - b.Shard.I })
	var parts []work.Part
	for _, f := range s {
		parts = append(parts, work.Part(f.Shard))
	}
	if at, wrong := work.CheckParts(parts); wrong != "" {
		return formats.FileErrorf(s[at].Path, -1, "%s", wrong)
	}
	return nil
}

// Close closes all files.
func (s Shards) Close() {
	for _, f := range s {
		_ = f.Close() // only read from
	}
}

// layer returns the number of a layer.
func (s Shards) layer(name string) int {
	return slices.IndexFunc(s[0].Layers, func(l ShardLayer) bool { return l.Name == name })
}

// Sums returns what all spans have of a layer, for [File.Add].
func (s Shards) Sums(layer int) (all []float64, err error) {
	for _, f := range s {
		values := make([]float64, f.Layers[layer].size(&f.ShardHeader, f.portion)/8)
		if err := f.readInto(values, layer, 0, false); err != nil {
			return nil, err
		}
		all = append(all, values...)
	}
	return all, nil
}

// Parts implements [Gradients] for files of gradients, as do Norms, Blocks and Outputs.
func (s Shards) Parts(name string) int { return s[0].Layers[s.layer(name)].Parts }

// Norms returns the squared gradients of all tokens.
func (s Shards) Norms(name string) ([][]float32, error) {
	layer := s.layer(name)
	if layer < 0 {
		return nil, formats.FileErrorf(s[0].Path, -1, "no gradients of %s: they are of another model", name)
	}
	all := make([][]float32, s[0].Layers[layer].Parts)
	for _, f := range s {
		n := f.portion.Tokens()
		values := make([]float32, n*len(all))
		if err := f.readInto(values, layer, 0, false); err != nil {
			return nil, err
		}
		for i := range all {
			all[i] = append(all[i], values[i*n:(i+1)*n]...)
		}
	}
	return all, nil
}

// Blocks is for [Gradients].
func (s Shards) Blocks(name string) []int { return s[0].Layers[s.layer(name)].Blocks }

// Outputs returns what the sums over all spans say.
func (s Shards) Outputs(name string) (*OutputMoments, error) {
	layer := s.layer(name)
	all := NewOutputSums(s.Blocks(name))
	sums := make([]float32, len(all.Sums))
	for _, f := range s {
		at := 4 * int64(f.Layers[layer].Parts) * int64(f.portion.Tokens())
		for range f.portion.Spans {
			if err := f.readInto(sums, layer, at, true); err != nil {
				return nil, err
			}
			all.AddSpan(sums)
			at += 4 * int64(len(sums))
		}
	}
	return all.Moments(len(s[0].Origin.Lengths), len(s[0].Origin.Tokens)), nil
}

// Merge makes the statistics of the files of all shards of a calibration, whatever their order: those of one run, to
// the byte.
func Merge(ctx context.Context, paths []string, out string) (*File, error) {
	sums, gradients, err := OpenShards(paths)
	if err != nil {
		return nil, err
	}
	defer sums.Close()
	defer gradients.Close()
	if sums == nil {
		return nil, formats.Errorf(-1, "%s: no statistics, only gradients: calibrate with --shard and --gradients",
			strings.Join(paths, ", "))
	}
	first := sums[0]
	if first.Fisher && gradients == nil {
		return nil, formats.FileErrorf(first.Path, -1,
			"its tokens are weighted by gradients: the files with these are missing")
	}
	s := &File{Datasets: first.Datasets, ChunkSize: first.ChunkSize, Origin: first.Origin}
	var g Gradients
	if gradients != nil {
		g = gradients
	}
	for i, l := range first.Layers {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		values, err := sums.Sums(i)
		if err != nil {
			return nil, err
		}
		s.Add(l.Name, l.Experts, l.Cols, values, g)
	}
	write := func(path string) error { return s.Write(path, g) }
	return s, atomicfile.SaveElsewhere(out, write(out), write)
}
