package verify

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/verify"
)

const (
	tiny      = "../../../testdata/tiny-phi3"
	evalText  = "../../../testdata/tiny-phi3-eval.txt"
	calibText = "../../../testdata/tiny-phi3-calib.txt"
)

// models are conversions of the tiny model, shared by all tests.
var models struct{ dir, bf16, q4, q8 string }

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "phi3conv-verify-test-")
		if err != nil {
			panic(err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		models.dir = dir
		for name, path := range map[string]*string{"BF16": &models.bf16, "Q4_K_M": &models.q4, "Q8_0": &models.q8} {
			if *path, err = quantize(dir, name); err != nil {
				panic(err)
			}
		}
		return m.Run()
	}())
}

// quantize makes a GGUF file of the tiny model.
func quantize(dir, fileType string) (string, error) {
	ft, err := policy.FileTypeByName(fileType)
	if err != nil {
		return "", err
	}
	m, err := source.Open(tiny)
	if err != nil {
		return "", err
	}
	defer func() { _ = m.Close() }() // only read from
	p, err := convert.NewPlan(m, convert.Options{Policy: policy.Policy{FileType: ft}})
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, fileType+".gguf")
	return path, p.Run(context.Background(), path, convert.Limits{Threads: 2, Memory: 1 << 30})
}

// eightWindows is a verification of eight windows of two texts.
func eightWindows(quants ...string) Options {
	return Options{
		Base: tiny, Quants: quants, Texts: []string{evalText, calibText}, Windows: Windows{Context: 64, Max: 4},
		Worst: 5, Tool: "test",
	}
}

