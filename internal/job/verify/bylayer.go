package verify

import (
	"cmp"
	"context"
	"fmt"

	"github.com/phi3conv/phi3conv/internal/job/model"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// rankLayers ranks the layers, or tensors, of each quantized model in its report.
func (r *run) rankLayers(ctx context.Context, list verify.Reports) error {
	opt := r.baseOptions()
	meter := model.NewMeter(&opt)
	base, err := model.Open(ctx, r.Base, opt, r.Monitor)
	if err != nil {
		return err
	}
	defer func() { _ = base.Close() }() // only read from
	windows := r.someWindows()
	for k, path := range r.Quants {
		if err := r.rankLayersOf(ctx, base, meter, path, windows, list[k]); err != nil {
			return err
		}
	}
	return nil
}

// someWindows are those that layers and parts are told apart on.
func (r *run) someWindows() []verify.Window { return spread(r.windows, cmp.Or(r.LayerWindows, 4)) }

// spread returns n of the windows, at equal distances.
func spread(windows []verify.Window, n int) []verify.Window {
	n = min(n, len(windows))
	some := make([]verify.Window, n)
	for i := range some {
		some[i] = windows[i*len(windows)/n]
	}
	return some
}

func (r *run) rankLayersOf(
	ctx context.Context, base *runtime.Model, meter *model.Meter, path string, windows []verify.Window,
	report *verify.Report,
) error {
	quant, err := model.Open(ctx, path, r.baseOptions(), r.Monitor)
	if err != nil {
		return err
	}
	defer func() { _ = quant.Close() }() // only read from
	h, err := runtime.NewHybrid(base, quant, r.corpus.conventions.Context)
	if err != nil {
		return err
	}
	groups, err := tensorGroups(path, r.ByTensor)
	if err != nil {
		return err
	}
	whole := tensorGroup{name: "all at once"}
	for _, g := range groups {
		whole.add(g)
	}
	if groups, err = quantizedOnly(h, groups); err != nil {
		return err
	}
	each, done := 2+len(groups), 0 // evaluations of a window; those that begin at a later block compute less
	total := 0
	for i := range windows {
		total += len(windows[i].Tokens)
	}
	step := model.Watch(r.Monitor, "by layer", int64(total), float64(total)*(1+float64(each)/2), meter)
	defer step.End()
	count := func() {
		if done++; done%each == 0 {
			step.Done(int64(total) * int64(done/each) / int64(len(windows)))
		}
	}
	with := func(tensors []string) verify.Predictor { return &hybrid{h, base.VocabSize(), path, tensors, count} }
	models, layers := make([]verify.Predictor, len(groups)), make([]verify.LayerKLD, len(groups))
	for i, g := range groups {
		models[i], layers[i] = with(g.tensors), g.describe()
	}
	return report.ByLayer(ctx, with(nil), with(whole.tensors), whole.describe(), models, layers, windows)
}

// quantizedOnly leaves out groups whose tensors are all the original's.
func quantizedOnly(h *runtime.Hybrid, groups []tensorGroup) ([]tensorGroup, error) {
	var changed []tensorGroup
	for _, g := range groups {
		same := true
		for _, name := range g.tensors {
			s, err := h.Same(name)
			if err != nil {
				return nil, err
			}
			same = same && s
		}
		if !same {
			changed = append(changed, g)
		}
	}
	return changed, nil
}

// hybrid is the original with some tensors of a quantized model, as a [verify.Predictor].
type hybrid struct {
	h       *runtime.Hybrid
	vocab   int
	path    string // of the quantized model
	tensors []string
	done    func()
}

// String names the model in errors.
func (h *hybrid) String() string {
	switch len(h.tensors) {
	case 0:
		return "original"
	case 1:
		return fmt.Sprintf("%s of %s in the original", h.tensors[0], h.path)
	}
	return fmt.Sprintf("%s to %s of %s in the original", h.tensors[0], h.tensors[len(h.tensors)-1], h.path)
}

func (h *hybrid) VocabSize() int { return h.vocab }

func (h *hybrid) Logits(
	ctx context.Context, tokens []int32, first int, emit func(i int, logits []float32) error,
) error {
	if err := h.h.Logits(ctx, h.tensors, tokens, first, emit); err != nil {
		return err
	}
	h.done()
	return nil
}
