package runtime

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/kvcache"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/mmap"
	"github.com/phi3conv/phi3conv/internal/source"
)

// Layers runs a model block by block over many sequences and holds the weights of one
// block only. Everything is computed in float32, keys and values included, so that results
// are the same bits on every CPU and with every number of threads; they are those of a
// [Model] with Float32 and CacheF32. The residual stream between blocks is the caller's: rows
// of Hidden values, one for each token, the sequences one after the other.
//
// A Layers is used by one goroutine at a time.
type Layers struct {
	m      *Model // its only layer is the block in memory
	seqs   []*Sequence
	index  int               // of the block in memory, -1 for none
	mem    []byte            // its panels
	outMem []byte            // the output matrix's
	own    map[string][]byte // panels of the matrices that SetWeights replaced, by their names
	places []place           // of the block's tensors
	linear [][]string        // names of each block's linear layers

	gradientTap    func(in Inputs)
	gradientMemory int64  // that GradientNorms may take
	keptMem        []byte // its activations
}

// Config is the numbers that define a model's shape.
type Config struct {
	Context, VocabSize      int // tokens of the longest sequence, of the vocabulary
	Blocks                  int
	Hidden                  int // width of the residual stream
	Heads, KVHeads, HeadDim int // query heads, key-value heads, dimensions of each
	Intermediate            int // width of the feed-forward step
}

// Inputs is what a linear layer gets for some rows: row t, of Cols values, begins at X[t·Stride].
type Inputs struct {
	Tensor       string // the layer's GGUF name
	Expert       int    // of stacked experts, the one that gets them
	First, Rows  int    // these rows of the caller's residual stream, or of experts:
	Tokens       []int  // the row of the residual stream that each row is of, in order; nil for all from First on
	Cols, Stride int
	X            []float32
}

// Token returns the row of the residual stream that row t is of.
func (in *Inputs) Token(t int) int {
	if in.Tokens != nil {
		return in.Tokens[t]
	}
	return in.First + t
}

// Row returns row t, of Cols values.
func (in *Inputs) Row(t int) []float32 { return in.X[t*in.Stride:][:in.Cols] }

// Pass says what [Layers.Forward] does beside running the block.
type Pass struct {
	// Tap is called with the inputs of each linear layer for every batch, in order, from
	// the goroutine that calls Forward. It must not keep or change X.
	Tap func(in Inputs) error
	// Until, if not empty, names a linear layer of the block. The pass ends when Tap has had the inputs of that
	// layer, and the residual stream stays as it was.
	Until string
	// Advance, with Until, lets the residual stream become the one that what follows is added to. A pass can go on from
	// there if [Layers.Resumes] says so.
	Advance bool
	// From, if not empty, is Until of an earlier pass, with Advance, at which this one begins. Inputs are those that
	// the layer had then, row by row, unless they follow from the residual stream.
	From   string
	Inputs []float32
}

// OpenLayers opens a model; no weights are read yet. Of the options, only Threads and Batch are used.
func OpenLayers(path string, opt Options) (*Layers, error) {
	src, err := source.Open(path)
	if err != nil {
		return nil, err
	}
	for i := range src.Tensors {
		if t := &src.Tensors[i]; t.Whole != "" {
			_ = src.Close()
			return nil, formats.FileErrorf(path, -1,
				"it holds %s in parts, %s being one; give the model that it was made from", t.Whole, t.GGUF)
		}
	}
	m := newModel(path, src, Options{Threads: opt.Threads, Batch: opt.Batch, Float32: true, Cache: CacheF32})
	m.cache = kvcache.NewLayout(kvcache.F32, 1, src.Config.KVHeads, src.Config.HeadDim)
	m.layers = make([]layer, 1)
	m.embed = linear.NewLoader(src).Tensor(arch.Embedding)
	l := &Layers{m: m, index: -1}
	for i := range m.cfg.Layers {
		b, names := m.cfg.Block(i), []string(nil)
		for _, matrix := range b.Linear() {
			names = append(names, matrix.Weight.GGUF)
		}
		l.linear = append(l.linear, names)
	}
	return l, nil
}

// Close releases memory, files and threads.
func (l *Layers) Close() error {
	l.unload()
	l.freeKept()
	if l.outMem != nil {
		_ = mmap.Unmap(l.outMem)
		l.outMem = nil
	}
	for _, s := range l.seqs {
		s.Free()
	}
	l.seqs = nil
	return l.m.Close()
}

