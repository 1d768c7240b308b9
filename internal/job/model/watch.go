package model

import (
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/runtime"
)

// Meter is told what a model computes, and tells it to what watches the model.
type Meter struct {
	// cost is how long a token is expected to take, as a multiple of other models' tokens.
	cost   float64
	report func(tokens float64)
	tokens float64 // that are not reported yet
}

// reported is how many tokens are reported together at least: a product of one token takes microseconds.
const reported = 0.1

// roundedCost is about how long a token takes whose activations are rounded to int8, compared with one in float32.
const roundedCost = 0.4

// NewMeter makes the options' model tell a new meter what it computes.
func NewMeter(opt *runtime.Options) *Meter {
	m := &Meter{cost: roundedCost}
	if opt.Float32 {
		m.cost = 1
	}
	opt.Computed = m.computed
	return m
}

func (m *Meter) computed(tokens float64) {
	if m.tokens += tokens; m.tokens >= reported && m.report != nil {
		m.report(m.tokens)
		m.tokens = 0
	}
}

// Watched is a step that shows what models compute.
type Watched struct {
	step   progress.Step
	work   *progress.Work
	total  int64
	meters []*Meter
}

// Watch begins a step of so many tokens, for which each of the models computes about as many as evaluated says.
func Watch(m progress.Monitor, what string, total int64, evaluated float64, models ...*Meter) *Watched {
	w := &Watched{step: progress.Quiet(m).Begin(what, total, progress.Tokens), total: total, meters: models}
	var kinds []progress.Kind
	for _, meter := range models {
		kinds = append(kinds, progress.Kind{Total: evaluated, Cost: meter.cost})
	}
	w.work = progress.NewWork(w.step, total, kinds...)
	for i, meter := range models {
		meter.report = func(tokens float64) { w.work.Add(i, tokens) }
	}
	return w
}

// Done says that the models have done all that they do for so many of the step's tokens.
func (w *Watched) Done(tokens int64) {
	w.work.Cycles(float64(tokens), float64(w.total))
	if tokens == w.total {
		w.step.Set(tokens)
	}
}

// End ends the step.
func (w *Watched) End() {
	for _, meter := range w.meters {
		meter.report = nil
	}
	w.step.End()
}
