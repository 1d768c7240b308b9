package runtime

import (
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/tune"
)

// MultiplyPeak measures how many multiply-adds a second the model's threads do together, of the kind that most of its
// weights take with several tokens: the most that evaluating a prompt can reach. It takes a tenth of a second, and
// returns 0 if it is unknown.
func (m *Model) MultiplyPeak() float64 {
	kind := kern.Float32
	if !m.opt.Float32 {
		kind = kern.MultiplicationOf(linear.MainFormat(m.matrices))
	}
	return machine.MultiplyPeak(kind, m.opt.Threads)
}

// Kernels names the forms of the kernels that multiply one token with the model's matrices, such as "Q4_K avx512vnni
// nta 4096", for each format that many of them have.
func (m *Model) Kernels() []string { return tune.InUse(m.matrices) }

// MultiplyAdds returns how many multiply-adds it takes to evaluate n tokens after others, with logits of the last one:
// those of the weights and of attention, in which every key before counts.
func (m *Model) MultiplyAdds(before, n int) float64 { return m.src.MultiplyAdds(before, n) }
