package source

import "github.com/phi3conv/phi3conv/internal/arch"

// MultiplyAdds returns how many multiply-adds it takes to evaluate n tokens after others, with logits of the last one:
// those of the weights and of attention, in which every key before counts.
func (m *Model) MultiplyAdds(before, n int) float64 {
	c := m.Config
	head := c.Head().Output.Weight.GGUF
	weights, output := 0.0, 0.0
	for i := range m.Tensors {
		t := &m.Tensors[i]
		k := 1.0
		for _, d := range t.Shape {
			k *= float64(d)
		}
		switch e := c.Experts; {
		case t.GGUF == head:
			output = k
		case len(t.Shape) < 2, t.GGUF == arch.Embedding:
		case e != nil && len(t.Shape) == 3:
			weights += k * float64(e.Used) / float64(e.Count)
		default:
			weights += k
		}
	}
	keys := 0.0
	for i := before + 1; i <= before+n; i++ {
		if c.SlidingWindow > 0 {
			keys += float64(min(i, c.SlidingWindow))
		} else {
			keys += float64(i)
		}
	}
	return weights*float64(n) + output + 2*keys*float64(c.Layers*c.Heads*c.HeadDim)
}
