package verify

import (
	"context"

	"github.com/phi3conv/phi3conv/internal/job/diff"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/verify"
)

// compareRows compares the rows of each quantized model's matrices with the original's: a few that are damaged
// or swapped may move no prediction of the text enough to tell.
func compareRows(ctx context.Context, o *Options, list verify.Reports) error {
	base, err := inspect.Open(o.Base)
	if err != nil {
		return err
	}
	defer func() { _ = base.Close() }() // only read from
	opt := diff.Options{Threads: o.Compute.Threads, Monitor: o.Monitor}
	for k, path := range o.Quants {
		quant, err := inspect.Open(path)
		if err != nil {
			return err
		}
		list[k].Weights, err = diff.Weights(ctx, base, quant, opt)
		_ = quant.Close() // only read from
		if err != nil {
			return err
		}
	}
	return nil
}
