package runtime

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	goruntime "runtime"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/testdata"
)

// family are the tiny models of the architectures beside Phi-3.
var family = []string{"tiny-phi2", "tiny-phi3small", "tiny-phimoe"}

// goldenGradients are squared norms that PyTorch computed: of several models, or of one with its groups.
type goldenGradients struct {
	Models []struct {
		Name  string
		Cases []gradientCase
	}
	Groups []string // such as blk.0.attn_q, blk.0.ffn_up_exps.3 of expert 3, output
	Cases  []gradientCase
}

type gradientCase struct {
	Name           string
	Tokens, Labels []int32
	Norms          testdata.Logits // [groups][tokens]
}

func readGradients(t testing.TB, path string) (g goldenGradients) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// labels is the label function for these labels of sequences.
func labels(all ...[]int32) Label {
	return func(sequence, pos int, _ []float32) int32 { return all[sequence][pos] }
}

func gradientNorms(t testing.TB, l *Layers, sequences [][]int32, label Label) [][]float32 {
	t.Helper()
	norms, err := l.GradientNorms(t.Context(), sequences, label, nil)
	if err != nil {
		t.Fatal(err)
	}
	return norms
}

// Gradients against PyTorch: the tiny model beyond its window, and models of every variant.
func TestGradientsGolden(t *testing.T) {
	golden := readGradients(t, filepath.Join("..", "testdata", "golden", "gradients.json"))
	dirs := map[string]string{"tiny-phi3": testmodel.Phi3(t)}
	for _, v := range testdata.Variants() {
		dirs[v.Name] = t.TempDir()
		if err := v.Write(dirs[v.Name]); err != nil {
			t.Fatal(err)
		}
	}
	if len(golden.Models) != len(dirs) {
		t.Fatalf("%d models, expected %d", len(golden.Models), len(dirs))
	}
	for _, g := range golden.Models {
		t.Run(g.Name, func(t *testing.T) {
			bound := 1e-4
			if g.Name == "tiny-phi3" {
				// its queries and keys lose digits: the sharp softmax of a trained model lets little through
				bound = 3e-4
			}
			compareGradients(t, openLayers(t, dirs[g.Name], Options{}), g.Cases, bound)
		})
	}
}

// Gradients against PyTorch in float64: the tiny models of the other architectures.
func TestGradientsGoldenFamily(t *testing.T) {
	for _, name := range family {
		t.Run(name, func(t *testing.T) {
			golden := readGradients(t, filepath.Join("..", "testdata", "golden", name, "gradients.json"))
			l := openLayers(t, testmodel.Copy(t, name), Options{})
			for i := range golden.Cases {
				golden.reorder(t, &golden.Cases[i], l)
			}
			compareGradients(t, l, golden.Cases, 1e-4)
		})
	}
}

// reorder brings the norms of a case into the order of the model's groups.
func (g *goldenGradients) reorder(t *testing.T, c *gradientCase, l *Layers) {
	var norms testdata.Logits
	n := len(c.Tokens)
	for _, o := range l.OutputGroups() {
		name := strings.TrimSuffix(o.Tensor, ".weight")
		if o.Part != "" {
			name += "." + o.Part
		}
		if o.Tensor == l.Output() {
			name = "output"
		}
		at := slices.Index(g.Groups, name)
		if at < 0 {
			t.Fatalf("%s: there are no norms of %s", c.Name, name)
		}
		norms = append(norms, c.Norms[at*n:(at+1)*n]...)
	}
	c.Norms = norms
}

var otherGradients = flag.String("gradients", "", "a file that golden_gradients.py --model printed")

// TestGradientsOther compares what was asked for on the command line, of a model of any size.
func TestGradientsOther(t *testing.T) {
	if *otherGradients == "" {
		return
	}
	for _, g := range readGradients(t, *otherGradients).Models {
		compareGradients(t, openLayers(t, g.Name, Options{}), g.Cases, 3e-3)
	}
}

