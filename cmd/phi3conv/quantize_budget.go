package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/phi3conv/phi3conv/calib"
	"github.com/phi3conv/phi3conv/calib/alloc"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/convert"
	"github.com/phi3conv/phi3conv/internal/source"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/quant/policy"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/urfave/cli/v2"
)

// budgetFlags are the flags that each ask for an allocation of types.
var budgetFlags = []string{"size", "bpw", "max-kld"}

// fisherFlags are those for which a budget must tell what errors at one output cost compared with another's.
var fisherFlags = []string{"max-kld", "split-qkv"}

// budgeted reports whether types are to be chosen for a budget.
func budgeted(c *cli.Context) bool { return slices.ContainsFunc(budgetFlags, c.IsSet) }

// budget is an allocation of types as it is printed.
type budget struct {
	Asked string `json:"asked"`
	// Unit is what costs are: "kld", the estimated mean KL divergence in nats, or "relative", shares of the layers'
	// outputs that are error.
	Unit    string         `json:"cost_unit"`
	Cost    float64        `json:"cost"`
	BPW     float64        `json:"linear_bits_per_weight"`
	Factors []alloc.Factor `json:"factors,omitempty"`
	Tensors []budgetTensor `json:"tensors"`
	Curve   []curvePoint   `json:"curve"`
}

type budgetTensor struct {
	Name       string            `json:"name"`
	Type       string            `json:"type"`
	Pinned     bool              `json:"pinned"`
	Candidates []budgetCandidate `json:"candidates"`
}

type budgetCandidate struct {
	Type  string  `json:"type"`
	Bytes int64   `json:"bytes"`
	Cost  float64 `json:"cost"`
}

type curvePoint struct {
	Bytes int64   `json:"bytes"`                  // of the output
	BPW   float64 `json:"linear_bits_per_weight"` // of the linear layers
	Cost  float64 `json:"cost"`
}

func (b *budget) String() string {
	return fmt.Sprintf("For %s: linear layers have %.4f bits per weight, estimated %s %.5g.", b.Asked, b.BPW, b.what(), b.Cost)
}

func (b *budget) what() string {
	if b.Unit == "kld" {
		return "mean KLD"
	}
	return "sum of relative errors"
}

