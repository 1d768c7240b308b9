package runtime

import (
	"context"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Hybrid runs a model with some of its tensors replaced by those of another model of the
// same shape. Everything but weights (RoPE, precision, cache type) is the first one's, so open
// that with Float32 to see the effect of weights alone. Both models must stay open.
//
// It keeps the residual stream before each block of the last text that was run without replacement, 4 bytes for each
// token, element and block. A run of the same text with replacements begins at the first block that they change.
//
// A Hybrid is used by one goroutine at a time.
type Hybrid struct {
	model, from *Model
	slots       []slot
	seq         *Sequence
	tokens      []int32     // the text that stream is of
	stream      [][]float32 // before each block and after the last: a row for each token
}

// slot is the place of a tensor in both models.
type slot struct {
	name       string
	block      int    // the first that it changes: -1 for the embedding, the number of blocks for what comes after them
	own, other *place // nil for the embedding
}

// NewHybrid makes a hybrid for texts of up to context tokens. It refuses models of different shapes.
func NewHybrid(model, from *Model, context int) (*Hybrid, error) {
	if model == from {
		return nil, fmt.Errorf("%s: a hybrid of a model with itself", model.path)
	}
	a, b := model.cfg, from.cfg
	if a.Arch != b.Arch {
		return nil, fmt.Errorf("the models have different architectures: %s is %s and %s %s",
			model.path, a.Arch.Name, from.path, b.Arch.Name)
	}
	experts := func(c *arch.Config) int {
		if c.Experts == nil {
			return 0
		}
		return c.Experts.Count
	}
	for _, v := range []struct {
		what string
		a, b int
	}{
		{"blocks", a.Layers, b.Layers}, {"embedding length", a.Hidden, b.Hidden}, {"heads", a.Heads, b.Heads},
		{"key-value heads", a.KVHeads, b.KVHeads}, {"head length", a.HeadDim, b.HeadDim},
		{"feed-forward length", a.Intermediate, b.Intermediate}, {"vocabulary", a.VocabSize, b.VocabSize},
		{"number of experts", experts(a), experts(b)},
	} {
		if v.a != v.b {
			return nil, fmt.Errorf("the models have different shapes: %s is %d in %s and %d in %s",
				v.what, v.a, model.path, v.b, from.path)
		}
	}
	if a.Tied != b.Tied {
		return nil, fmt.Errorf(
			"the models have different shapes: the output matrix is the embedding in one of %s and %s only",
			model.path, from.path)
	}
	seq, err := model.NewSequence(context)
	if err != nil {
		return nil, err
	}
	h := &Hybrid{model: model, from: from, seq: seq}
	h.slots = append(h.slots, slot{name: arch.Embedding, block: -1})
	for i := range model.layers {
		block := a.Block(i)
		h.addSlots(i, model.layers[i].places(&block), from.layers[i].places(&block))
	}
	h.addSlots(a.Layers, model.headPlaces(), from.headPlaces())
	return h, nil
}

// addSlots adds the places of tensors in both models, which change block number block.
func (h *Hybrid) addSlots(block int, own, other []place) {
	for i := range own {
		h.slots = append(h.slots, slot{own[i].name, block, &own[i], &other[i]})
	}
}

// Same reports whether both models store a tensor with the same values: a matrix in the same type.
func (h *Hybrid) Same(tensor string) (bool, error) {
	slots, err := h.find(tensor)
	if err != nil {
		return false, err
	}
	for _, s := range slots {
		same := false
		if s.own != nil {
			same = s.own.equal(s.other)
		} else if same, err = sameRows(h.model.embed, h.from.embed); err != nil {
			return false, err
		}
		if !same {
			return false, nil
		}
	}
	return true, nil
}

// find returns the places of a tensor: two if the embedding is the output matrix too.
func (h *Hybrid) find(tensor string) ([]*slot, error) {
	var found []*slot
	for i := range h.slots {
		if h.slots[i].name == tensor {
			found = append(found, &h.slots[i])
		}
	}
	if found == nil {
		return nil, fmt.Errorf("%s has no tensor %s", h.model.path, tensor)
	}
	return found, nil
}

// sameRows reports whether two matrices of one shape are stored as the same bytes of the same type.
func sameRows(a, b *source.Tensor) (bool, error) {
	if a.Type != b.Type || a.IsF64 != b.IsF64 {
		return false, nil
	}
	row := int64(a.RowBytes())
	rows := func(t *source.Tensor) func([]byte, int64) error {
		return func(piece []byte, off int64) error { return t.ReadRows(piece, int(off/row)) }
	}
	return work.SameBytes(a.Bytes(), 64*row, rows(a), rows(b))
}

// Logits runs a text by itself with some tensors replaced, and calls logits with the logits after each token i ≥
// first, in order, which it must not keep. replaced are the tensors' GGUF names; one that a file holds in parts is
// replaced as a whole, under its own name.
//
// If the text was run without replacement last, this is cheaper, and the result the same.
func (h *Hybrid) Logits(
	ctx context.Context, replaced []string, tokens []int32, first int, logits func(i int, logits []float32) error,
) error {
	m := h.model
	m.mu.Lock()
	defer m.mu.Unlock()
	h.from.mu.Lock()
	defer h.from.mu.Unlock()
	for _, open := range []*Model{m, h.from} {
		if open.closed {
			return fmt.Errorf("%s: the model is closed", open.path)
		}
	}
	embed, start, restore, err := h.replace(replaced)
	if err != nil {
		return err
	}
	defer restore()

	h.seq.Truncate(0)
	r := Request{Seq: h.seq, Tokens: tokens, Logits: logits}
	if err := r.check(m); err != nil {
		return err
	}
	b, err := m.batch()
	if err != nil {
		return err
	}
	b.reset()
	record := len(replaced) == 0
	if record {
		h.record(tokens)
	}
	if !slices.Equal(h.tokens, tokens) {
		start = -1
	}
	h.seq.tokens = append(h.seq.tokens, tokens...)
	defer h.seq.Truncate(0) // its keys and values are of other weights
	if err := h.seq.prepare(); err != nil {
		return err
	}
	for from := 0; from < len(tokens); from += m.opt.Batch {
		b.reset()
		for n := from; n < min(from+m.opt.Batch, len(tokens)); n++ {
			want := -1
			if n >= first {
				want = n
			}
			b.add(&r, n, want)
		}
		if err := h.forward(ctx, b, embed, start, from, record); err != nil {
			return err
		}
	}
	if record {
		h.tokens = append(h.tokens[:0], tokens...)
	}
	return nil
}

// replace puts the other model's tensors in place. It returns the embedding to use, the first
// block that they change, and a function that undoes it.
func (h *Hybrid) replace(tensors []string) (embed *source.Tensor, start int, restore func(), err error) {
	embed, start = h.model.embed, h.model.cfg.Layers
	var undo []func()
	restore = func() {
		for _, f := range slices.Backward(undo) { // a tensor may be named twice
			f()
		}
	}
	for _, name := range tensors {
		slots, err := h.find(name)
		if err != nil {
			restore()
			return nil, 0, nil, err
		}
		for _, s := range slots {
			start = min(start, s.block)
			if s.own == nil {
				embed = h.from.embed
			} else {
				undo = append(undo, s.own.replace(s.other))
			}
		}
	}
	return embed, start, restore, nil
}

// record makes room for the residual stream of a text. It counts as none until the text has been run.
func (h *Hybrid) record(tokens []int32) {
	h.tokens = h.tokens[:0]
	for len(h.stream) <= h.model.cfg.Layers {
		h.stream = append(h.stream, nil)
	}
	for i := range h.stream {
		h.stream[i] = work.Resize(h.stream[i], len(tokens)*h.model.cfg.Hidden)
	}
}

// forward runs the batch from block start on, or from the embedding if start is -1. from is the index of its first
// token in the text. If record is set, it keeps the residual stream.
func (h *Hybrid) forward(ctx context.Context, b *batch, embed *source.Tensor, start, from int, record bool) error {
	m, hidden := h.model, h.model.cfg.Hidden
	if start < 0 {
		raw := make([]byte, embed.RowBytes())
		for t, tok := range b.tokens {
			if err := m.readEmbedding(b.x.Row(t)[:hidden], embed, raw, tok.id); err != nil {
				return err
			}
		}
		start = 0
	} else {
		for t := range b.tokens {
			copy(b.x.Row(t), h.stream[start][(from+t)*hidden:][:hidden])
		}
	}
	b.angles()
	needed := 0
	for i := start; i < len(m.layers); i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		// In the last block, after the keys and values, only tokens whose logits are wanted matter.
		if i == len(m.layers)-1 && !record {
			needed = b.firstWanted()
		}
		if record {
			h.keep(i, from, b)
		}
		if err := b.block(&m.layers[i], i, needed, false); err != nil {
			return err
		}
		for t := range b.tokens {
			kern.Best().Add(b.x.Row(t), b.delta.Row(t))
		}
	}
	if record {
		h.keep(len(m.layers), from, b)
	}
	return b.output(needed, len(b.tokens)-needed, false)
}

// keep stores the batch's residual stream before block i.
func (h *Hybrid) keep(i, from int, b *batch) {
	hidden := h.model.cfg.Hidden
	for t := range b.tokens {
		copy(h.stream[i][(from+t)*hidden:][:hidden], b.x.Row(t))
	}
}