// Config returns the numbers that define the model's shape.
func (l *Layers) Config() Config {
	c := l.m.cfg
	return Config{
		Context: c.Context, VocabSize: c.VocabSize, Blocks: c.Layers, Hidden: c.Hidden,
		Heads: c.Heads, KVHeads: c.KVHeads, HeadDim: c.HeadDim, Intermediate: c.Intermediate,
	}
}

// Path returns the path that OpenLayers was given.
func (l *Layers) Path() string { return l.m.path }

// Files lists the files that the model consists of: of a checkpoint directory all that it holds.
func (l *Layers) Files() ([]string, error) { return l.m.src.Files() }

// Bytes returns the bytes that the weights take in the file.
func (l *Layers) Bytes() int64 { return l.m.src.Bytes() }

// SHA256 hashes names, types, shapes and bytes of all tensors. The result, in hexadecimal, does not depend on which
// file holds which. progress, if not nil, is called with the bytes done, of those that Bytes returns.
func (l *Layers) SHA256(ctx context.Context, progress func(done int64)) (string, error) {
	return l.m.src.SHA256(ctx, progress)
}

// Count returns the number of blocks.
func (l *Layers) Count() int { return l.m.cfg.Layers }

// Hidden returns the width of the residual stream.
func (l *Layers) Hidden() int { return l.m.cfg.Hidden }

// Threads returns the number of threads in use.
func (l *Layers) Threads() int { return l.m.opt.Threads }

// Batch returns the number of tokens that go through a block together.
func (l *Layers) Batch() int { return l.m.opt.Batch }

// Linear returns the GGUF names of the linear layers of block i, in the order of use. They must not be changed.
func (l *Layers) Linear(i int) []string { return l.linear[i] }

// Output returns the GGUF name of the output matrix: the embedding's where they are one.
func (l *Layers) Output() string { return l.m.outputName() }

// TokenWork returns how many multiplications a token takes with the matrices of all blocks and with the output matrix.
func (l *Layers) TokenWork() (blocks, output float64) {
	w := l.m.cfg.TokenWork()
	return w.Blocks, w.Head
}

// Watch lets f know of multiplications with matrices, after each product; nil ends that.
func (l *Layers) Watch(f func(multiplications float64)) { l.m.multiplied = f }

// TapGradients lets f have the gradients at the outputs of linear layers that [Layers.GradientNorms] computes, of a
// layer's tokens in order, but not those of experts; nil ends that. It must not keep or change X.
func (l *Layers) TapGradients(f func(in Inputs)) { l.gradientTap = f }

// Embed sets dst to the first residual stream: the embeddings of tokens.
func (l *Layers) Embed(dst []float32, tokens []int32) error {
	t, hidden := l.m.embed, l.Hidden()
	raw := make([]byte, t.RowBytes())
	for i, id := range tokens {
		if id < 0 || int(id) >= l.m.cfg.VocabSize {
			return fmt.Errorf("token %d has id %d, expected 0 to %d", i, id, l.m.cfg.VocabSize-1)
		}
		if err := l.m.readEmbedding(dst[i*hidden:(i+1)*hidden], t, raw, id); err != nil {
			return err
		}
	}
	return nil
}

// Load reads block i, in place of the one in memory. Matrices become float32 if they are
// quantized in the file. Loading a block again undoes [Layers.SetWeights].
func (l *Layers) Load(ctx context.Context, i int) error {
	if i < 0 || i >= l.Count() {
		return fmt.Errorf("block %d, expected 0 to %d", i, l.Count()-1)
	}
	l.unload()
	ld := linear.NewLoader(l.m.src)
	ld.Expand = true
	description := l.m.cfg.Block(i)
	block := newLayer(ld, description)
	if ld.Err() != nil {
		return ld.Err()
	}
	mem, err := ld.Read(ctx, l.m.threads, nil)
	if err != nil {
		return err
	}
	l.m.layers[0], l.mem, l.index = block, mem, i
	l.places = l.m.layers[0].places(&description)
	return nil
}

func (l *Layers) unload() {
	if l.mem != nil {
		_ = mmap.Unmap(l.mem)
	}
	for _, b := range l.own {
		_ = mmap.Unmap(b)
	}
	l.mem, l.own, l.index, l.places = nil, nil, -1, nil
	if l.m.layers != nil {
		l.m.layers[0] = layer{}
	}
}

