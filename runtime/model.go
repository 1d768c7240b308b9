package runtime

import (
	"context"
	goruntime "runtime"
	"sync"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kvcache"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/mmap"
	"github.com/phi3conv/phi3conv/internal/rope"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/tune"
)

// Options say how a model is run. The zero value is the fast way.
type Options struct {
	Threads int       // 0: one for each physical core that the process may use
	Cache   CacheType // of keys and values
	// Batch is the number of tokens that go through the model together, 0 for 512.
	Batch int
	// Float32 computes everything in float32: quantized weights are decoded, and activations are
	// not rounded. Slow, and the same bits everywhere.
	Float32 bool
	// Batched makes results independent of how many tokens are evaluated together. They are anyway, but for BF16
	// weights where the CPU multiplies bfloat16: there a single token is computed with more precision otherwise.
	Batched bool
	// NoRepack maps the file and interleaves weights at each use instead of once: no
	// memory but the file's own pages, several times slower.
	NoRepack bool
	// Tap is called with the inputs of the linear layers: the GGUF name of a layer's tensor, and a
	// row for each token that is evaluated, which it must not keep. The output layer has rows only of
	// tokens whose logits are asked for. Calls come from the goroutine that calls Eval.
	Tap func(tensor string, x []float32)
	// Progress is called while a model is opened, with bytes done and in all, from any thread.
	Progress func(done, total int64)
	// Computed, if not nil, is called after each product of rows with a matrix, from the goroutine that calls Eval,
	// with the tokens that these are, times the product's share of what a token with logits takes.
	Computed func(tokens float64)
}

// Model is an opened model. Its methods may be called from several goroutines; Eval
// calls wait for each other.
type Model struct {
	path     string
	opt      Options
	cfg      *arch.Config
	src      *source.Model
	rope     *rope.Angles
	cache    *kvcache.Layout
	layers   []layer
	norm     norm
	output   *linear.Matrix
	matrices []*linear.Matrix // all of them
	embed    *source.Tensor   // its rows are read when they are needed
	masked   []int32          // tokens that the model never predicts

	mode      linear.Mode
	threads   *linear.Threads
	scratch   []*scratch        // of each thread
	attnScale float32           // of the products of queries and keys
	mem       []byte            // the panels of all matrices
	maps      map[string][]byte // with NoRepack: the mapped files, by their paths

	mu sync.Mutex // held by Eval and Close
	b  *batch     // nil before the first Eval
	// multiplied, if not nil, is told how many multiplications with matrices are done.
	multiplied func(n float64)
	closed     bool
}

// layer is the weights of a block.
type layer struct {
	attnNorm, ffnNorm norm // no ffnNorm in a parallel block
	qkv               linears
	sparse            *arch.BlockSparse // nil if attention sees all keys
	o, router         *linear.Matrix    // router is nil without experts
	experts           []feedForward     // one if there are none
}

// readsFFNNorm returns the first matrix that reads ffnNorm.
func (l *layer) readsFFNNorm() *linear.Matrix {
	if l.router != nil {
		return l.router
	}
	return l.experts[0].up[0]
}

// feedForward is the matrices of a feed-forward layer, or of an expert.
type feedForward struct {
	up   linears // rows of gate, then those of up
	down *linear.Matrix
}

// linears are matrices with one input, whose rows one after the other are the outputs.
type linears []*linear.Matrix

// norm is the weights of a norm, padded with zeros; bias is nil in RMSNorm.
type norm struct{ weight, bias []float32 }

// Open opens a checkpoint directory or a GGUF file and reads its weights, until ctx is done.
func Open(ctx context.Context, path string, opt Options) (*Model, error) {
	src, err := source.Open(path)
	if err != nil {
		return nil, err
	}
	m := newModel(path, src, opt)
	if err := m.load(ctx); err != nil {
		_ = m.Close()
		return nil, err
	}
	return m, nil
}

// Assumed says what a GGUF file leaves out about the model and was assumed, a phrase for each.
func (m *Model) Assumed() []string { return m.cfg.Assumed }

// newModel makes a model without weights.
func newModel(path string, src *source.Model, opt Options) *Model {
	if opt.Threads <= 0 {
		opt.Threads = DefaultThreads()
	}
	if opt.Batch <= 0 {
		opt.Batch = 512
	}
	c := src.Config
	opt.Batch = min(opt.Batch, c.Context)
	m := &Model{
		path: path, opt: opt, cfg: c, src: src, rope: rope.New(c),
		cache:   kvcache.NewLayout(kvcache.Type(opt.Cache), c.Layers, c.KVHeads, c.HeadDim),
		threads: linear.NewThreads(opt.Threads), attnScale: float32(c.AttnScale),
		masked: c.MaskedTokens(),
	}
	if opt.Computed != nil {
		w := c.TokenWork()
		m.multiplied = func(n float64) { opt.Computed(n / (w.Blocks + w.Head)) }
	}
	switch {
	case opt.Float32:
		m.mode = linear.Float32
	case opt.Batched:
		m.mode = linear.Batched
	}
	for range opt.Threads {
		m.scratch = append(m.scratch, &scratch{})
	}
	return m
}

