package verify

import (
	"context"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/verify"
)

// tellParts tells what the weights of each quantized model cost from what the runtime adds, in its report.
func (r *run) tellParts(ctx context.Context, list verify.Reports) error {
	base, err := r.open(ctx, r.Base, r.baseOptions())
	if err != nil {
		return err
	}
	defer base.Close()
	for k, path := range r.Quants {
		positions, err := r.weightsAlone(ctx, base, path)
		if err != nil {
			return err
		}
		if err := list[k].ByPart(positions); err != nil {
			return err
		}
	}
	return nil
}

// weightsAlone compares a model with the original in some windows, computed as the original is.
func (r *run) weightsAlone(ctx context.Context, base *model.Predictor, path string) ([]verify.Position, error) {
	quant, err := r.open(ctx, path, r.baseOptions())
	if err != nil {
		return nil, err
	}
	defer quant.Close()
	windows := r.someWindows()
	w := watch(r.Monitor, "weights alone", windows, base.Meter, quant.Meter)
	defer w.End()
	var positions []verify.Position
	err = verify.RunAll(ctx, base, []verify.Predictor{quant}, windows, func(p [][]verify.Position) error {
		positions = append(positions, p[0]...)
		w.windowDone()
		return nil
	})
	return positions, err
}
