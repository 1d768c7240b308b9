package calib

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

const (
	tiny     = "../testdata/tiny-phi3"
	tinyText = "../testdata/tiny-phi3-calib.txt"
	golden   = "../testdata/golden/"
)

// models are the trained tiny models, one of each architecture.
var models = []string{tiny, "../testdata/tiny-phi2", "../testdata/tiny-phi3small", tinyMoE}

const tinyMoE = "../testdata/tiny-phimoe"

func openTokenizer(t testing.TB, model string) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func openLayers(t testing.TB, path string, threads int) *runtime.Layers {
	t.Helper()
	l, err := runtime.OpenLayers(path, runtime.Options{Threads: threads, Batch: BatchTokens})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// tinyStats returns statistics to be filled from the first n sequences of the tiny text.
func tinyStats(t testing.TB, context, n int) *stats.File { return statsOf(t, tiny, context, n) }

// statsOf returns those of a tiny model.
func statsOf(t testing.TB, model string, context, n int) *stats.File {
	t.Helper()
	var c text.Corpus
	if err := c.AddFile(tinyText, openTokenizer(t, model), context); err != nil {
		t.Fatal(err)
	}
	c.Sequences = c.Sequences[:n]
	origin := &stats.Origin{Weights: "w", Tokenizer: "t", Texts: []string{c.Files[0].SHA256}, Seed: 1}
	s := &stats.File{ChunkSize: context, Datasets: []string{c.Files[0].Name}, Origin: origin}
	s.Origin.Tokens, s.Origin.Lengths = c.Flat()
	return s
}

// gather calibrates the tiny model into a file, whose path it returns.
func gather(t testing.TB, threads int, s *stats.File, opt Options) string {
	t.Helper()
	return gatherOf(t, tiny, threads, s, opt)
}

// gatherOf calibrates a model.
func gatherOf(t testing.TB, model string, threads int, s *stats.File, opt Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stats.gguf")
	if opt.Work == "" {
		opt.Work = path + ".work"
	}
	if err := Calibrate(t.Context(), openLayers(t, model, threads), s, path, opt); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(opt.Work); !os.IsNotExist(err) {
		t.Errorf("the work file is left: %v", err)
	}
	return path
}

func load(t testing.TB, path string) *stats.File {
	t.Helper()
	s, err := stats.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func hash(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func decode(t testing.TB, s string) []float32 {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	values := make([]float32, len(raw)/4)
	if _, err := binary.Decode(raw, binary.LittleEndian, values); err != nil {
		t.Fatal(err)
	}
	return values
}

// farthest returns the greatest difference relative to the norm of want.
func farthest(got, want []float32) float64 {
	norm, most := 0.0, 0.0
	for i, w := range want {
		norm += float64(w) * float64(w)
		most = max(most, math.Abs(float64(got[i])-float64(w)))
	}
	return most / math.Sqrt(norm)
}

// sums returns the second moments of the inputs of all linear layers, by the names of their entries, with weights of
// tokens.
func sums(
	t *testing.T, l *runtime.Layers, o *stats.Origin, weights func(tensor string) []float32,
) map[string]*stats.Moments {
	t.Helper()
	found := map[string]*stats.Moments{}
	add := func(in runtime.Inputs) error {
		name := in.Tensor
		if name == l.Output() {
			name = stats.OutputEntry
		}
		if found[name] == nil {
			found[name] = stats.NewMoments(in.Cols, true)
		}
		var w tokenWeights
		if all := weights(in.Tensor); all != nil {
			w = tokenWeights{all}
		}
		found[name].Add(in, w.of(&in, 0), 1)
		return nil
	}
	var lengths []int
	for _, n := range o.Lengths {
		lengths = append(lengths, int(n))
	}
	x := make([]float32, len(o.Tokens)*l.Hidden())
	err := l.Embed(x, o.Tokens)
	for i := 0; err == nil && i < l.Count(); i++ {
		if err = l.Load(t.Context(), i); err == nil {
			err = l.Forward(t.Context(), x, lengths, runtime.Pass{Tap: add})
		}
	}
	if err == nil {
		err = l.Finish(t.Context(), x, lengths, add, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Statistics of the tiny model against hooks in transformers, and against llama-imatrix.
func TestGolden(t *testing.T) {
	var g struct {
		Context, Sequences int
		Entries            map[string]struct{ Sums, Probe string }
	}
	data, err := os.ReadFile(golden + "calib.json")
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := tinyStats(t, g.Context, g.Sequences)
	matrices := sums(t, openLayers(t, tiny, 2), s.Origin, func(string) []float32 { return nil })
	s = load(t, gather(t, 2, s, Options{Memory: 1 << 30}))
	llama := load(t, golden+"imatrix.gguf")
	if len(s.Entries) != len(g.Entries) || len(s.Entries) != len(llama.Entries)+1 {
		t.Fatalf("%d entries, expected %d, and one more than %d", len(s.Entries), len(g.Entries), len(llama.Entries))
	}
	for name, want := range g.Entries {
		e := s.Entry(name)
		if e == nil {
			t.Fatalf("no entry %s", name)
		}
		if e.Counts[0] != float32(g.Context*g.Sequences) {
			t.Errorf("%s: count %g", name, e.Counts[0])
		}
		if d := farthest(e.Sums, decode(t, want.Sums)); d > 1e-6 {
			t.Errorf("%s: sums differ by %.2g from those of transformers", name, d)
		}
		h, n := matrices[name].Matrix(), matrices[name].Cols
		probe := make([]float32, n)
		for i := range probe {
			sum := 0.0
			for j, v := range h[i*n : (i+1)*n] {
				sum += float64(v) * math.Cos(float64(j))
			}
			probe[i] = float32(sum)
		}
		if d := farthest(probe, decode(t, want.Probe)); d > 1e-5 {
			t.Errorf("%s: the matrix differs by %.2g from that of transformers", name, d)
		}
		if name == stats.OutputEntry {
			continue
		}
		l := llama.Entry(name)
		if l == nil || l.Counts[0] != e.Counts[0] {
			t.Fatalf("%s: llama-imatrix has %+v", name, l)
		}
		if d := farthest(e.Sums, l.Sums); d > 1e-4 {
			t.Errorf("%s: sums differ by %.2g from those of llama-imatrix", name, d)
		}
	}
}

// tinySHA256 is the hash of a file with the statistics of 3 sequences of 40 tokens, on every
// architecture. A deliberate change of the file updates it.
const tinySHA256 = "4cc4023e16e436a845120c05023bb0a49f33b8f89cb710c529a69acfee8bfd74"

// The same bytes whatever the threads, the kernels, the memory, and however often the run was interrupted.
func TestSameBytes(t *testing.T) {
	defer func() { _ = kern.SelectFromEnv() }()
	opt := Options{Memory: 1 << 30}
	if got := hash(t, gather(t, 1, tinyStats(t, 40, 3), opt)); got != tinySHA256 {
		t.Errorf("SHA-256 %s, expected %s", got, tinySHA256)
	}
	if testing.Short() { // the hash is what other architectures are to prove
		return
	}
	for _, set := range kern.Sets() {
		if err := kern.Select(set.Name); err != nil {
			t.Fatal(err)
		}
		if hash(t, gather(t, 2, tinyStats(t, 40, 3), opt)) != tinySHA256 {
			t.Errorf("other bytes with kernels %s", set.Name)
		}
	}
	if err := kern.Select(""); err != nil {
		t.Fatal(err)
	}
	opt.Memory = 0
	if hash(t, gather(t, 3, tinyStats(t, 40, 3), opt)) != tinySHA256 {
		t.Error("other bytes with the residual stream in a file")
	}

	// Interrupted after block 1, then after block 3, and ended in memory.
	path := filepath.Join(t.TempDir(), "out.gguf")
	for i, stop := range []int{1, 3, -1} {
		ctx, cancel := context.WithCancel(t.Context())
		resumed := 0
		opt := Options{Work: path + ".work", Resumed: func(n int) { resumed = n }}
		opt.Progress = func(int64, int64) {
			if savedSteps(t, opt.Work) == stop-1 {
				cancel() // the block that is under way is the last
			}
		}
		if stop < 0 {
			opt.Memory = 1 << 30
		}
		err := Calibrate(ctx, openLayers(t, tiny, 2), tinyStats(t, 40, 3), path, opt)
		cancel()
		if want := []int{0, 1, 3}[i]; resumed != want {
			t.Errorf("continued after block %d, expected %d", resumed, want)
		}
		if stop < 0 {
			if err != nil || hash(t, path) != tinySHA256 {
				t.Errorf("other bytes after interruptions, or %v", err)
			}
		} else if _, none := os.Stat(path); !errors.Is(err, context.Canceled) || !os.IsNotExist(none) {
			t.Errorf("interrupted: %v, and of the output: %v", err, none)
		}
	}
}

// What a run must refuse.
func TestCalibrateErrors(t *testing.T) {
	dir := t.TempDir()
	work := filepath.Join(dir, "out.work")
	if err := os.WriteFile(work, []byte("a user's own file"), 0o666); err != nil {
		t.Fatal(err)
	}
	l := openLayers(t, tiny, 1)
	err := Calibrate(t.Context(), l, tinyStats(t, 40, 1), filepath.Join(dir, "out"), Options{Work: work})
	if err == nil || !strings.Contains(err.Error(), "not a work file") {
		t.Errorf("error %v", err)
	}
	if data, _ := os.ReadFile(work); string(data) != "a user's own file" {
		t.Error("a foreign file was changed")
	}

	// A damaged weight: the error names the layer whose inputs it reaches.
	damaged := filepath.Join(dir, "damaged")
	if err := os.CopyFS(damaged, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(damaged, "model.safetensors")
	weights, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	at := len(weights) / 2 &^ 1
	weights[at], weights[at+1] = 0xc0, 0x7f
	if err := os.WriteFile(file, weights, 0o666); err != nil {
		t.Fatal(err)
	}
	opt := Options{Work: filepath.Join(dir, "damaged.work")}
	err = Calibrate(t.Context(), openLayers(t, damaged, 1), tinyStats(t, 40, 1), filepath.Join(dir, "out"), opt)
	var e *formats.Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "are not finite (column") {
		t.Errorf("error %v", err)
	}

	// A work file of another run is begun anew.
	work = filepath.Join(dir, "other.work")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	opt = Options{Work: work, Progress: func(done, total int64) {
		if 2*done > total {
			cancel()
		}
	}}
	err = Calibrate(ctx, l, tinyStats(t, 40, 2), filepath.Join(dir, "out"), opt)
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	opt = Options{Work: work, Resumed: func(int) { t.Error("another run is continued") }}
	path := gather(t, 1, tinyStats(t, 40, 3), opt)
	if hash(t, path) != tinySHA256 {
		t.Error("other bytes after another run's work file")
	}
}

// savedSteps returns the number of steps that a work file says are done, see [work.File].
func savedSteps(t *testing.T, path string) int {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	steps := uint32(0)
	for _, at := range []int{512, 1024} {
		if at += sha256.Size; at+4 <= len(data) {
			steps = max(steps, binary.LittleEndian.Uint32(data[at:]))
		}
	}
	return int(steps)
}
