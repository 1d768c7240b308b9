package verify

import (
	"context"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/verify"
)

// sideBySide opens all models and evaluates window after window.
func (r *run) sideBySide(ctx context.Context) error {
	from := r.doneByAll()
	if from == len(r.windows) {
		return nil
	}
	base, err := r.open(ctx, r.Base, r.baseOptions())
	if err != nil {
		return err
	}
	defer base.Close()
	quants, meters := make([]verify.Predictor, len(r.Quants)), []*model.Meter{base.Meter}
	for k, path := range r.Quants {
		r.positions[k] = r.positions[k][:verify.Scored(r.windows[:from])]
		q, err := r.open(ctx, path, r.Compute)
		if err != nil {
			return err
		}
		defer q.Close()
		quants[k], meters = q, append(meters, q.Meter)
	}
	w := watch(r.Monitor, "verifying", r.windows[from:], meters...)
	defer w.End()
	return verify.RunAll(ctx, base, quants, r.windows[from:], func(p [][]verify.Position) error {
		for k := range p {
			r.positions[k] = append(r.positions[k], p[k]...)
		}
		w.windowDone()
		return r.save(false)
	})
}