// spend chooses the types of all matrices for the budget that the flags give, and sets them in opt.
func spend(c *cli.Context, m *source.Model, meth *method, opt *convert.Options, out string, threads int) (*budget, error) {
	b := &budget{}
	for _, name := range budgetFlags {
		if c.IsSet(name) {
			if b.Asked != "" {
				return nil, usagef("%s and --%s: a budget is one of --size, --bpw and --max-kld", b.Asked, name)
			}
			b.Asked = fmt.Sprintf("--%s %v", name, c.Value(name))
		}
	}
	switch {
	case meth.stats == nil:
		return nil, usagef("%s needs --stats", b.Asked)
	case opt.Policy.Pure:
		return nil, usagef("%s does not go with --pure", b.Asked)
	}
	for _, name := range []string{"bpw", "max-kld"} {
		if v := c.Float64(name); c.IsSet(name) && !(v > 0 && v < 100) {
			return nil, usagef("--%s is %g, expected more than 0 and less than 100", name, v)
		}
	}
	types, err := budgetTypes(c)
	if err != nil {
		return nil, err
	}
	found, pinned, err := estimate(c, m, meth, opt, types, threads)
	if err != nil {
		return nil, err
	}
	b.Unit, b.Factors = "relative", found.Factors
	if found.Divergences {
		b.Unit = "kld"
	} else if needs := slices.IndexFunc(fisherFlags, c.IsSet); needs >= 0 {
		return nil, usagef("--%s needs statistics of calibrate --fisher, which %s is not", fisherFlags[needs], meth.stats.Path)
	}
	opt.Split = false // but where types differ
	costs := found.Tensors
	f := alloc.NewFrontier(costs)
	// What the file has beside the tensors' data depends a little on the types, whose names it tells.
	planned := func(a *alloc.Allocation) (int64, error) {
		opt.Types, opt.Policy.FileType = joined(m, a.Types), fileTypeOf(a.Types, costs)
		p, err := meth.plan(c, m, *opt)
		if err != nil {
			return 0, err
		}
		shards, err := p.Shards(out)
		total := int64(0)
		for _, s := range shards {
			total += s.Size
		}
		return total, err
	}
	smallest := f.Smallest()
	least, err := planned(smallest)
	if err != nil {
		return nil, err
	}
	around := least - smallest.Bytes
	var a *alloc.Allocation
	switch {
	case c.IsSet("size"):
		limit, err := size(c, "size")
		if err != nil {
			return nil, err
		}
		for room := limit - around; ; {
			if a = f.AtSize(room); a == nil {
				return nil, usagef("--size %s is too small: %d bytes is the least that these types and this model make", c.String("size"), least)
			}
			actual, err := planned(a)
			if err != nil {
				return nil, err
			}
			if actual <= limit {
				break
			}
			room -= actual - limit
		}
	case c.IsSet("bpw"):
		elems, others := int64(0), int64(0)
		for i := range costs {
			if t := &costs[i]; t.Linear {
				elems += t.Elems
			} else {
				others += t.Candidates[0].Bytes
			}
		}
		if a = f.AtSize(others + int64(math.Floor(c.Float64("bpw")*float64(elems)/8))); a == nil {
			return nil, usagef("--bpw %g is too small: %.4f is the least that these types and this model make", c.Float64("bpw"), linearBits(smallest, costs))
		}
	default:
		if a = f.AtCost(c.Float64("max-kld")); a == nil {
			return nil, usagef("--max-kld %g is too small: %.4g is estimated for the best of these types", c.Float64("max-kld"), f.AtSize(math.MaxInt64/2).Cost)
		}
	}
	if _, err := planned(a); err != nil { // sets opt
		return nil, err
	}
	b.Cost, b.BPW = a.Cost, linearBits(a, costs)
	for i := range costs {
		t := budgetTensor{Name: costs[i].Tensor, Type: a.Types[i].Type.String(), Pinned: pinned[costs[i].Tensor]}
		for _, o := range costs[i].Candidates {
			t.Candidates = append(t.Candidates, budgetCandidate{o.Type.String(), o.Bytes, o.Cost})
		}
		b.Tensors = append(b.Tensors, t)
	}
	for _, p := range f.Curve(curvePoints) {
		b.Curve = append(b.Curve, curvePoint{p.Bytes + around, linearBits(&p, costs), p.Cost})
	}
	if !c.Bool("json") {
		return b, b.print(c.App.Writer)
	}
	return b, nil
}

const curvePoints = 17

// budgetTypes reads --types.
func budgetTypes(c *cli.Context) ([]quant.Type, error) {
	if !c.IsSet("types") {
		return nil, nil
	}
	var types []quant.Type
	for _, s := range strings.Split(c.String("types"), ",") {
		t, err := quant.ByName(strings.TrimSpace(s))
		if err != nil {
			return nil, usagef("--types: %w", err)
		}
		if !slices.Contains(types, t) {
			types = append(types, t)
		}
	}
	return types, nil
}

// estimate computes the costs of all matrices: for the types, nil for the default ones, or for the one that a flag gives a tensor.
func estimate(c *cli.Context, m *source.Model, meth *method, opt *convert.Options, types []quant.Type, threads int) (*alloc.Estimation, map[string]bool, error) {
	pinned := map[string]bool{}
	fixed := *opt
	fixed.Policy.FileType = policy.MostlyQ6_K
	fixed.AllowRequantize = true // refused later, if it is not permitted
	plan, err := convert.NewPlan(m, fixed)
	if err != nil {
		return nil, nil, err
	}
	given := map[string]quant.Type{}
	for _, t := range plan.Types() {
		given[t.Tensor] = t.Type
	}
	candidates := func(tensor string, cols int) []quant.Type {
		edge := tensor == alloc.EmbeddingEntry || tensor == stats.OutputEntry
		pinned[tensor] = opt.Policy.Pinned(tensor, m.Config.Tied)
		if pinned[tensor] || edge && c.IsSet("bpw") {
			return []quant.Type{given[tensor]} // for --bpw what mixtures of llama.cpp give them, Q6_K
		}
		all := types
		if all == nil {
			for _, q := range quant.Types() {
				if q.IsQuantized() || q == quant.F16 && edge {
					all = append(all, q)
				}
			}
		}
		if fit := alloc.TypesFor(cols, all); len(fit) > 0 {
			return fit
		}
		return []quant.Type{quant.F16}
	}
	l, err := runtime.OpenLayers(m.Path, runtime.Options{Threads: threads, Batch: calib.BatchTokens})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = l.Close() }()
	const shares = 1000
	bar := newCounter(c.App.ErrWriter, "estimating", shares)
	found, err := alloc.Estimate(c.Context, l, meth.stats, candidates, opt.Split, func(done, total int) { bar.set(int64(shares * done / total)) })
	bar.done()
	return found, pinned, err
}

