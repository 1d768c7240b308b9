package quantize

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
)

var someK = []quant.Type{quant.Q3_K, quant.Q4_K, quant.Q5_K, quant.Q6_K}

// Files are never larger than asked and nearly as large; more bytes never have a greater estimate.
func TestBudgetSize(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	last := 1e9
	for _, size := range []int64{1_050_000, 1_400_000, 2_000_000} {
		types := []quant.Type{quant.Q2_K, quant.Q3_K, quant.Q4_K, quant.Q5_0, quant.Q6_K, quant.Q8_0, quant.F16}
		budget := &Budget{Size: size, Types: types}
		r := mustRun(t, tiny, out, Options{Budget: budget, Stats: fisherStats(t), Method: "imatrix"})
		info, err := os.Stat(out)
		if err != nil {
			t.Fatal(err)
		}
		if n := info.Size(); n > size || n < size-60_000 || n != r.Files[0].Bytes {
			t.Errorf("%d bytes, planned %d, asked for %d", n, r.Files[0].Bytes, size)
		}
		if r.Budget.Unit != "kld" || r.Budget.Cost > last || len(r.Budget.Factors) == 0 {
			t.Errorf("%d bytes: %s %g, and %g with less", size, r.Budget.Unit, r.Budget.Cost, last)
		}
		last = r.Budget.Cost
		curve := r.Budget.Curve
		if len(curve) < 2 || len(curve) > curvePoints || curve[0].Bytes >= curve[len(curve)-1].Bytes {
			t.Errorf("curve %v", curve)
		}
	}
}

// What options name keeps its type, and others get one of those to choose from.
func TestBudgetPinned(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	f16 := quant.F16
	types := []quant.Type{quant.Q4_K, quant.Q6_K, quant.Q8_0, quant.Q4_0}
	r := mustRun(t, tiny, out, Options{
		Policy: policy.Policy{Embedding: &f16, Overrides: []policy.Override{
			{Pattern: regexp.MustCompile(`blk\.1\.ffn_down`), Type: quant.Q8_0},
		}},
		Budget: &Budget{Size: 1_900_000, Types: types}, Stats: fisherStats(t), Method: "imatrix",
	})
	if n := r.Files[0].Bytes; n > 1_900_000 {
		t.Errorf("%d bytes", n)
	}
	_, got := tensors(t, out)
	for name, q := range got {
		if strings.HasSuffix(name, "_norm.weight") {
			continue
		}
		pinned := map[string]quant.Type{"token_embd.weight": quant.F16, "blk.1.ffn_down.weight": quant.Q8_0}
		if want, ok := pinned[name]; ok && q != want || !ok && !slices.Contains(types, q) {
			t.Errorf("%s is %s", name, q)
		}
	}
	for _, c := range r.Budget.Tensors {
		if want := c.Name == "token_embd.weight" || c.Name == "blk.1.ffn_down.weight"; c.Pinned != want {
			t.Errorf("%s: pinned %v", c.Name, c.Pinned)
		}
	}
}

// Without gradients an embedding that is the output matrix stays at Q4_K or above, unless there are smaller types only.
func TestBudgetTiedEmbedding(t *testing.T) {
	for _, c := range []struct {
		stats        string
		types, least []quant.Type
	}{
		{plainStats(t), nil, []quant.Type{quant.Q4_K, quant.Q4_0}},
		{plainStats(t), []quant.Type{quant.Q2_K, quant.Q5_K}, []quant.Type{quant.Q5_K}},
		{plainStats(t), []quant.Type{quant.Q2_K, quant.Q3_K}, []quant.Type{quant.Q2_K}},
		{fisherStats(t), []quant.Type{quant.Q2_K, quant.Q5_K}, []quant.Type{quant.Q2_K}},
	} {
		st, err := openStats(t.Context(), c.stats)
		if err != nil {
			t.Fatal(err)
		}
		j := &Job{stats: st}
		if j.recipe, err = (&Options{Stats: c.stats}).recipe(st); err != nil {
			t.Fatal(err)
		}
		if err := j.open(tiny, "", nil, Limits{}); err != nil {
			t.Fatal(err)
		}
		j.source.Config.Tied = true
		a := &allocator{Job: j, budget: &Budget{Size: 1 << 20, Types: c.types}, pinned: map[string]bool{}}
		got := a.candidates("token_embd.weight", 256, quant.Q6_K)
		least := slices.MinFunc(got, func(a, b quant.Type) int {
			return cmp.Compare(a.BitsPerWeight(), b.BitsPerWeight())
		})
		if !slices.Contains(c.least, least) {
			t.Errorf("of %v: %v", c.types, got)
		}
		j.Close()
	}
}

