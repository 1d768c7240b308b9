package calib

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/testdata"
)

// Labels follow the distribution, and each position draws by itself.
func TestDrawLabels(t *testing.T) {
	p := []float32{0.1, 0, 0.6, 0.3, 0}
	const n = 20000
	counts := make([]int, len(p))
	for i := range n {
		counts[drawLabels(5, 0)(i/100, i%100, p)]++
	}
	for i, v := range p {
		sigma := math.Sqrt(n * float64(v) * (1 - float64(v)))
		if math.Abs(float64(counts[i])-n*float64(v)) > 4*sigma {
			t.Errorf("token %d of probability %g was drawn %d times in %d", i, v, counts[i], n)
		}
	}
	uniform := slices.Repeat([]float32{1e-3}, 1000)
	at := drawLabels(5, 2)(3, 4, uniform)
	if got := drawLabels(5, 0)(5, 4, uniform); got != at {
		t.Errorf("sequence 5 draws %d, and %d as the fourth after two", got, at)
	}
	for _, other := range []int32{
		drawLabels(6, 2)(3, 4, uniform), drawLabels(5, 2)(4, 4, uniform), drawLabels(5, 2)(3, 5, uniform),
	} {
		if other == at {
			t.Errorf("another seed, sequence or position draws %d too", at)
		}
	}
}

// fisherRun calibrates a small model of 3 blocks with gradients.
type fisherRun struct {
	threads int
	memory  int64 // for gradients
	stop    int64 // percentage of the progress at which the run is interrupted, 0 for never
}

func (r fisherRun) run(t *testing.T, dir, path string, o stats.Origin) error {
	t.Helper()
	l, err := runtime.OpenLayers(dir, runtime.Options{Threads: r.threads, Batch: BatchTokens})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var opt Options
	opt.Fisher, opt.Outputs, opt.GradientMemory = true, true, r.memory
	opt.Memory, opt.Work = 1<<20, path+".work"
	last := int64(0)
	opt.Progress = func(done, total int64) {
		if done < last || done > total {
			t.Errorf("progress %d of %d after %d", done, total, last)
		}
		if last = done; r.stop > 0 && 100*done >= r.stop*total {
			cancel()
		}
	}
	return Calibrate(ctx, l, &stats.File{ChunkSize: 32, Origin: &o}, path, opt)
}

func fisherModel(t *testing.T) (dir string, o stats.Origin) {
	t.Helper()
	for _, v := range testdata.Variants() {
		if v.Name == "gqa" {
			dir = t.TempDir()
			if err := v.Write(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	o = stats.Origin{Weights: "w", Tokenizer: "t", Texts: []string{}, Seed: 3, Lengths: []int32{32, 7, 1, 40}}
	for i := range 80 {
		o.Tokens = append(o.Tokens, int32(i*7919%160))
	}
	return dir, o
}

// The sums of a run are those of its inputs weighted by what the file says, and the gradients are those of the runtime.
func TestFisher(t *testing.T) {
	dir, o := fisherModel(t)
	path := filepath.Join(t.TempDir(), "stats.gguf")
	if err := (fisherRun{threads: 2, memory: 1 << 30}).run(t, dir, path, o); err != nil {
		t.Fatal(err)
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("files are left: %v", files)
	}
	s, err := stats.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	l, err := runtime.OpenLayers(dir, runtime.Options{Batch: BatchTokens})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	var sequences [][]int32
	for at, rest := 0, o.Lengths; len(rest) > 0; rest = rest[1:] {
		sequences = append(sequences, o.Tokens[at:at+int(rest[0])])
		at += int(rest[0])
	}
	norms, err := l.GradientNorms(t.Context(), sequences, drawLabels(o.Seed, 0), nil)
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string][][]float32{}
	for i, g := range l.OutputGroups() {
		parts[g.Tensor] = append(parts[g.Tensor], norms[i])
	}
	want := sums(t, l, &o, func(tensor string) []float32 { return stats.TokenWeights(parts[tensor]...) })
	if len(s.Entries) != len(parts) {
		t.Fatalf("%d entries, expected %d", len(s.Entries), len(parts))
	}
	for tensor, gradients := range parts {
		name := tensor
		if tensor == l.Output() {
			name = stats.OutputEntry
		}
		got, err := s.Gradients(name)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, gradients, slices.Equal) {
			t.Errorf("%s: other gradients than the runtime's", name)
		}
		blocks := outputBlocks(l.OutputGroups(), tensor)
		outputs, err := s.OutputMoments(name, blocks)
		if err != nil || (outputs != nil) != strings.Contains(name, "attn_qkv") {
			t.Fatalf("%s: %v, %v", name, outputs, err)
		}
		if outputs != nil {
			got, want := total(outputs.Squares), clippedSquares(gradients, o.Lengths)
			if math.Abs(got-want) > 1e-4*want {
				t.Errorf("%s: squared gradients of all outputs are %g, expected %g", name, got, want)
			}
		}
		if e := s.Entry(name); !slices.Equal(e.Sums, want[name].Sums()) || e.Counts[0] != 80 {
			t.Errorf("%s: other sums, of %g tokens", name, e.Counts[0])
		}
	}
}

func total(values []float32) (sum float64) {
	for _, v := range values {
		sum += float64(v)
	}
	return sum
}

// clippedSquares returns the sum of all squared gradients, none of a token more than 20 times its sequence's mean.
func clippedSquares(parts [][]float32, lengths []int32) (sum float64) {
	first := 0
	for _, n := range lengths {
		squares, mean := make([]float64, n), 0.0
		for t := range squares {
			for _, p := range parts {
				squares[t] += float64(p[first+t])
			}
			mean += squares[t] / float64(n)
		}
		for _, v := range squares {
			sum += min(v, 20*mean)
		}
		first += int(n)
	}
	return sum
}

// Threads, the bound on memory and interruptions do not change a byte.
func TestFisherSameBytes(t *testing.T) {
	dir, o := fisherModel(t)
	path := filepath.Join(t.TempDir(), "stats.gguf")
	var want []byte
	small := int64(1) // a sequence at a time
	for _, runs := range [][]fisherRun{
		{{threads: 1, memory: 1 << 30}},
		{{threads: 3, memory: small}},
		{
			{threads: 2, memory: small, stop: 30}, {threads: 1, memory: 1 << 30, stop: 60},
			{threads: 2, memory: small, stop: 80}, {threads: 2, memory: small},
		},
	} {
		for _, r := range runs {
			err := r.run(t, dir, path, o)
			if r.stop > 0 != errors.Is(err, context.Canceled) || r.stop == 0 && err != nil {
				t.Fatalf("%+v: %v", r, err)
			}
		}
		got, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: another file", runs)
		}
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}

// A file that is no work file is left alone.
func TestFisherWorkFile(t *testing.T) {
	dir, o := fisherModel(t)
	path := filepath.Join(t.TempDir(), "stats.gguf")
	if err := os.WriteFile(path+".work.gradients", []byte("a user's file"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := (fisherRun{threads: 1, memory: 1 << 30}).run(t, dir, path, o); err == nil {
		t.Error("it was overwritten")
	}
}