// joined replaces the parts of a matrix that have the same type by the matrix.
func joined(m *source.Model, types []quant.Target) []quant.Target {
	for i := range m.Tensors {
		t := &m.Tensors[i]
		at := slices.IndexFunc(types, func(p quant.Target) bool { return len(t.Parts) > 0 && p.Tensor == t.Parts[0].GGUF })
		if at < 0 {
			continue
		}
		parts := types[at : at+len(t.Parts)]
		if !slices.ContainsFunc(parts, func(p quant.Target) bool { return p.Type != parts[0].Type }) {
			types = slices.Concat(types[:at], []quant.Target{{Tensor: t.GGUF, Type: parts[0].Type}}, types[at+len(parts):])
		}
	}
	return types
}

// linearBits returns the bits per weight of the linear layers.
func linearBits(a *alloc.Allocation, costs []alloc.TensorCost) float64 {
	bytes, elems := int64(0), int64(0)
	for i := range costs {
		if costs[i].Linear {
			bytes += a.Types[i].Type.Size(costs[i].Elems)
			elems += costs[i].Elems
		}
	}
	return 8 * float64(bytes) / float64(elems)
}

// fileTypeOf returns the file type that is named after the type of most weights of linear layers.
func fileTypeOf(types []quant.Target, costs []alloc.TensorCost) policy.FileType {
	elems := map[quant.Type]int64{}
	best := quant.F32
	for i, t := range types {
		if costs[i].Linear {
			if elems[t.Type] += costs[i].Elems; elems[t.Type] > elems[best] {
				best = t.Type
			}
		}
	}
	ft, _ := policy.FileTypeByName(best.String()) // every type has one
	return ft
}

// print prints the table of costs, the chosen ones with a star, and the curve.
func (b *budget) print(w io.Writer) error {
	var columns []string
	for _, q := range quant.Types() {
		name := q.String()
		if slices.ContainsFunc(b.Tensors, func(t budgetTensor) bool {
			return slices.ContainsFunc(t.Candidates, func(o budgetCandidate) bool { return o.Type == name })
		}) {
			columns = append(columns, name)
		}
	}
	t := newTable(w, append([]string{"tensor", "type"}, columns...)...)
	for _, x := range b.Tensors {
		cells := []any{x.Name, x.Type}
		for _, name := range columns {
			cell := decimal("")
			for _, o := range x.Candidates {
				if o.Type == name {
					cell = decimal(fmt.Sprintf("%.1e", o.Cost))
				}
			}
			cells = append(cells, cell)
		}
		t.row(cells...)
	}
	p := &printer{w: w}
	p.printf("Estimated cost of each type, as %s:\n\n", b.what())
	if p.err == nil {
		p.err = t.flush()
	}
	if len(b.Factors) > 0 {
		p.printf("\nCosts are scaled to what was measured with about 4.5 bits for all of a kind:\n\n")
		t = newTable(w, "kind", "estimated", "measured", "factor")
		for _, x := range b.Factors {
			t.row(x.Kind, decimal(fmt.Sprintf("%.4g", x.Estimate)), decimal(fmt.Sprintf("%.4g", x.Measured)), decimal(fmt.Sprint(x.Factor)))
		}
		if p.err == nil {
			p.err = t.flush()
		}
	}
	p.printf("\nBest types for a size:\n\n")
	t = newTable(w, "bytes", "bits per weight", b.what())
	for _, x := range b.Curve {
		t.row(x.Bytes, decimal(fmt.Sprintf("%.4f", x.BPW)), decimal(fmt.Sprintf("%.5g", x.Cost)))
	}
	if p.err == nil {
		p.err = t.flush()
	}
	p.printf("\n%s\n", b)
	return p.err
}
