package runtime

import (
	"slices"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/mmap"
)

// activations are what a pass backward needs of a block's inside: the stream after attention, queries, keys and values
// after RoPE, results of attention, and outputs of gate and up.
type activations struct{ x, qkv, attn, up linear.Rows }

// SetGradientMemory lets [Layers.GradientNorms] take so many bytes. What [Layers.GradientBytes] leaves of it keeps the
// activations of as many blocks as fit, the last ones, which are not computed again then. Their memory stays for the
// next call, until it is 0 bytes that GradientNorms may take.
func (l *Layers) SetGradientMemory(bytes int64) {
	l.gradientMemory = bytes
	if bytes == 0 {
		l.freeKept()
	}
}

func (l *Layers) freeKept() {
	if l.keptMem != nil {
		_ = mmap.Unmap(l.keptMem)
		l.keptMem = nil
	}
}

// keptFloats returns memory for activations, all 0 where rows have padding. The system takes long to give it for the
// first time.
func (l *Layers) keptFloats(bytes int) ([]float32, error) {
	if len(l.keptMem) < bytes {
		l.freeKept()
		mem, err := mmap.Memory(bytes)
		if err != nil {
			return nil, err
		}
		l.keptMem = mem
	} else if slices.ContainsFunc(l.keptWidths(), func(n int) bool { return n != linear.Padded(n) }) {
		clear(l.keptMem)
	}
	return unsafe.Slice((*float32)(unsafe.Pointer(&l.keptMem[0])), len(l.keptMem)/4), nil
}

// KeptBytes returns the bytes of memory that the activations of all blocks take for that many tokens.
func (l *Layers) KeptBytes(tokens int) int64 {
	values := 0
	for _, cols := range l.keptWidths() {
		values += linear.Stride(cols)
	}
	return 4 * int64(l.m.cfg.Layers) * int64(tokens) * int64(values)
}

// keptWidths lists the columns of activations. Experts, of which each token has some, are run again.
func (l *Layers) keptWidths() []int {
	c := l.m.cfg
	inner := innerWidths(c)
	widths := []int{inner[0], inner[3], inner[4], inner[5]} // in the order of batch.inner
	if c.Experts != nil {
		widths[3] = 0
	}
	return widths
}

// keep makes room for the activations of as many blocks as memory holds.
func (g *gradients) keep(tokens int, memory int64) error {
	layers := g.m.cfg.Layers
	block := max(1, g.l.KeptBytes(tokens)/int64(layers))
	count := int(min(int64(layers), max(0, memory)/block))
	b := g.b
	g.own, g.kept = activations{b.x, b.qkv, b.attn, b.up}, make([]activations, layers)
	if count == 0 {
		return nil
	}
	rest, err := g.l.keptFloats(count * int(block))
	if err != nil {
		return err
	}
	widths := g.l.keptWidths()
	for i := layers - count; i < layers; i++ {
		k := &g.kept[i]
		for j, rows := range []*linear.Rows{&k.x, &k.qkv, &k.attn, &k.up} {
			stride := linear.Stride(widths[j])
			*rows = linear.Rows{Data: rest[:tokens*stride], Width: linear.Padded(widths[j]), Stride: stride}
			rest = rest[tokens*stride:]
		}
	}
	w := g.m.cfg.TokenWork()
	g.total -= float64(tokens) * (w.Blocks - w.Down) * float64(count) / float64(layers)
	return nil
}

// isKept reports whether the activations of a block are kept.
func (g *gradients) isKept(i int) bool { return g.kept[i].x.Data != nil }

// use lets the batch have the activations of a bundle in block i where they are kept, if they are.
func (g *gradients) use(i int, p *bundle) {
	a := g.own
	if k := &g.kept[i]; g.isKept(i) {
		a.x, a.qkv, a.attn = k.x.From(p.first), k.qkv.From(p.first), k.attn.From(p.first)
		if g.m.cfg.Experts == nil {
			a.up = k.up.From(p.first)
		}
	}
	b := g.b
	b.x, b.qkv, b.attn, b.up = a.x, a.qkv, a.attn, a.up
}

// restore computes what backward needs of a block's inside. Where the activations are kept, that is the router's
// input.
func (g *gradients) restore(l *layer, i int, p *bundle) error {
	g.use(i, p)
	switch {
	case !g.isKept(i):
		return g.inside(l, g.stream[i], p)
	case l.router != nil:
		return g.b.runNorm(l.ffnNorm, 0, p.count, false, l.router)
	}
	return nil
}
