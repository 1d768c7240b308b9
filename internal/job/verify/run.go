package verify

import (
	"context"
	"slices"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// Run compares quantized models with their original and returns a report on each, in the order of o.Quants.
// Options that make no sense are a *[usage.Error]; what is wrong with a file names it.
func Run(ctx context.Context, o Options) (verify.Reports, error) {
	r, err := begin(ctx, o)
	if err != nil {
		return nil, err
	}
	defer r.models.close()
	if err := r.evaluateAll(ctx); err != nil {
		if r.Progress == "" {
			err = work.Interrupted(err, "; nothing is kept without --report")
		}
		return nil, err
	}
	list, err := r.reports()
	if err != nil {
		return nil, err
	}
	if err := r.checkSeen(list); err != nil {
		return nil, err
	}
	if err := compareRows(ctx, &r.Options, list); err != nil {
		return nil, err
	}
	if err := r.details(ctx, list); err != nil {
		return nil, err
	}
	s := speedRun{o.Speed, o.Base, o.Quants, r.Compute, r.Monitor}
	if err := s.measureIfNeeded(ctx, list, o.Requirements.Thresholds); err != nil {
		return nil, err
	}
	return list, o.Requirements.judge(list, r.baseline)
}

// details tells layers and parts apart, where that is asked for.
func (r *run) details(ctx context.Context, list verify.Reports) error {
	if r.ByLayer || r.ByTensor {
		if err := r.rankLayers(ctx, list); err != nil {
			return err
		}
	}
	if r.ByPart {
		return r.tellParts(ctx, list)
	}
	return nil
}

// run is a verification under way.
type run struct {
	Options
	corpus   *corpus
	windows  []verify.Window // those of the corpus that are evaluated: of the shard
	hash     string          // of all windows
	models   *descriptions   // the original, then the quantized models
	baseline *baseline       // nil for none

	positions []verify.Positions // of each quantized model, of the windows that it is done with
	saves     saves
}

// begin reads all but the weights and finds mistakes.
func begin(ctx context.Context, o Options) (*run, error) {
	if err := o.check(); err != nil {
		return nil, err
	}
	conv, err := o.Windows.conventions()
	if err != nil {
		return nil, err
	}
	paths := slices.Concat([]string{o.Base}, o.Quants)
	if err := checkHeaders(paths, conv.Context, o.Monitor); err != nil {
		return nil, err
	}
	c, err := readCorpus(ctx, o.Base, o.Texts, o.Windows)
	if err != nil {
		return nil, err
	}
	for _, path := range o.Quants {
		if err := c.checkTokenizer(path); err != nil {
			return nil, err
		}
	}
	o.Monitor = progress.Quiet(o.Monitor)
	if !o.NoCheck {
		if err := model.Check(ctx, paths, o.Monitor); err != nil {
			return nil, err
		}
	}
	r := &run{Options: o, corpus: c, windows: c.windows, hash: verify.HashWindows(c.windows)}
	if s := o.Shard; s != nil {
		if s.N > len(c.windows) {
			return nil, usage.Errorf("--shard has %d parts, but there are only %d windows", s.N, len(c.windows))
		}
		r.windows = s.Of(c.windows)
	}
	r.positions = make([]verify.Positions, len(o.Quants))
	r.models = describe(ctx, paths)
	if err := r.prepare(); err != nil {
		r.models.close()
		return nil, err
	}
	return r, nil
}

// prepare reads what an interrupted run saved, and refuses a baseline that does not fit before anything is evaluated.
func (r *run) prepare() error {
	if err := r.resume(); err != nil {
		return err
	}
	if r.Requirements.Baseline == "" {
		return nil
	}
	var err error
	if r.baseline, err = readBaseline(r.Requirements.Baseline); err != nil {
		return err
	}
	list, err := r.reports()
	if err != nil {
		return err
	}
	return r.baseline.check(list)
}

// evaluateAll fills in the positions of all windows.
func (r *run) evaluateAll(ctx context.Context) error {
	r.saves.start()
	evaluate := r.sideBySide
	if r.OneAtATime {
		evaluate = r.oneAtATime
	}
	err := evaluate(ctx)
	saved := r.save(true)
	if err != nil {
		if saved == nil && r.saves.saved {
			r.Monitor.Note("the same command continues after %d of %d windows, from %s",
				r.doneByAll(), len(r.windows), r.Progress)
		}
		return err
	}
	return saved
}

// done returns for how many windows a quantized model has positions.
func (r *run) done(quant int) int {
	n := len(r.positions[quant])
	for i := range r.windows {
		if n < r.windows[i].Scored() {
			return i
		}
		n -= r.windows[i].Scored()
	}
	return len(r.windows)
}

// doneByAll returns the number of windows that every quantized model is done with.
func (r *run) doneByAll() int {
	least := len(r.windows)
	for k := range r.Quants {
		least = min(least, r.done(k))
	}
	return least
}

// baseOptions are those of the original, with which nothing is lost but by rounding to float32.
func (r *run) baseOptions() runtime.Options {
	opt := r.Compute
	opt.Float32, opt.Cache = true, runtime.CacheF32
	return opt
}

func (r *run) open(ctx context.Context, path string, opt runtime.Options) (*model.Predictor, error) {
	return model.OpenPredictor(ctx, path, opt, r.corpus.conventions.Context, r.Monitor)
}

// reports summarizes what is done so far. It waits until the models are described.
func (r *run) reports() (verify.Reports, error) {
	models, err := r.models.wait(r.Monitor)
	if err != nil {
		return nil, err
	}
	var list verify.Reports
	for k := range r.Quants {
		report := verify.NewReport(r.positions[k], r.corpus.reportTexts(), r.Worst)
		report.Tool, report.Conventions, report.Tokens, report.Shard = r.Tool, r.corpus.conventions, r.hash, r.Shard
		report.Compute = verify.Compute{Float32: r.Compute.Float32, Cache: r.Compute.Cache.String()}
		report.Base, report.Quant = models[0], models[1+k]
		describeWorst(report, r.corpus.tokenizer, r.windows)
		list = append(list, report)
	}
	return list, nil
}