// Bits per weight bound the linear layers; a recipe that was written makes the same file.
func TestBudgetBPW(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	dir := t.TempDir()
	out, recipe, again := filepath.Join(dir, "out.gguf"), filepath.Join(dir, "r.yaml"), filepath.Join(dir, "again.gguf")
	j, err := Prepare(t.Context(), tiny, out, Options{
		Budget: &Budget{BPW: 4.3, Types: someK, Asked: "--bpw 4.30"}, Stats: plainStats(t), Solver: quick(),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if b := j.Budget.BPW; b > 4.3 || b < 4.1 {
		t.Errorf("%g bits, asked for 4.3", b)
	}
	if err := j.WriteRecipe(recipe); err != nil {
		t.Fatal(err)
	}
	text := string(testmodel.Read(t, recipe))
	for _, want := range []string{
		"# Made by phi3conv quantize for " + tiny, "# For --bpw 4.30: ", "method: gptq\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("expected %q in\n%s", want, text)
		}
	}
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	r, err := calib.ReadRecipe(recipe)
	if err != nil {
		t.Fatal(err)
	}
	mustRun(t, tiny, again, Options{Recipe: r, Stats: plainStats(t), Limits: Limits{Threads: 1}})
	if !bytes.Equal(testmodel.Read(t, out), testmodel.Read(t, again)) {
		t.Error("the recipe makes another file")
	}
	// Statistics without gradients have no absolute scale.
	a := mustRun(t, tiny, out, Options{Budget: &Budget{BPW: 4.3}, Stats: plainStats(t), Method: "rtn"}).Budget
	if a.BPW > 4.3 || a.Unit != "relative" || !(a.Cost > 0) || a.Asked != "--bpw 4.3" {
		t.Errorf("%+v", a)
	}
}

// The estimate is not above what was asked, and near the divergence that there is, as far as its assumptions go.
func TestBudgetMaxKLD(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	run := func(limit float64) *Result {
		return mustRun(t, tiny, out, Options{
			Budget: &Budget{MaxKLD: limit, Types: []quant.Type{quant.Q2_K, quant.Q4_K, quant.Q6_K}},
			Stats:  fisherStats(t), Method: "imatrix",
		})
	}
	small, large := run(0.1), run(0.0005)
	if small.Budget.Cost > 0.1 || large.Budget.Cost > 0.0005 || small.Bytes >= large.Bytes {
		t.Errorf("%d bytes with %g, %d with %g", small.Bytes, small.Budget.Cost, large.Bytes, large.Budget.Cost)
	}
	if kld := meanKLD(t, out); kld > 4*large.Budget.Cost || kld < large.Budget.Cost/4 {
		t.Errorf("mean KLD %g, estimated %g", kld, large.Budget.Cost)
	}
}

// What gptq gains is measured, so that the estimate is near the divergence that there is; without, it would be about
// three times that.
func TestBudgetGains(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	out := filepath.Join(t.TempDir(), "out.gguf")
	r := mustRun(t, tiny, out, Options{
		Budget: &Budget{MaxKLD: 0.002, Types: []quant.Type{quant.Q3_K, quant.Q4_K}},
		Stats:  fisherStats(t), Method: "gptq",
	})
	if n := len(r.Budget.Gains); n != 8 {
		t.Errorf("%d gains, expected those of 4 kinds with 2 types: %v", n, r.Budget.Gains)
	}
	for _, g := range r.Budget.Gains {
		if !(g.Share > 0.1 && g.Share < 0.9) {
			t.Errorf("%s as %s: a share of %g is left", g.Kind, g.Type, g.Share)
		}
	}
	if kld := meanKLD(t, out); kld > 1.6*r.Budget.Cost || kld < r.Budget.Cost/1.6 {
		t.Errorf("mean KLD %g, estimated %g", kld, r.Budget.Cost)
	}
	sum := r.Budget.Rounding
	for _, c := range r.Budget.Tensors {
		k := slices.IndexFunc(c.Candidates, func(k Candidate) bool { return k.Type == c.Type })
		sum += c.Candidates[k].Cost
	}
	if !(r.Budget.Rounding > 0) || math.Abs(sum-r.Budget.Cost) > 1e-9 {
		t.Errorf("rounding costs %g, all of it %g, estimated %g", r.Budget.Rounding, sum, r.Budget.Cost)
	}
}

// Costs that were measured in parts, on whatever machines, give the same file and the same recipe as one run, and serve
// other limits too. Parts that are missing, or of something else, are refused.
func TestBudgetShards(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	opt := Options{Budget: &Budget{MaxKLD: 0.002, Types: []quant.Type{quant.Q3_K, quant.Q4_K, quant.Q4_0, quant.IQ3_S}},
		Stats: fisherStats(t), Method: "gptq", Solver: quick()}
	make := func(name string, opt Options) *Allocation {
		t.Helper()
		j, err := Prepare(t.Context(), tiny, at(name), opt, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer j.Close()
		if err := j.WriteRecipe(at(name + ".yaml")); err != nil {
			t.Fatal(err)
		}
		if _, err := j.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		return j.Budget
	}
	whole := make("whole.gguf", opt)
	const parts = 3
	for i := range parts {
		name := at(fmt.Sprint(i + 1))
		part := opt
		part.Costs = nil
		part.Budget = &Budget{Size: 1 << 40, Types: opt.Budget.Types} // which does not matter
		part.Threads = 1 + i%2
		if _, err := Measure(t.Context(), tiny, name, work.Part{I: i + 1, N: parts}, part, nil); err != nil {
			t.Fatal(err)
		}
		opt.Costs = append(opt.Costs, name)
	}
	slices.Reverse(opt.Costs)
	if merged := make("merged.gguf", opt); !reflect.DeepEqual(merged, whole) {
		t.Errorf("allocated as\n%+v\nexpected\n%+v", merged, whole)
	}
	for _, ext := range []string{"", ".yaml"} {
		if !bytes.Equal(testmodel.Read(t, at("merged.gguf"+ext)), testmodel.Read(t, at("whole.gguf"+ext))) {
			t.Errorf("the parts make another file%s", ext)
		}
	}
	cut, old, second := at("cut"), at("old"), testmodel.Read(t, at("2"))
	form := fmt.Sprintf(`{"phi3conv_costs":%d,`, costsForm)
	for path, data := range map[string][]byte{
		cut: second[:2000],
		old: bytes.Replace(second, []byte(form), []byte(`{"phi3conv_costs":1,`), 1),
	} {
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		want   string
		change func(*Options)
	}{
		{"part 3 of 3 is missing", func(o *Options) { o.Costs = o.Costs[1:] }},
		{"is there twice", func(o *Options) { o.Costs = append(o.Costs, o.Costs[0]) }},
		{"cut off", func(o *Options) { o.Costs = []string{at("1"), cut, at("3")} }},
		{"its form is 1, expected", func(o *Options) { o.Costs = []string{at("1"), old, at("3")} }},
		{"other statistics", func(o *Options) { o.Stats = plainStats(t) }},
		{"for other types", func(o *Options) { o.Budget = &Budget{MaxKLD: 0.002} }},
		{"another method", func(o *Options) { o.Method = "imatrix" }},
		{"for other types", func(o *Options) { o.Budget = &Budget{BPW: 4, Types: o.Budget.Types} }},
	} {
		o := opt
		c.change(&o)
		_, err := Prepare(t.Context(), tiny, at("no.gguf"), o, nil)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, expected %q", err, c.want)
		}
	}
}

// A budget keeps together what gets one type, and costs no more than without the choice.
func TestBudgetSplitQKV(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	dir := t.TempDir()
	out, again := filepath.Join(dir, "out.gguf"), filepath.Join(dir, "again.gguf")
	opt := Options{Budget: &Budget{BPW: 4.2, Types: someK}, Stats: fisherStats(t), Method: "imatrix"}
	plain := mustRun(t, tiny, out, opt).Budget
	opt.SplitQKV = true
	j, err := Prepare(t.Context(), tiny, out, opt, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	if a := j.Budget; a.BPW > 4.2 || a.Cost >= plain.Cost {
		t.Errorf("%g bits, cost %g, %g with q, k and v together", a.BPW, a.Cost, plain.Cost)
	}
	if _, err := j.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, types := tensors(t, out)
	apart, together := 0, 0
	for name, q := range types {
		if blk, ok := strings.CutSuffix(name, "attn_q.weight"); ok {
			apart++
			if k, v := types[blk+"attn_k.weight"], types[blk+"attn_v.weight"]; q == k && k == v {
				t.Errorf("%s: q, k and v are all %s", blk, q)
			}
		} else if strings.HasSuffix(name, "attn_qkv.weight") {
			together++
		}
	}
	if apart == 0 || apart+together != 4 {
		t.Errorf("%d apart, %d together", apart, together)
	}
	recipe := j.recipe
	mustRun(t, tiny, again, Options{Recipe: &recipe, Stats: fisherStats(t)})
	if !bytes.Equal(testmodel.Read(t, out), testmodel.Read(t, again)) {
		t.Error("the recipe makes another file")
	}
}

// Budgets that cannot be kept, or not with these statistics, say what could.
func TestBudgetMistakes(t *testing.T) {
	if testing.Short() {
		t.Skip("long on an emulator")
	}
	q4 := []quant.Type{quant.Q4_K}
	for _, c := range []struct {
		budget Budget
		stats  string
		split  bool
		want   string
	}{
		{Budget{Size: 10_000, Types: q4, Asked: "--size 10kB"}, fisherStats(t), false, "--size 10kB is too small: "},
		{Budget{BPW: 4, Types: q4}, plainStats(t), false, "--bpw 4 is too small: 4.5000 is the least that these types"},
		{Budget{MaxKLD: 1e-9, Types: q4}, fisherStats(t), false, "--max-kld 1e-09 is too small: "},
		{Budget{MaxKLD: 0.1}, plainStats(t), false, "--max-kld needs statistics of calibrate --fisher, which "},
		{Budget{BPW: 5}, plainStats(t), true, "--split-qkv needs statistics of calibrate --fisher"},
	} {
		opt := Options{Budget: &c.budget, Stats: c.stats, SplitQKV: c.split}
		_, err := Prepare(t.Context(), tiny, "out.gguf", opt, nil)
		var mistake *usage.Error
		if !errors.As(err, &mistake) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, expected a usage error with %q", err, c.want)
		}
	}
	// A source that is quantized is refused with a budget too.
	q8 := filepath.Join(t.TempDir(), "q8.gguf")
	mustRun(t, tiny, q8, Options{Policy: policy.Policy{FileType: policy.MostlyQ8_0}})
	_, err := Prepare(t.Context(), q8, "out.gguf", Options{
		Budget: &Budget{BPW: 5, Types: q4}, Stats: plainStats(t), Method: "rtn",
	}, nil)
	if err == nil || !strings.Contains(err.Error(), "--allow-requantize") {
		t.Errorf("a quantized source: %v", err)
	}
}
