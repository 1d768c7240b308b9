package bench

import (
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/runtime"
)

// results runs the tests of a model.
func results(t *testing.T, model string, opt Options) (all []Result) {
	t.Helper()
	err := Run(t.Context(), []string{model}, opt, func(r *Result) error {
		all = append(all, *r)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestRun(t *testing.T) {
	model := testmodel.Phi3(t)
	all := results(t, model, Options{
		Prompts: []int{8}, Gens: []int{4}, Threads: []int{2}, Repetitions: 2, Build: "v1",
		Compute: runtime.Options{Float32: true, NoRepack: true, Cache: runtime.CacheQ8_0, Batch: 4},
	})
	if len(all) != 2 {
		t.Fatalf("%d results, expected 2", len(all))
	}
	for i, r := range all {
		if r.Path != model || r.Size != 5313024 || r.Params != 2656512 || r.Threads != 2 || r.Build != "v1" {
			t.Errorf("%+v", r)
		}
		if r.Batch != 4 || r.Cache != "q8_0" || r.CacheV != "q8_0" || !r.Float32 || !r.NoRepack {
			t.Errorf("%+v", r)
		}
		if want := []string{"pp8", "tg4"}[i]; r.Test() != want || r.Prompt+r.Gen != []int{8, 4}[i] {
			t.Errorf("test %s of %d tokens, expected %s", r.Test(), r.Prompt+r.Gen, want)
		}
		checkTimes(t, &r)
		if r.Gen > 0 {
			checkBandwidth(t, &r)
		}
	}
	if all[0].Peak < 1<<20 {
		t.Errorf("peak of the memory: %d bytes", all[0].Peak)
	}
}

func checkTimes(t *testing.T, r *Result) {
	t.Helper()
	if _, err := time.Parse(time.RFC3339, r.Time); err != nil {
		t.Error(err)
	}
	if len(r.SamplesNS) != 2 || r.SamplesNS[0] <= 0 || len(r.Samples) != 2 {
		t.Errorf("%+v", r)
	}
	if !(r.Avg > 0) || !(r.Std >= 0) || r.AvgNS <= 0 || r.Elapsed != 0 || !(r.Load > 0) || !(r.First > r.Load) {
		t.Errorf("%+v", r)
	}
}

func checkBandwidth(t *testing.T, r *Result) {
	t.Helper()
	if r.Read != 5313024-575*256*2 || math.Abs(r.Rate-r.Avg*float64(r.Read)) > 1 {
		t.Errorf("%+v", r)
	}
	if r.Bandwidth < 1e8 || math.Abs(r.Share-r.Rate/r.Bandwidth) > 1e-9 {
		t.Errorf("%+v", r)
	}
}

// At a depth, and with several sequences: t/s counts all of them, weights are read once for all, and attention has more
// to multiply.
func TestDepthAndParallel(t *testing.T) {
	opt := Options{Prompts: []int{8}, Depths: []int{0, 20}, Threads: []int{1}, Compute: runtime.Options{Batch: 16}}
	all := results(t, testmodel.Phi3(t), opt)
	opt.Prompts, opt.Gens, opt.Depths, opt.Parallel = nil, []int{4}, []int{20}, []int{3}
	all = append(all, results(t, testmodel.Phi3(t), opt)...)
	var names []string
	for _, r := range all {
		names = append(names, r.Test())
		tokens := float64((r.Prompt + r.Gen) * r.Parallel)
		if got := tokens / r.Samples[0] * 1e9; math.Abs(got-float64(r.SamplesNS[0])) > 1000 {
			t.Errorf("%s: %g ns by its tokens a second, took %d", r.Test(), got, r.SamplesNS[0])
		}
		if want := r.Avg / float64(r.Parallel) * float64(r.Read); math.Abs(r.Rate-want) > 1 {
			t.Errorf("%s: %g bytes a second, expected %g", r.Test(), r.Rate, want)
		}
		if perToken := r.MACRate / r.Avg; perToken < 1.9e6 || perToken > 2.8e6 { // 2.66 million weights at most
			t.Errorf("%s: %g multiply-adds a token", r.Test(), perToken)
		}
		if r.MACPeak > 0 && math.Abs(r.MACShare-r.MACRate/r.MACPeak) > 1e-9 {
			t.Errorf("%s: share %g of %g", r.Test(), r.MACShare, r.MACPeak)
		}
	}
	if got := strings.Join(names, ", "); got != "pp8, pp8 @ d20, tg4 x3 @ d20" {
		t.Error(got)
	}
	if near, far := all[0].MACRate/all[0].Avg, all[1].MACRate/all[1].Avg; far <= near {
		t.Errorf("%g multiply-adds a token at depth 20, %g at 0", far, near)
	}
	var mistake *usage.Error
	opt.Sustain = time.Second
	if err := Run(t.Context(), nil, opt, nil); !errors.As(err, &mistake) {
		t.Errorf("sustained at a depth: %v, expected a usage mistake", err)
	}
}

func TestSustain(t *testing.T) {
	all := results(t, testmodel.Phi3(t), Options{
		Prompts: []int{8}, Gens: []int{4}, Threads: []int{1}, Sustain: 60 * time.Millisecond,
		Compute: runtime.Options{Batch: 4},
	})
	if len(all) != 1 {
		t.Fatalf("%d results, expected 1", len(all))
	}
	r := all[0]
	if r.Elapsed < 0.06 || r.Elapsed > 4 || r.Avg <= 0 || r.Gen != 4 || !strings.HasPrefix(r.Test(), "tg4 @ ") ||
		r.OfFirst != 1 {
		t.Errorf("%+v", r)
	}
}

func TestErrors(t *testing.T) {
	model := testmodel.Phi3(t)
	nothing := func(*Result) error { return nil }
	var mistake *usage.Error
	if err := Run(t.Context(), []string{model}, Options{}, nothing); !errors.As(err, &mistake) {
		t.Errorf("no test: %v, expected a usage mistake", err)
	}
	err := Run(t.Context(), []string{model}, Options{Prompts: []int{513}, Compute: runtime.Options{Batch: 4}}, nothing)
	if err == nil || !strings.Contains(err.Error(), "a context of 513 tokens; the model was made for 1 to 512") {
		t.Errorf("a prompt that is too long: %v", err)
	}
}

// The mean and the sample standard deviation of speeds, not of times.
func TestSet(t *testing.T) {
	r := Result{Gen: 10, Read: 1000}
	r.set([]time.Duration{time.Second, 2 * time.Second, 5 * time.Second}) // 10, 5, 2 tokens a second
	if math.Abs(r.Avg-17./3) > 1e-9 || math.Abs(r.Std-4.041451884) > 1e-9 || math.Abs(r.Rate-1000*r.Avg) > 1e-9 {
		t.Errorf("%+v", r)
	}
	if r.AvgNS != 2666666666 && r.AvgNS != 2666666667 || r.StdNS != 2081665999 {
		t.Errorf("%+v", r)
	}
}
