package calib

import (
	"context"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/runtime"
)

// awq scales channels and leaves each layer to its type's own encoder, weighted by the diagonal of its second moments.
func awq(
	ctx context.Context, l *runtime.Layers, s *stats.File, r *Recipe, opt QuantizeOptions,
) (*Encoded, error) {
	encode := func(_ context.Context, l *solve.Layer, threads int) (*solve.Solution, error) {
		return l.Encode(threads)
	}
	how := sequential{scale: true, split: r.Split, layer: encode, layerWork: solve.EncodingWork}
	return how.quantize(ctx, l, s, r, opt)
}
