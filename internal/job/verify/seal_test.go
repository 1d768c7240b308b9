package verify

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

// sealed makes a seal of a model.
func sealed(t *testing.T, o SealOptions) (path string, s *SealSummary) {
	t.Helper()
	o.Output = filepath.Join(t.TempDir(), "model.seal")
	if o.Texts == nil {
		o.Texts = []string{evalText}
	}
	s, err := Seal(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return o.Output, s
}

func againstSeal(t *testing.T, o SealedOptions) *verify.Report {
	t.Helper()
	r, err := RunSealed(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// What a seal gives agrees with what the original gives; the KLD is less, and estimated.
func TestSealed(t *testing.T) {
	w := Windows{Context: 128, Max: 20}
	path, s := sealed(t, SealOptions{Model: tiny, Windows: w, TopK: 8, Full: 300})
	if info, err := os.Stat(path); err != nil || info.Size() != s.Bytes || s.Positions != 20*63 || s.Full != 300 {
		t.Errorf("%+v, %v", s, err)
	}
	want := verified(t, Options{Base: tiny, Quants: []string{models.q4}, Texts: []string{evalText}, Windows: w})[0]
	r := againstSeal(t, SealedOptions{Seal: path, Quant: models.q4, Worst: 10, Tool: "test",
		Thresholds: []verify.Threshold{{Name: "max-kld", Limit: 10}, {Name: "min-top1", Limit: 0.2}}})
	if r.Verdict.Outcome != verify.Pass || r.Seal.SHA256 != s.SHA256 || r.Base.SHA256 != want.Base.SHA256 ||
		r.Seal.Name != "model.seal" || r.Tool != "test" {
		t.Errorf("%+v", r)
	}
	sameFigures(t, r, want)
	if len(r.ByContext) != 8 || r.ByText[0].Name != filepath.Base(evalText) ||
		r.Texts[0].SHA256 != want.Texts[0].SHA256 {
		t.Errorf("%+v", r)
	}
	if len(r.Worst) != 10 || r.Worst[0].Piece == "" || r.Worst[0].Before == "" {
		t.Errorf("the worst tokens have no text: %+v", r.Worst)
	}

	// The lower bound proves a failure; percentiles can only fail.
	r = againstSeal(t, SealedOptions{Seal: path, Quant: models.q4, Thresholds: []verify.Threshold{
		{Name: "max-kld", Limit: 1e-6}, {Name: "max-kld-median", Limit: 1e-9}, {Name: "max-kld-p99", Limit: 100}}})
	for i, c := range []struct {
		outcome verify.Outcome
		note    string
	}{{verify.Fail, "proven"}, {verify.Fail, "proven"}, {verify.Undecided, "not applicable"}} {
		if got := r.Verdict.Checks[i]; got.Outcome != c.outcome || !strings.Contains(got.Note, c.note) {
			t.Errorf("%+v, expected %s, %s", got, c.outcome, c.note)
		}
	}
}

// sameFigures compares a report with a seal with one with the original.
func sameFigures(t *testing.T, r, want *verify.Report) {
	t.Helper()
	a, b := r.Summary, want.Summary
	for _, c := range []struct {
		what      string
		got, want float64
		tolerance float64 // relative
	}{
		{"PPL of the original", a.PPLBase.Value, b.PPLBase.Value, 1e-7},
		{"PPL", a.PPL.Value, b.PPL.Value, 1e-12},
		{"ln PPL ratio", a.LnPPLRatio.Value, b.LnPPLRatio.Value, 1e-5},
		{"same top", a.SameTop.Value, b.SameTop.Value, 0},
		{"top 5", a.Top5.Value, b.Top5.Value, 0},
		{"KLD estimate", r.Seal.KLD.Value, b.KLD.Value, 0.05},
	} {
		if !(math.Abs(c.got-c.want) <= c.tolerance*math.Abs(c.want)) {
			t.Errorf("%s: %v, expected %v", c.what, c.got, c.want)
		}
	}
	share := a.KLD.Value / b.KLD.Value
	if !(share <= 1 && share > 0.5) || math.Abs(share-r.Seal.Share.Value) > 0.05 {
		t.Errorf("the bound has %v of the KLD, estimated %v", share, r.Seal.Share.Value)
	}
}

// A seal of a directory and one of a GGUF file made of it differ in the weights' hash alone, and a
// model agrees with its own seal.
func TestSealOfItself(t *testing.T) {
	for _, m := range []string{tiny, models.bf16} {
		windows := Windows{Context: 64, Stride: 32, Max: 5}
		path, s := sealed(t, SealOptions{Model: m, Windows: windows, MinP: 2.5e-4, Full: 1})
		if s.Positions != 4*32+63 {
			t.Errorf("%d positions", s.Positions)
		}
		r := againstSeal(t, SealedOptions{Seal: path, Quant: models.bf16,
			Compute: runtime.Options{Float32: true, Cache: runtime.CacheF32}})
		if r.Summary.KLDMax != 0 || r.Summary.SameTop.Value != 1 || r.Conventions.Name != verify.Strided {
			t.Errorf("%+v", r.Summary)
		}
	}
	o := SealOptions{Model: tiny, Windows: Windows{Context: 64, Max: 3}, MinP: 2.5e-4}
	first, _ := sealed(t, o)
	o.Threads = 1
	again, _ := sealed(t, o)
	if !bytes.Equal(testmodel.Read(t, first), testmodel.Read(t, again)) {
		t.Error("a seal depends on the number of threads")
	}
}

func TestSealedRefuses(t *testing.T) {
	path, _ := sealed(t, SealOptions{Model: tiny, Windows: Windows{Context: 64, Max: 2}, Full: 1, MinP: 2.5e-4})
	good := testmodel.Read(t, path)
	dir := t.TempDir()
	file := func(name string, data []byte) string { return testmodel.Write(t, filepath.Join(dir, name), data) }
	altered := bytes.Clone(good)
	altered[len(altered)/2] ^= 1
	for _, c := range []struct {
		o       SealedOptions
		mistake bool
		want    string
	}{
		{SealedOptions{Seal: file("t", good[:len(good)-100]), Quant: models.q8}, false, "file is truncated"},
		{SealedOptions{Seal: file("a", altered), Quant: models.q8}, false, "the file is damaged"},
		{SealedOptions{Seal: models.q8, Quant: models.q8}, false, "this is no seal"},
		{SealedOptions{Seal: filepath.Join(dir, "none"), Quant: models.q8}, false, "none"},
		{SealedOptions{Seal: path, Quant: damagedScores(t)}, false,
			"damaged.gguf: its tokenizer is another than that of the seal " + path + ": its merges have the SHA-256"},
		{SealedOptions{Seal: path, Quant: damagedToken(t)}, false, "its tokens have the SHA-256"},
		{SealedOptions{Seal: path, Quant: damagedEOS(t)}, false, "its EOS is"},
		{SealedOptions{Seal: path, Quant: models.q8, Worst: -1}, true, "cannot be negative"},
	} {
		_, err := RunSealed(t.Context(), c.o)
		wantError(t, err, c.mistake, c.want)
	}
	if HasSeal(path) || HasSeal(models.q8) || HasSeal(filepath.Join(dir, "none.pmap")) {
		t.Error("a file that is no .pmap file holds a seal")
	}
}

func TestSealRefuses(t *testing.T) {
	short := testmodel.Write(t, filepath.Join(t.TempDir(), "short.txt"), []byte("Hello"))
	out := filepath.Join(t.TempDir(), "x.seal")
	o := SealOptions{Model: tiny, Texts: []string{short}, Output: out}
	_, err := Seal(t.Context(), o)
	wantError(t, err, false, "short.txt: 3 tokens, too few for a window of 512")
	o.Windows.Context = 2
	_, err = Seal(t.Context(), o)
	wantError(t, err, true, "windows of 2 tokens")
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("a refused seal was written: %v", err)
	}
}
