package calib

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/runtime"
)

// Statistics of the other architectures against PyTorch, of each expert by itself; and what the older form keeps of
// them.
func TestGoldenFamily(t *testing.T) {
	for _, model := range models[1:] {
		var g struct {
			Context, Sequences int
			Entries            map[string]struct {
				Counts []float32
				Sums   string
			}
		}
		data, err := os.ReadFile(golden + filepath.Base(model) + "/calib.json")
		if err == nil {
			err = json.Unmarshal(data, &g)
		}
		if err != nil {
			t.Fatal(err)
		}
		s := load(t, gatherOf(t, model, 2, statsOf(t, model, g.Context, g.Sequences), Options{Memory: 1 << 30}))
		path := filepath.Join(t.TempDir(), "stats.dat")
		if err := s.Write(path, nil); err != nil {
			t.Fatal(err)
		}
		old := load(t, path)
		for name, want := range g.Entries {
			e := s.Entry(name)
			if e == nil || !slices.Equal(e.Counts, want.Counts) {
				t.Fatalf("%s, %s: %v, expected the counts %g", model, name, e, want.Counts)
			}
			if d := farthest(e.Sums, decode(t, want.Sums)); d > 1e-5 {
				t.Errorf("%s, %s: sums differ by %.2g", model, name, d)
			}
			if d := farthest(old.Entry(name).Importance(), e.Importance()); d > 1e-6 {
				t.Errorf("%s, %s: the older form differs by %.2g", model, name, d)
			}
		}
	}
}

// With gradients, the tokens that reach an expert count by theirs at its outputs, with mean 1, and each expert's tokens
// are those that have a gradient there.
func TestFisherExperts(t *testing.T) {
	s := statsOf(t, tinyMoE, 60, 4)
	opt := Options{Fisher: true, Outputs: true, GradientMemory: 1 << 30, Memory: 1 << 30}
	s = load(t, gatherOf(t, tinyMoE, 2, s, opt))
	l := openLayers(t, tinyMoE, 2)
	want := map[string][][]float64{}
	reached := map[string][]float32{}
	add := func(in runtime.Inputs) error {
		experts := l.Experts(in.Tensor)
		if experts == 1 {
			return nil
		}
		gradients, err := s.Gradients(in.Tensor)
		if err != nil || len(gradients) != experts {
			t.Fatalf("%s: %d parts, %v", in.Tensor, len(gradients), err)
		}
		if want[in.Tensor] == nil {
			want[in.Tensor], reached[in.Tensor] = make([][]float64, experts), make([]float32, experts)
			for e := range experts {
				want[in.Tensor][e] = make([]float64, in.Cols)
			}
		}
		g, total, n := gradients[in.Expert], 0.0, 0.0
		for _, v := range g {
			if v > 0 {
				total, n = total+float64(v), n+1
			}
		}
		limit, clipped := 20*total/n, 0.0
		for _, v := range g {
			clipped += min(float64(v), limit)
		}
		for row := range in.Rows {
			v := g[in.Tokens[row]]
			if v == 0 {
				t.Errorf("%s: token %d has no gradient at expert %d", in.Tensor, in.Tokens[row], in.Expert)
			}
			for c, x := range in.Row(row) {
				want[in.Tensor][in.Expert][c] += min(float64(v), limit) * n / clipped * float64(x) * float64(x)
			}
		}
		reached[in.Tensor][in.Expert] += float32(in.Rows)
		return nil
	}
	x := make([]float32, len(s.Origin.Tokens)*l.Hidden())
	err := l.Embed(x, s.Origin.Tokens)
	for i := 0; err == nil && i < l.Count(); i++ {
		if err = l.Load(t.Context(), i); err == nil {
			err = l.Forward(t.Context(), x, []int{60, 60, 60, 60}, runtime.Pass{Tap: add})
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, experts := range want {
		e := s.Entry(name)
		if !slices.Equal(e.Counts, reached[name]) {
			t.Errorf("%s: counts %g, expected %g", name, e.Counts, reached[name])
		}
		for i, v := range slices.Concat(experts...) {
			if math.Abs(float64(e.Sums[i])-v) > 1e-4*v {
				t.Fatalf("%s: sum %d is %g, expected %g", name, i, e.Sums[i], v)
			}
		}
	}
}

// Experts that no token reached are quantized under what all experts get, and experts are solved alike however many of
// them at a time.
func TestUnreachedExperts(t *testing.T) {
	s := statsOf(t, tinyMoE, 6, 1) // 12 choices of 8 experts
	s = load(t, gatherOf(t, tinyMoE, 2, s, Options{Memory: 1 << 30}))
	none := 0
	for i := range s.Entries {
		for _, n := range s.Entries[i].Counts {
			if n == 0 {
				none++
			}
		}
	}
	if warnings := s.ExpertWarnings(); none == 0 || len(warnings) != 2 {
		t.Fatalf("%d experts were not reached: %q", none, warnings)
	}
	r := recipe(t, solve.DefaultOptions())
	r.AWQ, r.Solve.Asymmetric = true, 0.5
	want, off := quantizeAll(t, tinyMoE, r, s, QuantizeOptions{}, 2)
	if !(off < 0.3) {
		t.Errorf("the residual stream is off by %.3f of itself", off)
	}
	got, _ := quantizeAll(t, tinyMoE, r, s, QuantizeOptions{MomentMemory: 3 * stats.MomentBytes(256)}, 1)
	sameBlocks(t, "few experts at a time", got, want)
}
