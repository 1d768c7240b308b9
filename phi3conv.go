// Package phi3conv converts, calibrates, quantizes and verifies Phi models, from file to file. It is what the
// program of that name does, for other Go programs.
//
// A model is a checkpoint directory as published (config.json, safetensors files, tokenizer), a GGUF file or a .pmap
// file. Output files appear under their names only when they are complete. What is wrong with a file is a
// [formats.Error], which names it.
package phi3conv

import (
	"context"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/internal/job/calibrate"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// Limits bound what a job uses. They do not change its result.
type Limits struct {
	Threads int   // 0 for the default: the number of CPUs, or of cores for jobs that run the model
	MaxRAM  int64 // bytes for the whole program, 0 for the default
	// Progress, if not nil, is called from time to time with a step of the job, such as "quantizing", and how much of
	// it is done, in units of the step. It may be called from several goroutines.
	Progress func(step string, done, total int64)
}

// ConvertOptions say what to make of a model. The zero value stores all of it as F32.
type ConvertOptions struct {
	// Policy gives each tensor its type.
	Policy policy.Policy
	// AllowRequantize permits quantizing tensors that are quantized already, which adds error to error.
	AllowRequantize bool
	// SplitMaxSize is the largest number of bytes of tensor data in one file; 0 means one file.
	SplitMaxSize int64
	Limits
}

// Convert makes the GGUF file out of a model, or a .pmap file if out has that extension.
func Convert(ctx context.Context, model, out string, opt ConvertOptions) error {
	_, err := quantize.Run(ctx, model, out, quantize.Options{
		Policy:          opt.Policy,
		AllowRequantize: opt.AllowRequantize,
		SplitMaxSize:    opt.SplitMaxSize,
		Limits:          quantize.Limits{Threads: opt.Threads, MaxRAM: opt.MaxRAM},
	}, opt.monitor())
	return err
}

// CalibrateOptions say from what text statistics are gathered.
type CalibrateOptions struct {
	// Texts are files: plain text, or JSON lines with texts or conversations. Without any the model writes its own.
	Texts []string
	// Length is the number of tokens in a sequence, 0 for 512. Tokens is about how many are used in all: 0 for all of
	// the texts, or for 65,536 of the model's own.
	Length, Tokens int
	// Fisher weighs tokens by the gradients of the model's own loss. It takes about four times as long, and is
	// always done for the model's own text.
	Fisher bool
	Limits
}

// Calibrate gathers statistics of a model's activations in the file out, which [Quantize] and llama.cpp read.
func Calibrate(ctx context.Context, model, out string, opt CalibrateOptions) error {
	text := calibrate.DefaultText()
	text.Files, text.Tokens = opt.Texts, opt.Tokens
	if opt.Length != 0 {
		text.Length = opt.Length
	}
	fisher := opt.Fisher || len(opt.Texts) == 0
	_, err := calibrate.Run(ctx, model, out, calibrate.Options{
		Text:    text,
		Fisher:  &fisher,
		Threads: opt.Threads,
		MaxRAM:  opt.MaxRAM,
		Monitor: opt.monitor(),
	})
	return err
}

// Quantize makes a quantized file of a model by a recipe: the types of its tensors and a method of
// [calib.Methods]. stats is the statistics file of [Calibrate], "" for a method that needs none. The output's metadata
// hold the recipe and hashes of model and statistics, so that "phi3conv reproduce" can make it again.
func Quantize(ctx context.Context, model, out string, recipe calib.Recipe, stats string, lim Limits) error {
	_, err := quantize.Run(ctx, model, out, quantize.Options{
		Recipe: &recipe,
		Stats:  stats,
		Limits: quantize.Limits{Threads: lim.Threads, MaxRAM: lim.MaxRAM},
	}, lim.monitor())
	return err
}

// VerifyOptions say on what text models are compared, and what they must keep.
type VerifyOptions struct {
	Texts      []string           // files with text to predict, one or more
	Context    int                // tokens in a window, 0 for 512
	Windows    int                // of each text at most, 0 for all
	Thresholds []verify.Threshold // verdicts are in the reports
	Compute    runtime.Options    // of the quantized models; the original computes in float32
	Progress   func(step string, done, total int64)
}

// Verify compares the predictions of quantized models with those of their original, base, and returns a report on
// each.
func Verify(ctx context.Context, base string, quants []string, opt VerifyOptions) (verify.Reports, error) {
	lim := Limits{Progress: opt.Progress}
	return verifyjob.Run(ctx, verifyjob.Options{
		Base:         base,
		Quants:       quants,
		Texts:        opt.Texts,
		Windows:      verifyjob.Windows{Context: opt.Context, Max: opt.Windows},
		Compute:      opt.Compute,
		Requirements: verifyjob.Requirements{Thresholds: opt.Thresholds},
		Tool:         "github.com/phi3conv/phi3conv",
		Monitor:      lim.monitor(),
	})
}

// monitor tells Progress what a job does, if it is set.
func (l Limits) monitor() progress.Monitor {
	if l.Progress == nil {
		return nil
	}
	return monitor(l.Progress)
}

type monitor func(step string, done, total int64)

func (m monitor) Note(string, ...any) {}

func (m monitor) Begin(what string, total int64, _ progress.Unit) progress.Step {
	return step{m, what, total}
}

// step is a step of a job.
type step struct {
	report monitor
	what   string
	total  int64
}

func (s step) Set(done int64) { s.report(s.what, done, s.total) }

func (step) End() {}
