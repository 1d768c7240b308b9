package convert

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/formats/pmap"
	"github.com/phi3conv/phi3conv/formats/safetensors"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

const tiny = "../../testdata/tiny-phi3"

// run converts a model into a GGUF file of a temporary directory and returns its path.
func run(t *testing.T, model string, opt Options, threads int) string {
	t.Helper()
	return runTo(t, model, "out.gguf", opt, threads)
}

// runTo converts a model into a file of that name.
func runTo(t *testing.T, model, name string, opt Options, threads int) string {
	t.Helper()
	m, err := source.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	p, err := NewPlan(m, opt)
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), name)
	if err := p.Run(context.Background(), out, Limits{Threads: threads, Memory: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	return out
}

func withType(ft policy.FileType) Options { return Options{Policy: policy.Policy{FileType: ft}} }

// Every file type of the tiny model has the same bytes whatever the kernels and
// the number of threads, and the bytes of testdata/sha256.txt, so that other
// architectures prove that they agree. A deliberate change of the output updates
// that file.
func TestSameFile(t *testing.T) {
	defer func() { _ = kern.Select("") }()
	want := map[string]string{}
	for line := range strings.Lines(string(testmodel.Read(t, "testdata/sha256.txt"))) {
		if name, sum, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			want[name] = sum
		}
	}
	sets, types, threads := kern.Sets(), policy.FileTypes(), 1
	if testing.Short() { // for emulators: the fastest only, and the first of each type
		sets, threads = sets[len(sets)-1:], 2
		seen := map[quant.Type]bool{}
		types = slices.DeleteFunc(types, func(ft policy.FileType) bool {
			again := seen[ft.Type()]
			seen[ft.Type()] = true
			return again
		})
	}
	for _, ft := range types {
		for i, s := range sets {
			if err := kern.Select(s.Name); err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprintf("%x", sha256.Sum256(testmodel.Read(t, run(t, tiny, withType(ft), threads+i))))
			if got != want[ft.String()] {
				t.Errorf("%s kernels, %d threads: testdata/sha256.txt has %q for\n%s %s",
					s.Name, threads+i, want[ft.String()], ft, got)
				break
			}
		}
	}
}

// The same tensors, whichever way they take: from the checkpoint at once, or
// through a GGUF of another type that holds them exactly.
func TestThroughGGUF(t *testing.T) {
	direct := testmodel.Read(t, run(t, tiny, withType(policy.MostlyQ4_K_M), 2))
	for _, between := range []policy.FileType{policy.AllF32, policy.MostlyBF16} {
		via := run(t, run(t, tiny, withType(between), 1), withType(policy.MostlyQ4_K_M), 2)
		if !bytes.Equal(testmodel.Read(t, via), direct) {
			t.Errorf("through %s: another file", between)
		}
	}
}

