package verify

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/verify"
)

// flipped returns a copy of a GGUF file in which one exponent bit of the scale of a Q4_K tensor's first block is
// another.
func flipped(t *testing.T, path, tensor string) string {
	t.Helper()
	f, err := gguf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }() // only read from
	data := testmodel.Read(t, path)
	data[f.Tensor(tensor).Offset+1] ^= 1 << 5 // bit 13 of the float16 d: 2^8 times as much
	return testmodel.Write(t, filepath.Join(t.TempDir(), "flipped.gguf"), data)
}

// byTensor is a verification with a ranking of tensors.
func byTensor(quant string) Options {
	return Options{
		Base: tiny, Quants: []string{quant}, Texts: []string{evalText}, Windows: Windows{Context: 128, Max: 20},
		ByTensor: true, LayerWindows: 2,
	}
}

// A regression fails against a baseline, and the damaged tensor is named.
func TestBaseline(t *testing.T) {
	const damaged = "blk.1.attn_output.weight"
	first := verified(t, byTensor(models.q4))
	path := saved(t, first)

	o := byTensor(models.q4)
	o.Requirements.Baseline = path
	again := verified(t, o)[0]
	if b := again.Baseline; b.Outcome != verify.Pass || len(b.Checks) != 4 || b.Layers != nil {
		t.Errorf("%+v", b)
	}
	for _, c := range again.Baseline.Checks {
		if c.Change != verify.Same || c.Difference.Value != 0 {
			t.Errorf("a model differs from itself: %+v", c)
		}
	}

	o = byTensor(flipped(t, models.q4, damaged))
	o.Requirements.Baseline = path
	bad := verified(t, o)[0]
	if b := bad.Baseline; b.Outcome != verify.Fail || b.Checks[0].Change != verify.Worse {
		t.Errorf("one flipped bit: %+v", b)
	}
	if c := bad.Baseline.Layers; len(c) != 1 || c[0].Name != damaged || !(c[0].Now > c[0].Baseline) {
		t.Errorf("%+v, expected a change of %s alone", c, damaged)
	}
	if bad.Layers[0].Name != damaged {
		t.Errorf("%s ranks first, expected %s", bad.Layers[0].Name, damaged)
	}
	if w := bad.Weights; len(w.Unlike) == 0 || w.Unlike[0].Tensor != damaged {
		t.Errorf("rows: %+v", w)
	}
	for _, f := range verify.Figures() {
		o.Requirements.Allowed = append(o.Requirements.Allowed, verify.Threshold{Name: f.Name, Limit: 100})
	}
	if b := verified(t, o)[0].Baseline; b.Outcome != verify.Pass {
		t.Errorf("what is allowed fails: %+v", b)
	}
}

// The parts of a verification are compared with a baseline together.
func TestBaselineOfParts(t *testing.T) {
	o := eightWindows(models.q4)
	baseline := saved(t, verified(t, o))
	var parts []string
	for i := range 2 {
		o.Shard = &verify.Shard{I: i + 1, N: 2}
		parts = append(parts, saved(t, verified(t, o)))
	}
	merged, err := Merge(parts, -1, Requirements{Baseline: baseline})
	if err != nil || merged[0].Baseline.Outcome != verify.Pass {
		t.Errorf("%v, %+v", err, merged)
	}
	_, err = Merge(parts, -1, Requirements{Baseline: baseline + "x"})
	wantError(t, err, false, "report.jsonx")
}

// A baseline that does not fit is refused before anything is evaluated.
func TestStaleBaseline(t *testing.T) {
	o := eightWindows(models.q4)
	list := verified(t, o)
	path := saved(t, list)
	dir := t.TempDir()
	withSeal := testmodel.Write(t, filepath.Join(dir, "seal.json"),
		bytes.Replace(content(t, list), []byte(`"quant":`), []byte(`"seal":{"name":"x"},"quant":`), 1))
	var summary bytes.Buffer
	if err := list.WriteJSON(&summary); err != nil {
		t.Fatal(err)
	}
	withoutPositions := testmodel.Write(t, filepath.Join(dir, "summary.json"), summary.Bytes())
	longer := testmodel.Write(t, filepath.Join(dir, "tiny-phi3-eval.txt"), append(testmodel.Read(t, evalText), '.'))
	for _, c := range []struct {
		baseline string
		change   func(o *Options)
		want     string
	}{
		{path, func(o *Options) { o.Base = models.q4 }, "stale baseline: another original"},
		{path, func(o *Options) { o.Windows.Max = 2 }, "stale baseline: another number of windows"},
		{path, func(o *Options) { o.Windows.Context = 32 }, "stale baseline: other conventions"},
		{path, func(o *Options) { o.Compute.Float32 = true }, "stale baseline: computed in another way"},
		{path, func(o *Options) { o.Texts = []string{longer, calibText} }, "stale baseline: another text"},
		{path, func(o *Options) { o.Quants = []string{tiny, models.q4} }, "no report on tiny-phi3"},
		{withoutPositions, func(*Options) {}, "no positions"},
		{withSeal, func(*Options) {}, "with a seal has lower bounds"},
		{path + "x", func(*Options) {}, "report.jsonx"},
		{evalText, func(*Options) {}, "not a report"},
	} {
		o := o
		o.Requirements.Baseline = c.baseline
		c.change(&o)
		_, err := begin(t.Context(), o)
		wantError(t, err, false, c.want)
	}
	two := &baseline{"b.json", verify.Reports{list[0], list[0]}}
	wantError(t, two.check(verify.Reports{list[0], list[0]}), false, "b.json: two reports on Q4_K_M.gguf")
}
