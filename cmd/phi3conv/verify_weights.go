package main

import (
	"github.com/phi3conv/phi3conv/internal/job/diff"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/verify"
)

// weights compares the rows of each quantized model's matrices with the original's: a few that are damaged or swapped may
// move no prediction of the text enough to tell.
func (v *verification) weights(list verify.Reports) error {
	a, err := inspect.Open(v.base)
	if err != nil {
		return err
	}
	defer func() { _ = a.Close() }() // only read from
	for k, path := range v.quants {
		b, err := inspect.Open(path)
		if err != nil {
			return err
		}
		list[k].Weights, err = diff.Weights(v.c.Context, a, b, diff.Options{Threads: v.opt.Threads, Monitor: monitor{v.c.App.ErrWriter}})
		_ = b.Close() // only read from
		if err != nil {
			return err
		}
	}
	return nil
}
