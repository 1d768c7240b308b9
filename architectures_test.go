package phi3conv_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/job/calibrate"
	"github.com/phi3conv/phi3conv/internal/job/chat"
	"github.com/phi3conv/phi3conv/internal/job/diff"
	"github.com/phi3conv/phi3conv/internal/job/eval"
	"github.com/phi3conv/phi3conv/internal/job/inspect"
	"github.com/phi3conv/phi3conv/internal/job/logits"
	"github.com/phi3conv/phi3conv/internal/job/quantize"
	verifyjob "github.com/phi3conv/phi3conv/internal/job/verify"
	"github.com/phi3conv/phi3conv/internal/lint"
	"github.com/phi3conv/phi3conv/internal/pack"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
)

// stages are what a model goes through. A later one uses what earlier ones have made.
var stages = []struct {
	name string
	run  func(m *family, t *testing.T)
}{
	{"convert", (*family).convert},
	{"pmap", (*family).pmap},
	{"run", (*family).run},
	{"calibrate", (*family).calibrate},
	{"quantize", (*family).quantize},
	{"budget", (*family).budget},
	{"verify", (*family).verify},
	{"seal", (*family).seal},
	{"eval", (*family).eval},
	{"lint", (*family).lint},
	{"inspect", (*family).inspect},
	{"pack", (*family).pack},
}

// family is the tiny trained model of an architecture, and what the stages have made of it.
type family struct {
	*arch.Arch
	model, dir string // its checkpoint, and where outputs go
}

const calibText, evalText = "testdata/tiny-phi3-calib.txt", "testdata/tiny-phi3-eval.txt"

// Every architecture goes through every stage.
func TestArchitectures(t *testing.T) {
	for _, a := range arch.Archs {
		t.Run(a.Name, func(t *testing.T) {
			t.Parallel()
			m := &family{Arch: a, model: testmodel.Copy(t, "tiny-"+a.Name), dir: t.TempDir()}
			for _, s := range stages {
				if !t.Run(s.name, func(t *testing.T) { s.run(m, t) }) {
					return // later stages need its outputs
				}
			}
		})
	}
}

// out returns the path of an output.
func (m *family) out(name string) string { return filepath.Join(m.dir, name) }

// make makes a file of the model.
func (m *family) make(t *testing.T, name string, opt quantize.Options) string {
	t.Helper()
	if _, err := quantize.Run(t.Context(), m.model, m.out(name), opt, nil); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return m.out(name)
}

// logits returns the logits of a model for some tokens, as a file of NumPy.
func (m *family) logits(t *testing.T, model string) []byte {
	t.Helper()
	tokens := make([]int32, 80)
	for i := range tokens {
		tokens[i] = int32(5 + i*i%90)
	}
	path := m.out("logits.npy")
	exact := runtime.Options{Float32: true, Cache: runtime.CacheF32}
	if _, err := logits.WriteNPY(t.Context(), model, tokens, path, logits.Options{Compute: exact}); err != nil {
		t.Fatalf("%s: %v", model, err)
	}
	return testmodel.Read(t, path)
}

// A GGUF file of each type opens. Vectors stay F32. That of F32 computes the same as the checkpoint.
func (m *family) convert(t *testing.T) {
	for _, f := range policy.FileTypes() {
		path := m.make(t, f.String()+".gguf", quantize.Options{Policy: policy.Policy{FileType: f}})
		src, err := source.Open(path)
		if err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		quantized := 0
		for i := range src.Tensors {
			x := &src.Tensors[i]
			if x.Type.IsQuantized() {
				quantized++
			}
			if len(x.Shape) == 1 && x.Type != quant.F32 {
				t.Errorf("%s: vector %s is %s", f, x.GGUF, x.Type)
			}
		}
		if quantized > 0 != f.Type().IsQuantized() {
			t.Errorf("%s: %d quantized tensors", f, quantized)
		}
		_ = src.Close()
	}
	if !bytes.Equal(m.logits(t, m.model), m.logits(t, m.out("F32.gguf"))) {
		t.Error("the F32 file has other logits than the checkpoint")
	}
}

