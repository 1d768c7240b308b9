package quantize

import (
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/calib/alloc"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant"
)

// Budget asks for the best types within a limit. Exactly one of Size, BPW and MaxKLD is not 0. It needs statistics.
type Budget struct {
	// Size is the most bytes that the output may have, all files together.
	Size int64
	// BPW is the most bits per weight of the linear layers, without embedding and output matrix, below 100.
	BPW float64
	// MaxKLD is the most that the mean KL divergence may be estimated as, in nats, below 100. It needs statistics
	// with gradients, as SplitQKV does.
	MaxKLD float64
	// Types are those to choose from, nil for all quantized ones, and F16 for embedding and output matrix.
	Types []quant.Type
	// Asked is how the user wrote the limit, for messages; empty for its name and number.
	Asked string
}

// asked writes the limit as an option of the command line.
func (b *Budget) asked() string {
	switch {
	case b.Asked != "":
		return b.Asked
	case b.Size != 0:
		return fmt.Sprintf("--size %d", b.Size)
	case b.BPW != 0:
		return fmt.Sprintf("--bpw %v", b.BPW)
	}
	return fmt.Sprintf("--max-kld %v", b.MaxKLD)
}

// check refuses budgets that make no sense for the job, before anything is computed.
func (b *Budget) check(j *Job) error {
	limits := []float64{float64(b.Size), b.BPW, b.MaxKLD}
	limits = slices.DeleteFunc(limits, func(v float64) bool { return v == 0 })
	switch {
	case len(limits) != 1:
		return usage.Errorf("a budget is one of --size, --bpw and --max-kld")
	case j.stats == nil:
		return usage.Errorf("%s needs --stats", b.asked())
	case j.options.Policy.Pure:
		return usage.Errorf("%s does not go with --pure", b.asked())
	case !(limits[0] > 0) || b.Size == 0 && limits[0] >= 100:
		return usage.Errorf("%s, expected more than 0, and less than 100 of --bpw and --max-kld", b.asked())
	}
	for _, t := range b.Types {
		if err := t.CheckGeometry(); err != nil && t.IsQuantized() {
			return usage.Errorf("--types: %w", err)
		}
	}
	return nil
}

// Allocation is the types that were chosen for a budget, and what else could have been.
type Allocation struct {
	Asked string `json:"asked"`
	// Unit is what costs are: "kld", the estimated mean KL divergence in nats, or "relative", shares of the layers'
	// outputs that are error.
	Unit    string         `json:"cost_unit"`
	Cost    float64        `json:"cost"`
	BPW     float64        `json:"linear_bits_per_weight"` // of the linear layers
	Factors []alloc.Factor `json:"factors,omitempty"`
	Gains   []alloc.Gain   `json:"gains,omitempty"` // what the method leaves of a type's cost
	// Rounding is what rounding activations adds. It is in the costs of all types together, not in a tensor's.
	Rounding float64      `json:"rounding,omitempty"`
	Tensors  []Choice     `json:"tensors"`
	Curve    []CurvePoint `json:"curve"` // the best types at sizes spread evenly
}

// Choice is the type that a matrix got.
type Choice struct {
	Name       string      `json:"name"`
	Type       string      `json:"type"`
	Pinned     bool        `json:"pinned"` // an option named the tensor
	Candidates []Candidate `json:"candidates"`
}

// Candidate is a type that a matrix could get.
type Candidate struct {
	Type  string  `json:"type"`
	Bytes int64   `json:"bytes"`
	Cost  float64 `json:"cost"`
}

// CurvePoint is an allocation of the least cost for its size.
type CurvePoint struct {
	Bytes int64   `json:"bytes"`                  // of the output
	BPW   float64 `json:"linear_bits_per_weight"` // of the linear layers
	Cost  float64 `json:"cost"`
}

// String sums up the allocation in a sentence.
func (a *Allocation) String() string {
	return fmt.Sprintf("For %s: linear layers have %.4f bits per weight, estimated %s %.5g.",
		a.Asked, a.BPW, a.CostName(), a.Cost)
}

// CostName says in words what costs are.
func (a *Allocation) CostName() string {
	if a.Unit == "kld" {
		return "mean KLD"
	}
	return "sum of relative errors"
}