// compareGradients checks the gradients of all cases in one pass against PyTorch's in float64.
func compareGradients(t *testing.T, l *Layers, cases []gradientCase, bound float64) {
	var sequences, wanted [][]int32
	for _, c := range cases {
		sequences, wanted = append(sequences, c.Tokens), append(wanted, c.Labels)
	}
	all := gradientNorms(t, l, sequences, labels(wanted...))
	groups := l.OutputGroups()
	first, worst := 0, 0.0
	for _, c := range cases {
		n := len(c.Tokens)
		if len(c.Norms) != n*len(groups) {
			t.Fatalf("%s: %d norms, expected %d", c.Name, len(c.Norms), n*len(groups))
		}
		for g, o := range groups {
			mean := 0.0
			for _, v := range c.Norms[g*n : (g+1)*n] {
				mean += float64(v) / float64(n)
			}
			for i := range n {
				want, got := math.Sqrt(float64(c.Norms[g*n+i])), math.Sqrt(float64(all[g][first+i]))
				if want == got {
					continue // such as the 0 of tokens that an expert does not get
				}
				// Where a token's gradient almost vanishes beside the others', only rounding is left of it.
				e := math.Abs(got-want) / (want + 1e-2*math.Sqrt(mean))
				worst = max(worst, e)
				if !(e <= bound) {
					t.Errorf("%s, %s %s, token %d: norm %g, expected %g (%.1g)",
						c.Name, o.Tensor, o.Part, i, got, want, e)
				}
			}
		}
		first += n
	}
	t.Logf("greatest relative error %.2g", worst)
}

// A step forward and its step back, for finite differences.
type gradientStep struct {
	name    string
	at      func(g *gradients) (x, grad linear.Rows) // its input, and where the gradient with respect to that is left
	cols    func(g *gradients) int
	forward func(t *testing.T, g *gradients) linear.Rows    // returns the outputs
	back    func(t *testing.T, g *gradients, u linear.Rows) // u is the gradient with respect to the outputs
}

// all are the rows of the first bundle.
func (g *gradients) all() tokenRows { return tokenRows{count: g.bundles[0].count} }

var gradientSteps = []gradientStep{
	{"norm",
		func(g *gradients) (x, grad linear.Rows) { return g.b.x, g.grad },
		func(g *gradients) int { return g.m.cfg.Hidden },
		func(t *testing.T, g *gradients) linear.Rows {
			l := &g.m.layers[0]
			return do(t, g.b.norm, g.b.runNorm(l.attnNorm, 0, g.all().count, false, l.qkv[0]))
		},
		func(t *testing.T, g *gradients, u linear.Rows) {
			job := &normBack{g, g.m.layers[0].attnNorm, g.b.x, u, g.grad, false}
			do(t, linear.Rows{}, g.m.threads.Run(job, g.all().count))
		}},
	{"activation",
		func(g *gradients) (x, grad linear.Rows) { return g.b.up, g.b.up },
		func(g *gradients) int {
			if g.m.cfg.Activation == arch.GELU {
				return g.m.cfg.Intermediate
			}
			return 2 * g.m.cfg.Intermediate
		},
		func(t *testing.T, g *gradients) linear.Rows {
			g.b.actJob = activation{g.b}
			g.b.begin(g.m.layers[0].experts[0].down, g.b.act, g.all().count)
			return do(t, g.b.act, g.m.threads.Run(&g.b.actJob, g.all().count))
		},
		func(t *testing.T, g *gradients, u linear.Rows) {
			copy(g.b.act.Data, u.Data)
			do(t, linear.Rows{}, g.m.threads.Run(&activationBack{g}, g.all().count))
		}},
	{"attention",
		func(g *gradients) (x, grad linear.Rows) { return g.b.qkv, g.b.qkv },
		func(g *gradients) int { return (g.m.cfg.Heads + 2*g.m.cfg.KVHeads) * g.m.cfg.HeadDim },
		func(t *testing.T, g *gradients) linear.Rows {
			job := &wholeAttention{b: g.b, sparse: g.m.layers[0].sparse}
			return do(t, g.b.attn, g.m.threads.Run(job, len(g.b.runs)*g.m.cfg.KVHeads))
		},
		func(t *testing.T, g *gradients, u linear.Rows) {
			copy(g.b.attn.Data, u.Data)
			job := &wholeAttention{b: g.b, sparse: g.m.layers[0].sparse, sinBack: g.sinBack}
			do(t, linear.Rows{}, g.m.threads.Run(job, len(g.b.runs)*g.m.cfg.KVHeads))
		}},
	{"linear layers",
		func(g *gradients) (x, grad linear.Rows) { return g.b.norm, g.b.x },
		func(g *gradients) int { return g.m.cfg.Hidden },
		func(t *testing.T, g *gradients) linear.Rows {
			g.b.begin(g.m.layers[0].qkv[0], g.b.norm, g.all().count)
			return do(t, g.b.qkv, g.b.matmul(g.m.layers[0].qkv, g.b.norm, g.b.qkv, g.all().count))
		},
		func(t *testing.T, g *gradients, u linear.Rows) {
			do(t, linear.Rows{}, g.linearBack(g.m.layers[0].qkv, u, g.b.x, g.all(), false))
		}},
	{"block",
		func(g *gradients) (x, grad linear.Rows) { return g.stream[0], g.grad },
		func(g *gradients) int { return g.m.cfg.Hidden },
		func(t *testing.T, g *gradients) linear.Rows {
			return do(t, g.stream[1], g.forward(&g.m.layers[0], 0, &g.bundles[0]))
		},
		func(t *testing.T, g *gradients, u linear.Rows) {
			copy(g.grad.Data, u.Data)
			do(t, linear.Rows{}, g.backward(&g.m.layers[0], 0, &g.bundles[0]))
		}},
}