// A .pmap file is the GGUF file in another form.
func (m *family) pmap(t *testing.T) {
	gguf, pmap, back := m.out("Q4_K_M.gguf"), m.out("a.pmap"), m.out("back.gguf")
	for _, c := range [][2]string{{gguf, pmap}, {pmap, back}} {
		if _, err := quantize.Copy(t.Context(), c[0], c[1], "", quantize.Limits{}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(testmodel.Read(t, gguf), testmodel.Read(t, back)) {
		t.Error("GGUF to .pmap and back is another file")
	}
	if !bytes.Equal(m.logits(t, gguf), m.logits(t, pmap)) {
		t.Error("the .pmap file has other logits")
	}
}

// A quantized model answers, with its weights repacked and in place, the same.
func (m *family) run(t *testing.T) {
	var answers []string
	for _, inPlace := range []bool{false, true} {
		sampler, err := runtime.NewSampler(runtime.SamplerOptions{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := chat.Open(t.Context(), m.out("Q4_K_M.gguf"), chat.Options{
			Raw: true, Limit: 24, Sampler: sampler, Compute: runtime.Options{NoRepack: inPlace},
		})
		if err != nil {
			t.Fatal(err)
		}
		var answer strings.Builder
		_, err = c.Answer(t.Context(), "The", func(text string) error {
			answer.WriteString(text)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		answers = append(answers, answer.String())
		_ = c.Close()
	}
	if answers[0] == "" || answers[0] != answers[1] {
		t.Errorf("answers %q", answers)
	}
}

func (m *family) calibrate(t *testing.T) {
	text := calibrate.DefaultText()
	text.Files, text.Length, text.Tokens = []string{calibText}, 128, 1024
	fisher := true
	if _, err := calibrate.Run(t.Context(), m.model, m.out("stats.gguf"), calibrate.Options{
		Text: text, Fisher: &fisher,
	}); err != nil {
		t.Fatal(err)
	}
}

// Every method makes a file of every matrix that the file type quantizes.
func (m *family) quantize(t *testing.T) {
	for _, method := range calib.Methods() {
		opt := quantize.Options{Policy: policy.Policy{FileType: policy.MostlyQ4_K_M}, Method: method.Name}
		if method.Needs != 0 {
			opt.Stats = m.out("stats.gguf")
		}
		m.logits(t, m.make(t, method.Name+".gguf", opt))
	}
}

// A budget is kept.
func (m *family) budget(t *testing.T) {
	const bits = 4.25
	m.make(t, "budget.gguf", quantize.Options{
		Budget: &quantize.Budget{BPW: bits}, Stats: m.out("stats.gguf"), Method: "imatrix",
	})
}

// What quantization costs is measured, by block and by tensor too.
func (m *family) verify(t *testing.T) {
	reports, err := verifyjob.Run(t.Context(), verifyjob.Options{
		Base: m.model, Quants: []string{m.out("F32.gguf"), m.out("Q4_K_M.gguf"), m.out("gptq.gguf")},
		Texts: []string{evalText}, Windows: verifyjob.Windows{Context: 128, Max: 2},
		Compute: runtime.Options{Float32: true, Cache: runtime.CacheF32},
		ByLayer: true, ByTensor: true, LayerWindows: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	if kld := reports[0].Summary.KLD.Value; kld != 0 {
		t.Errorf("the F32 file differs from the checkpoint: KLD %g", kld)
	}
	for _, r := range reports[1:] {
		if kld := r.Summary.KLD.Value; !(kld > 0 && kld < 1) {
			t.Errorf("KLD %g", kld)
		}
	}
}

func (m *family) seal(t *testing.T) {
	_, err := verifyjob.Seal(t.Context(), verifyjob.SealOptions{
		Model: m.model, Texts: []string{evalText}, Windows: verifyjob.Windows{Context: 128, Max: 2},
		Output: m.out("x.seal"),
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := verifyjob.RunSealed(t.Context(), verifyjob.SealedOptions{Seal: m.out("x.seal"), Quant: m.out("a.pmap")})
	if err != nil {
		t.Fatal(err)
	}
	if r.Summary.Count == 0 {
		t.Error("no positions")
	}
}

func (m *family) eval(t *testing.T) {
	_, err := eval.Run(t.Context(), eval.Options{
		Models: []string{m.out("Q4_K_M.gguf")}, Base: m.model, Tasks: []string{"testdata/eval/choice.jsonl"}, Limit: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing is wrong with the model and what was made of it.
func (m *family) lint(t *testing.T) {
	for _, path := range []string{m.model, m.out("F32.gguf"), m.out("Q4_K_M.gguf"), m.out("gptq.gguf")} {
		r, err := lint.Run(t.Context(), path, lint.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range r.Findings {
			// PHI407 is about the name, which is a test's here.
			if f.Severity != lint.Info && f.Code != "PHI407" {
				t.Errorf("%s: %s %s: %s", filepath.Base(path), f.Code, f.Subject, f.Message)
			}
		}
	}
}

// A model is described, its tensors measured, and compared with another.
func (m *family) inspect(t *testing.T) {
	var opened []*inspect.Model
	for _, path := range []string{m.model, m.out("F32.gguf")} {
		x, err := inspect.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = x.Close() }()
		if x.Config == nil || x.Config.Arch != m.Arch || x.Overview() == nil {
			t.Errorf("%s is not described", path)
		}
		opened = append(opened, x)
	}
	d, err := diff.Compare(t.Context(), opened[0], opened[1], diff.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if d.Overall.MaxErr != 0 {
		t.Errorf("the weights differ by %v", d.Overall.MaxErr)
	}
	if len(d.Unlike)+len(d.TensorsA)+len(d.TensorsB) > 0 {
		t.Errorf("not compared: %v, %v, %v", d.Unlike, d.TensorsA, d.TensorsB)
	}
}

func (m *family) pack(t *testing.T) {
	in, err := pack.Collect(m.out("Q4_K_M.gguf"), nil, m.out("packed"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := pack.Build(t.Context(), in.Files, pack.Formats[0], nil); err != nil {
		t.Fatal(err)
	}
}
