package calib

import (
	"context"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// gptq scales channels, unless the recipe says otherwise, and solves each layer by error feedback and refinement.
func gptq(
	ctx context.Context, l *runtime.Layers, s *stats.File, r *Recipe, opt QuantizeOptions,
) (*Encoded, error) {
	if r.Solve.Outputs > 0 && !s.HasOutputs() {
		return nil, usage.Errorf("outputs: %g needs statistics of calibrate --fisher, without --fisher-outputs=false, "+
			"which %s is not", r.Solve.Outputs, s.Path)
	}
	feedback := func(ctx context.Context, l *solve.Layer, threads int) (*solve.Solution, error) {
		how := r.Solve
		how.Threads = threads
		return l.Quantize(ctx, how)
	}
	how := sequential{
		layer: feedback, layerWork: r.Solve.Work, check: quant.Type.CheckGeometry,
		scale: r.AWQ, split: r.Split, cross: r.Solve.Asymmetric != 0, outputs: r.Solve.Outputs != 0,
	}
	return how.quantize(ctx, l, s, r, opt)
}
