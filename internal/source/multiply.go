package source

import (
	"fmt"
	"strings"

	"github.com/phi3conv/phi3conv/internal/arch"
)

// MultiplyAdds returns how many multiply-adds it takes to evaluate n tokens after others, with logits of the last one:
// those of the weights and of attention, in which every key before counts. Of the last block the tokens before the last
// need keys and values only.
func (m *Model) MultiplyAdds(before, n int) float64 {
	c := m.Config
	head := c.Head().Output.Weight.GGUF
	last := fmt.Sprintf("blk.%d.", c.Layers-1)
	reads := map[string]bool{}
	for _, l := range c.Block(c.Layers - 1).QKV {
		reads[l.Weight.GGUF] = true
	}
	every, once := 0.0, 0.0 // token
	for i := range m.Tensors {
		t := &m.Tensors[i]
		k := 1.0
		for _, d := range t.Shape {
			k *= float64(d)
		}
		if e := c.Experts; e != nil && len(t.Shape) == 3 {
			k *= float64(e.Used) / float64(e.Count)
		}
		switch {
		case t.GGUF != head && (len(t.Shape) < 2 || t.GGUF == arch.Embedding):
		case t.GGUF == head, strings.HasPrefix(t.GGUF, last) && !reads[t.GGUF] && !reads[t.Whole]:
			once += k
		default:
			every += k
		}
	}
	keys := 0.0
	for i := before + 1; i <= before+n; i++ {
		k := i
		if c.SlidingWindow > 0 {
			k = min(i, c.SlidingWindow)
		}
		layers := c.Layers - 1
		if i == before+n {
			layers = c.Layers
		}
		keys += float64(k * layers)
	}
	return every*float64(n) + once + 2*keys*float64(c.Heads*c.HeadDim)
}
