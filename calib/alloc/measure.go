package alloc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// What is measured can be divided among machines: matrices, sequences of the text, layers whose gains are measured.
// Each is measured by itself, and all are put together in the order of the model, so that whoever had which does not
// matter.

// Measured is what [Measure] finds out, before it is put together.
type Measured struct {
	// Options is a hash of all that decides what is measured, beside model and statistics.
	Options string `json:"options"`
	// Divergences says that costs are KL divergences.
	Divergences bool `json:"divergences"`
	// Costs are those of types, by matrix and type: all of it, and the part that an embedding has as output matrix.
	Costs map[string]map[string][2]float64 `json:"costs"`
	// Probes are sums of divergences, by what was quantized and number of the sequence.
	Probes map[string]map[int]float64 `json:"probes,omitempty"`
	// Errors are those of a type's own encoder and of the method, by layer and type, as shares of the energy of the
	// layer's outputs; both 0 where there is none.
	Errors map[string]map[string][2]float64 `json:"errors,omitempty"`
}

// Measure does the part of [Estimate] that takes long: the shard's share of it.
func Measure(
	ctx context.Context, l *runtime.Layers, s *stats.File, opt Options, shard stats.Shard,
) (*Measured, error) {
	e, err := newEstimator(l, s, opt)
	if err != nil {
		return nil, err
	}
	return e.run(ctx, opt, shard)
}

// Join adds what another part has found.
func (m *Measured) Join(o *Measured) {
	if m.Options != o.Options {
		m.Options = "" // which estimation refuses
	}
	m.Divergences = m.Divergences && o.Divergences
	join(&m.Costs, o.Costs)
	join(&m.Probes, o.Probes)
	join(&m.Errors, o.Errors)
}

func join[K comparable, V any](to *map[string]map[K]V, from map[string]map[K]V) {
	for name, values := range from {
		for key, v := range values {
			set(to, name, key, v)
		}
	}
}

func set[K comparable, V any](to *map[string]map[K]V, name string, key K, v V) {
	if *to == nil {
		*to = map[string]map[K]V{}
	}
	if (*to)[name] == nil {
		(*to)[name] = map[K]V{}
	}
	(*to)[name][key] = v
}

// portion says which part of what is divided is done here.
type portion stats.Shard

// has reports whether thing i of n is in it.
func (s portion) has(i, n int) bool { return i*s.N/n == s.I-1 }

func (e *estimator) run(ctx context.Context, opt Options, shard stats.Shard) (*Measured, error) {
	e.begin(&opt, shard)
	e.l.Watch(func(n float64) { e.worked.Add(workMeasuring, n) })
	defer e.l.Watch(nil)
	m := &Measured{Options: e.options(&opt), Divergences: true}
	for k := range e.matrices {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c, mine := &e.costs[k], portion(shard).has(k, len(e.matrices))
		types := c.types
		if !mine {
			types = nearest(types) // of which probes take the best
		}
		found, weighted, err := e.tensor(&e.matrices[k], types)
		if err != nil {
			return nil, err
		}
		c.Candidates = found
		m.Divergences = m.Divergences && weighted
		for _, f := range found {
			if mine {
				set(&m.Costs, c.Tensor, f.Type.String(), [2]float64{f.Cost, f.output})
			}
		}
	}
	if m.Divergences {
		if err := e.probe(ctx, m, portion(shard)); err != nil {
			return nil, err
		}
	}
	if opt.Solving != nil {
		return m, e.measureGains(ctx, &opt, m, portion(shard))
	}
	return m, nil
}

// options is for [Measured].
func (e *estimator) options(opt *Options) string {
	h := sha256.New()
	for i := range e.costs {
		_, _ = fmt.Fprintf(h, "%s %d %v\n", e.costs[i].Tensor, e.costs[i].Elems, e.costs[i].types)
	}
	if s := opt.Solving; s != nil {
		_, _ = fmt.Fprintln(h, s.Damp, s.Shrink, s.Sweeps, opt.Scale)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// divergence adds up the divergences of a kind over so many sequences, and reports whether all are there.
func (m *Measured) divergence(kind string, sequences int) (sum float64, ok bool) {
	for i := range sequences {
		v, ok := m.Probes[kind][i]
		if !ok {
			return 0, false
		}
		sum += v
	}
	return sum, true
}

// estimation puts together what was measured.
func (e *estimator) estimation(m *Measured, opt Options) (*Estimation, error) {
	if m.Options != e.options(&opt) {
		return nil, formats.Errorf(-1, "it was measured with another method, for other types, or with other options")
	}
	if err := e.takeCosts(m); err != nil {
		return nil, err
	}
	found := &Estimation{Tensors: e.costs, Divergences: m.Divergences}
	if m.Divergences {
		if err := e.takeDivergences(m, opt.Scale, found); err != nil {
			return nil, err
		}
	}
	if opt.Solving != nil {
		if err := e.takeGains(m, opt.Solving, found); err != nil {
			return nil, err
		}
	}
	return found, nil
}

func damaged(what, name string) error {
	return formats.Errorf(-1, "the %s of %s are missing or damaged", what, name)
}

// takeCosts sets the candidates.
func (e *estimator) takeCosts(m *Measured) error {
	for k := range e.costs {
		t := &e.costs[k]
		t.Candidates = nil
		for _, typ := range t.types {
			c, ok := m.Costs[t.Tensor][typ.String()]
			if !ok || c[1] < 0 || c[0] < c[1] {
				return damaged("costs", t.Tensor)
			}
			t.Candidates = append(t.Candidates, Candidate{typ, typ.Size(t.Elems), c[0], c[1]})
		}
	}
	return nil
}

// takeDivergences scales the costs to them.
func (e *estimator) takeDivergences(m *Measured, scaled bool, found *Estimation) error {
	if e.s.Origin == nil {
		return damaged("divergences", "its tokens")
	}
	tokens, lengths := e.excerpt()
	for _, p := range probes(e.costs) {
		sum, ok := m.divergence(p.kind, len(lengths))
		if !ok {
			return damaged("divergences", p.kind)
		}
		f := p.factor(sum, len(tokens))
		found.Factors = append(found.Factors, f)
		f.scale(e.costs)
		if p.kind == kindLinear {
			found.Rounding = rounding(&f, scaled)
		}
	}
	if e.roundsOutput() {
		sum, ok := m.divergence(kindRounding, len(lengths))
		if !ok {
			return damaged("divergences", kindRounding)
		}
		found.Rounding += twoDigits(sum / float64(len(tokens)))
	}
	return nil
}

// takeGains multiplies the costs by them.
func (e *estimator) takeGains(m *Measured, solving *solve.Options, found *Estimation) error {
	var sums gainSums
	for _, layer := range e.gained() {
		for _, typ := range e.layerTypes(layer.name) {
			v, ok := m.Errors[layer.name][typ.String()]
			if !ok || v[0] < 0 || v[1] < 0 {
				return damaged("errors", layer.name)
			}
			if v[0] > 0 {
				sums.add(Gain{Kind: layerKind(layer.name), Type: typ.String()}, v)
			}
		}
	}
	found.Gains = sums.gains(left(solving))
	apply(found.Gains, e.costs)
	return nil
}

// nearest returns those of the types whose bits per weight are nearest to probeBits.
func nearest(types []quant.Type) (list []quant.Type) {
	for _, t := range types {
		if len(list) > 0 && probeDistance(t) > probeDistance(list[0]) {
			continue
		}
		if len(list) > 0 && probeDistance(t) < probeDistance(list[0]) {
			list = nil
		}
		list = append(list, t)
	}
	return list
}
