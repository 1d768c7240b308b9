package calib

import (
	"context"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// gptq scales channels, unless the recipe says otherwise, and solves each layer by error feedback and refinement.
func gptq(
	ctx context.Context, l *runtime.Layers, s *stats.File, r *Recipe, opt QuantizeOptions,
) (*Encoded, error) {
	solver := r.Solve
	if !s.HasOutputs() {
		solver.Outputs = 0
	}
	feedback := func(ctx context.Context, l *solve.Layer, threads int) (*solve.Solution, error) {
		how := solver
		how.Threads = threads
		return l.Quantize(ctx, how)
	}
	how := sequential{
		layer: feedback, layerWork: solver.Work, check: quant.Type.CheckGeometry,
		scale: r.AWQ, split: r.Split, cross: solver.Asymmetric != 0, outputs: solver.Outputs != 0,
	}
	return how.quantize(ctx, l, s, r, opt)
}
