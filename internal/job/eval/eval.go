// Package eval puts questions to models and counts what quantization changed. It is what "phi3conv eval" does:
// tasks and figures are those of package github.com/phi3conv/phi3conv/verify/eval.
package eval

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
	"github.com/phi3conv/phi3conv/verify/eval"
)

// Options say what [Run] asks which models.
type Options struct {
	Models   []string // checkpoint directories and GGUF files, one or more
	Base     string   // the original to compare with, computed in float32; "" for none
	Tasks    []string // files with questions, one or more
	Examples []string // files with examples; without one, the first questions of each subject are the examples
	Limit    int      // reads the first records of the tasks only, 0 for all
	// How says how questions are asked. An empty Kind is that of the first record; a Context of 0 is the
	// models' least, at most 4096; a Predict of 0 is 32.
	How        eval.Options
	Compute    runtime.Options // how the models but the original compute
	Thresholds []verify.Threshold
	Tool       string           // program and version, for the report
	Monitor    progress.Monitor // is told what is done; may be nil
}

// Run puts the questions to each model, one model after the other. Options that make no sense are a
// *[usage.Error]; what is wrong with a file names it.
func Run(ctx context.Context, o Options) (*eval.Report, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	q, err := o.readQuestions(ctx)
	if err != nil {
		return nil, err
	}
	models := o.Models
	if o.Base != "" {
		models = append([]string{o.Base}, models...)
	}
	if o.How.Context, err = commonContext(o.How.Context, models); err != nil {
		return nil, err
	}
	tasks, err := q.encode(models, o.How, o.Base != "")
	if err != nil {
		return nil, err
	}
	var results []eval.Result
	for i, path := range models {
		opt := o.Compute
		if o.Base != "" && i == 0 {
			opt.Float32, opt.Cache = true, runtime.CacheF32
		}
		r, err := ask(ctx, path, opt, tasks[i], progress.Quiet(o.Monitor))
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	var base *eval.Result
	if o.Base != "" {
		base, results = &results[0], results[1:]
	}
	r := eval.NewReport(tasks[0], base, results)
	r.Tool = o.Tool
	r.Task.Files = append(r.Task.Files, q.files...)
	r.Task.Examples = append(r.Task.Examples, q.exampleFiles...)
	if len(o.Thresholds) > 0 {
		err = r.Judge(o.Thresholds)
	}
	return r, err
}

// check sets defaults and returns a usage error for options that make no sense.
func (o *Options) check() error {
	if o.How.Predict == 0 {
		o.How.Predict = 32
	}
	switch {
	case len(o.Models) == 0 || len(o.Tasks) == 0:
		return usage.Errorf("an evaluation needs models and tasks")
	case o.Limit < 0 || o.How.Shots < 0 || o.How.Context < 0 || o.How.Predict < 0:
		return usage.Errorf("numbers of records, examples and tokens cannot be negative")
	case len(o.Thresholds) > 0 && o.Base == "":
		return usage.Errorf("thresholds need an original to compare with")
	}
	return nil
}

// ask runs one model, which takes no memory after.
func ask(ctx context.Context, path string, opt runtime.Options, t *eval.Task, m progress.Monitor) (eval.Result, error) {
	r := eval.Result{}
	p, err := model.OpenPredictor(ctx, path, opt, t.Context, m)
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	defer p.Close()
	tokens := t.Tokens()
	total := tokens[len(tokens)-1]
	w := model.Watch(m, filepath.Base(path), total, float64(total), p.Meter)
	r.Answers, err = t.Run(ctx, p.Reusing(), func(done int) { w.Done(tokens[done-1]) })
	w.End()
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	r.Model, err = model.Describe(ctx, path, m)
	return r, err
}
