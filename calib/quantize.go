package calib

import (
	"context"
	"io"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// QuantizeOptions say how [Quantize] works. What it makes does not depend on them.
type QuantizeOptions struct {
	// Identity stands for the model's weights and the statistics: a run is not continued from one with another.
	Identity string
	// Work is a file that receives the blocks, and from which a run that was interrupted is continued.
	Work string
	// MomentMemory is how many bytes the second moments that are gathered in a pass through a block may take, or those
	// of one layer or expert; 0 for 1 GiB.
	MomentMemory int64
	// Resumed, if not nil, is called with the number of blocks that an earlier run has done.
	Resumed func(blocks int)
	// Progress, if not nil, is called with how much of the time of the run is over, and all of it, as far as can be
	// told, in parts of it that mean nothing else.
	Progress func(done, total int64)
	// Solved, if not nil, is called with the result for each layer, or part of it.
	Solved func(tensor string, s *solve.Solution)
	// Scaled, if not nil, is called for each place where channels were scaled, with the last of the matrices that read
	// them, and the error that their own encoders leave on some of their rows as a share of that without.
	Scaled func(tensor string, share float64)
}

// Quantize makes the blocks that the recipe's method makes by running the model l over the tokens of the statistics
// s. Of the recipe's tensors those that are no linear layers, such as an embedding, and those of types that are not
// quantized, are left out; so are all for a method that runs no model. Linear layers that it names as F32 may be among
// the result: see [Encoded]. l must have been opened with batches of [BatchTokens].
//
// The blocks go to a work file; what an interrupted run has done is taken from there. Layers are quantized
// the same whether a run was interrupted or not.
func Quantize(
	ctx context.Context, l *runtime.Layers, s *stats.File, r *Recipe, opt QuantizeOptions,
) (*Encoded, error) {
	if err := r.Method.Check(s); err != nil {
		return nil, err
	}
	if !r.Method.RunsModel() {
		return &Encoded{}, nil
	}
	if err := checkBatch(l); err != nil {
		return nil, err
	}
	return r.Method.Quantize(ctx, l, s, r, opt)
}

// Encoded is blocks of tensors in a work file, and float32 values of norms, biases and routers whose channels are
// scaled.
type Encoded struct {
	work   *work.File // nil if there are none
	places []encodedPlace
}

// encodedPlace is where a tensor's blocks are.
type encodedPlace struct {
	quant.Target
	at, size int64 // in the work file
	// layer is the linear layer whose rows from first on these are: the tensor or what it is a part of.
	layer       string
	first, rows int
}

// Tensor returns a tensor's blocks, nil for one that is not there.
func (e *Encoded) Tensor(name string) io.ReaderAt {
	for _, p := range e.places {
		if p.Tensor == name {
			return io.NewSectionReader(e.work, p.at, p.size)
		}
	}
	return nil
}

// Remove removes the work file, when the blocks are where they belong.
func (e *Encoded) Remove() error {
	if e.work == nil {
		return nil
	}
	return e.work.Remove()
}

// Close keeps the work file.
func (e *Encoded) Close() error {
	if e.work == nil {
		return nil
	}
	return e.work.Close()
}
