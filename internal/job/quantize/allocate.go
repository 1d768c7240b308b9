package quantize

import (
	"context"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/calib/alloc"
	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/internal/usage"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
)

// allocator looks for the best types within a budget.
type allocator struct {
	*Job
	budget   *Budget
	costs    *alloc.Estimation
	pinned   map[string]bool // matrices that an option gives a type
	frontier *alloc.Frontier
	// overhead is the number of bytes that the smallest allocation's output has besides the tensors' data. That of
	// others differs a little, since the metadata name the types.
	overhead int64
}

// allocate chooses the types of all matrices within the budget, and plans the output with them.
func (j *Job) allocate(ctx context.Context, b *Budget, costs []string) (*Allocation, error) {
	if err := b.check(j); err != nil {
		return nil, err
	}
	a := &allocator{Job: j, budget: b, pinned: map[string]bool{}}
	if err := a.estimate(ctx, costs); err != nil {
		return nil, err
	}
	if err := a.needsGradients(); err != nil {
		return nil, err
	}
	j.options.Split = false // types name q, k and v where they differ, which splits those
	a.frontier = alloc.NewFrontier(a.costs.Tensors)
	best, err := a.choose(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := a.planWith(ctx, best); err != nil {
		return nil, err
	}
	return a.describe(best), nil
}

// needsGradients refuses what is asked for where statistics without gradients cannot tell what errors at one output
// cost compared with another's.
func (a *allocator) needsGradients() error {
	option := ""
	switch {
	case a.costs.Divergences:
		return nil
	case a.budget.MaxKLD != 0:
		option = "max-kld"
	case a.options.Split:
		option = "split-qkv"
	default:
		return nil
	}
	return usage.Errorf("--%s needs statistics of calibrate --fisher, which %s is not", option, a.stats.Path)
}

// estimate computes the costs of all matrices: for the budget's types, or for the one that an option gives a matrix.
// What takes long may have been measured, and be in files.
func (a *allocator) estimate(ctx context.Context, costs []string) error {
	measured, err := a.readCosts(ctx, costs)
	if err != nil {
		return err
	}
	return a.withLayers(func(l *runtime.Layers, opt alloc.Options) (err error) {
		a.costs, err = alloc.Estimate(ctx, l, a.stats.File, opt, measured)
		return costsError(err, costs)
	})
}

// withLayers calls f with the model and what is to be estimated.
func (a *allocator) withLayers(f func(l *runtime.Layers, opt alloc.Options) error) error {
	fixed := a.options
	fixed.Policy.FileType = policy.MostlyQ6_K
	fixed.AllowRequantize = true // the plan that is written refuses it if it is not permitted
	plan, err := convert.NewPlan(a.source, fixed)
	if err != nil {
		return err
	}
	given := map[string]quant.Type{}
	for _, t := range plan.Types() {
		given[t.Tensor] = t.Type
	}
	l, err := a.openLayers()
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // only read from
	const shares = 1000
	step := a.monitor.Begin("estimating", shares, progress.Count)
	defer step.End()
	return f(l, alloc.Options{
		Candidates: func(tensor string, cols int) []quant.Type { return a.candidates(tensor, cols, given[tensor]) },
		Split:      a.options.Split,
		Solving:    a.solving(),
		Scale:      a.recipe.Scales(),
		Progress:   func(done, total int64) { step.Set(shares * done / total) },
	})
}

// solving returns how the method solves layers, nil for a method that does not or without the tokens for it.
func (a *allocator) solving() *solve.Options {
	if !a.recipe.Method.Takes("damp") || !a.stats.hasTokens() {
		return nil
	}
	return &a.recipe.Solve
}

// candidates returns the types that a matrix with cols columns may get. given is what it has in the Q6_K mixture of
// llama.cpp, or what an option gives it.
func (a *allocator) candidates(tensor string, cols int, given quant.Type) []quant.Type {
	edge := tensor == arch.Embedding || tensor == stats.OutputEntry
	a.pinned[tensor] = a.options.Policy.Pinned(tensor, a.source.Config.Tied)
	router := given == quant.F32 && !edge                        // which every mixture leaves so
	if a.pinned[tensor] || router || edge && a.budget.BPW != 0 { // bits per weight bound the linear layers alone
		return []quant.Type{given}
	}
	types := a.budget.Types
	if types == nil {
		for _, q := range quant.Types() {
			if q.HasGeometry() || q == quant.F16 && edge {
				types = append(types, q)
			}
		}
	}
	fit := alloc.TypesFor(cols, types)
	if tensor == arch.Embedding && a.source.Config.Tied {
		fit = a.tiedTypes(fit)
	}
	if len(fit) > 0 {
		return fit
	}
	return []quant.Type{quant.F16}
}

// tiedTypes drops the types below Q4_K for an embedding that is the output matrix too, unless there are no others.
// Without gradients costs are shares of energy, and do not tell that errors there reach every logit.
func (a *allocator) tiedTypes(types []quant.Type) []quant.Type {
	if a.stats.HasGradients(stats.OutputEntry) {
		return types
	}
	small := func(t quant.Type) bool { return t.BitsPerWeight() < quant.Q4_K.BitsPerWeight() }
	if fit := slices.DeleteFunc(slices.Clone(types), small); len(fit) > 0 {
		return fit
	}
	return types
}

// planWith plans the output with an allocation's types, and returns its size in bytes, all files together.
func (a *allocator) planWith(ctx context.Context, types *alloc.Allocation) (size int64, err error) {
	a.options.Types = joined(a.source, types.Types)
	a.options.Policy.FileType = fileTypeOf(types.Types, a.costs.Tensors)
	if err := a.makePlan(ctx); err != nil {
		return 0, err
	}
	shards, err := a.plan.Shards(a.out)
	for _, s := range shards {
		size += s.Size
	}
	return size, err
}

// choose returns the best allocation within the budget.
func (a *allocator) choose(ctx context.Context) (*alloc.Allocation, error) {
	smallest := a.frontier.Smallest()
	least, err := a.planWith(ctx, smallest)
	if err != nil {
		return nil, err
	}
	a.overhead = least - smallest.Bytes
	var best *alloc.Allocation
	switch b := a.budget; {
	case b.Size != 0:
		best, err = a.withinSize(ctx, b.Size)
	case b.BPW != 0:
		best = a.withinBPW(b.BPW)
	default:
		best = a.frontier.AtCost(b.MaxKLD - a.costs.Rounding)
	}
	if best == nil && err == nil {
		err = a.tooSmall(smallest, least)
	}
	return best, err
}

// tooSmall says what the least possible budget is: smallest makes an output of least bytes.
func (a *allocator) tooSmall(smallest *alloc.Allocation, least int64) error {
	const that = "the least that these types and this model make"
	asked := a.budget.asked()
	switch {
	case a.budget.Size != 0:
		return usage.Errorf("%s is too small: %d bytes is %s", asked, least, that)
	case a.budget.BPW != 0:
		return usage.Errorf("%s is too small: %.4f is %s", asked, a.linearBits(smallest), that)
	}
	cost := a.frontier.AtSize(math.MaxInt64/2).Cost + a.costs.Rounding
	return usage.Errorf("%s is too small: %.4g is estimated for the best of these types", asked, cost)
}

// withinSize returns the best allocation for an output of at most limit bytes, nil if there is none. As the overhead
// depends on the types, the room for data shrinks until all fits.
func (a *allocator) withinSize(ctx context.Context, limit int64) (*alloc.Allocation, error) {
	for room := limit - a.overhead; ; {
		best := a.frontier.AtSize(room)
		if best == nil {
			return nil, nil
		}
		size, err := a.planWith(ctx, best)
		if err != nil || size <= limit {
			return best, err
		}
		room -= size - limit
	}
}

// withinBPW returns the best allocation whose linear layers have at most so many bits per weight, nil if there is none.
func (a *allocator) withinBPW(bits float64) *alloc.Allocation {
	weights, others := int64(0), int64(0)
	for i := range a.costs.Tensors {
		if t := &a.costs.Tensors[i]; t.Linear {
			weights += t.Elems
		} else {
			others += t.Candidates[0].Bytes // the only one
		}
	}
	return a.frontier.AtSize(others + int64(math.Floor(bits*float64(weights)/8)))
}

// curvePoints is the greatest number of points of a curve.
const curvePoints = 17

// describe describes the allocation that was chosen.
func (a *allocator) describe(best *alloc.Allocation) *Allocation {
	r := &Allocation{
		Asked:    a.budget.asked(),
		Unit:     "relative",
		Cost:     best.Cost + a.costs.Rounding,
		BPW:      a.linearBits(best),
		Factors:  a.costs.Factors,
		Gains:    a.costs.Gains,
		Rounding: a.costs.Rounding,
	}
	if a.costs.Divergences {
		r.Unit = "kld"
	}
	for i, t := range a.costs.Tensors {
		c := Choice{Name: t.Tensor, Type: best.Types[i].Type.String(), Pinned: a.pinned[t.Tensor]}
		for _, o := range t.Candidates {
			c.Candidates = append(c.Candidates, Candidate{o.Type.String(), o.Bytes, o.Cost})
		}
		r.Tensors = append(r.Tensors, c)
	}
	for _, p := range a.frontier.Curve(curvePoints) {
		r.Curve = append(r.Curve, CurvePoint{p.Bytes + a.overhead, a.linearBits(&p), p.Cost + a.costs.Rounding})
	}
	return r
}

// linearBits returns the bits per weight of the linear layers.
func (a *allocator) linearBits(types *alloc.Allocation) float64 {
	bytes, weights := int64(0), int64(0)
	for i, t := range a.costs.Tensors {
		if t.Linear {
			bytes += types.Types[i].Type.Size(t.Elems)
			weights += t.Elems
		}
	}
	return quant.BitsPerWeight(bytes, weights)
}

// joined replaces the parts of a matrix that have the same type by the matrix.
func joined(m *source.Model, types []quant.Target) []quant.Target {
	for i := range m.Tensors {
		t := &m.Tensors[i]
		if len(t.Parts) == 0 {
			continue
		}
		at := slices.IndexFunc(types, func(p quant.Target) bool { return p.Tensor == t.Parts[0].GGUF })
		if at < 0 {
			continue
		}
		parts := types[at : at+len(t.Parts)]
		if slices.ContainsFunc(parts, func(p quant.Target) bool { return p.Type != parts[0].Type }) {
			continue
		}
		whole := []quant.Target{{Tensor: t.GGUF, Type: parts[0].Type}}
		types = slices.Concat(types[:at], whole, types[at+len(parts):])
	}
	return types
}

// fileTypeOf returns the file type that is named after the type of most weights of linear layers.
func fileTypeOf(types []quant.Target, costs []alloc.TensorCost) policy.FileType {
	weights := map[quant.Type]int64{}
	best := quant.F32
	for i, t := range types {
		if costs[i].Linear {
			if weights[t.Type] += costs[i].Elems; weights[t.Type] > weights[best] {
				best = t.Type
			}
		}
	}
	ft, _ := policy.FileTypeByName(best.String()) // every type has one
	return ft
}
