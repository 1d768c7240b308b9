package main

import (
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// recorder counts how often the steps of a command say that more is done.
type recorder struct {
	t       *testing.T
	mu      sync.Mutex
	open    string // the step that has not ended
	reports map[string]int
}

func (r *recorder) Note(string, ...any) {}

func (r *recorder) Begin(what string, total int64, _ progress.Unit) progress.Step {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open != "" {
		r.t.Errorf("%q begins before %q has ended", what, r.open)
	}
	r.open = what
	return &recordedStep{r: r, what: what, total: total}
}

type recordedStep struct {
	r           *recorder
	what        string
	total, most int64
	ended       bool
}

func (s *recordedStep) Set(done int64) {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if done > s.total+s.total/100 { // what surrounds blobs is not counted
		s.r.t.Errorf("%s: %d of %d", s.what, done, s.total)
	}
	if done > s.most {
		s.most = done
		s.r.reports[s.what]++
	}
}

func (s *recordedStep) End() {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	if !s.ended {
		s.ended, s.r.open = true, ""
	}
}

// Whatever takes long on a large model says often how far it is, from inside its longest steps: matrices of blocks,
// tiles of rows, pieces of files. The tiny model has 4 blocks.
func TestProgress(t *testing.T) {
	model, q8 := testmodel.Phi3(t), tinyGGUF(t, "q8_0")
	stats := tinyStats(t, model, "--fisher")
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	original := newMonitor
	t.Cleanup(func() { newMonitor = original })
	const text = "../../testdata/tiny-phi3-eval.txt"
	verify := "verify " + q8 + " --base " + model + " --text " + text + " -c 128 --chunks 2"
	for _, c := range []struct {
		line string
		want map[string]int // at least so many reports of these steps
	}{
		{"convert " + model + " --outtype q4_0 -o " + in("a.gguf"), map[string]int{"converting": 2}},
		{"convert " + q8 + " -o " + in("a.pmap"), map[string]int{"copying": 2}},
		{"quantize " + model + " " + in("b.gguf") + " Q4_0 --method gptq --refine 0 --stats " + stats,
			map[string]int{"hashing": 1, "quantizing": 200, "converting": 2}},
		{"quantize " + model + " " + in("c.gguf") + " --bpw 5 --method imatrix --stats " + stats,
			map[string]int{"estimating": 20}},
		{"calibrate " + model + " --text " + text + " --tokens 256 -o " + in("a.imatrix.gguf"),
			map[string]int{"hashing": 1, "calibrating": 16}},
		{"calibrate " + model + " --tokens 128 -c 64 -o " + in("b.imatrix.gguf"),
			map[string]int{"loading": 1, "calibrating": 100}},
		{verify, map[string]int{"loading": 2, "verifying": 40}},
		{verify + " --one-at-a-time", map[string]int{"original": 20, "verifying": 20}},
		{verify + " --by-layer --by-layer-chunks 1", map[string]int{"by layer": 20, "comparing": 1}},
		{verify + " --by-part --by-layer-chunks 1", map[string]int{"weights alone": 20}},
		{"seal " + model + " --text " + text + " -c 128 --chunks 2 -o " + in("a.seal"),
			map[string]int{"hashing": 1, "sealing": 30}},
		{"verify " + q8 + " --seal " + in("a.seal"), map[string]int{"verifying": 30}},
		{"eval " + q8 + " --task " + answerTask + " --predict 2", map[string]int{filepath.Base(q8): 20}},
		{"logits " + q8 + " -p Hello,Hello,Hello -o " + in("a.npy"), map[string]int{"evaluating": 8}},
		{"run " + q8 + " -p Hello! --temp 0", map[string]int{"reading the prompt": 4}},
		{"bench " + q8 + " -p 16 -n 0 -r 1", map[string]int{"pp16": 20}},
		{"inspect --check " + in("a.pmap"), map[string]int{"checking": 1}},
		{"inspect --diff " + q8 + " " + model, map[string]int{"comparing": 1}},
		{"lint " + q8, map[string]int{"checking": 1}},
		{"pack " + q8 + " -o " + in("a.tar"), map[string]int{"hashing": 1}},
		{"unpack " + in("a.tar") + " -o " + in("unpacked"), map[string]int{"fetching": 1}},
	} {
		r := &recorder{t: t, reports: map[string]int{}}
		newMonitor = func(w io.Writer) monitor { return monitor{r, w} }
		_, stderr, code := phi3conv(t, strings.Fields(c.line)...)
		if code != 0 {
			t.Errorf("%s: exit code %d: %s", c.line, code, stderr)
		}
		for what, n := range c.want {
			if r.reports[what] < n {
				t.Errorf("%s: %d reports of %s, expected at least %d; all: %v",
					c.line, r.reports[what], what, n, r.reports)
			}
		}
		if r.open != "" {
			t.Errorf("%s: %s does not end", c.line, r.open)
		}
	}
}
