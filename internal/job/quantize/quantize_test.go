package quantize

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/calib/text"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/runtime/tokenizer"
	"github.com/phi3conv/phi3conv/verify"
)

const (
	tiny      = "../../../testdata/tiny-phi3"
	calibText = "../../../testdata/tiny-phi3-calib.txt"
	evalText  = "../../../testdata/tiny-phi3-eval.txt"
)

// shared is a directory for what several tests use.
var shared string

func TestMain(m *testing.M) {
	var err error
	if shared, err = os.MkdirTemp("", "quantize-test-"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(shared)
	os.Exit(code)
}

// calibrate makes a statistics file of a model from the first tokens of the calibration text, as calibrate
// --text --chunks --ctx-size 64 does.
func calibrate(t *testing.T, model, path string, chunks int, fisher bool) {
	t.Helper()
	const context = 64
	tok, err := tokenizer.Open(model)
	if err != nil {
		t.Fatal(err)
	}
	l, err := runtime.OpenLayers(model, runtime.Options{Threads: 2, Batch: calib.BatchTokens})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	weights, err := l.SHA256(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var c text.Corpus
	if err := c.AddFile(calibText, tok, context); err != nil {
		t.Fatal(err)
	}
	c.Sample(chunks*context, 1)
	s := &stats.File{ChunkSize: context, Datasets: []string{c.Files[0].Name}}
	s.Origin = &stats.Origin{
		Weights: weights, Tokenizer: text.TokenizerHash(tok), Texts: []string{c.Files[0].SHA256}, Seed: 1,
	}
	s.Origin.Tokens, s.Origin.Lengths = c.Flat()
	opt := calib.Options{Fisher: fisher, Work: path + ".work", Memory: 1 << 30, GradientMemory: 1 << 30}
	if err := calib.Calibrate(t.Context(), l, s, path, opt); err != nil {
		t.Fatal(err)
	}
}

var fisherOnce, plainOnce sync.Once

// fisherStats returns the path of statistics of the tiny model with gradients.
func fisherStats(t *testing.T) string {
	t.Helper()
	path := filepath.Join(shared, "fisher.gguf")
	fisherOnce.Do(func() { calibrate(t, tiny, path, 12, true) })
	return path
}

// plainStats returns the path of statistics of the tiny model without gradients.
func plainStats(t *testing.T) string {
	t.Helper()
	path := filepath.Join(shared, "plain.gguf")
	plainOnce.Do(func() { calibrate(t, tiny, path, 2, false) })
	return path
}

// quick are options of methods that solve layers for which they take little time.
func quick() Solver {
	o := solve.DefaultOptions()
	o.Sweeps = 1
	return Solver{Options: &o}
}

func mustRun(t *testing.T, in, out string, opt Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), in, out, opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func hash(t *testing.T, path string) string {
	t.Helper()
	sum := sha256.Sum256(testmodel.Read(t, path))
	return hex.EncodeToString(sum[:])
}

// tensors returns a file's tensors and their types by name.
func tensors(t *testing.T, path string) (data map[string][]byte, types map[string]quant.Type) {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	data, types = map[string][]byte{}, map[string]quant.Type{}
	for _, x := range f.Tensors {
		b := make([]byte, x.Size())
		if _, err := x.ReadAt(b, 0); err != nil {
			t.Fatal(err)
		}
		data[x.Name], types[x.Name] = b, x.Type
	}
	return data, types
}

// meanKLD measures a file against the tiny model on text that it was not calibrated on.
func meanKLD(t *testing.T, path string) float64 {
	t.Helper()
	tok, err := tokenizer.Open(tiny)
	if err != nil {
		t.Fatal(err)
	}
	const window, windows = 256, 4
	tokens := tok.Encode(string(testmodel.Read(t, evalText)), tokenizer.EncodeOptions{})[:window*windows]
	var logits [2][][]float32
	for i, model := range []string{tiny, path} {
		m, err := runtime.Open(t.Context(), model, runtime.Options{Threads: 2, Float32: true})
		if err != nil {
			t.Fatal(err)
		}
		for w := range windows {
			s, err := m.NewSequence(window)
			if err != nil {
				t.Fatal(err)
			}
			err = m.Eval(t.Context(), runtime.Request{Seq: s, Tokens: tokens[w*window : (w+1)*window], All: true,
				Logits: func(_ int, row []float32) error {
					logits[i] = append(logits[i], slices.Clone(row))
					return nil
				}})
			if err != nil {
				t.Fatal(err)
			}
		}
		_ = m.Close()
	}
	sum := 0.0
	for i := range logits[0] {
		p, err := verify.Compare(logits[0][i], logits[1][i], tokens[i])
		if err != nil {
			t.Fatal(err)
		}
		sum += p.KLD
	}
	return sum / float64(len(tokens))
}

// From a checkpoint to a GGUF file, its statistics and a file of gptq: the bytes that the command line has made since
// before this package was: convert --type BF16, calibrate --text --chunks 4 -c 64 --fisher,
// quantize Q3_K_S --method gptq --refine 1 --stats. The last has other bytes since --asymmetric is 0.6 by default and
// tokens count by square roots.
func TestEndToEnd(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	dir := t.TempDir()
	bf16, out := filepath.Join(dir, "bf16.gguf"), filepath.Join(dir, "out.gguf")
	stats := filepath.Join(dir, "stats.gguf")
	mustRun(t, tiny, bf16, Options{Policy: policy.Policy{FileType: policy.MostlyBF16}})
	calibrate(t, bf16, stats, 4, true)
	r := mustRun(t, bf16, out, Options{
		Policy: policy.Policy{FileType: policy.MostlyQ3_K_S}, Method: "gptq", Stats: stats, Solver: quick(),
	})
	for path, want := range map[string]string{
		bf16:  "e50ab1fca76ddb3b8970e06e97b3b78a0dfa5dc5ea4bd6294787705e7f75dfa6",
		stats: "8343b0d3848f18a5a4cd9c64e4a6737dffdf97f9fd41b058e0ccb99270c6e59a",
		out:   "3b9fef654e4bf42534531b6eef54865dd691af98d304f85d8371f7b4b55b6c6a",
	} {
		if got := hash(t, path); got != want {
			t.Errorf("%s: SHA-256 %s, expected %s", filepath.Base(path), got, want)
		}
	}
	info, err := os.Stat(out)
	if err != nil {
		t.Fatal(err)
	}
	if len(r.Files) != 1 || r.Files[0].Bytes != info.Size() || r.FileType != "Q3_K_S" || len(r.Tensors) != 27 ||
		!(r.Seconds > 0) || r.SourceBytes == 0 {
		t.Errorf("%+v", r)
	}
}

// Every method makes a file that says how it was made, the same with any number of threads, and nothing beside it;
// those that run the model are closer to the original on other text than those that do not.
func TestMethods(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	dir := t.TempDir()
	without := math.Inf(1)
	for _, m := range calib.Methods() {
		opt := Options{Policy: policy.Policy{FileType: policy.MostlyQ3_K_S, Pure: true}, Method: m.Name}
		if m.Needs > calib.Nothing {
			opt.Stats = fisherStats(t)
		}
		out, again := filepath.Join(dir, m.Name+".gguf"), filepath.Join(dir, "again.gguf")
		for threads, path := range map[int]string{1: out, 3: again} {
			opt.Threads = threads
			mustRun(t, tiny, path, opt)
		}
		if !bytes.Equal(testmodel.Read(t, out), testmodel.Read(t, again)) {
			t.Errorf("%s: another file with 3 threads", m.Name)
		}
		f, err := gguf.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if name, _ := f.Metadata.Str(keyMethod); name != m.Name {
			t.Errorf("%s: the file says %q", m.Name, name)
		}
		_ = f.Close()
		kld, limit := meanKLD(t, out), without
		if m.Name == "gptq" {
			limit = 0.9 * without
		}
		switch {
		case !m.RunsModel():
			without = min(without, kld)
		case kld > limit:
			t.Errorf("%s: mean KLD %g, expected at most %g", m.Name, kld, limit)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.work")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// Without a method, statistics decide; without anything to tell, the file does not say how it was made.
func TestDefaultMethod(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	llama := filepath.Join(t.TempDir(), "llama.gguf") // as llama-imatrix's, without tokens
	s, err := stats.Open(plainStats(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Origin = nil
	if err := s.Write(llama, nil); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	for _, c := range []struct {
		stats  string
		budget *Budget
		want   string
	}{
		{"", nil, ""},
		{llama, nil, "imatrix"},
		{plainStats(t), nil, "imatrix"},
		{llama, &Budget{BPW: 5}, "imatrix"},
		{plainStats(t), &Budget{BPW: 5, Types: []quant.Type{quant.Q4_0, quant.Q8_0}}, "gptq"},
	} {
		j, err := Prepare(t.Context(), tiny, "out.gguf", Options{Stats: c.stats, Budget: c.budget}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := j.plan.Metadata.Str(keyMethod); got != c.want {
			t.Errorf("statistics %q, budget %v: method %q, expected %q", c.stats, c.budget, got, c.want)
		}
		j.Close()
	}
	_, err = Run(t.Context(), tiny, filepath.Join(t.TempDir(), "out.gguf"), Options{Method: "gptq", Stats: llama,
		Policy: policy.Policy{FileType: policy.MostlyQ4_0}}, nil)
	if err == nil || !strings.Contains(err.Error(), "does not hold the tokens") {
		t.Errorf("gptq with statistics of llama-imatrix: %v", err)
	}
}

// monitor keeps notes and cancels a run when a step of that name has done anything and a file holds so many steps.
type monitor struct {
	notes  []string
	step   string
	file   string // a work file, "" for none
	after  byte
	cancel context.CancelFunc
}

func (m *monitor) Note(format string, args ...any) {
	m.notes = append(m.notes, fmt.Sprintf(format, args...))
}

func (m *monitor) Begin(what string, _ int64, _ progress.Unit) progress.Step {
	return &step{m, what == m.step}
}

type step struct {
	m       *monitor
	watched bool
}

func (s *step) Set(done int64) {
	if !s.watched {
		return
	}
	if s.m.file != "" {
		// See work.File: records at 512 and 1024 hold a hash and a number of steps.
		data, err := os.ReadFile(s.m.file)
		if err != nil || len(data) < 4096 || max(data[512+32], data[1024+32]) < s.m.after {
			return
		}
	}
	s.m.cancel()
}

func (s *step) End() {}

// A run that is interrupted writes nothing, and the same one after it continues and makes the same file.
func TestInterrupted(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	dir := t.TempDir()
	want, out := filepath.Join(dir, "want.gguf"), filepath.Join(dir, "out.gguf")
	opt := Options{Policy: policy.Policy{FileType: policy.MostlyQ4_0}, Method: "gptq", Stats: plainStats(t),
		Solver: quick()}
	mustRun(t, tiny, want, opt)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Run(ctx, tiny, out, opt, &monitor{step: "quantizing", file: out + ".work", after: 2, cancel: cancel})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "the same command continues") {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "out*")); len(left) != 1 || left[0] != out+".work" {
		t.Errorf("left: %v", left)
	}
	m := &monitor{}
	if _, err := Run(t.Context(), tiny, out, opt, m); err != nil {
		t.Fatal(err)
	}
	if len(m.notes) != 1 || !strings.HasPrefix(m.notes[0], "continuing ") {
		t.Errorf("notes %q", m.notes)
	}
	if !bytes.Equal(testmodel.Read(t, out), testmodel.Read(t, want)) {
		t.Error("another file after an interruption")
	}
	ctx, cancel = context.WithCancel(t.Context())
	rtn := Options{Policy: opt.Policy}
	_, err = Run(ctx, tiny, filepath.Join(dir, "rtn.gguf"), rtn, &monitor{step: "converting", cancel: cancel})
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "rtn.gguf was not written") {
		t.Error(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

// With the same types, every method gives q, k and v apart the blocks that they have together.
func TestSplitQKV(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	dir := t.TempDir()
	whole, apart := filepath.Join(dir, "whole.gguf"), filepath.Join(dir, "apart.gguf")
	all := quick()
	all.Split = true
	all.Options.Asymmetric = 0.5
	for _, c := range []struct {
		method string
		solver Solver
	}{{"rtn", Solver{}}, {"imatrix", Solver{}}, {"awq", Solver{}}, {"gptq", all}} {
		opt := Options{Method: c.method, Solver: c.solver}
		opt.Policy = policy.Policy{FileType: policy.MostlyQ4_K_S, Pure: true}
		if c.method != "rtn" {
			opt.Stats = fisherStats(t)
		}
		for _, out := range []string{whole, apart} {
			opt.SplitQKV = out == apart
			mustRun(t, tiny, out, opt)
		}
		want, _ := tensors(t, whole)
		got, _ := tensors(t, apart)
		for name, b := range want {
			a := got[name]
			if blk, ok := strings.CutSuffix(name, "attn_qkv.weight"); ok {
				a = slices.Concat(got[blk+"attn_q.weight"], got[blk+"attn_k.weight"], got[blk+"attn_v.weight"])
			}
			if !bytes.Equal(a, b) {
				t.Errorf("%s: %s differs", c.method, name)
			}
		}
	}
}

// A recipe that names one matrix decides about it, and the file type about the others; one of another model is
// refused by the tensor's name.
func TestRecipe(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out.gguf")
	const head = "recipe: 1\nfile-type: Q8_0\nmethod: rtn\ntensors:\n  "
	recipe := func(line string) Options {
		r, err := calib.ParseRecipe([]byte(head + line))
		if err != nil {
			t.Fatal(err)
		}
		return Options{Recipe: r}
	}
	for line, want := range map[string]string{
		"blk.77.ffn_up.weight: Q8_0":                               "blk.77.ffn_up.weight",
		"blk.0.attn_norm.weight: Q8_0":                             "blk.0.attn_norm.weight",
		"blk.0.attn_qkv.weight: Q8_0\n  blk.0.attn_v.weight: Q4_0": "blk.0.attn_qkv.weight, and parts of it",
	} {
		_, err := Prepare(t.Context(), tiny, out, recipe(line), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", line, err)
		}
	}
	mustRun(t, tiny, out, recipe("blk.0.ffn_up.weight: Q4_0"))
	_, types := tensors(t, out)
	if a, b := types["blk.0.ffn_up.weight"], types["blk.1.ffn_up.weight"]; a != quant.Q4_0 || b != quant.Q8_0 {
		t.Errorf("%s, %s", a, b)
	}
}

// What makes no sense is a usage error that names the option.
func TestMistakes(t *testing.T) {
	yes, st := true, plainStats(t)
	bad := solve.DefaultOptions()
	bad.Shrink = 1
	gptq, err := calib.MethodByName("gptq")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opt  Options
		want string
	}{
		{Options{Method: "best"}, "known: rtn imatrix"},
		{Options{Method: "gptq"}, "--method gptq needs --stats"},
		{Options{Method: "rtn", Stats: st}, "--method rtn uses no --stats"},
		{Options{Method: "gptq", Stats: st, Solver: Solver{Options: &bad}}, "--shrink is 1"},
		{Options{Method: "imatrix", Stats: st, Solver: Solver{AWQ: &yes}}, "--awq goes with --method gptq"},
		{Options{Limits: Limits{Threads: -1}}, "--threads is -1, expected 1 to 1024"},
		{Options{Limits: Limits{Threads: 1025}}, "--threads is 1025"},
		{Options{Limits: Limits{MaxRAM: 1 << 20}}, "--max-ram is 1.0 MiB, expected at least 320 MiB"},
		{Options{Recipe: &calib.Recipe{}}, "the recipe names no method"},
		{Options{Recipe: &calib.Recipe{Method: gptq}, Stats: st}, "the recipe's damp has no value"},
		{Options{Seal: "x.seal"}, "--seal goes into a .pmap file"},
		{Options{Budget: &Budget{Size: 1 << 20}}, "--size 1048576 needs --stats"},
		{Options{Budget: &Budget{}}, "a budget is one of"},
		{Options{Budget: &Budget{Size: 1, BPW: 1}}, "a budget is one of"},
		{Options{Budget: &Budget{BPW: 4}, Policy: policy.Policy{Pure: true}, Stats: st}, "does not go with --pure"},
		{Options{Budget: &Budget{BPW: -4}, Stats: st}, "--bpw -4, expected more than 0"},
		{Options{Budget: &Budget{MaxKLD: 100}, Stats: st}, "--max-kld 100, expected"},
	} {
		_, err := Prepare(t.Context(), tiny, "out.gguf", c.opt, nil)
		var mistake *usage.Error
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, expected a usage error with %q", err, c.want)
		}
	}
}

// Neither the source, whatever it is called, nor what is no file is replaced.
func TestRefusesOverwriting(t *testing.T) {
	dir := t.TempDir()
	in, link := filepath.Join(dir, "in.gguf"), filepath.Join(dir, "link.gguf")
	q8 := Options{Policy: policy.Policy{FileType: policy.MostlyQ8_0}}
	mustRun(t, tiny, in, q8)
	if err := os.Link(in, link); err != nil {
		t.Fatal(err)
	}
	before := testmodel.Read(t, in)
	for out, want := range map[string]string{
		in: "is a file of the input", link: "is a file of the input", dir: "not a regular",
	} {
		if _, err := Run(t.Context(), in, out, q8, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", out, err)
		}
		if _, err := Copy(t.Context(), in, out, "", Limits{}, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("copy to %s: %v", out, err)
		}
	}
	if !bytes.Equal(before, testmodel.Read(t, in)) {
		t.Error("the input was written to")
	}
}

// A copy to the other format and back is the same file.
func TestCopy(t *testing.T) {
	dir := t.TempDir()
	in, other, back := filepath.Join(dir, "in.gguf"), filepath.Join(dir, "other.pmap"), filepath.Join(dir, "back.gguf")
	mustRun(t, tiny, in, Options{Policy: policy.Policy{FileType: policy.MostlyQ4_K_M}})
	for _, c := range []struct {
		from, to string
		want     bool
	}{{in, other, true}, {in, back, false}, {tiny, other, false}, {back, other, false}} {
		if got := OtherFormat(c.from, c.to); got != c.want {
			t.Errorf("%s to %s: another format %v", c.from, c.to, got)
		}
	}
	for _, c := range [][2]string{{in, other}, {other, back}} {
		r, err := Copy(t.Context(), c[0], c[1], "", Limits{Threads: 2}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Tensors) != 27 || r.FileType != "Q4_K_M" || r.FileBytes <= r.Bytes || r.Params != 2656512 {
			t.Errorf("%+v", r)
		}
	}
	data := testmodel.Read(t, in)
	if !bytes.Equal(data, testmodel.Read(t, back)) {
		t.Error("another file")
	}
	key := []byte("general.file_type\x04\x00\x00\x00")
	data[bytes.Index(data, key)+len(key)] = 36 // TQ1_0's, which is none of ours
	r, err := Copy(t.Context(), testmodel.Write(t, back, data), other, "", Limits{}, nil)
	if err != nil || r.FileType != "" {
		t.Errorf("an unknown file type: %+v, error %v", r, err)
	}
}
