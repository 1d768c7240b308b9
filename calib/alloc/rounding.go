package alloc

import (
	"slices"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// Runtimes round the inputs of quantized matrices to 8 bits. What that adds to the divergence is measured for the
// output matrix. For linear layers, whose scaled channels are not known yet, it is a share of what they cost with about
// 4.5 bits, with scaled channels and without, as measured on a whole model (docs/methods-measured.md).
const (
	roundingScaled   = 0.045
	roundingUnscaled = 0.1

	kindRounding = "the output matrix's inputs"
	roundedBlock = 256 // values with one scale
)

// rounding returns what rounding adds in linear layers. f is their factor, by which what was measured is known to as
// many digits as are the same on every machine.
func rounding(f *Factor, scaled bool) float64 {
	share := roundingUnscaled
	if scaled {
		share = roundingScaled
	}
	return share * f.Factor * f.Estimate
}

// roundsOutput reports whether the output matrix may be quantized.
func (e *estimator) roundsOutput() bool {
	return slices.ContainsFunc(e.costs, func(t TensorCost) bool {
		return (t.Tensor == stats.OutputEntry || t.Tensor == arch.Embedding && e.l.Output() == arch.Embedding) &&
			slices.ContainsFunc(t.types, quant.Type.IsQuantized)
	})
}

// roundInputs rounds inputs as runtimes do for types with blocks of 256 weights.
func roundInputs(in runtime.Inputs) error {
	for t := range in.Rows {
		for block := range slices.Chunk(in.Row(t), roundedBlock) {
			kern.RoundBlock(block)
		}
	}
	return nil
}
