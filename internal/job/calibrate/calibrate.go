// Package calibrate gathers statistics of a model's activations in a file, as the command calibrate does, and says what
// is in such files.
package calibrate

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/output"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/report"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

// Options say from what statistics are gathered, and how.
type Options struct {
	Text
	// Fisher weighs each token by the squared gradient of the model's own loss: see [calib.Options]. Nil does so if the
	// model writes all of the text.
	Fisher *bool
	// FisherOutputs also gathers what gptq's feedback along outputs needs.
	FisherOutputs bool
	// Against is the path of a text that models will be judged by, "" for none. The summary warns if it is in the
	// calibration text.
	Against string
	// Threads is their number, 0 for the runtime's default. MaxRAM is the memory in bytes for all of the program, 0 for
	// 4 GiB. They do not change the file.
	Threads int
	MaxRAM  int64
	// Monitor may be nil.
	Monitor progress.Monitor
}

// Result is what a run has done.
type Result struct {
	Output  string  `json:"output"`
	Seconds float64 `json:"seconds"` // of gathering
	*stats.Summary
	TextTokens int `json:"-"` // in all sequences
}

// WriteText says in a line what was done.
func (r *Result) WriteText(w io.Writer) error {
	_, err := fmt.Fprintf(w, "%s: %d linear layers, %s in %s, %.1f s, %.0f tok/s\n", r.Output, len(r.Entries),
		report.Plural(r.TextTokens, "token"), report.Plural(r.Sequences, "sequence"), r.Seconds,
		float64(r.TextTokens)/r.Seconds)
	return err
}

// defaultRAM is the default of MaxRAM.
const defaultRAM = 4 << 30

// Run gathers statistics of a model in the file out, in llama.cpp's older form if its name ends in .dat. An
// interrupted run is continued by another one with the same model and options, from files beside out.
func Run(ctx context.Context, model, out string, opt Options) (*Result, error) {
	if out == "" {
		return nil, usage.Errorf("the output has no name")
	}
	opt.Monitor = progress.Quiet(opt.Monitor)
	if opt.MaxRAM == 0 {
		opt.MaxRAM = defaultRAM
	}
	r := &run{Options: opt, model: model, out: out}
	if r.FisherOutputs && !r.fisher() {
		return nil, usage.Errorf("--fisher-outputs is for --fisher, which is off")
	}
	if err := r.open(ctx); err != nil {
		return nil, r.interrupted(err)
	}
	defer func() { _ = r.layers.Close() }() // only read from
	defer func() {
		if r.step != nil {
			r.step.End()
		}
	}()
	if need := work.ProgramRAM + calib.Need(r.layers); r.MaxRAM < need {
		return nil, r.tooLittle(need, "this model")
	}
	if err := r.gatherText(ctx); err != nil {
		return nil, r.interrupted(err)
	}
	how, err := r.options()
	if err != nil {
		return nil, err
	}
	defer debug.SetMemoryLimit(debug.SetMemoryLimit(r.MaxRAM))
	start := time.Now()
	if err := r.calibrate(ctx, how); err != nil {
		return nil, err
	}
	took := time.Since(start)
	_ = os.Remove(r.textFile()) // if the model wrote any
	sum := r.stats.Summarize()
	if err := against(ctx, sum, r.stats.Origin, r.Against, r.tok); err != nil {
		return nil, err
	}
	return &Result{Output: out, Seconds: took.Seconds(), Summary: sum, TextTokens: len(r.stats.Origin.Tokens)}, nil
}

// interrupted is for what an interruption loses.
func (r *run) interrupted(err error) error {
	return work.Interrupted(err, ", %s was not written", r.out)
}

// run is a run of the job.
type run struct {
	Options
	model, out string
	tok        *tokenizer.Tokenizer
	layers     *runtime.Layers
	weights    string      // SHA-256 of the model's
	stats      *stats.File // to be filled

	step progress.Step // of all long work; nil before it begins
	work *progress.Work
}

// Kinds of work, both in tokens.
const (
	calibratedTokens = iota
	writtenTokens
)

// begin begins to show how so many tokens are calibrated with, of which own are written by the model first.
func (r *run) begin(tokens, own int) {
	r.step = r.Monitor.Begin("calibrating", int64(tokens), progress.Tokens)
	// Writing costs the output matrix more than a pass, and with few texts side by side the reading of all weights.
	blocks, output := r.layers.TokenWork()
	texts := min(text.Parallel, (own+r.Length-1)/r.Length)
	writing := (1.1 + 6/float64(max(1, texts))) * (blocks + output) / blocks
	r.work = progress.NewWork(r.step, int64(tokens),
		progress.Kind{Total: float64(tokens), Cost: calib.Passes(r.layers, r.fisher())}, // calibratedTokens
		progress.Kind{Total: float64(own), Cost: writing})
}

// open opens the model, and refuses an output that is a file of the input.
func (r *run) open(ctx context.Context) (err error) {
	if r.tok, err = tokenizer.Open(r.model); err != nil {
		return err
	}
	r.layers, err = runtime.OpenLayers(r.model, runtime.Options{Threads: r.Threads, Batch: calib.BatchTokens})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = r.layers.Close()
		}
	}()
	files, err := r.layers.Files()
	if err != nil {
		return err
	}
	if err := output.NotInput(append(files, r.Files...), r.out); err != nil {
		return err
	}
	step := r.Monitor.Begin("hashing", r.layers.Bytes(), progress.Bytes)
	defer step.End()
	r.weights, err = r.layers.SHA256(ctx, step.Set)
	return err
}

// options are those of gathering. The text is known.
func (r *run) options() (calib.Options, error) {
	opt := calib.Options{
		Work: atomicfile.Beside(r.out, ".work"), Memory: r.MaxRAM - work.ProgramRAM - calib.Need(r.layers),
	}
	opt.Outputs = r.FisherOutputs
	if opt.Fisher = r.fisher(); opt.Fisher {
		opt.GradientMemory = r.MaxRAM - work.ProgramRAM
		longest := int(slices.Max(r.stats.Origin.Lengths))
		if need := r.layers.GradientBytes(longest, longest); need > opt.GradientMemory {
			return opt, r.tooLittle(need+work.ProgramRAM, "the gradients of this model, or --fisher=false")
		}
	}
	return opt, nil
}

// fisher reports whether gradients are computed.
func (r *run) fisher() bool {
	if r.Fisher != nil {
		return *r.Fisher
	}
	return len(r.Files) == 0
}

func (r *run) tooLittle(need int64, what string) error {
	return usage.Errorf("--max-ram is %s, expected at least %s for %s",
		humanize.IBytes(uint64(max(0, r.MaxRAM))), humanize.IBytes(uint64(need)), what)
}

// calibrate gathers the statistics and writes the file.
func (r *run) calibrate(ctx context.Context, opt calib.Options) error {
	opt.Resumed = func(blocks int) {
		r.Monitor.Note("continuing after block %d of %d, from %s", blocks, r.layers.Count(), opt.Work)
	}
	tokens := len(r.stats.Origin.Tokens)
	if r.step == nil {
		r.begin(tokens, 0)
	}
	before := int64(0)
	opt.Progress = func(done, total int64) {
		r.work.Add(calibratedTokens, float64(tokens)*float64(done-before)/float64(total))
		before = done
	}
	err := calib.Calibrate(ctx, r.layers, r.stats, r.out, opt)
	return work.Interrupted(err, ", %s was not written; the same command continues from %s", r.out, opt.Work)
}
