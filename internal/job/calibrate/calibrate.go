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
	// FisherOutputs also gathers what gptq's feedback along outputs needs. Nil does so with Fisher.
	FisherOutputs *bool
	// Shard is the part of the sequences to calibrate with, for [Merge]; nil for all. With Fisher there are two rounds:
	// without Gradients those of the part are written; Gradients are the files of all parts then.
	Shard     *stats.Shard
	Gradients []string
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
	// Shard is set, and there are no entries, if the output is for [Merge]. It holds statistics or, with Gradients,
	// gradients.
	Shard     *stats.Shard `json:"shard,omitempty"`
	Gradients bool         `json:"gradients,omitempty"`
	*stats.Summary
	TextTokens int `json:"-"` // in all sequences
	merged     bool
}

// WriteText says in a line what was done.
func (r *Result) WriteText(w io.Writer) error {
	what := ""
	switch {
	case r.Shard != nil && r.Gradients:
		what = fmt.Sprintf("gradients, part %d of %d, ", r.Shard.I, r.Shard.N)
	case r.Shard != nil:
		what = fmt.Sprintf("statistics, part %d of %d, ", r.Shard.I, r.Shard.N)
	case len(r.Entries) > 0:
		what = report.Plural(len(r.Entries), "linear layer") + ", "
	}
	took := fmt.Sprintf(", %.1f s, %.0f tok/s", r.Seconds, float64(r.TextTokens)/r.Seconds)
	if r.merged {
		took = ""
	}
	_, err := fmt.Fprintf(w, "%s: %s%s in %s%s\n", r.Output, what,
		report.Plural(r.TextTokens, "token"), report.Plural(r.Sequences, "sequence"), took)
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
	if r.FisherOutputs != nil && *r.FisherOutputs && !r.fisher() {
		return nil, usage.Errorf("--fisher-outputs is for --fisher, which is off")
	}
	if err := r.checkShard(); err != nil {
		return nil, err
	}
	if err := r.open(ctx); err != nil {
		return nil, r.interrupted(err)
	}
	defer func() { _ = r.layers.Close() }() // only read from
	defer r.end()
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
	result := &Result{Output: out, Seconds: took.Seconds(), TextTokens: r.portion.Tokens(), Shard: r.Shard}
	if r.Shard == nil {
		result.Summary = r.stats.Summarize()
	} else {
		result.Summary = r.summary(len(r.portion.Lengths), r.portion.Tokens())
		result.Gradients = r.gathersGradients()
	}
	if err := against(ctx, result.Summary, r.stats.Origin, r.Against, r.tok); err != nil {
		return nil, err
	}
	return result, nil
}

// end ends what is shown, if it has begun.
func (r *run) end() {
	if r.step != nil {
		r.step.End()
	}
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
	weights    string         // SHA-256 of the model's
	stats      *stats.File    // to be filled
	portion    *stats.Portion // of the sequences, that is calibrated with
	textOnly   bool           // the text is written, and nothing gathered
	own        *ownText       // what the model has written; nil if it writes nothing

	step progress.Step // of all long work; nil before it begins
	work *progress.Work
}

// Kinds of work, both in tokens.
const (
	calibratedTokens = iota
	writtenTokens
)

// begin begins to show how so many tokens are calibrated with, of which own are written by the model first, or, with
// none, how they are written.
func (r *run) begin(tokens, own int) {
	what, total := "calibrating", int64(tokens)
	if tokens == 0 {
		what, total = "writing text", int64(own)
	}
	r.step = r.Monitor.Begin(what, total, progress.Tokens)
	// Writing costs the output matrix more than a pass, and with few texts side by side the reading of all weights.
	blocks, output := r.layers.TokenWork()
	texts := min(text.Parallel, (own+r.Length-1)/r.Length)
	writing := (1.1 + 6/float64(max(1, texts))) * (blocks + output) / blocks
	r.work = progress.NewWork(r.step, total,
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
	shard := stats.Shard{I: 1, N: 1}
	if r.Shard != nil {
		shard = *r.Shard
	}
	var err error
	if r.portion, err = shard.Of(r.stats.Origin.Lengths); err != nil {
		return calib.Options{}, err
	}
	opt := calib.Options{
		Work: atomicfile.Beside(r.out, ".work"), Memory: r.MaxRAM - work.ProgramRAM - calib.Need(r.layers),
	}
	opt.Fisher, opt.Outputs = r.fisher(), r.fisherOutputs()
	if r.gathersGradients() {
		opt.GradientMemory = r.MaxRAM - work.ProgramRAM
		longest := int(slices.Max(r.portion.Lengths))
		if need := calib.GradientNeed(r.layers, longest, opt.Outputs); need > opt.GradientMemory {
			return opt, r.tooLittle(need+work.ProgramRAM, "the gradients of this model, or --fisher=false")
		}
	}
	return opt, nil
}

// fisher reports whether tokens are weighed by gradients.
func (o *Options) fisher() bool {
	if o.Fisher != nil {
		return *o.Fisher
	}
	return len(o.Files) == 0
}

// gathersGradients reports whether gradients are computed.
func (o *Options) gathersGradients() bool { return o.fisher() && len(o.Gradients) == 0 }

// fisherOutputs reports whether sums of products of gradients are gathered.
func (o *Options) fisherOutputs() bool {
	if o.FisherOutputs != nil {
		return *o.FisherOutputs
	}
	return o.gathersGradients()
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
	tokens := r.portion.Tokens()
	if r.step == nil {
		r.begin(tokens, 0)
	}
	before := int64(0)
	opt.Progress = func(done, total int64) {
		r.work.Add(calibratedTokens, float64(tokens)*float64(done-before)/float64(total))
		before = done
	}
	gradients, err := r.openGradients()
	if err != nil {
		return err
	}
	defer gradients.Close()
	switch {
	case r.Shard == nil:
		err = calib.Calibrate(ctx, r.layers, r.stats, r.out, opt)
	case gradients == nil:
		err = calib.CalibrateShard(ctx, r.layers, r.stats, r.out, *r.Shard, nil, opt)
	default:
		err = calib.CalibrateShard(ctx, r.layers, r.stats, r.out, *r.Shard, gradients, opt)
	}
	return work.Interrupted(err, ", %s was not written; the same command continues from %s", r.out, opt.Work)
}