func do(t *testing.T, r linear.Rows, err error) linear.Rows {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// gradientModels returns directories of a model of every variant and architecture, by their names.
func gradientModels(t testing.TB) map[string]string {
	t.Helper()
	dirs := map[string]string{}
	for _, v := range testdata.Variants() {
		dirs[v.Name] = t.TempDir()
		if err := v.Write(dirs[v.Name]); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range family {
		dirs[name] = testmodel.Copy(t, name)
	}
	return dirs
}

// choices returns, for each token, the experts that the last block chose and, for each, those whose logits count;
// nothing without experts.
func choices(g *gradients) [][]int32 {
	all := make([][]int32, g.all().count)
	e, r := g.m.cfg.Experts, &g.b.routes
	if e == nil || len(r.chosen) == 0 {
		return all
	}
	for i := range all {
		for slot := range e.Used {
			chosen := r.chosen[i*e.Used:][:slot+1]
			for k := range e.Count {
				if share(e, r.logits.Row(i)[:e.Count], chosen, k) > 0 {
					all[i] = append(all[i], chosen[slot], int32(k))
				}
			}
		}
	}
	return all
}

// Each step's gradient against finite differences: for u, d at random,
// d·gradient of (u·outputs) = u·(outputs at x+hd - outputs at x-hd)/2h.
func TestGradientSteps(t *testing.T) {
	for name, dir := range gradientModels(t) {
		l := openLayers(t, dir, Options{Threads: 2})
		if err := l.Load(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		r := rand.New(rand.NewPCG(1, 2))
		g, err := newGradients(l, [][]int32{make([]int32, 37), make([]int32, 5)})
		if err != nil {
			t.Fatal(err)
		}
		g.b.runs = g.bundles[0].runs
		g.b.angles()
		for i, s := range g.b.sin {
			g.sinBack[i] = -s
		}
		for _, s := range gradientSteps {
			got, want, size := finiteDifference(t, g, &s, r)
			if math.Abs(got-want) > 2e-3*size {
				t.Errorf("%s, %s: %g along the gradient, %g by finite differences (of %g)",
					name, s.name, got, want, size)
			}
		}
	}
}

// finiteDifference returns what a step's gradient says about the outputs along d, what finite differences say, and how
// large that may be.
func finiteDifference(t *testing.T, g *gradients, s *gradientStep, r *rand.Rand) (got, want, size float64) {
	random := func(x linear.Rows, cols int) linear.Rows {
		x.Data = make([]float32, len(x.Data))
		for i := range g.all().count {
			for k := range cols {
				x.Row(i)[k] = float32(r.NormFloat64())
			}
		}
		return x
	}
	in, grad := s.at(g)
	x, d := random(in, s.cols(g)), random(in, s.cols(g))
	const h = 1.0 / 256
	along := func(f float32) (linear.Rows, [][]int32) {
		for i, v := range x.Data {
			in.Data[i] = v + f*d.Data[i]
		}
		out := s.forward(t, g)
		out.Data = slices.Clone(out.Data)
		return out, choices(g)
	}
	up, above := along(h)
	down, below := along(-h)
	middle, here := along(0)
	outCols := 0
	for k, v := range middle.Row(0) { // padding is 0
		if v != 0 {
			outCols = k + 1
		}
	}
	u, jumps := random(up, outCols), 0
	for i := range here {
		if s.name == "block" && (!slices.Equal(above[i], here[i]) || !slices.Equal(below[i], here[i])) {
			clear(u.Row(i)) // the choice of experts counts as given
			jumps++
		}
	}
	if jumps > len(here)/2 {
		t.Errorf("%s: the choice of experts differs at %d of %d tokens", s.name, jumps, len(here))
	}
	s.back(t, g, u)
	for i := range here {
		got += dot(grad.Row(i)[:s.cols(g)], d.Row(i)[:s.cols(g)])
		for k, v := range u.Row(i) {
			e := float64(v) * (float64(up.Row(i)[k]) - float64(down.Row(i)[k])) / (2 * h)
			want, size = want+e, size+e*e
		}
	}
	return got, want, math.Sqrt(size)
}

// The loss's gradient at the logits, and what its label function gets.
func TestGradientLoss(t *testing.T) {
	l := openLayers(t, testmodel.Phi3(t), Options{Threads: 2})
	g, err := newGradients(l, [][]int32{{1, 2, 3}, {4, 5}})
	if err != nil {
		t.Fatal(err)
	}
	vocab := l.m.cfg.VocabSize
	logits := make([][]float64, 5)
	for i := range logits {
		logits[i] = make([]float64, vocab)
		for k := range logits[i] {
			logits[i][k] = float64((i*7919+k*104729)%1000) / 50 // up to 20: some are sure
			g.b.logits.Row(i)[k] = float32(logits[i][k])
		}
	}
	label := func(sequence, pos int) int { return 7*sequence + 3*pos }
	g.label = func(sequence, pos int, p []float32) int32 {
		sum := 0.0
		for _, v := range p {
			sum += float64(v)
		}
		if len(p) != vocab || math.Abs(sum-1) > 1e-5 {
			t.Errorf("sequence %d, position %d: %d probabilities with the sum %g", sequence, pos, len(p), sum)
		}
		return int32(label(sequence, pos))
	}
	if err := g.m.threads.Run(&lossBack{g: g, p: &g.bundles[0], bad: make([]bool, 5)}, 5); err != nil {
		t.Fatal(err)
	}
	for i, row := range logits {
		want := label(i/3, i%3)
		sum := 0.0
		for _, v := range row {
			sum += math.Exp(v)
		}
		for k, v := range row {
			d := math.Exp(v) / sum
			if k == want {
				d--
			}
			if got := float64(g.b.logits.Row(i)[k]); math.Abs(got-d) > 1e-5*math.Abs(d) {
				t.Errorf("row %d: logit %d has the gradient %g, expected %g", i, k, got, d)
			}
		}
	}
}

// Nothing changes the bits: threads, kernels, what else is in the same pass, how much goes together.
func TestGradientsSameBits(t *testing.T) {
	defer func() { _ = kern.SelectFromEnv() }()
	var sequences, expected [][]int32
	for i, n := range []int{1, 17, 40} {
		s, label := make([]int32, n), make([]int32, n)
		for k := range s {
			s[k], label[k] = int32((i*31+k*7919)%131), int32((i*17+k*104729)%131)
		}
		sequences, expected = append(sequences, s), append(expected, label)
	}
	hashes := map[string]string{ // of models of F32, F16 and BF16: the bits on every CPU
		"window":   "ceab232d99d9d8ff",
		"head96":   "6c2dd149017fee90",
		"phi4mini": "0e07e48af48f6db2",

		"tiny-phi2":      "f89428a27bf28106",
		"tiny-phi3small": "3203a62348d43cdb",
		"tiny-phimoe":    "ffdf6b1af33abb14",
	}
	for name, dir := range gradientModels(t) {
		hash, ok := hashes[name]
		if !ok {
			continue
		}
		var want [][]float32
		sets := kern.Sets()
		if testing.Short() {
			sets = sets[len(sets)-1:] // the portable one takes long
		}
		for i := len(sets) - 1; i >= 0; i-- {
			set, options := sets[i], []Options{{Threads: 2, Batch: 50}}
			if i == len(sets)-1 {
				options = append(options, Options{Threads: 1})
			}
			if err := kern.Select(set.Name); err != nil {
				t.Fatal(err)
			}
			for _, opt := range options {
				l := openLayers(t, dir, opt)
				got := gradientNorms(t, l, sequences, labels(expected...))
				if want == nil {
					want = got
				}
				for g := range want {
					if !slices.Equal(got[g], want[g]) {
						t.Fatalf("%s, %s, %d threads: other bits at the output of %s",
							name, set.Name, opt.Threads, l.OutputGroups()[g].Tensor)
					}
				}
			}
		}
		h := sha256.New()
		for _, norms := range want {
			_ = binary.Write(h, binary.LittleEndian, norms)
		}
		if got := fmt.Sprintf("%x", h.Sum(nil)[:8]); got != hash {
			t.Errorf("%s: hash %s, expected %s", name, got, hash)
		}
		if err := kern.Select(""); err != nil {
			t.Fatal(err)
		}
		l, first := openLayers(t, dir, Options{}), 0
		for k, s := range sequences {
			alone := gradientNorms(t, l, sequences[k:k+1], labels(expected[k]))
			for g := range want {
				if !slices.Equal(alone[g], want[g][first:first+len(s)]) {
					t.Errorf("%s, sequence %d alone: other bits at the output of %s",
						name, k, l.OutputGroups()[g].Tensor)
				}
			}
			first += len(s)
		}
	}
}

// GradientBytes bounds the memory of a pass.
func TestGradientBytes(t *testing.T) {
	for _, name := range append([]string{"tiny-phi3"}, family...) {
		l := openLayers(t, testmodel.Copy(t, name), Options{Threads: 2, Batch: 40})
		const count, length = 3, 20
		var sequences, expected [][]int32
		for range count {
			sequences, expected = append(sequences, make([]int32, length)), append(expected, make([]int32, length))
		}
		heap := func() int64 {
			goruntime.GC()
			var m goruntime.MemStats
			goruntime.ReadMemStats(&m)
			return int64(m.HeapAlloc)
		}
		before := heap()
		g, err := newGradients(l, sequences)
		if err != nil {
			t.Fatal(err)
		}
		g.label = labels(expected...)
		if err := g.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, bound := heap()-before+int64(len(l.mem)+len(g.outputMem)), l.GradientBytes(count*length, length)
		// That pieces of the file may take more than those of this small one is 6 MiB of the bound.
		if got > bound || bound > got*5/4+8<<20 {
			t.Errorf("%s: %d bytes are in use, and the bound is %d", name, got, bound)
		}
		g.close()
		goruntime.KeepAlive(g)
	}
}

func TestGradientsRefuse(t *testing.T) {
	l := openLayers(t, testmodel.Phi3(t), Options{})
	for _, sequences := range [][][]int32{{{}}, {{1}, {-1}}, {{1, 576}}, {make([]int32, 513)}} {
		if _, err := l.GradientNorms(
			t.Context(), sequences, func(int, int, []float32) int32 { return 0 }, nil,
		); err == nil {
			t.Errorf("%.20v was accepted", sequences)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := l.GradientNorms(ctx, [][]int32{{1, 2}}, func(int, int, []float32) int32 { return 0 }, func(done float64) {
		if done > 0.4 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// Activations that are kept, of all blocks or of the last one, have the bits of those that are computed again, with
// memory that an earlier call has used too.
func TestGradientsKept(t *testing.T) {
	for _, name := range append([]string{"tiny-phi3"}, family...) {
		l := openLayers(t, testmodel.Copy(t, name), Options{Threads: 2, Batch: 40})
		sequences := [][]int32{counting(20, 60), counting(7, 60), counting(33, 60)}
		norms := func(memory int64) [][]float32 {
			l.SetGradientMemory(memory)
			all, err := l.GradientNorms(t.Context(), sequences, func(_, pos int, _ []float32) int32 {
				return int32(pos)
			}, nil)
			if err != nil {
				t.Fatal(err)
			}
			return all
		}
		want, need, kept := norms(0), l.GradientBytes(60, 33), l.KeptBytes(60)
		if l.keptMem != nil {
			t.Errorf("%s: something is kept without memory for it", name)
		}
		for _, memory := range []int64{need + kept, need + kept, need + kept/int64(l.Count())} {
			if got := norms(memory); !reflect.DeepEqual(got, want) {
				t.Errorf("%s: other gradients where %d bytes are kept", name, memory-need)
			}
			if l.keptMem == nil {
				t.Errorf("%s: nothing is kept in %d bytes", name, memory-need)
			}
		}
	}
}
