package verify

import (
	"context"

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
	quants := make([]verify.Predictor, len(r.Quants))
	for k, path := range r.Quants {
		r.positions[k] = r.positions[k][:verify.Scored(r.windows[:from])]
		q, err := r.open(ctx, path, r.Compute)
		if err != nil {
			return err
		}
		defer q.Close()
		quants[k] = q
	}
	r.beginWindows()
	defer r.step.End()
	return verify.RunAll(ctx, base, quants, r.windows[from:], func(p [][]verify.Position) error {
		for k := range p {
			r.add(k, p[k])
		}
		return r.save(false)
	})
}
