package quantize

import (
	"context"
	"os"
	"runtime/debug"
	"time"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/remote"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Job is a file that is to be made. Everything about it is decided; of the source's weights nothing is converted yet.
type Job struct {
	// Budget is how types were chosen, nil without a budget.
	Budget *Allocation

	out      string
	origin   remote.Origin
	source   *source.Model
	stats    *statistics // nil if there are none
	recipe   calib.Recipe
	options  convert.Options
	plan     *convert.Plan
	recorded bool     // the output's metadata tell how it was made
	weights  string   // SHA-256 of the source's weights in hexadecimal, if recorded
	notes    []string // on what it is made from
	limits   Limits
	monitor  progress.Monitor

	memoryLimit int64 // of the Go runtime before the job
}

// Run makes the file out, whose name decides the format, from the model in. The monitor may be nil.
func Run(ctx context.Context, in, out string, opt Options, m progress.Monitor) (*Result, error) {
	j, err := Prepare(ctx, in, out, opt, m)
	if err != nil {
		return nil, err
	}
	defer j.Close()
	return j.Run(ctx)
}

// Prepare decides how to make the file out, whose name decides the format, from the model in: a checkpoint directory,
// a GGUF or a .pmap file. It writes nothing. With a budget it runs parts of the model. The monitor may be nil.
// The job must be closed. Until then the memory of the whole program is limited to what opt says.
func Prepare(ctx context.Context, in, out string, opt Options, m progress.Monitor) (*Job, error) {
	j, err := prepare(ctx, in, out, opt, m)
	if err != nil {
		return nil, err
	}
	if opt.Budget != nil {
		j.Budget, err = j.allocate(ctx, opt.Budget, opt.Costs)
	} else {
		err = j.makePlan(ctx)
	}
	if err != nil {
		j.Close()
		return nil, work.Interrupted(err, ", %s was not written", out)
	}
	return j, nil
}

// prepare decides all but the types.
func prepare(ctx context.Context, in, out string, opt Options, m progress.Monitor) (_ *Job, err error) {
	if out == "" {
		return nil, usage.Errorf("the output has no name")
	}
	j := &Job{out: out, monitor: progress.Quiet(m)}
	defer func() {
		if err != nil {
			j.Close()
		}
	}()
	j.recorded = opt.Recipe != nil || opt.Budget != nil || opt.Method != "" || opt.Stats != ""
	j.options = convert.Options{
		Policy:          opt.Policy,
		Split:           opt.SplitQKV,
		AllowRequantize: opt.AllowRequantize,
		SplitMaxSize:    opt.SplitMaxSize,
		Name:            opt.Name,
	}
	if j.options.Sections, err = sections(opt.Seal, out); err != nil {
		return nil, err
	}
	if j.stats, err = openStats(ctx, opt.Stats); err != nil {
		return nil, err
	}
	if j.recipe, err = opt.recipe(j.stats); err != nil {
		return nil, err
	}
	if opt.Recipe != nil {
		j.options.Policy.FileType, j.options.Types = opt.Recipe.FileType, opt.Recipe.Tensors
	}
	if opt.Lora != "" && (opt.Budget != nil || j.recipe.Method.RunsModel()) {
		return nil, usage.Errorf("with --lora no method can run the model: merge first, with convert --lora %s --type "+
			"F32, and then quantize that file", opt.Lora)
	}
	j.origin = opt.Origin
	if len(opt.Costs) > 0 && opt.Budget == nil {
		return nil, usage.Errorf("--costs is for --size, --bpw or --max-kld")
	}
	return j, j.open(in, opt.Lora, opt.Files, opt.Limits)
}

// open opens the source and limits the program's memory. The recipe's method and the statistics are known.
func (j *Job) open(in, lora string, files formats.Files, limits Limits) (err error) {
	if j.limits, err = limits.withDefaults(j.recipe.Method); err != nil {
		return err
	}
	j.memoryLimit = debug.SetMemoryLimit(j.limits.MaxRAM)
	switch {
	case lora != "":
		j.source, err = source.OpenMerged(in, lora)
	case files != nil:
		j.source, err = source.OpenIn(files, in)
	default:
		j.source, err = source.Open(in)
	}
	if err != nil {
		return err
	}
	if j.recipe.Method.Needs > calib.Nothing {
		j.options.Imatrix, j.options.Policy.Imatrix = j.stats.imatrix(), true
		j.notes = append(j.notes, j.stats.ExpertWarnings()...)
	}
	return nil
}

// Close closes the source and the statistics, and lifts the limit on memory.
func (j *Job) Close() {
	j.stats.close()
	if j.source != nil {
		_ = j.source.Close() // only read from
	}
	if j.memoryLimit != 0 {
		debug.SetMemoryLimit(j.memoryLimit)
		j.memoryLimit = 0
	}
}

// makePlan plans the output with the options as they are, with metadata that tell how it is made.
func (j *Job) makePlan(ctx context.Context) error {
	p, err := convert.NewPlan(j.source, j.options)
	if err != nil {
		return err
	}
	j.plan = p
	j.recipe.FileType, j.recipe.Tensors = j.options.Policy.FileType, p.Types()
	recordOrigin(p.Metadata, j.origin)
	return j.record(ctx, p.Metadata)
}

// Notes says what a user of the output should know.
func (j *Job) Notes() []string { return append(j.notes, j.plan.Notes()...) }

// WriteRecipe writes the types and the method as YAML to path.
func (j *Job) WriteRecipe(path string) error {
	comment := "Made by phi3conv quantize for " + j.source.Path
	if j.Budget != nil {
		comment += "\n" + j.Budget.String()
	}
	data, err := j.recipe.YAML(comment)
	if err != nil {
		return err
	}
	return atomicfile.Save(path, data)
}

// Run writes the output. It appears under its name, or names, when it is complete. Files of the source are not
// replaced. A method that runs the model keeps what it has done in a file beside the output, with ".work"
// appended to its name, from which the same job continues after an interruption.
func (j *Job) Run(ctx context.Context) (*Result, error) {
	if err := refuseOverwrite(j.plan, j.out); err != nil {
		return nil, err
	}
	start := time.Now()
	if err := j.build(ctx); err != nil {
		return nil, work.Interrupted(err, ", %s was not written", j.out)
	}
	took := time.Since(start)
	r, err := j.Describe()
	if err != nil {
		return nil, err
	}
	r.Seconds = took.Seconds()
	return r, nil
}

// build writes the output.
func (j *Job) build(ctx context.Context) error {
	if err := j.room(); err != nil {
		return err
	}
	encoded, err := j.solve(ctx)
	if err != nil {
		return err
	}
	if encoded != nil {
		defer func() { _ = encoded.Close() }() // only read from by now
	}
	write := func(out string) error {
		step := j.monitor.Begin("converting", j.plan.SourceSize(), progress.Bytes)
		defer step.End()
		return j.plan.Run(ctx, out, convert.Limits{
			Threads: j.limits.Threads, Memory: j.limits.MaxRAM - work.ProgramRAM, Progress: step.Set,
		})
	}
	err = write(j.out)
	if encoded != nil && ctx.Err() == nil { // after hours of work
		err = atomicfile.SaveElsewhere(j.out, err, write)
	}
	if err != nil || encoded == nil {
		return err
	}
	return encoded.Remove()
}

// room refuses an output for which there is no space, also beside the work file of a method that runs the model.
func (j *Job) room() error {
	shards, err := j.plan.Shards(j.out)
	if err != nil {
		return err
	}
	var size int64
	for _, s := range shards {
		size += s.Size
	}
	if j.recipe.Method.RunsModel() {
		for i := range j.plan.Tensors {
			if t := &j.plan.Tensors[i]; t.Original() && t.Name != arch.Embedding {
				size += t.Size()
			}
		}
		if info, err := os.Stat(j.workFile()); err == nil {
			size -= info.Size()
		}
	}
	return output.Room(shards[0].Path, max(0, size))
}

// workFile is the path of what a method that runs the model has done.
func (j *Job) workFile() string { return atomicfile.Beside(j.out, ".work") }