// SetWeights replaces a tensor of the loaded block, a matrix or a stack of them given row by row or a vector, until the
// next Load.
func (l *Layers) SetWeights(tensor string, values []float32) error {
	at := slices.IndexFunc(l.places, func(p place) bool { return p.name == tensor })
	if at < 0 {
		return fmt.Errorf("tensor %s is not in block %d", tensor, l.index)
	}
	rows, cols, err := l.Shape(tensor)
	if err != nil {
		return err
	}
	if len(values) != rows*cols {
		return fmt.Errorf("tensor %s: %d weights, expected %d", tensor, len(values), rows*cols)
	}
	p := &l.places[at]
	if v := p.floats(); v != nil {
		copy(v, values)
		return nil
	}
	size := (*p.mats[0]).FloatBytes()
	mem := l.own[tensor]
	if mem == nil {
		if mem, err = mmap.Memory(len(p.mats) * size); err != nil {
			return err
		}
		if l.own == nil {
			l.own = map[string][]byte{}
		}
		l.own[tensor] = mem
	}
	n := len(values) / len(p.mats)
	for i, m := range p.mats {
		(*m).SetFloats(mem[i*size:(i+1)*size], values[i*n:(i+1)*n])
	}
	return nil
}

// Resumes reports whether a pass can begin at a linear layer, and how many values of its inputs each token needs for
// that: 0 if they follow from the residual stream.
func (l *Layers) Resumes(tensor string) (cols int, ok bool) {
	i := slices.IndexFunc(l.linear, func(names []string) bool { return slices.Contains(names, tensor) })
	if i < 0 || l.m.cfg.Parallel {
		return 0, false
	}
	b := l.m.cfg.Block(i)
	is := func(m arch.Linear) bool { return m.Weight.GGUF == tensor }
	if is(b.AttnOut) || is(b.Down) && b.Router == nil {
		_, cols, err := l.Shape(tensor)
		return cols, err == nil
	}
	return 0, !is(b.Down) && !slices.ContainsFunc(b.QKV, is)
}

// resume runs the loaded block from one of the layers that Resumes lists, whose inputs are rows.
func (b *batch) resume(l *layer, from string, rows []float32) error {
	n, down := len(b.tokens), l.experts[0].down
	set := func(to linear.Rows, cols int) {
		for t := range n {
			copy(to.Row(t), rows[t*cols:(t+1)*cols])
		}
	}
	switch from {
	case l.o.Name:
		set(b.attn, l.o.Cols)
		return b.afterAttention(l, 0, n)
	case down.Name:
		set(b.act, down.Cols)
		if err := b.encode(down, b.act, 0, n); err != nil {
			return err
		}
		return b.matmulOne(down, b.act, b.delta, n)
	}
	return b.secondHalf(l, 0, n, false)
}

// errUntil ends a pass at Pass.Until.
var errUntil = errors.New("until")

// Forward runs the loaded block. x is the residual stream of sequences of the given lengths,
// changed in place.
func (l *Layers) Forward(ctx context.Context, x []float32, lengths []int, pass Pass) error {
	if l.index < 0 {
		return errors.New("no block is loaded")
	}
	if pass.Until != "" && !slices.Contains(l.Linear(l.index), pass.Until) {
		return fmt.Errorf("tensor %s is not a linear layer of block %d", pass.Until, l.index)
	}
	kept := 0
	if pass.From != "" {
		var ok bool
		if kept, ok = l.Resumes(pass.From); !ok || !slices.Contains(l.Linear(l.index), pass.From) ||
			len(pass.Inputs) != kept*len(x)/l.Hidden() {
			return fmt.Errorf("block %d cannot begin at %s with %d inputs", l.index, pass.From, len(pass.Inputs))
		}
	}
	return l.batches(ctx, x, lengths, func(b *batch, first int) error {
		hidden := l.Hidden()
		b.tap = func(m *linear.Matrix, x linear.Rows, count int) error {
			if pass.Tap != nil {
				in := Inputs{m.Name, m.Expert, first, count, b.expertTokens(first), m.Cols, x.Stride, x.Data}
				if err := pass.Tap(in); err != nil {
					return err
				}
			}
			if m.Name == pass.Until {
				return errUntil
			}
			return nil
		}
		defer func() { b.tap = nil }()
		block := &l.m.layers[0]
		var err error
		if pass.From != "" {
			err = b.resume(block, pass.From, pass.Inputs[first*kept:])
		} else {
			b.angles()
			err = b.block(block, 0, 0, false)
		}
		if err != nil && err != errUntil {
			return err
		}
		if err == errUntil && !pass.Advance {
			return nil
		}
		for t := range b.tokens {
			row := b.x.Row(t)
			if err == nil {
				kern.Best().Add(row, b.delta.Row(t))
			}
			copy(x[(first+t)*hidden:(first+t+1)*hidden], row)
		}
		return nil
	})
}