// verified runs a verification, which must succeed.
func verified(t *testing.T, o Options) verify.Reports {
	t.Helper()
	list, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// content returns the reports as a file has them, with all positions.
func content(t *testing.T, list verify.Reports) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := list.WriteReport(&b); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// saved writes the reports to a file.
func saved(t *testing.T, list verify.Reports) string {
	t.Helper()
	return testmodel.Write(t, filepath.Join(t.TempDir(), "report.json"), content(t, list))
}

// notes is a monitor that keeps the notes, and calls set when a step advances.
type notes struct {
	mu   sync.Mutex
	text strings.Builder
	set  func(done int64)
}

func (n *notes) Note(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	fmt.Fprintf(&n.text, format+"\n", args...)
}

func (n *notes) Begin(string, int64, progress.Unit) progress.Step { return n }

func (n *notes) Set(done int64) {
	if n.set != nil {
		n.set(done)
	}
}

func (n *notes) End() {}

// wantError fails the test unless the error has this text, and is a usage error or not.
func wantError(t *testing.T, err error, mistake bool, text string) {
	t.Helper()
	var u *usage.Error
	if err == nil || !strings.Contains(err.Error(), text) || errors.As(err, &u) != mistake {
		t.Errorf("error %v, expected one with %q; a mistake in the options: %v", err, text, mistake)
	}
}

// A model against itself; perplexity is transformers' (testdata/golden/perplexity.json).
func TestItself(t *testing.T) {
	o := Options{
		Base: tiny, Quants: []string{models.bf16}, Texts: []string{evalText}, Windows: Windows{Context: 256},
		Compute:      runtime.Options{Float32: true, Cache: runtime.CacheF32},
		Requirements: Requirements{Thresholds: []verify.Threshold{{Name: "max-kld", Limit: 1e-9}}},
	}
	r := verified(t, o)[0]
	if r.Verdict.Outcome != verify.Pass {
		t.Errorf("%+v", r.Verdict)
	}
	if r.Summary.KLDMax != 0 || r.Summary.SameTop.Value != 1 || r.Summary.LnPPLRatio.Value != 0 {
		t.Errorf("a model differs from itself: %+v", r.Summary)
	}
	// Positions 128 to 254 of 122 windows, where the golden file has 127 and 122 of them too.
	if want := 1.5467329361593738; r.Summary.Count != 15494 || math.Abs(r.Summary.PPL.Value/want-1) > 1e-5 {
		t.Errorf("perplexity %.7f of %d tokens, expected %.7f of 15494", r.Summary.PPL.Value, r.Summary.Count, want)
	}
	if r.Base.Format != "BF16" || r.Conventions.Name != verify.LlamaPerplexity || r.Texts[0].Tokens != 31327 {
		t.Errorf("%+v", r)
	}
	if r.Base.BitsPerWeight != 16 || r.Base.FileBytes <= r.Base.Bytes {
		t.Errorf("%+v", r.Base)
	}
}

func TestQuantized(t *testing.T) {
	o := eightWindows(models.q4, models.q8)
	o.Requirements.Thresholds = []verify.Threshold{
		{Name: "max-kld", Limit: 1e-4}, {Name: "min-top1", Limit: 0.2}, {Name: "max-kld-median", Limit: 1},
	}
	list := verified(t, o)
	want := [][]verify.Outcome{{verify.Fail, verify.Pass, verify.Pass}, {verify.Pass, verify.Pass, verify.Pass}}
	for k, r := range list {
		for i, c := range r.Verdict.Checks {
			if c.Outcome != want[k][i] {
				t.Errorf("%s, %s: %s, expected %s", r.Quant.Name, c.Name, c.Outcome, want[k][i])
			}
		}
		if r.Summary.Count != 8*31 || !(r.Summary.KLD.Value > 0 && r.Summary.KLD.Value < 1) {
			t.Errorf("%+v", r.Summary)
		}
		if len(r.Worst) != 5 || r.Worst[0].Piece == "" || r.Worst[0].Before == "" {
			t.Errorf("the worst tokens have no text: %+v", r.Worst)
		}
		if w := r.Weights; w == nil || w.Rows < 1000 || len(w.Unlike) != 0 {
			t.Errorf("rows: %+v", w)
		}
	}
	info, err := os.Stat(models.q4)
	q := list[0].Quant
	if err != nil || q.FileBytes != info.Size() || math.Abs(q.BitsPerWeight-8*float64(q.Bytes)/2656512) > 1e-9 {
		t.Errorf("%v, %+v", err, q)
	}
}

func TestStride(t *testing.T) {
	o := eightWindows(models.q4)
	o.Texts, o.Windows = o.Texts[:1], Windows{Context: 64, Stride: 32, Max: 3}
	r := verified(t, o)[0]
	if r.Summary.Count != 63+32+32 || r.Conventions.Name != verify.Strided || r.Conventions.First != 0 {
		t.Errorf("%d positions, %+v", r.Summary.Count, r.Conventions)
	}
}

// Every way to come by a report gives the same bytes.
func TestSameReport(t *testing.T) {
	o := eightWindows(models.q4, models.q8)
	both := verified(t, o)
	want := content(t, both)

	t.Run("each alone", func(t *testing.T) {
		for i, q := range o.Quants {
			if got := content(t, verified(t, eightWindows(q))); !bytes.Equal(got, content(t, both[i:i+1])) {
				t.Errorf("%s: another report", q)
			}
		}
	})
	t.Run("one at a time", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("TMPDIR", dir)
		t.Setenv("TMP", dir)
		o, n := o, &notes{}
		o.OneAtATime, o.Monitor = true, n
		if !bytes.Equal(content(t, verified(t, o)), want) {
			t.Error("another report")
		}
		// 8 windows of 31 positions of 575 tokens
		if !strings.Contains(n.text.String(), "take 558 KiB in "+dir) {
			t.Errorf("no size of the temporary file: %s", n.text.String())
		}
		if files, err := filepath.Glob(filepath.Join(dir, "phi3conv*")); err != nil || len(files) > 0 {
			t.Errorf("temporary files are left: %v, %v", files, err)
		}
	})
	t.Run("threads, pages of the file", func(t *testing.T) {
		o := o
		o.Compute = runtime.Options{Threads: 1, NoRepack: true}
		if !bytes.Equal(content(t, verified(t, o)), want) {
			t.Error("another report")
		}
	})
	t.Run("parts", func(t *testing.T) {
		var parts []string
		for _, i := range []int{3, 1, 2} {
			o := o
			o.Shard = &verify.Shard{I: i, N: 3}
			parts = append(parts, saved(t, verified(t, o)))
		}
		limits := []verify.Threshold{{Name: "max-kld", Limit: 10}}
		merged, err := Merge(parts, -1, Requirements{Thresholds: limits})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range merged {
			if r.Verdict.Outcome != verify.Pass {
				t.Errorf("%+v", r.Verdict)
			}
			r.Verdict = nil
		}
		if !bytes.Equal(content(t, merged), want) {
			t.Error("merged, another report")
		}
		_, err = Merge([]string{parts[0], parts[2]}, -1, Requirements{})
		wantError(t, err, false, "part 1 of 3 is missing")
	})
}

