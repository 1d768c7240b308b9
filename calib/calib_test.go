package calib

import (
	"bytes"
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
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
)

const (
	tiny     = "../testdata/tiny-phi3"
	tinyText = "../testdata/tiny-phi3-calib.txt"
	golden   = "../testdata/golden/"
)

func openTokenizer(t testing.TB) *tokenizer.Tokenizer {
	t.Helper()
	tok, err := tokenizer.Open(tiny)
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
func tinyStats(t testing.TB, context, n int) *Stats {
	t.Helper()
	var c Corpus
	if err := c.AddFile(tinyText, openTokenizer(t), context); err != nil {
		t.Fatal(err)
	}
	c.Sequences = c.Sequences[:n]
	s := &Stats{ChunkSize: context, Datasets: []string{c.Files[0].Name}, Origin: &Origin{Weights: "w", Tokenizer: "t", Texts: []string{c.Files[0].SHA256}, Seed: 1}}
	s.Origin.Tokens, s.Origin.Lengths = c.Flat()
	return s
}

// gather calibrates the tiny model into a file, whose path it returns.
func gather(t testing.TB, threads int, s *Stats, opt Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stats.gguf")
	if opt.Work == "" {
		opt.Work = path + ".work"
	}
	if err := Calibrate(t.Context(), openLayers(t, tiny, threads), s, path, opt); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(opt.Work); !os.IsNotExist(err) {
		t.Errorf("the work file is left: %v", err)
	}
	return path
}

func load(t testing.TB, path string) *Stats {
	t.Helper()
	s, err := Open(path)
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
	return toFloats(raw)
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
	s := load(t, gather(t, 2, tinyStats(t, g.Context, g.Sequences), Options{Hessian: true, Memory: 1 << 30}))
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
		h, n, err := s.Hessian(name)
		if err != nil {
			t.Fatal(err)
		}
		probe := make([]float32, n)
		for i := range probe {
			sum := 0.0
			for j, v := range h[i*n : (i+1)*n] {
				sum += float64(v) * math.Cos(float64(j))
			}
			probe[i] = float32(sum)
		}
		if d := farthest(probe, decode(t, want.Probe)); d > 1e-5 {
			t.Errorf("%s: the Hessian differs by %.2g from that of transformers", name, d)
		}
		if name == OutputEntry {
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

// Files of llama-imatrix come back byte by byte.
func TestLlamaFiles(t *testing.T) {
	s, dat := load(t, golden+"imatrix.gguf"), load(t, golden+"imatrix.dat")
	if len(s.Entries) != 16 || s.ChunkCount != 20 || s.ChunkSize != 64 || dat.ChunkCount != 20 || !slices.Equal(s.Datasets, dat.Datasets) {
		t.Errorf("%d entries, %d chunks of %d, %q", len(s.Entries), s.ChunkCount, s.ChunkSize, s.Datasets)
	}
	for i := range s.Entries {
		a, b := &s.Entries[i], &dat.Entries[i]
		if d := farthest(b.Importance(), a.Importance()); a.Name != b.Name || d > 1e-6 {
			t.Errorf("%s, %s: the forms differ by %g", a.Name, b.Name, d)
		}
	}
	dir := t.TempDir()
	if err := s.Write(filepath.Join(dir, "a.gguf"), nil); err != nil {
		t.Fatal(err)
	}
	if err := s.WriteDat(filepath.Join(dir, "a.dat")); err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{"gguf", "dat"} {
		if hash(t, filepath.Join(dir, "a."+form)) != hash(t, golden+"imatrix."+form) {
			t.Errorf("the .%s file has other bytes", form)
		}
	}
	if err := dat.WriteDat(filepath.Join(dir, "b.dat")); err == nil {
		t.Error("counts in chunks are written as tokens")
	}
	if _, _, err := s.Hessian(s.Entries[0].Name); err == nil || !strings.Contains(err.Error(), "--hessian") {
		t.Errorf("error %v", err)
	}
}

// tinySHA256 is the hash of a file with the statistics of 3 sequences of 40 tokens, on every
// architecture. A deliberate change of the file updates it.
const tinySHA256 = "7826104b765f79364217d3b35935195502ddea55821faa8b1bff95369a38e0fc"

// The same bytes whatever the threads, the kernels, the memory, and however often the run was interrupted.
func TestSameBytes(t *testing.T) {
	defer func() { _ = kern.SelectFromEnv() }()
	opt := Options{Hessian: true, Memory: 1 << 30}
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

	// Interrupted behind block 1, then behind block 3, and ended in memory.
	path := filepath.Join(t.TempDir(), "out.gguf")
	for i, stop := range []int64{1, 3, -1} {
		ctx, cancel := context.WithCancel(t.Context())
		resumed := 0
		opt := Options{Hessian: true, Work: path + ".work", Resumed: func(n int) { resumed = n }}
		opt.Progress = func(done, _ int64) {
			if done == stop*3*40 {
				cancel()
			}
		}
		if stop < 0 {
			opt.Memory = 1 << 30
		}
		err := Calibrate(ctx, openLayers(t, tiny, 2), tinyStats(t, 40, 3), path, opt)
		cancel()
		if want := []int{0, 1, 3}[i]; resumed != want {
			t.Errorf("continued behind block %d, expected %d", resumed, want)
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
	err = Calibrate(t.Context(), openLayers(t, damaged, 1), tinyStats(t, 40, 1), filepath.Join(dir, "out"), Options{Work: filepath.Join(dir, "damaged.work")})
	var e *formats.Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "are not finite (column") {
		t.Errorf("error %v", err)
	}

	// A work file of another run is begun anew.
	work = filepath.Join(dir, "other.work")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err = Calibrate(ctx, l, tinyStats(t, 40, 2), filepath.Join(dir, "out"), Options{Work: work, Progress: func(done, total int64) {
		if 2*done > total {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	path := gather(t, 1, tinyStats(t, 40, 3), Options{Hessian: true, Work: work, Resumed: func(int) { t.Error("another run is continued") }})
	if hash(t, path) != tinySHA256 {
		t.Error("other bytes behind another run's work file")
	}
}

func dat(name string, calls, cols int32, values ...float32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, 1)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
	b = append(b, name...)
	b = binary.LittleEndian.AppendUint32(b, uint32(calls))
	b = binary.LittleEndian.AppendUint32(b, uint32(cols))
	for _, v := range values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

func TestHostileFiles(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name, want string
		data       []byte
	}{
		{"empty", "number of entries", nil},
		{"no entries", "number of entries is 0", make([]byte, 40)},
		{"huge", "number of entries is 2147483647", append([]byte{255, 255, 255, 127}, make([]byte, 40)...)},
		{"cut", "offset 13: importance matrix: entry 1 of 1: number of columns is 9, expected 1 to 5", append(dat("t", 1, 9), 0, 0, 0, 0)},
		{"cut values", "columns of 8 bytes, and 4 are left", dat("t", 1, 2, 1)},
		{"negative calls", "number of calls is -1", dat("t", -1, 2, 1, 2)},
		{"NaN", "column 1 has the sum of squares NaN", dat("t", 1, 2, 1, nan)},
		{"negative", "column 0 has the sum of squares -1", dat("t", 1, 2, -1, 1)},
		{"infinite", "column 1 has the sum of squares +Inf", dat("t", 1, 2, 1, float32(math.Inf(1)))},
	} {
		path := filepath.Join(t.TempDir(), "a.dat")
		if err := os.WriteFile(path, c.data, 0o666); err != nil {
			t.Fatal(err)
		}
		_, err := Open(path)
		var e *formats.Error
		if !errors.As(err, &e) || e.Path != path || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q", c.name, err, c.want)
		}
	}
	for _, c := range []struct {
		name, want string
		change     func(md *gguf.Metadata, ts map[string][]float32)
	}{
		{"type", `general.type is "model"`, func(md *gguf.Metadata, _ map[string][]float32) { md.Set(keyType, "model") }},
		{"key", "imatrix.chunk_size is missing", func(md *gguf.Metadata, _ map[string][]float32) { md.Delete(keyChunkSize) }},
		{"counts", "t.in_sum2 without t.counts", func(_ *gguf.Metadata, ts map[string][]float32) { delete(ts, "t.counts") }},
		{"sums", "t.counts without t.in_sum2", func(_ *gguf.Metadata, ts map[string][]float32) { delete(ts, "t.in_sum2") }},
		{"nothing", "no entries", func(_ *gguf.Metadata, ts map[string][]float32) {
			delete(ts, "t.in_sum2")
			delete(ts, "t.counts")
		}},
		{"shape", "3 columns and 2 counts", func(_ *gguf.Metadata, ts map[string][]float32) { ts["t.counts"] = []float32{1, 1} }},
		{"NaN count", "count 0 is NaN", func(_ *gguf.Metadata, ts map[string][]float32) { ts["t.counts"][0] = nan }},
		{"Hessian", "t.hessian has 5 values of type F32, expected 6", func(_ *gguf.Metadata, ts map[string][]float32) { ts["t.hessian"] = make([]float32, 5) }},
		{"gradients", "t.out_grad2 has the shape [2] and the type F32", func(_ *gguf.Metadata, ts map[string][]float32) { ts["t.out_grad2"] = []float32{1, 1} }},
		{"lengths", "has 1 tokens, phi3conv.calibration.lengths says 2", func(md *gguf.Metadata, _ map[string][]float32) {
			md.Set(keyWeights, "x")
			md.Set(keyTokens, []int32{1})
			md.Set(keyLengths, []int32{2})
		}},
		{"good", "", func(*gguf.Metadata, map[string][]float32) {}},
	} {
		md := new(gguf.Metadata)
		md.Set(keyType, typeImatrix)
		md.Set(keyDatasets, []string{"a"})
		md.Set(keyChunkCount, uint32(1))
		md.Set(keyChunkSize, uint32(512))
		tensors := map[string][]float32{"t.in_sum2": {1, 2, 3}, "t.counts": {2}, "z": {1}}
		c.change(md, tensors)
		var infos []gguf.TensorInfo
		var names []string
		for name, values := range tensors {
			names = append(names, name)
			infos = append(infos, gguf.TensorInfo{Name: name, Dims: []uint64{uint64(len(values))}})
		}
		path := filepath.Join(t.TempDir(), "a.gguf")
		w, err := gguf.Create(path, md, infos, gguf.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for i, name := range names {
			var raw bytes.Buffer
			_ = binary.Write(&raw, binary.LittleEndian, tensors[name])
			if err := w.WriteTensorAt(i, raw.Bytes(), 0); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path)
		if c.want == "" {
			if err != nil || s.Entry("t") == nil || s.Entry("z") != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			_ = s.Close()
			continue
		}
		var e *formats.Error
		if !errors.As(err, &e) || e.Path != path || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, expected %q", c.name, err, c.want)
		}
	}
}

// Columns that met no token count alike, as in llama-quantize.
func TestImportance(t *testing.T) {
	e := Entry{Sums: []float32{2, 4, 5, 6}, Counts: []float32{2, 0}}
	if got, want := e.Importance(), []float32{1, 2, 1, 1}; !slices.Equal(got, want) {
		t.Errorf("%v, expected %v", got, want)
	}
}

func FuzzDat(f *testing.F) {
	data, err := os.ReadFile(golden + "imatrix.dat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add(dat("blk.0.attn_qkv.weight", 3, 2, 1, 2))
	f.Add(append(dat("t", 0, 1, 1), 1, 0, 0, 0, 1, 0, 0, 0, 'x'))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := parseDat(data)
		if err == nil {
			err = s.check()
		}
		if err != nil {
			var e *formats.Error
			if !errors.As(err, &e) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for i := range s.Entries {
			if imp := s.Entries[i].Importance(); len(imp) != len(s.Entries[i].Sums) {
				t.Fatal("importance of another length")
			}
		}
		_ = s.Summarize()
	})
}