// Finish computes what follows the last block, of which x is the residual stream. tap, if not nil, is called with the
// inputs of the output matrix, the rows after the last norm, and may change them. logits, if not nil, is called with
// the logits after every row, which it must not keep.
func (l *Layers) Finish(
	ctx context.Context, x []float32, lengths []int, tap func(in Inputs) error,
	logits func(row int, logits []float32) error,
) error {
	m := l.m
	if m.output == nil {
		ld := linear.NewLoader(m.src)
		ld.Expand = true
		head := m.cfg.Head()
		norm, output := newNorm(ld, head.Norm), ld.Linear(head.Output)
		if ld.Err() != nil {
			return ld.Err()
		}
		if logits != nil {
			mem, err := ld.Read(ctx, m.threads, nil)
			if err != nil {
				return err
			}
			m.output, l.outMem = output, mem
		}
		m.norm = norm
	}
	return l.batches(ctx, x, lengths, func(b *batch, first int) error {
		n := len(b.tokens)
		tapped := first
		tapRows := func(_ *linear.Matrix, x linear.Rows, count int) error {
			in := Inputs{m.outputName(), 0, tapped, count, nil, l.Hidden(), x.Stride, x.Data}
			tapped += count
			return tap(in)
		}
		if logits == nil {
			b.normJob = normJob{b: b, w: m.norm}
			b.input = linear.Input{}
			if err := m.threads.Run(&b.normJob, n); err != nil || tap == nil {
				return err
			}
			return tapRows(nil, b.norm, n)
		}
		if tap != nil {
			b.tap = tapRows
			defer func() { b.tap = nil }()
		}
		r := Request{Logits: logits}
		for t := range b.tokens {
			b.tokens[t].want, b.tokens[t].req = first+t, &r
		}
		return b.output(0, n, false)
	})
}

// batches divides x into batches and calls f with each and its first row. A batch holds whole sequences; only one that
// is longer than a batch is divided itself.
func (l *Layers) batches(ctx context.Context, x []float32, lengths []int, f func(b *batch, first int) error) error {
	hidden, total := l.Hidden(), 0
	for i, n := range lengths {
		if n < 1 || n > l.m.cfg.Context {
			return fmt.Errorf("sequence %d has %d tokens, expected 1 to %d", i, n, l.m.cfg.Context)
		}
		total += n
	}
	if len(x) != total*hidden {
		return fmt.Errorf("a residual stream of %d values, expected %d for %d tokens", len(x), total*hidden, total)
	}
	b, err := l.m.batch()
	if err != nil {
		return err
	}
	b.reset()
	first := 0 // row of the batch's first token
	flush := func() error {
		n := len(b.tokens)
		if n == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		for t := range n {
			copy(b.x.Row(t), x[(first+t)*hidden:(first+t+1)*hidden])
		}
		if err := f(b, first); err != nil {
			return err
		}
		b.reset()
		first += n
		return nil
	}
	for _, length := range lengths {
		if len(b.tokens)+length > l.m.opt.Batch {
			if err := flush(); err != nil {
				return err
			}
		}
		seq, err := l.sequence(len(b.runs), length)
		if err != nil {
			return err
		}
		for pos := 0; pos < length; {
			n := min(length-pos, l.m.opt.Batch)
			b.runs = append(b.runs,
				run{seq: seq, first: len(b.tokens), count: n, pos: pos, long: l.m.rope.IsLong(length)})
			for range n {
				b.tokens = append(b.tokens, token{want: -1})
			}
			if pos += n; pos < length {
				if err := flush(); err != nil {
					return err
				}
			}
		}
	}
	return flush()
}

// sequence returns a sequence with room for n tokens, for keys and values of the i-th of a batch.
func (l *Layers) sequence(i, n int) (*Sequence, error) {
	if i == len(l.seqs) {
		l.seqs = append(l.seqs, newSequence(l.m, l.m.cfg.Context))
	}
	return l.seqs[i], l.seqs[i].reserve(n)
}
