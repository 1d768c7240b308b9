// Package verify measures how far quantized models are from their original on texts, or on the tokens of
// a seal. It is what "phi3conv verify" and "phi3conv seal" do: the figures are those of package
// github.com/phi3conv/phi3conv/verify.
package verify

import (
	"context"
	"time"

	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// Options say what [Run] compares, on which tokens, and what else it measures.
type Options struct {
	Base    string   // the original: a checkpoint directory or a GGUF file
	Quants  []string // the models to compare with it, one or more
	Texts   []string // files with text to predict, one or more
	Windows Windows
	Shard   *verify.Shard // evaluates only this part of the windows; nil for all

	// Compute says how the quantized models compute. The original computes in float32 with keys and values
	// in float32, on as many threads.
	Compute    runtime.Options
	NoCheck    bool // leaves out the comparison of .pmap files with their checksums
	OneAtATime bool // opens one model after the other; the original's logits go into a temporary file

	// Progress is a file that keeps what is done, so that the same verification can continue after an
	// interruption; "" for none. It stays until [RemoveProgress].
	Progress  string
	SaveEvery time.Duration // least time between two writes of Progress, 0 for 5 s

	Worst        int  // number of tokens to show whose predictions changed most
	ByLayer      bool // ranks layers by the KL divergence that the quantized weights of each add
	ByTensor     bool // ranks single tensors instead; takes four times as long
	ByPart       bool // tells the KL divergence of the weights from what the runtime adds
	LayerWindows int  // windows for ByLayer, ByTensor and ByPart, spread over all texts; 0 for 4

	Speed        Speed
	Requirements Requirements

	Tool    string           // program and version, for the report
	Monitor progress.Monitor // is told what is done; may be nil
}

// Windows say which tokens of a text are scored, and after what.
type Windows struct {
	Context int // tokens in a window, 0 for 512
	// Stride is the number of tokens from the start of one window to the start of the next: windows overlap, and
	// every token is scored once. 0: windows follow each other and their second halves are scored, as by
	// llama-perplexity.
	Stride int
	Max    int // windows of each text at most, 0 for all
}

// Requirements are what the models must meet. The verdicts are in the reports.
type Requirements struct {
	Thresholds []verify.Threshold
	Strict     bool               // no text may be what a model was calibrated with
	Baseline   string             // file with an earlier report to compare with, "" for none
	Allowed    []verify.Threshold // worsening of figures against the baseline; 0 for those not named
}

// Speed says whether and how often speed, load time and memory are measured.
type Speed struct {
	Always      bool  // measure even if no threshold is on them
	Repetitions int   // of each measurement, 0 for 5
	Bench       Bench // measures; nil if nothing can, which is an error where a measurement is needed
}

// Bench measures a model once, in a process of its own, so that load time and peak memory are that model's
// alone. opt.Threads is not 0.
type Bench func(ctx context.Context, path string, opt runtime.Options) (Measurement, error)

// Measurement is what one run of a program with the model measured.
type Measurement struct {
	verify.SpeedRun
	BytesPerToken int64   // of weights, that decoding a token reads
	Bandwidth     float64 // bytes a second that the machine reads with as many threads
}

// check returns a usage error for options that make no sense.
func (o *Options) check() error {
	some := o.ByLayer || o.ByTensor || o.ByPart // of the windows
	switch {
	case o.Base == "" || len(o.Quants) == 0 || len(o.Texts) == 0:
		return usage.Errorf("a verification needs an original, quantized models and texts")
	case o.Worst < 0 || o.LayerWindows < 0:
		return usage.Errorf("the numbers of worst tokens and of windows for layers cannot be negative")
	case o.Shard != nil && (o.Shard.I < 1 || o.Shard.I > o.Shard.N):
		return usage.Errorf("part %d of %d", o.Shard.I, o.Shard.N)
	case o.Shard != nil && o.Requirements.Baseline != "":
		return usage.Errorf("--baseline is for all parts together: give it to verify merge, not to a --shard")
	case o.Shard != nil && some:
		return usage.Errorf("--by-layer, --by-tensor and --by-part cannot be shared: leave out --shard")
	}
	return o.Speed.check(o.Requirements.Thresholds)
}

// conventions returns the windows in the terms of a report, or a usage error.
func (w Windows) conventions() (verify.Conventions, error) {
	n := w.Context
	if n == 0 {
		n = 512
	}
	switch {
	case n < 4 || w.Stride < 0 || w.Stride > n || w.Max < 0:
		return verify.Conventions{}, usage.Errorf("windows of %d tokens with stride %d, at most %d: "+
			"expected at least 4 tokens, a stride of at most as many, and nothing negative", n, w.Stride, w.Max)
	case w.Stride == 0:
		return verify.Conventions{Name: verify.LlamaPerplexity, Context: n, Stride: n, First: n / 2}, nil
	}
	return verify.Conventions{Name: verify.Strided, Context: n, Stride: w.Stride}, nil
}