// Every file type goes from GGUF to .pmap and back without a change, and straight to the same .pmap,
// which has the same bytes everywhere.
func TestPMAP(t *testing.T) {
	repack := func(from, to string) string {
		t.Helper()
		f, err := pmap.OpenGGUF(from)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = f.Close() }()
		out := filepath.Join(t.TempDir(), to)
		if err := Repack(context.Background(), f, out, Limits{Threads: 2}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	types := policy.FileTypes()
	if testing.Short() {
		types = []policy.FileType{policy.MostlyBF16, policy.MostlyQ4_K_M}
	}
	for _, ft := range types {
		direct := run(t, tiny, withType(ft), 2)
		through := repack(direct, "t.pmap")
		if !bytes.Equal(testmodel.Read(t, repack(through, "t.gguf")), testmodel.Read(t, direct)) {
			t.Errorf("%s: another GGUF file after a .pmap file", ft)
		}
		if !bytes.Equal(testmodel.Read(t, runTo(t, tiny, "direct.pmap", withType(ft), 2)), testmodel.Read(t, through)) {
			t.Errorf("%s: another .pmap file without a GGUF file", ft)
		}
		if ft == policy.MostlyQ4_K_M {
			const want = "4238fc37de3102a26809f32064f98acc36097c31925cbb694b0281d33740e9d4"
			if got := fmt.Sprintf("%x", sha256.Sum256(testmodel.Read(t, through))); got != want {
				t.Errorf("the .pmap file has SHA-256 %s, expected %s", got, want)
			}
		}
	}
}

// What llama.cpp's converter writes for the tiny model: every key with its value.
func TestMetadataGolden(t *testing.T) {
	var golden struct {
		Metadata map[string]struct {
			Type  []string
			Value any
		}
		Tokens []string
		Scores []float32
		Types  []int32 `json:"token_type"`
	}
	if err := json.Unmarshal(testmodel.Read(t, "../../testdata/golden/vocab-tiny.json"), &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Metadata) < 20 {
		t.Fatalf("%d keys in the golden file", len(golden.Metadata))
	}
	f, err := gguf.Open(run(t, tiny, withType(policy.AllF32), 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for key, want := range golden.Metadata {
		got, ok := f.Metadata.Get(key)
		if !ok {
			t.Errorf("%s is missing", key)
			continue
		}
		value := want.Value
		if x, ok := value.(float64); ok {
			switch want.Type[0] {
			case "UINT32":
				value = uint32(x)
			case "FLOAT32":
				value = float32(x)
			}
		}
		if got != value {
			t.Errorf("%s is %T %v, want %s %v", key, got, got, want.Type, value)
		}
	}
	for key, want := range map[string]any{
		"tokenizer.ggml.tokens":     golden.Tokens,
		"tokenizer.ggml.scores":     golden.Scores,
		"tokenizer.ggml.token_type": golden.Types,
	} {
		if got, _ := f.Metadata.Get(key); !reflect.DeepEqual(got, want) {
			t.Errorf("%s differs", key)
		}
	}
}

// The tensors of llama.cpp's converter for the tiny model, byte for byte.
func TestTensorsGolden(t *testing.T) {
	var golden struct {
		Files []struct {
			Outtype string
			Tensors []struct {
				Name, Type, SHA256 string
				Shape              []uint64
			}
		}
	}
	if err := json.Unmarshal(testmodel.Read(t, "../../testdata/golden/convert-tiny.json"), &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Files) != 4 {
		t.Fatalf("%d files", len(golden.Files))
	}
	for _, file := range golden.Files {
		ft, err := policy.FileTypeByName(file.Outtype)
		if err != nil {
			t.Fatal(err)
		}
		f, err := gguf.Open(run(t, tiny, withType(ft), 2))
		if err != nil {
			t.Fatal(err)
		}
		if len(f.Tensors) != len(file.Tensors) {
			t.Errorf("%s: %d tensors, want %d", file.Outtype, len(f.Tensors), len(file.Tensors))
		}
		for _, want := range file.Tensors {
			got := f.Tensor(want.Name)
			if got == nil {
				t.Errorf("%s: %s is missing", file.Outtype, want.Name)
				continue
			}
			data := make([]byte, got.Size())
			if _, err := got.ReadAt(data, 0); err != nil {
				t.Fatal(err)
			}
			sum := fmt.Sprintf("%x", sha256.Sum256(data))
			same := got.Type.String() == want.Type && reflect.DeepEqual(got.Dims, want.Shape) && sum == want.SHA256
			if !same {
				t.Errorf("%s: %s is %s %v %s, want %+v", file.Outtype, want.Name, got.Type, got.Dims, sum, want)
			}
		}
		_ = f.Close()
	}
}

func TestSplit(t *testing.T) {
	whole, err := gguf.Open(run(t, tiny, withType(policy.MostlyQ8_0), 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = whole.Close() }()
	opt := withType(policy.MostlyQ8_0)
	opt.SplitMaxSize = 700_000
	out := run(t, tiny, opt, 2)
	if _, err := os.Stat(out); err == nil {
		t.Error("the unsplit name exists too")
	}
	parts, err := filepath.Glob(strings.TrimSuffix(out, ".gguf") + "-0*.gguf")
	if err != nil || len(parts) < 3 {
		t.Fatalf("parts: %v, %v", parts, err)
	}
	split, err := gguf.Open(parts[0])
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = split.Close() }()
	for i, want := range whole.Tensors {
		got := split.Tensors[i]
		a, b := make([]byte, want.Size()), make([]byte, got.Size())
		if _, err := want.ReadAt(a, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := got.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if got.Name != want.Name || !bytes.Equal(a, b) {
			t.Errorf("tensor %d: %s differs from %s", i, got.Name, want.Name)
		}
	}
	// A split file is a source like any other.
	again := run(t, parts[1], withType(policy.MostlyQ8_0), 1)
	if !bytes.Equal(testmodel.Read(t, again), testmodel.Read(t, whole.Shards[0].Path)) {
		t.Error("joining the parts gave another file")
	}
}

func TestOverrides(t *testing.T) {
	q8 := quant.Q8_0
	opt := Options{Policy: policy.Policy{FileType: policy.MostlyQ4_0, Embedding: &q8, KeepOutput: true,
		Overrides: []policy.Override{{Pattern: regexp.MustCompile(`blk\.[01]\.ffn_down`), Type: quant.Q6_K}}}}
	f, err := gguf.Open(run(t, tiny, opt, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	for name, want := range map[string]quant.Type{
		"token_embd.weight": quant.Q8_0, "output.weight": quant.BF16, "blk.1.ffn_down.weight": quant.Q6_K,
		"blk.2.ffn_down.weight": quant.Q4_0, "blk.2.attn_norm.weight": quant.F32,
	} {
		if got := f.Tensor(name).Type; got != want {
			t.Errorf("%s is %s, want %s", name, got, want)
		}
	}
}

func TestRefusesRequantizing(t *testing.T) {
	m, err := source.Open(run(t, tiny, withType(policy.MostlyQ8_0), 1))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	_, err = NewPlan(m, withType(policy.MostlyQ4_0))
	if err == nil || !strings.Contains(err.Error(), "--allow-requantize") {
		t.Errorf("error %v", err)
	}
	opt := withType(policy.MostlyQ4_0)
	opt.AllowRequantize = true
	if _, err := NewPlan(m, opt); err != nil {
		t.Error(err)
	}
}

// copyModel copies the tiny model and lets edit change config.json's fields.
func copyModel(t *testing.T, edit func(config map[string]any)) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(tiny)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	var config map[string]any
	if err := json.Unmarshal(testmodel.Read(t, path), &config); err != nil {
		t.Fatal(err)
	}
	edit(config)
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// rewrite replaces the tiny model's weights; change edits a tensor's values.
func rewrite(t *testing.T, dir string, dtype safetensors.DType, change func(name string, x []float32)) {
	t.Helper()
	f, err := safetensors.OpenDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []safetensors.WriteTensor
	for _, st := range f.Tensors {
		x := make([]float32, st.Elems())
		if err := st.ReadFloat32(x, 0); err != nil {
			t.Fatal(err)
		}
		change(st.Name, x)
		var b []byte
		for _, v := range x {
			switch dtype {
			case safetensors.F64:
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(float64(v)))
			default:
				b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
			}
		}
		out = append(out, safetensors.WriteTensor{
			Name: st.Name, DType: dtype, Shape: st.Shape, Data: bytes.NewReader(b),
		})
	}
	_ = f.Close()
	if err := safetensors.Create(filepath.Join(dir, "model.safetensors"), out, nil); err != nil {
		t.Fatal(err)
	}
}

// The type of the checkpoint does not matter as long as it holds the values.
func TestSourceTypes(t *testing.T) {
	want := testmodel.Read(t, run(t, copyModel(t, func(map[string]any) {}), withType(policy.MostlyQ4_K_M), 1))
	for _, dtype := range []safetensors.DType{safetensors.F32, safetensors.F64} {
		dir := copyModel(t, func(map[string]any) {})
		rewrite(t, dir, dtype, func(string, []float32) {})
		got := testmodel.Read(t, run(t, dir, Options{Policy: policy.Policy{FileType: policy.MostlyQ4_K_M}}, 1))
		// The names of the temporary directories are in the metadata: compare the weights.
		if n := len(got) - len(want)/2; !bytes.Equal(got[n:], want[len(want)-len(want)/2:]) {
			t.Errorf("%s: other weights", dtype)
		}
	}
}

func TestRefusesWeights(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tc := range []struct {
		model, tensor string
		at            int
		bad           float32
		place         string
	}{
		{"tiny-phi3", "model.layers.2.mlp.down_proj.weight", 3*512 + 7, nan, "[3,7] is NaN"},
		{"tiny-phi3", "model.layers.2.mlp.down_proj.weight", 3*512 + 7, inf, "[3,7] is +Inf"},
		{"tiny-phi3", "model.layers.2.mlp.down_proj.weight", 3*512 + 7, 1e6, "[3,7] is 1e+06"},
		{"tiny-phi3", "model.layers.1.input_layernorm.weight", 5, nan, "[5] is NaN"},
		{"tiny-phi3", "model.norm.weight", 255, inf, "[255] is +Inf"},
		{"tiny-phimoe", "model.layers.1.block_sparse_moe.gate.weight", 2*256 + 9, nan, "[2,9] is NaN"},
	} {
		dir := testmodel.Copy(t, tc.model)
		rewrite(t, dir, safetensors.F32, func(name string, x []float32) {
			if name == tc.tensor {
				x[tc.at] = tc.bad
			}
		})
		m, err := source.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		p, err := NewPlan(m, withType(policy.MostlyQ4_K_M))
		if err != nil {
			t.Fatal(err)
		}
		out := filepath.Join(t.TempDir(), "out.gguf")
		err = p.Run(context.Background(), out, Limits{Threads: 2, Memory: 1 << 30})
		if err == nil || !strings.Contains(err.Error(), tc.tensor+" "+tc.place) {
			t.Errorf("%s %s: error %v", tc.tensor, tc.place, err)
		}
		if left, _ := os.ReadDir(filepath.Dir(out)); len(left) > 0 {
			t.Errorf("%s: %s is left", tc.tensor, left[0].Name())
		}
		_ = m.Close()
	}
}

func TestLimits(t *testing.T) {
	m, err := source.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	p, err := NewPlan(m, withType(policy.MostlyQ4_K_M))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	a, b, c := filepath.Join(dir, "a.gguf"), filepath.Join(dir, "b.gguf"), filepath.Join(dir, "c.gguf")
	if err := p.Run(context.Background(), a, Limits{Threads: 1, Memory: 1 << 30}); err != nil {
		t.Fatal(err)
	}
	// Room for a few rows only: smaller pieces, the same file.
	if err := p.Run(context.Background(), b, Limits{Threads: 2, Memory: 20_000}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(testmodel.Read(t, a), testmodel.Read(t, b)) {
		t.Error("the memory bound changed the file")
	}
	err = p.Run(context.Background(), c, Limits{Threads: 2, Memory: 1000})
	if err == nil || !strings.Contains(err.Error(), "--max-ram") {
		t.Errorf("1000 bytes: error %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Run(ctx, filepath.Join(dir, "d.gguf"), Limits{Threads: 2, Memory: 1 << 30}); err != context.Canceled {
		t.Errorf("cancelled: error %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
		t.Errorf("files are left: %v", left)
	}
}