func TestMergeRefuses(t *testing.T) {
	one, two := saved(t, shardOf(t, models.q4)), saved(t, shardOf(t, models.q4, models.q8))
	_, err := Merge([]string{one, two}, -1, Requirements{})
	wantError(t, err, false, "reports on 2 models, expected 1 as in "+one)
	_, err = Merge([]string{evalText}, -1, Requirements{})
	wantError(t, err, false, "not a report of verify")
	_, err = Merge(nil, -1, Requirements{})
	wantError(t, err, true, "no reports")
}

// shardOf returns the reports of the first of two parts.
func shardOf(t *testing.T, quants ...string) verify.Reports {
	o := eightWindows(quants...)
	o.Texts, o.Windows.Max, o.Shard = o.Texts[:1], 2, &verify.Shard{I: 1, N: 2}
	return verified(t, o)
}

func TestRunRefuses(t *testing.T) {
	short := testmodel.Write(t, filepath.Join(t.TempDir(), "short.txt"), []byte("The ball."))
	for _, c := range []struct {
		change  func(o *Options)
		mistake bool
		want    string
	}{
		{func(o *Options) { o.Base = "" }, true, "needs an original"},
		{func(o *Options) { o.Quants = nil }, true, "quantized models"},
		{func(o *Options) { o.Texts = nil }, true, "texts"},
		{func(o *Options) { o.Worst = -1 }, true, "cannot be negative"},
		{func(o *Options) { o.Windows.Context = 3 }, true, "windows of 3 tokens"},
		{func(o *Options) { o.Windows.Stride = 65 }, true, "with stride 65"},
		{func(o *Options) { o.Shard = &verify.Shard{I: 3, N: 2} }, true, "part 3 of 2"},
		{func(o *Options) { o.Shard = &verify.Shard{I: 1, N: 9} }, true, "only 8 windows"},
		{func(o *Options) { o.Shard, o.ByLayer = &verify.Shard{I: 1, N: 2}, true }, true, "cannot be shared"},
		{func(o *Options) { o.Shard, o.Requirements.Baseline = &verify.Shard{I: 1, N: 2}, "x" }, true, "verify merge"},
		{func(o *Options) { o.Speed.Always = true }, true, "speed cannot be measured"},
		{func(o *Options) { o.Windows.Context = 600 }, false, "a context of 600 tokens"},
		{func(o *Options) { o.Texts = []string{short} }, false, "short.txt: "},
		{func(o *Options) { o.Texts = []string{short + "x"} }, false, "short.txtx"},
	} {
		o := eightWindows(models.q8)
		c.change(&o)
		_, err := Run(t.Context(), o)
		wantError(t, err, c.mistake, c.want)
	}
}

func TestSpread(t *testing.T) {
	windows := make([]verify.Window, 8)
	for i := range windows {
		windows[i].Start = i
	}
	var starts []int
	for _, w := range spread(windows, 3) {
		starts = append(starts, w.Start)
	}
	if !slices.Equal(starts, []int{0, 2, 5}) || len(spread(windows, 20)) != 8 {
		t.Errorf("windows %d", starts)
	}
}

// Thresholds are looked at before anything is evaluated.
func TestThresholdsFirst(t *testing.T) {
	for want, threshold := range map[string]verify.Threshold{
		"unknown threshold": {Name: "nosuch", Limit: 1},
		"max-kld is -5":     {Name: "max-kld", Limit: -5},
		"speed cannot be":   {Name: "min-tg", Limit: 1},
	} {
		_, err := Run(t.Context(), Options{
			Base: "nosuch", Quants: []string{"nosuch"}, Texts: []string{"nosuch"},
			Requirements: Requirements{Thresholds: []verify.Threshold{threshold}},
		})
		wantError(t, err, true, want)
	}
}
