package alloc

import (
	"context"
	"slices"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// A method that solves layers gains more on some types than on others. So what it leaves of the error of a type's own
// encoder is measured: some rows of each linear layer of some blocks are encoded and solved under the second moments of
// the layer's inputs, in the original model, and both errors are taken under those of other tokens.

// Gain is what the method leaves of a type's error in the linear layers of a kind.
type Gain struct {
	Kind  string  `json:"kind"` // such as "attn_qkv.weight"
	Type  string  `json:"type"`
	Share float64 `json:"share"`
}

const (
	gainBlocks = 2       // spread over the model
	gainRows   = 32      // of a layer
	gainTokens = 1 << 16 // at most
	heldOut    = 8       // one of so many tokens is for the errors alone
)

// gains is what is measured.
type gains struct {
	*estimator
	opt     *Options
	found   *Measured
	tokens  []int // of the statistics
	lengths []int
	x       []float32
}

// measureGains measures the part's share of them.
func (e *estimator) measureGains(ctx context.Context, opt *Options, m *Measured, part portion) error {
	layers := e.gained()
	var mine []gainedLayer
	for i, layer := range layers {
		if part.has(i, len(layers)) {
			mine = append(mine, layer)
		}
	}
	if len(mine) == 0 {
		return nil
	}
	g := &gains{estimator: e, opt: opt, found: m}
	g.choose()
	g.x = make([]float32, len(g.tokens)*e.l.Hidden())
	ids := make([]int32, len(g.tokens))
	for i, t := range g.tokens {
		ids[i] = e.s.Origin.Tokens[t]
	}
	if err := e.l.Embed(g.x, ids); err != nil {
		return err
	}
	last := mine[len(mine)-1].block
	for i := range last + 1 {
		if err := e.l.Load(ctx, i); err != nil {
			return err
		}
		for _, layer := range mine {
			if layer.block != i {
				continue
			}
			if err := g.layer(ctx, layer); err != nil {
				return err
			}
		}
		if i < last {
			if err := e.l.Forward(ctx, g.x, g.lengths, runtime.Pass{}); err != nil {
				return err
			}
		}
	}
	return nil
}

// gainedLayer is a layer that is measured.
type gainedLayer struct {
	block int
	name  string
}

// gained returns the layers that are measured, in the order of the model.
func (e *estimator) gained() (list []gainedLayer) {
	for _, i := range gainedBlocks(e.l.Count()) {
		for _, name := range e.l.Linear(i) {
			if e.layerTypes(name) != nil {
				list = append(list, gainedLayer{i, name})
			}
		}
	}
	return list
}

// gainedBlocks returns the blocks that are measured.
func gainedBlocks(count int) []int {
	var blocks []int
	for k := range min(count, gainBlocks) {
		blocks = append(blocks, (2*k+1)*count/(2*min(count, gainBlocks)))
	}
	return blocks
}

// layerKind returns what layers of all blocks have in common: blk.3.ffn_up.weight is an ffn_up.weight.
func layerKind(name string) string {
	_, kind := arch.CutBlock(name)
	return kind
}

// choose takes whole sequences, spread evenly.
func (g *gains) choose() {
	o := g.s.Origin
	every := max(1, (len(o.Tokens)+gainTokens-1)/gainTokens)
	first := 0
	for i, n := range o.Lengths {
		if n := int(n); i%every == 0 {
			n = min(n, gainTokens-len(g.tokens))
			for t := range n {
				g.tokens = append(g.tokens, first+t)
			}
			if n > 0 {
				g.lengths = append(g.lengths, n)
			}
		}
		first += int(n)
	}
}

// layer measures a layer of a block, which is loaded.
func (g *gains) layer(ctx context.Context, layer gainedLayer) error {
	rows, cols, err := g.l.Shape(layer.name)
	if err != nil {
		return err
	}
	learned, other, err := g.moments(ctx, layer.name, cols)
	if err != nil {
		return err
	}
	rows /= g.l.Experts(layer.name) // those of the first expert
	n := min(rows, gainRows)
	var w []float32
	for k := range n {
		row, err := g.l.Rows(layer.name, k*rows/n, 1)
		if err != nil {
			return err
		}
		w = append(w, row...)
	}
	for _, typ := range g.layerTypes(layer.name) {
		l := &solve.Layer{Rows: n, Cols: cols, W: w, H: learned, Type: typ, Worked: g.working}
		errors, err := g.measure(ctx, layer, l, other)
		if err != nil {
			return err
		}
		set(&g.found.Errors, layer.name, typ.String(), errors)
	}
	return nil
}

// layerTypes returns the types that the method can make of a layer.
func (e *estimator) layerTypes(name string) (types []quant.Type) {
	for i := range e.costs {
		if e.costs[i].layer != name {
			continue
		}
		for _, typ := range e.costs[i].types {
			if typ.HasGeometry() && !slices.Contains(types, typ) {
				types = append(types, typ)
			}
		}
	}
	return types
}

// moments returns the second moments of a layer's inputs that the method learns from, and those of other tokens; of
// experts, those of the first.
func (g *gains) moments(ctx context.Context, name string, cols int) (learned, other []float32, err error) {
	var weights []float32 // of all of the statistics' tokens
	if g.s.HasGradients(name) {
		gradients, err := g.s.Gradients(name)
		if err != nil {
			return nil, nil, err
		}
		weights = stats.RootWeights(gradients, g.l.Experts(name))[0]
	}
	all := [2]*stats.Moments{stats.NewMoments(cols, true), stats.NewMoments(cols, true)}
	test := len(g.tokens) - len(g.tokens)/heldOut // the first of the others
	add := func(in runtime.Inputs) error {
		if in.Tensor != name || in.Expert != 0 {
			return nil
		}
		for k, m := range all {
			w := make([]float32, in.Rows)
			for t := range w {
				if token := in.Token(t); (token >= test) == (k == 1) {
					if w[t] = 1; weights != nil {
						w[t] = weights[g.tokens[token]]
					}
				}
			}
			m.Add(in, w, g.threads)
		}
		return nil
	}
	if err := g.l.Forward(ctx, g.x, g.lengths, runtime.Pass{Until: name, Tap: add}); err != nil {
		return nil, nil, err
	}
	return all[0].Matrix(), all[1].Matrix(), nil
}

// measure returns what a layer's rows lose, as [Measured] has it.
func (g *gains) measure(
	ctx context.Context, layer gainedLayer, l *solve.Layer, other []float32,
) (errors [2]float64, err error) {
	plain, err := l.Encode(g.threads)
	if err != nil {
		return errors, err
	}
	zero := make([]byte, len(plain.Data)) // every type's block of zeros stands for zeros
	energy := l.Error(zero, other, g.threads)
	before := l.Error(plain.Data, other, g.threads) / energy
	if !(energy > 0 && before > 0) {
		return errors, nil
	}
	if g.opt.Scale {
		l, other = g.scale(layer.block, layer.name, l, other)
	}
	opt := *g.opt.Solving
	opt.Threads, opt.Outputs, opt.Asymmetric = g.threads, 0, 0 // what these leave is known: see left
	solved, err := l.Quantize(ctx, opt)
	if err != nil {
		return errors, err
	}
	return [2]float64{before, l.Error(solved.Data, other, g.threads) / energy}, nil
}

// What the method leaves of KL divergence with --outputs and with --asymmetric at their defaults, as measured on a
// whole model (docs/methods-measured.md): both work on more than a layer's own error, which alone is measured here.
const (
	leftByOutputs    = 0.94
	leftByAsymmetric = 0.90
)

// left returns what these two leave; smaller shares do less in proportion.
func left(opt *solve.Options) float64 {
	leaves := func(share, full, left float64) float64 { return 1 - float64((1-left)*min(1, share/full)) }
	full := solve.DefaultOptions()
	return leaves(opt.Outputs, solve.DefaultOutputs, leftByOutputs) *
		leaves(opt.Asymmetric, full.Asymmetric, leftByAsymmetric)
}

// gainSums are, for each of a list, the sums over layers of the encoder's and the method's error.
type gainSums struct {
	list          []Gain
	plain, solved []float64
}

// add adds errors to those of a kind and a type.
func (g *gainSums) add(key Gain, errors [2]float64) {
	k := slices.Index(g.list, key)
	if k < 0 {
		k = len(g.list)
		g.list, g.plain, g.solved = append(g.list, key), append(g.plain, 0), append(g.solved, 0)
	}
	g.plain[k] += errors[0]
	g.solved[k] += errors[1]
}

// gains returns the shares; of the method's error so much is left by what was not measured.
func (g *gainSums) gains(left float64) []Gain {
	for i := range g.list {
		g.list[i].Share = g.solved[i] / g.plain[i] * left
	}
	return g.list
}

// scale returns the layer and the other second moments with scaled channels, if the method can scale those that the
// layer reads.
func (g *gains) scale(block int, name string, l *solve.Layer, other []float32) (*solve.Layer, []float32) {
	folds := g.l.Folds(block)
	k := slices.IndexFunc(folds, func(f runtime.Fold) bool {
		return slices.ContainsFunc(f.Readers, func(s runtime.Span) bool { return s.Tensor == name && s.First == 0 })
	})
	if k < 0 {
		return l, other
	}
	typ := l.Type
	if slow(typ) { // it has no minimum either
		typ = slowLike
	}
	var rows []solve.ScaledRow
	for w := range slices.Chunk(l.W, l.Cols) {
		rows = append(rows, solve.ScaledRow{W: w, Type: typ})
	}
	found, _ := solve.Search(folds[k], rows, l.H, g.threads, g.working)
	scaled := *l
	scaled.W, scaled.H, other = slices.Clone(l.W), slices.Clone(l.H), slices.Clone(other)
	for i, w := 0, scaled.W; i < l.Rows; i++ {
		for c, channel := range found.Channel {
			w[i*l.Cols+c] *= found.Factors[channel]
		}
	}
	for a, i := range found.Channel {
		for b, k := range found.Channel {
			factor := found.Factors[i] * found.Factors[k]
			scaled.H[a*l.Cols+b] /= factor
			other[a*l.Cols+b] /= factor
		}
	}
	return &scaled, other
}

// working counts work of calib/solve.
func (e *estimator) working(work float64) { e.worked.Add(workSolving, work) }

// apply multiplies what types cost by what the method leaves of it. Where a kind was not measured with a type, it has
// the mean of the other kinds.
func apply(list []Gain, all []TensorCost) {
	for i := range all {
		t := &all[i]
		if !t.Linear && t.Tensor != stats.OutputEntry {
			continue
		}
		for k := range t.Candidates {
			t.Candidates[k].Cost *= share(list, layerKind(t.layer), t.Candidates[k].Type.String())
		}
	}
}

func share(list []Gain, kind, typ string) float64 {
	sum, n := 0.0, 0.0
	for _, g := range list {
		if g.Type != typ {
			continue
		}
		if g.Kind == kind {
			return g.Share
		}
		sum, n = sum+g.Share, n+1
	}
	if n == 0 {
		return 1
	}
	return sum / n
}
