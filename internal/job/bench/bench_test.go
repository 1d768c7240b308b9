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

func TestSustain(t *testing.T) {
	all := results(t, testmodel.Phi3(t), Options{
		Prompts: []int{8}, Gens: []int{4}, Threads: []int{1}, Sustain: 60 * time.Millisecond,
		Compute: runtime.Options{Batch: 4},
	})
	if len(all) != 1 {
		t.Fatalf("%d results, expected 1", len(all))
	}
	r := all[0]
	if r.Elapsed < 0.06 || r.Elapsed > 4 || r.Avg <= 0 || r.Gen != 4 || !strings.HasPrefix(r.Test(), "tg4 @ ") {
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
