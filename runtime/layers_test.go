package runtime

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/testdata"
)

func openLayers(t testing.TB, path string, opt Options) *Layers {
	t.Helper()
	l, err := OpenLayers(path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// embedded returns the first residual stream of sequences and their lengths.
func embedded(t testing.TB, l *Layers, sequences [][]int32) (x []float32, lengths []int) {
	t.Helper()
	for _, s := range sequences {
		rows := make([]float32, len(s)*l.Hidden())
		if err := l.Embed(rows, s); err != nil {
			t.Fatal(err)
		}
		x, lengths = append(x, rows...), append(lengths, len(s))
	}
	return x, lengths
}

// Block by block, over many sequences, whatever the batch and the threads: the bits that
// Model gives in float32 mode, and the same inputs of every linear layer.
func TestLayersSameBits(t *testing.T) {
	models := []string{testmodel.Phi3(t)}
	for _, v := range testdata.Variants() {
		if !testing.Short() || strings.Contains(v.Name, "window") {
			models = append(models, writeVariant(t, v))
		}
	}
	models = append(models, convertTo(t, models[0], policy.MostlyQ4_0))
	models = append(models, pmapOf(t, models[len(models)-1]))
	for _, path := range models {
		var tapped map[string][]float32
		m := open(t, path, Options{Float32: true, Cache: CacheF32, Threads: 1, Tap: func(name string, x []float32) {
			tapped[name] = append(tapped[name], x...)
		}})
		var sequences [][]int32
		for _, n := range []int{5, 1, 40, 17} {
			sequences = append(sequences, counting(n, m.VocabSize())[:min(n, m.Context())])
		}
		want := map[string][]float32{}
		var logits [][]float32
		for _, s := range sequences {
			tapped = map[string][]float32{}
			logits = append(logits, allLogits(t, sequence(t, m), s)...)
			for name, x := range tapped {
				want[name] = append(want[name], x...)
			}
		}
		for _, opt := range []Options{{Threads: 1, Batch: 16}, {Threads: 3}} {
			l := openLayers(t, path, opt)
			x, lengths := embedded(t, l, sequences)
			got := map[string][]float32{}
			tap := func(in Inputs) error {
				if len(got[in.Tensor]) != in.First*in.Cols {
					t.Fatalf("%s: %s: row %d comes after %d values", path, in.Tensor, in.First, len(got[in.Tensor]))
				}
				for r := range in.Rows {
					got[in.Tensor] = append(got[in.Tensor], in.Row(r)...)
				}
				return nil
			}
			for i := range l.Count() {
				if err := l.Load(t.Context(), i); err != nil {
					t.Fatal(err)
				}
				if err := l.Forward(t.Context(), x, lengths, Pass{Tap: tap}); err != nil {
					t.Fatal(err)
				}
			}
			if err := l.Finish(t.Context(), x, lengths, tap, func(row int, got []float32) error {
				if !slices.Equal(got, logits[row]) {
					t.Errorf("%s: %+v: logits of row %d differ", path, opt, row)
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			for name, w := range want {
				if !slices.Equal(got[name], w) {
					t.Errorf("%s: %+v: inputs of %s differ", path, opt, name)
				}
			}
			if len(got) != len(want) {
				t.Errorf("%s: %d linear layers, expected %d", path, len(got), len(want))
			}
		}
	}
}

// Logits are those of the inputs of the output matrix as tap leaves them, also of sequences longer than a batch: of
// twice the inputs, twice the logits.
func TestFinishChanged(t *testing.T) {
	l := openLayers(t, testmodel.Phi3(t), Options{Threads: 2, Batch: 16})
	x, lengths := embedded(t, l, [][]int32{counting(30, 100), counting(9, 100)})
	run := func(tap func(Inputs) error) (all []float32) {
		t.Helper()
		err := l.Finish(t.Context(), x, lengths, tap, func(_ int, logits []float32) error {
			all = append(all, logits...)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	want := run(nil)
	got := run(func(in Inputs) error {
		for r := range in.Rows {
			row := in.Row(r)
			for i := range row {
				row[i] *= 2
			}
		}
		return nil
	})
	for i := range want {
		want[i] *= 2
	}
	if !slices.Equal(got, want) {
		t.Error("not twice the logits")
	}
}

// A pass that ends early leaves the residual stream alone; replaced weights act until the
// block is loaded again.
func TestLayersSteps(t *testing.T) {
	l := openLayers(t, testmodel.Phi3(t), Options{Threads: 2})
	x, lengths := embedded(t, l, [][]int32{counting(30, 100), counting(9, 100)})
	if err := l.Load(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	run := func(pass Pass) []float32 {
		t.Helper()
		y := slices.Clone(x)
		if err := l.Forward(t.Context(), y, lengths, pass); err != nil {
			t.Fatal(err)
		}
		return y
	}
	whole := run(Pass{})
	for n, until := range l.Linear(1) {
		var seen []string
		if y := run(
			Pass{Until: until, Tap: func(in Inputs) error { seen = append(seen, in.Tensor); return nil }},
		); !slices.Equal(y, x) {
			t.Errorf("until %s the residual stream changed", until)
		}
		if want := l.Linear(1)[:n+1]; !slices.Equal(seen, want) {
			t.Errorf("until %s: %v, expected %v", until, seen, want)
		}
	}
	for _, name := range append(l.Linear(1), "blk.1.attn_norm.weight", "blk.1.ffn_norm.weight") {
		w, err := l.Weights(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.SetWeights(name, w); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(run(Pass{}), whole) {
			t.Errorf("the same weights of %s give another result", name)
		}
		for i := range w {
			w[i] *= 1.25
		}
		if err := l.SetWeights(name, w); err != nil {
			t.Fatal(err)
		}
		if slices.Equal(run(Pass{}), whole) {
			t.Errorf("other weights of %s give the same result", name)
		}
		if err := l.Load(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(run(Pass{}), whole) {
			t.Errorf("%s: loading the block again does not undo the change", name)
		}
	}
	stop := errors.New("stop")
	if err := l.Forward(
		t.Context(), slices.Clone(x), lengths, Pass{Tap: func(Inputs) error { return stop }},
	); err != stop {
		t.Errorf("the tap's error is lost: %v", err)
	}
	for _, err := range []error{
		l.SetWeights("blk.0.attn_qkv.weight", nil), l.SetWeights("blk.1.attn_qkv.weight", x), l.Load(t.Context(), 99),
		l.Forward(t.Context(), x, lengths, Pass{Until: "output.weight"}),
		l.Forward(t.Context(), x, lengths[:1], Pass{}),
		l.Forward(t.Context(), x, []int{39, 0}, Pass{}), l.Embed(x, []int32{1 << 30}),
	} {
		if err == nil {
			t.Error("a mistake is accepted")
		}
	}
}

// A pass through a block may end at a linear layer and go on from there: the same bits as in one pass.
func TestLayersResume(t *testing.T) {
	for _, name := range []string{"tiny-phi3", "tiny-phi3small", "tiny-phimoe"} {
		path := testmodel.Copy(t, name)
		l := openLayers(t, path, Options{Threads: 2, Batch: 16})
		x, lengths := embedded(t, l, [][]int32{counting(5, l.Config().VocabSize), counting(14, l.Config().VocabSize)})
		if err := l.Load(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(x)
		if err := l.Forward(t.Context(), want, lengths, Pass{}); err != nil {
			t.Fatal(err)
		}
		resumed := 0
		for _, name := range l.Linear(0) {
			cols, ok := l.Resumes(name)
			if !ok {
				continue
			}
			resumed++
			got, inputs := slices.Clone(x), make([]float32, len(x)/l.Hidden()*cols)
			keep := func(in Inputs) error {
				for r := range in.Rows {
					if in.Tensor == name && cols > 0 {
						copy(inputs[(in.First+r)*cols:], in.Row(r))
					}
				}
				return nil
			}
			if err := l.Forward(t.Context(), got, lengths, Pass{Until: name, Tap: keep, Advance: true}); err != nil {
				t.Fatal(err)
			}
			if err := l.Forward(t.Context(), got, lengths, Pass{From: name, Inputs: inputs}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: from %s on: other bits", path, name)
			}
		}
		if resumed < 2 {
			t.Errorf("%s: passes begin at %d layers", path, resumed)
		}
		if err := l.Forward(t.Context(), x, lengths, Pass{From: l.Linear(0)[0]}); err == nil {
			t.Error("a pass begins at the first layer, whose inputs nothing says")
		}
	}
}
