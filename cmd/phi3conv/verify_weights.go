package main

import (
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/tensorstats"
)

// weights compares the rows of each quantized model's matrices with the original's: a few that are damaged or swapped may
// move no prediction of the text enough to tell.
func (v *verification) weights(list verify.Reports) error {
	a, err := openInspected(v.base)
	if err != nil {
		return err
	}
	defer a.close()
	for k, path := range v.quants {
		b, err := openInspected(path)
		if err != nil {
			return err
		}
		d := diffJSON{Weights: verify.Weights{Unlike: []tensorstats.UnlikeRow{}}}
		err = d.tensors(v.c.Context, v.c.App.ErrWriter, a, b, max(1, v.opt.Threads))
		b.close()
		if err != nil {
			return err
		}
		list[k].Weights = &d.Weights
	}
	return nil
}
