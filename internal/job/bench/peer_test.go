package bench

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
)

// llamaBench answers as llama-bench does, 100 tokens a second for prompts and 50 for others, and keeps its arguments.
const llamaBench = `#!/bin/sh
echo "$@" >> "$0.calls"
case "$*" in *"-p 0"*) speed=50;; *) speed=100;; esac
echo "[{\"n_prompt\": 8, \"avg_ts\": $speed, \"samples_ts\": [$speed]}]"
`

// script writes a program.
func script(t *testing.T, text string) string {
	if goruntime.GOOS == "windows" {
		t.Skip("no shell")
	}
	path := testmodel.Write(t, filepath.Join(t.TempDir(), "llama-bench"), []byte(text))
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAgainst(t *testing.T) {
	program, model := script(t, llamaBench), ggufFile(t)
	all := results(t, model, Options{
		Prompts: []int{8}, Gens: []int{4}, Depths: []int{2}, Threads: []int{1}, Repetitions: 3,
		Against: []string{program, "-fa", "1"}, Compute: runtime.Options{Batch: 8},
	})
	if len(all) != 2 {
		t.Fatalf("%d results, expected 2", len(all))
	}
	for i, r := range all {
		speed := []float64{100, 50}[i]
		if r.Peer != "llama-bench" || len(r.PeerSamples) != 3 || r.PeerAvg != speed {
			t.Errorf("%+v", r)
		}
		if math.Abs(r.Ratio-r.Avg/speed) > 1e-9 || r.RatioLow > r.Ratio || r.RatioHigh < r.Ratio {
			t.Errorf("ratio %g (%g to %g) of %g to %g", r.Ratio, r.RatioLow, r.RatioHigh, r.Avg, speed)
		}
	}
	call := "-fa 1 -m " + model + " -t 1 -p 8 -n 0 -r 1 -o json -d 2\n"
	want := strings.Repeat(call, 3) + strings.Repeat(strings.Replace(call, "-p 8 -n 0", "-p 0 -n 4", 1), 3)
	if got := string(testmodel.Read(t, program+".calls")); got != want {
		t.Errorf("called with\n%sexpected\n%s", got, want)
	}
}

func ggufFile(t *testing.T) string {
	t.Helper()
	m, err := source.Open(testmodel.Phi3(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }() // only read from
	p, err := convert.NewPlan(m, convert.Options{Policy: policy.Policy{FileType: policy.MostlyQ8_0}})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "tiny.gguf")
	if err := p.Run(t.Context(), path, convert.Limits{Threads: 2, Memory: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAgainstRefused(t *testing.T) {
	program, model := script(t, llamaBench), testmodel.Phi3(t)
	gens := []int{4}
	for name, opt := range map[string]Options{
		"checkpoint": {Gens: gens, Against: []string{program}},
		"missing":    {Gens: gens, Against: []string{program + "2"}},
		"sustained":  {Gens: gens, Against: []string{program}, Sustain: time.Second},
		"parallel":   {Gens: gens, Against: []string{program}, Parallel: []int{2}},
	} {
		var mistake *usage.Error
		if err := Run(t.Context(), []string{model}, opt, nil); !errors.As(err, &mistake) {
			t.Errorf("%s: %v, expected a usage mistake", name, err)
		}
	}
	for text, want := range map[string]string{
		"#!/bin/sh\necho failed to load >&2; exit 1\n": "exit status 1: failed to load",
		"#!/bin/sh\necho no numbers\n":                 "expected one result with avg_ts",
		"#!/bin/sh\necho '[]'\n":                       "expected one result with avg_ts",
	} {
		opt := Options{Gens: gens, Threads: []int{1}, Against: []string{script(t, text)}}
		err := Run(t.Context(), []string{ggufFile(t)}, opt, nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, expected %q", err, want)
		}
	}
}
