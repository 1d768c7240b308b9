package runtime

import (
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/internal/kvcache"
	"github.com/phi3conv/phi3conv/internal/machine"
)

// Sequence is a text that a model evaluates: its tokens and their keys and values. It is
// used by one goroutine at a time.
type Sequence struct {
	model   *Model
	context int
	tokens  []int32
	valid   int  // tokens whose keys and values are in chunks
	long    bool // whether these keys have LongRoPE's long factors
	expect  int  // tokens that it will have
	chunks  []*kvcache.Chunk

	logits  []float32
	request [1]Request // Eval's, which fills logits
}

// NewSequence makes an empty sequence for up to context tokens, 0 for the smaller of
// 4096 and the model's context. Memory is taken as tokens come, but a context for which
// there is not enough is refused at once.
func (m *Model) NewSequence(context int) (*Sequence, error) {
	if context == 0 {
		context = min(4096, m.cfg.Context)
	}
	if context < 1 || context > m.cfg.Context {
		return nil, fmt.Errorf("a context of %d tokens; the model was made for 1 to %d", context, m.cfg.Context)
	}
	if need, free := m.CacheBytes(context), machine.FreeMemory(); uint64(need) > free {
		return nil, fmt.Errorf("a context of %d tokens takes %d bytes for keys and values in %s, and %d are "+
			"available: use a smaller context or a smaller cache type", context, need, m.opt.Cache, free)
	}
	return newSequence(m, context), nil
}

func newSequence(m *Model, context int) *Sequence {
	s := &Sequence{model: m, context: context}
	s.request[0] = Request{Seq: s, Logits: func(_ int, logits []float32) error {
		s.logits = append(s.logits[:0], logits...)
		return nil
	}}
	return s
}

// Tokens returns the tokens. They must not be changed.
func (s *Sequence) Tokens() []int32 { return s.tokens }

// Context returns the greatest number of tokens.
func (s *Sequence) Context() int { return s.context }

// Expect says that the tokens so far are the beginning of n: LongRoPE's factors are those of n tokens then, and a text
// that is evaluated in parts gets the results of one that is evaluated at once.
func (s *Sequence) Expect(n int) { s.expect = n }

// Truncate keeps the first n tokens.
func (s *Sequence) Truncate(n int) {
	s.tokens = s.tokens[:min(n, len(s.tokens))]
	s.valid = min(s.valid, len(s.tokens))
}

// Reuse keeps the longest common prefix with tokens, less than all of them, and
// returns the rest, which is still to be evaluated.
func (s *Sequence) Reuse(tokens []int32) []int32 {
	n := 0
	for n < len(s.tokens) && n < len(tokens)-1 && s.tokens[n] == tokens[n] {
		n++
	}
	s.Truncate(n)
	return tokens[n:]
}

// Fork returns a copy of the first n tokens, at most all, which the further use of s does not change. Both share the
// memory of keys and values; what one of them changes is copied then.
func (s *Sequence) Fork(n int) *Sequence {
	f := newSequence(s.model, s.context)
	f.tokens, f.valid, f.long = slices.Clone(s.tokens[:min(n, len(s.tokens))]), min(n, s.valid), s.long
	for _, c := range s.chunks[:(f.valid+kvcache.ChunkLen-1)/kvcache.ChunkLen] {
		f.chunks = append(f.chunks, c.Share())
	}
	return f
}

// Free empties s and releases the memory of its keys and values at once. The garbage collector would do so too, but
// perhaps late, since it does not see how much memory that is.
func (s *Sequence) Free() {
	s.Truncate(0)
	for _, c := range s.chunks {
		c.Free()
	}
	s.chunks = nil
}

// prepare makes room for all tokens, and drops keys that have other LongRoPE factors than these tokens need.
func (s *Sequence) prepare() error {
	if long := s.model.rope.IsLong(max(len(s.tokens), s.expect)); long != s.long {
		s.long, s.valid = long, 0
	}
	return s.reserve(len(s.tokens))
}

// reserve makes room for n tokens, and chunks that are to be written its own.
func (s *Sequence) reserve(n int) error {
	for i := s.valid / kvcache.ChunkLen; i*kvcache.ChunkLen < n; i++ {
		if i < len(s.chunks) && !s.chunks[i].Shared() {
			continue
		}
		c, err := s.model.cache.NewChunk()
		if err != nil {
			return err
		}
		if i == len(s.chunks) {
			s.chunks = append(s.chunks, c)
			continue
		}
		if valid := s.valid - i*kvcache.ChunkLen; valid > 0 {
			s.model.cache.Copy(c, s.chunks[i], min(valid, kvcache.ChunkLen))
		}
		s.chunks[i].Free()
		s.chunks[i] = c
	}
	return nil
}
