package verify

import (
	"fmt"

	"github.com/phi3conv/phi3conv/internal/sample"
)

// Parts tells what a model's weights cost from what the runtime costs that computes with them: it rounds activations
// to 8 bits, and keys and values to the type of the cache. Another runtime has another share of its own.
type Parts struct {
	Tokens  int      `json:"tokens"`  // scored for these
	Weights Estimate `json:"weights"` // mean KLD of the weights alone, computed as the original is
	Runtime Estimate `json:"runtime"` // mean of what the runtime adds, which may be negative
}

// ByPart sets the report's parts. The positions of some of the windows, with the model computed as the original is,
// are in the order of the report's. It is an error if the report does not have them.
func (r *Report) ByPart(weights []Position) error {
	as := make([]Position, 0, len(weights)) // the same tokens, as the report has them
	all := r.Positions
	for _, w := range weights {
		for len(all) > 0 && (all[0].Text != w.Text || all[0].Index != w.Index) {
			all = all[1:]
		}
		if len(all) == 0 {
			return fmt.Errorf("token %d of text %d is not among those of the report", w.Index, w.Text)
		}
		as = append(as, all[0])
	}
	r.Parts = &Parts{
		Tokens:  len(weights),
		Weights: estimate(sample.Positive{Mean: meanOf(weights, kld)}),
		Runtime: estimate(sample.MeanOf(len(weights), changeOf(weights, as, kld))),
	}
	return nil
}
