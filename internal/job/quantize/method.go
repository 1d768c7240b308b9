package quantize

import (
	"context"
	"runtime/debug"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// statistics are those of a file, and its SHA-256 in hexadecimal.
type statistics struct {
	*stats.File
	sha256 string
	sketch text.Sketch // of the tokens, if the file holds them
}

// openStats opens a statistics file, nil for the path "".
func openStats(ctx context.Context, path string) (*statistics, error) {
	if path == "" {
		return nil, nil
	}
	sum, _, err := work.HashFile(ctx, path, nil)
	if err != nil {
		return nil, err
	}
	s, err := stats.Open(path)
	if err != nil {
		return nil, err
	}
	st := &statistics{File: s, sha256: sum}
	if st.hasTokens() {
		st.sketch = text.NewSketch(s.Origin.Tokens, s.Origin.Lengths)
	}
	return st, nil
}

func (s *statistics) close() {
	if s != nil {
		_ = s.Close() // only read from
	}
}

// hasTokens reports whether there are statistics that hold the tokens that they were made from.
func (s *statistics) hasTokens() bool { return s != nil && s.Origin != nil }

// imatrix returns what conversion takes of statistics.
func (s *statistics) imatrix() *convert.Imatrix {
	m := &convert.Imatrix{Path: s.Path, Datasets: s.Datasets, Chunks: s.ChunkCount}
	for i := range s.Entries {
		e := &s.Entries[i]
		m.Tensors = append(m.Tensors, convert.Importance{Tensor: e.Name, Columns: e.Importance()})
	}
	return m
}

// recipe returns the options' recipe, or one of the method that they name, without types.
func (o *Options) recipe(st *statistics) (calib.Recipe, error) {
	r := calib.Recipe{Solve: solve.DefaultOptions(), Split: o.Solver.Split}
	if o.Recipe != nil {
		r = *o.Recipe
	} else if err := o.chooseMethod(&r, st); err != nil {
		return r, err
	}
	if r.Method == nil {
		return r, usage.Errorf("the recipe names no method")
	}
	if err := r.Solve.Check(); err != nil && r.Method.Takes("damp") {
		return r, usage.Errorf("the recipe's %w", err)
	}
	switch {
	case r.Method.Needs == calib.Nothing && st != nil && o.Budget == nil:
		return r, usage.Errorf("--method %s uses no --stats", r.Method.Name)
	case r.Method.Needs > calib.Nothing && st == nil:
		return r, usage.Errorf("--method %s needs --stats", r.Method.Name)
	}
	return r, nil
}

// chooseMethod sets the recipe's method and how it solves layers.
func (o *Options) chooseMethod(r *calib.Recipe, st *statistics) error {
	name := o.Method
	switch {
	case name != "":
	case o.Budget != nil && st.hasTokens():
		name = "gptq"
	case st != nil:
		name = "imatrix"
	default:
		name = "rtn"
	}
	var err error
	if r.Method, err = calib.MethodByName(name); err != nil {
		return usage.Errorf("--method: %w", err)
	}
	r.AWQ = r.Method.Takes("awq")
	if awq := o.Solver.AWQ; awq != nil {
		if !r.AWQ {
			return usage.Errorf("--awq goes with --method gptq; --method awq is imatrix with it")
		}
		r.AWQ = *awq
	}
	if o.Solver.Options != nil {
		r.Solve = *o.Solver.Options
	}
	r.Solve.Outputs = 0
	if share := o.Solver.Outputs; share != nil {
		r.Solve.Outputs = *share
	} else if st != nil && st.HasOutputs() && r.Method.Takes("outputs") {
		r.Solve.Outputs = solve.DefaultOutputs
	}
	if err := r.Solve.Check(); err != nil {
		return usage.Errorf("--%w", err)
	}
	return nil
}

// solve makes the blocks of the tensors that the method makes by running the model, and gives them to the plan. What it
// returns must be closed, or removed when the output is complete; it is nil if the method runs no model.
func (j *Job) solve(ctx context.Context) (*calib.Encoded, error) {
	if !j.recipe.Method.RunsModel() {
		return nil, nil
	}
	var st *stats.File
	identity := j.weights
	if j.stats != nil {
		st, identity = j.stats.File, identity+j.stats.sha256
	}
	if err := j.recipe.Method.Check(st); err != nil {
		return nil, err
	}
	recipe := j.recipe
	recipe.Tensors = nil
	weights := int64(0)
	for i := range j.plan.Tensors {
		if t := &j.plan.Tensors[i]; t.Original() || t.Type == quant.F32 && len(t.Dims) > 1 {
			recipe.Tensors = append(recipe.Tensors, quant.Target{Tensor: t.Name, Type: t.Type})
			weights += t.Elems()
		}
	}
	l, err := j.openLayers()
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }() // only read from
	j.leaveRoom(l)
	step := j.monitor.Begin("quantizing", weights, progress.Weights)
	opt := calib.QuantizeOptions{
		Identity: identity,
		Work:     j.workFile(),
		Progress: func(done, total int64) { step.Set(int64(float64(weights) * float64(done) / float64(total))) },
	}
	opt.Resumed = func(blocks int) {
		j.monitor.Note("continuing after block %d of %d, from %s", blocks, l.Count(), opt.Work)
	}
	encoded, err := calib.Quantize(ctx, l, st, &recipe, opt)
	step.End()
	if err != nil {
		return nil, work.Interrupted(err, ", %s was not written; the same command continues from %s", j.out, opt.Work)
	}
	for i := range j.plan.Tensors {
		t := &j.plan.Tensors[i]
		if blocks := encoded.Tensor(t.Name); blocks != nil {
			t.SetEncoded(blocks)
		}
	}
	return encoded, nil
}

// leaveRoom lowers the limit of the Go runtime's memory by what is outside of it: the program itself, and the loaded
// block of each model that runs, the original too if the recipe compares with it.
func (j *Job) leaveRoom(l *runtime.Layers) {
	outside := work.ProgramRAM + calib.Need(l)
	if j.recipe.Method.Takes("asymmetric") && j.recipe.Solve.Asymmetric != 0 {
		outside += calib.Need(l)
	}
	debug.SetMemoryLimit(max(leastRAM, j.limits.MaxRAM-outside))
}

// openLayers opens the source to run it layer by layer.
func (j *Job) openLayers() (*runtime.Layers, error) {
	return runtime.OpenLayers(j.source.Path, runtime.Options{Threads: j.limits.Threads, Batch: calib.BatchTokens})
}
