// Package quantize makes a quantized file of a model, as convert, quantize and reproduce do. [Options] say what to
// make, [Prepare] decides every tensor's type and place, which can be looked at, and [Job.Run] writes the file.
package quantize

import (
	"cmp"
	"runtime"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/remote"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant/policy"
)

// Options say what to make of a model. The zero value stores all of it as F32.
type Options struct {
	// Policy gives each tensor its type. Its field Imatrix is set here.
	Policy policy.Policy
	// Recipe, if not nil, gives types and method in place of Policy, Method and Solver.
	Recipe *calib.Recipe
	// Budget, if not nil, chooses the types of those tensors to which Policy gives none by name.
	Budget *Budget
	// Costs are the files that [Measure] has written of all parts, for Budget; without any, costs are measured.
	Costs []string
	// SplitQKV stores q, k and v of a block as three tensors; with a budget, only where their types differ.
	SplitQKV bool
	// AllowRequantize permits quantizing tensors that are quantized already; their errors add up.
	AllowRequantize bool

	// Method is the name of one of [calib.Methods]. Empty means rtn, with Stats imatrix, and with a budget and
	// statistics that hold the tokens that they were made from gptq.
	Method string
	// Solver is for methods that solve layers.
	Solver Solver
	// Stats is the path of a statistics file, of calibrate or of llama-imatrix.
	Stats string

	// Lora is the directory of a LoRA adapter that is merged into the model, which then is a checkpoint; "" for none.
	// Methods that run the model cannot have it.
	Lora string

	// Name replaces general.name when not empty.
	Name string
	// SplitMaxSize is the largest number of bytes of tensor data in one file; 0 means one file.
	SplitMaxSize int64
	// Seal is the path of a seal that goes into a .pmap output.
	Seal string

	// Files opens the files with the model's weights, nil if they are on this machine; then [Options.ReadsOnce] must be
	// true.
	Files formats.Files
	// Origin is where the model was fetched from. The zero value is none.
	Origin remote.Origin

	Limits
}

// ReadsOnce reports whether the model's weights are read once.
func (o *Options) ReadsOnce() bool {
	return o.Recipe == nil && o.Budget == nil && o.Method == "" && o.Stats == "" && o.Lora == ""
}

// Solver says how a method that solves layers does so.
type Solver struct {
	// Options are those of a layer, nil for [solve.DefaultOptions].
	Options *solve.Options
	// Outputs is what Options.Outputs becomes; nil for [solve.DefaultOutputs] with statistics that have gradients'
	// correlations, else 0.
	Outputs *float64
	// Split weighs tokens for q, k and v, gate and up each by its own gradients.
	Split bool
	// AWQ scales channels first; nil does so for every method that solves layers. Other methods take nil only.
	AWQ *bool
}

// Limits bound what a job uses. They do not change its result.
type Limits struct {
	// Threads is their number, 0 for the number of CPUs.
	Threads int
	// MaxRAM is the memory in bytes for all of the program, 0 for 1 GiB, or 6 GiB for methods that run the model.
	MaxRAM int64
}

const (
	// leastRAM is the smallest MaxRAM.
	leastRAM = work.ProgramRAM + 64<<20

	defaultRAM    = 1 << 30
	sequentialRAM = 6 << 30 // of methods that run the model
)

// withDefaults fills in what is 0 and refuses what is out of range.
func (l Limits) withDefaults(m *calib.Method) (Limits, error) {
	switch {
	case l.MaxRAM == 0 && m.RunsModel():
		l.MaxRAM = sequentialRAM
	case l.MaxRAM == 0:
		l.MaxRAM = defaultRAM
	}
	if l.MaxRAM < leastRAM {
		return l, usage.Errorf("--max-ram is %s, expected at least %s",
			humanize.IBytes(uint64(max(0, l.MaxRAM))), humanize.IBytes(leastRAM))
	}
	var err error
	l.Threads, err = l.threads()
	return l, err
}

// threads returns the number of threads, or a usage error.
func (l Limits) threads() (int, error) {
	n := cmp.Or(l.Threads, runtime.GOMAXPROCS(0))
	if n < 1 || n > 1024 {
		return 0, usage.Errorf("--threads is %d, expected 1 to 1024", n)
	}
	return n, nil
}