// Close releases the model's memory, files and threads. It waits for a running Eval.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.threads.Close()
	if m.mem != nil {
		_ = mmap.Unmap(m.mem)
	}
	for _, b := range m.maps {
		_ = mmap.Unmap(b)
	}
	m.b, m.layers, m.output, m.matrices = nil, nil, nil, nil
	return m.src.Close()
}

// Path returns the path that Open was given.
func (m *Model) Path() string { return m.path }

// VocabSize returns the number of logits.
func (m *Model) VocabSize() int { return m.cfg.VocabSize }

// Context returns the longest sequence that the model was made for, in tokens.
func (m *Model) Context() int { return m.cfg.Context }

// Threads returns the number of threads in use.
func (m *Model) Threads() int { return m.opt.Threads }

// Params returns the number of weights.
func (m *Model) Params() int64 { return m.src.Params() }

// WeightBytes returns the bytes that the weights take in the file, and those that evaluating a token reads: of the
// embedding only a row, unless it is the output matrix too, and of experts those that a token uses.
func (m *Model) WeightBytes() (file, perToken int64) {
	for i := range m.src.Tensors {
		t := &m.src.Tensors[i]
		n := t.Bytes()
		switch e := m.cfg.Experts; {
		case t.GGUF == arch.Embedding && !m.cfg.Tied:
			perToken += int64(t.RowBytes())
		case e != nil && len(t.Shape) == 3:
			perToken += n / int64(e.Count) * int64(e.Used)
		default:
			perToken += n
		}
	}
	return m.src.Bytes(), perToken
}

// IsLong reports whether a sequence of n tokens has the long factors of LongRoPE: its keys are then others than those
// of a shorter one with the same beginning.
func (m *Model) IsLong(n int) bool { return m.rope.IsLong(n) }

// CacheInUse returns the bytes of memory that the keys and values of all sequences take.
func (m *Model) CacheInUse() int64 { return m.cache.Live() }

// CacheBytes returns the bytes of memory that the keys and values of n tokens take.
func (m *Model) CacheBytes(n int) int64 {
	return int64((n+kvcache.ChunkLen-1)/kvcache.ChunkLen) * m.cache.Bytes()
}

// newLayer finds the weights of a block.
func newLayer(ld *linear.Loader, b arch.Block) layer {
	l := layer{
		attnNorm: newNorm(ld, b.AttnNorm), ffnNorm: newNorm(ld, b.FFNNorm), o: ld.Linear(b.AttnOut), sparse: b.Sparse,
	}
	for _, m := range b.QKV {
		l.qkv = append(l.qkv, ld.Linear(m))
	}
	if b.Router == nil {
		var up linears
		for _, m := range b.Up {
			up = append(up, ld.Linear(m))
		}
		l.experts = []feedForward{{up, ld.Linear(b.Down)}}
		return l
	}
	l.router = ld.Linear(*b.Router)
	var up [][]*linear.Matrix
	for _, stack := range b.Up {
		up = append(up, ld.Experts(stack))
	}
	for e, down := range ld.Experts(b.Down) {
		f := feedForward{down: down}
		for _, all := range up {
			f.up = append(f.up, all[e])
		}
		l.experts = append(l.experts, f)
	}
	return l
}

func newNorm(ld *linear.Loader, n arch.Norm) norm {
	w, b := ld.Norm(n)
	return norm{w, b}
}

// outputName names the output matrix.
func (m *Model) outputName() string { return m.cfg.Head().Output.Weight.GGUF }

// load reads the weights.
func (m *Model) load(ctx context.Context) (err error) {
	ld := linear.NewLoader(m.src)
	m.embed = ld.Tensor(arch.Embedding)
	for i := range m.cfg.Layers {
		m.layers = append(m.layers, newLayer(ld, m.cfg.Block(i)))
	}
	head := m.cfg.Head()
	m.norm, m.output = newNorm(ld, head.Norm), ld.Linear(head.Output)
	if ld.Err() != nil {
		return ld.Err()
	}
	if m.opt.NoRepack {
		if m.maps, err = ld.Map(); err != nil {
			return err
		}
	}
	m.mem, err = ld.Read(ctx, m.threads, m.opt.Progress)
	m.matrices = ld.Matrices()
	if err == nil && !m.opt.NoRepack && !m.opt.Float32 {
		tune.Open(m.threads, m.matrices, m.mem == nil)
	}
	return err
}

// headPlaces lists where the tensors after the blocks are.
func (m *Model) headPlaces() []place {
	head := m.cfg.Head()
	return append(normPlaces(head.Norm, &m.norm), linearPlaces(head.Output, &m.output)...)
}

// readEmbedding sets dst, of the width of the residual stream, to the embedding of a token. raw holds a row of t, the
// embedding or one in its place.
func (m *Model) readEmbedding(dst []float32, t *source.Tensor, raw []byte, id int32) error {
	if err := t.ReadRows(raw, int(id)); err != nil {
		return err
	}
	t.Decode(dst, raw)
	if scale := float32(m.cfg.EmbeddingScale); scale != 1 {
		for i := range dst {
			dst[i] *= scale
		}
	}
	return nil
}

// DefaultThreads returns the number of physical cores that the process may use.
func DefaultThreads() int {
	n := goruntime.GOMAXPROCS(0) // what the scheduler and the control group allow
	if cores := machine.Cores(); cores > 0 {
		n = min(n, cores)
	}
	return max(1, n)
}
