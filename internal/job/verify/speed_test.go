package verify

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// fakeBench measures without a model: the original is half as fast, and each run is faster than the one before.
type fakeBench struct{ paths []string }

func (b *fakeBench) run(_ context.Context, path string, opt runtime.Options) (Measurement, error) {
	b.paths = append(b.paths, path)
	speed := float64(opt.Threads) * (10 + float64(len(b.paths)))
	if path == tiny {
		speed /= 2
	}
	run := verify.SpeedRun{PP: 2 * speed, TG: speed, Load: 1, RSS: 1 << 30}
	return Measurement{SpeedRun: run, BytesPerToken: 1 << 20, Bandwidth: 1e9}, nil
}

// Speed is measured in turns, and limits on it, on memory and on size are judged.
func TestSpeed(t *testing.T) {
	b := &fakeBench{}
	o := eightWindows(models.q4)
	o.Windows.Max, o.Compute.Threads = 1, 2
	o.Speed = Speed{Repetitions: 2, Bench: b.run}
	o.Requirements.Thresholds = []verify.Threshold{
		{Name: "max-rss", Limit: 2 << 30}, {Name: "max-size", Limit: 1e6}, {Name: "max-bpw", Limit: 5.5},
		{Name: "min-tg", Limit: 0.01}, {Name: "min-pp", Limit: 1e9},
	}
	r := verified(t, o)[0]
	want := []verify.Outcome{verify.Pass, verify.Fail, verify.Pass, verify.Pass, verify.Fail}
	for i, c := range r.Verdict.Checks {
		if c.Outcome != want[i] {
			t.Errorf("%s: %s, expected %s", c.Name, c.Outcome, want[i])
		}
	}
	if !slices.Equal(b.paths, []string{tiny, models.q4, tiny, models.q4}) {
		t.Errorf("measured in the order %q", b.paths)
	}
	p := r.Performance
	if p.Threads != 2 || p.Base.TG.Value != 12 || p.Quant.TG.Value != 26 || p.Quant.PP.Value != 52 ||
		p.Bandwidth != 1e9 {
		t.Errorf("%+v, original %+v", p, p.Base)
	}
	if len(p.Quant.Runs) != 2 || p.Quant.Share != 26*float64(1<<20)/1e9 {
		t.Errorf("%+v", p.Quant)
	}
}

// It is not measured unless it is asked for, and its errors name the model.
func TestSpeedIfNeeded(t *testing.T) {
	failing := func(context.Context, string, runtime.Options) (Measurement, error) {
		return Measurement{}, errors.New("no program")
	}
	o := eightWindows(models.q8)
	o.Windows.Max, o.Speed.Bench = 1, failing
	o.Requirements.Thresholds = []verify.Threshold{{Name: "max-size", Limit: 1e9}}
	if r := verified(t, o)[0]; r.Performance != nil || r.Verdict.Outcome != verify.Pass {
		t.Errorf("%+v", r.Performance)
	}
	o.Speed.Always = true
	if _, err := Run(t.Context(), o); err == nil ||
		!strings.Contains(err.Error(), "measuring the speed of "+tiny+": no program") {
		t.Errorf("error %v", err)
	}
}
