package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// speedRun measures the speed of models.
type speedRun struct {
	Speed
	base    string // "" if the original is not there
	quants  []string
	compute runtime.Options
	monitor progress.Monitor
}

// measureIfNeeded adds the performance to the reports of the quantized models if that was asked for, or if a
// threshold needs it.
func (s *speedRun) measureIfNeeded(ctx context.Context, list verify.Reports, thresholds []verify.Threshold) error {
	if !s.Always && !slices.ContainsFunc(thresholds, onSpeed) {
		return nil
	}
	all, err := s.measure(ctx)
	if err != nil {
		return err
	}
	for i, r := range list {
		r.Performance = &all[i]
	}
	return nil
}

// check refuses thresholds that are none, and a speed that is needed and cannot be measured. It is called before
// anything is evaluated.
func (s *Speed) check(thresholds []verify.Threshold) error {
	for _, t := range thresholds {
		if err := t.Validate(); err != nil {
			return &usage.Error{Err: err}
		}
	}
	if s.Bench == nil && (s.Always || slices.ContainsFunc(thresholds, onSpeed)) {
		return usage.Errorf("speed cannot be measured: there is no program to measure it with")
	}
	return nil
}

// onSpeed reports whether the threshold needs a measurement of speed.
func onSpeed(t verify.Threshold) bool {
	return slices.ContainsFunc(verify.Metrics(), func(m verify.Metric) bool {
		return m.Name == t.Name && m.Source == verify.OfSpeed
	})
}

// measure measures the models in turns and returns the performance of each quantized model.
func (s *speedRun) measure(ctx context.Context) ([]verify.Performance, error) {
	paths := s.quants
	if s.base != "" {
		paths = slices.Concat([]string{s.base}, s.quants)
	}
	opt := s.compute
	opt.Threads = cmp.Or(opt.Threads, runtime.DefaultThreads())
	repetitions := cmp.Or(s.Repetitions, 5)
	step := s.monitor.Begin("measuring speed", int64(repetitions*len(paths)), progress.Count)
	defer step.End()
	runs := make([][]verify.SpeedRun, len(paths))
	perToken := make([]int64, len(paths))
	bandwidth := 0.0 // mean of all measurements
	for i := range repetitions {
		for k, path := range paths {
			m, err := s.Bench(ctx, path, opt)
			if err != nil {
				return nil, fmt.Errorf("measuring the speed of %s: %w", path, err)
			}
			runs[k] = append(runs[k], m.SpeedRun)
			perToken[k] = m.BytesPerToken
			bandwidth += m.Bandwidth / float64(repetitions*len(paths))
			step.Set(int64(i*len(paths) + k + 1))
		}
	}
	p := verify.Performance{Threads: opt.Threads, Bandwidth: bandwidth}
	var all []verify.Performance
	for k := range paths {
		speed := verify.NewSpeed(runs[k], perToken[k], bandwidth)
		if k == 0 && s.base != "" {
			p.Base = &speed
			continue
		}
		p.Quant = speed
		all = append(all, p)
	}
	return all, nil
}
