package alloc

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// Factor is what was measured over what was estimated for all tensors of a kind together.
type Factor struct {
	Kind     string  `json:"kind"`     // such as "attn_qkv.weight"
	Measured float64 `json:"measured"` // mean KL divergence in nats
	Estimate float64 `json:"estimate"` // the same, as estimated
	Factor   float64 `json:"factor"`   // their ratio, with two digits
}

const (
	probeTokens     = 1 << 10 // that measured divergences are means over
	longProbeTokens = 1 << 14 // the same for a method that takes hours anyway
	probeSequence   = 256     // tokens of a sequence at most
	leastMeasured   = 1e-9    // below it there is rounding only
	probeBits       = 4.5     // bits per weight of the types that are measured, or near that
	negligible      = -40     // the logarithm of a probability, 4e-18, that changes no sum in float64 by itself
)

// probe is the model with one kind of tensors quantized.
type probe struct {
	kind     string
	types    map[string]quant.Type // of its tensors
	estimate float64
	x        []float32 // the residual stream
}

const kindLinear = "linear layers"

// kind returns what is measured together with a tensor.
func (t *TensorCost) kind() string {
	if t.Linear {
		return kindLinear
	}
	return t.Tensor
}

// probes makes a probe for each kind of tensors that have a choice of types: with the types nearest to probeBits.
func probes(all []TensorCost) []*probe {
	var list []*probe
	byKind := map[string]*probe{}
	for i := range all {
		t := &all[i]
		if len(t.types) < 2 || t.Tensor == stats.OutputEntry {
			continue
		}
		best := &t.Candidates[0]
		for k := range t.Candidates {
			c := &t.Candidates[k]
			far, least := probeDistance(c.Type), probeDistance(best.Type)
			if far < least || far == least && c.Cost < best.Cost {
				best = c
			}
		}
		p := byKind[t.kind()]
		if p == nil {
			p = &probe{kind: t.kind(), types: map[string]quant.Type{}}
			byKind[p.kind] = p
			list = append(list, p)
		}
		p.types[t.Tensor] = best.Type
		p.estimate += best.own()
	}
	return list
}

func probeDistance(t quant.Type) float64 { return math.Abs(t.BitsPerWeight() - probeBits) }

// own returns the part of the cost that a probe measures: of an embedding that is the output matrix too, what
// it costs as embedding.
func (c *Candidate) own() float64 { return c.Cost - c.output }

// probe runs the model over the part's share of some of the statistics' tokens, and once for each kind of tensors the
// model with that kind quantized. The divergences that it measures scale the costs of each kind.
func (e *estimator) probe(ctx context.Context, m *Measured, part portion) error {
	list := probes(e.costs)
	all, allLengths := e.excerpt()
	var tokens []int32
	var lengths, sequences []int
	first := 0
	for i, n := range allLengths {
		if part.has(i, len(allLengths)) {
			tokens, lengths = append(tokens, all[first:first+n]...), append(lengths, n)
			sequences = append(sequences, i)
		}
		first += n
	}
	if len(list) == 0 && !e.roundsOutput() || len(tokens) == 0 {
		return nil
	}
	x := make([]float32, len(tokens)*e.l.Hidden())
	if err := e.l.Embed(x, tokens); err != nil {
		return err
	}
	for _, p := range list {
		p.x = slices.Clone(x)
		if typ, ok := p.types[arch.Embedding]; ok {
			e.roundTrip(p.x, e.l.Hidden(), typ, e.importance(arch.Embedding))
		}
	}
	for i := range e.l.Count() {
		if err := e.block(ctx, i, x, lengths, list); err != nil {
			return err
		}
	}
	first = 0
	for k, n := range lengths {
		if err := e.divergences(ctx, m, x, first, n, sequences[k], list); err != nil {
			return err
		}
		first += n
	}
	return nil
}

// excerpt returns the beginnings of sequences of the statistics, spread evenly, and their lengths.
func (e *estimator) excerpt() (tokens []int32, lengths []int) {
	o := e.s.Origin
	all := 0
	for _, n := range o.Lengths {
		all += min(int(n), probeSequence)
	}
	every, first := max(1, all/e.probeTokens), 0
	for i, n := range o.Lengths {
		if k := min(int(n), probeSequence, e.probeTokens-len(tokens)); i%every == 0 && k > 0 {
			tokens = append(tokens, o.Tokens[first:first+k]...)
			lengths = append(lengths, k)
		}
		first += int(n)
	}
	return tokens, lengths
}

// block runs block i of the model, and of each probe.
func (e *estimator) block(ctx context.Context, i int, x []float32, lengths []int, list []*probe) error {
	if err := e.l.Load(ctx, i); err != nil {
		return err
	}
	if err := e.l.Forward(ctx, x, lengths, runtime.Pass{}); err != nil {
		return err
	}
	changed := false
	for _, p := range list {
		if changed { // back to the original
			if err := e.l.Load(ctx, i); err != nil {
				return err
			}
		}
		var err error
		if changed, err = e.quantizeBlock(p, i); err != nil {
			return err
		}
		if err := e.l.Forward(ctx, p.x, lengths, runtime.Pass{}); err != nil {
			return err
		}
	}
	return nil
}

// quantizeBlock replaces those weights of block i, which is loaded, that the probe quantizes. It reports whether
// there are any.
func (e *estimator) quantizeBlock(p *probe, i int) (changed bool, err error) {
	for _, name := range e.l.Linear(i) {
		var w []float32
		for _, t := range e.l.Stored(name) {
			typ, ok := p.types[t.GGUF]
			if !ok {
				continue
			}
			if w == nil {
				if w, err = e.l.Weights(name); err != nil {
					return false, err
				}
			}
			cols := t.Cols()
			e.roundTrip(w[t.First*cols:][:t.Rows()*cols], cols, typ, e.importance(name))
		}
		if w == nil {
			continue
		}
		if err := e.l.SetWeights(name, w); err != nil {
			return false, err
		}
		changed = true
	}
	return changed, nil
}

// factor returns what was measured, as means over so many tokens.
func (p *probe) factor(sum float64, tokens int) Factor {
	f := Factor{Kind: p.kind, Measured: sum / float64(tokens), Estimate: p.estimate}
	f.Factor = twoDigits(f.Measured / f.Estimate)
	if !(f.Measured > leastMeasured && f.Estimate > 0) {
		f.Factor = 1
	}
	return f
}

// twoDigits rounds what was measured: the last bits of exponentials are not the same on every machine.
func twoDigits(v float64) float64 {
	v, _ = strconv.ParseFloat(strconv.FormatFloat(v, 'g', 2, 64), 64)
	return v
}

// scale multiplies the costs of the factor's kind of tensors.
func (f *Factor) scale(all []TensorCost) {
	for i := range all {
		if all[i].kind() != f.Kind {
			continue
		}
		for k := range all[i].Candidates {
			c := &all[i].Candidates[k]
			c.Cost = c.output + float64(c.own()*f.Factor)
		}
	}
}

// divergences adds up the KL divergences of the probes' predictions of a sequence of n tokens, from the first on.
func (e *estimator) divergences(
	ctx context.Context, m *Measured, x []float32, first, n, sequence int, list []*probe,
) error {
	from, to := first*e.l.Hidden(), (first+n)*e.l.Hidden()
	base := make([][]float64, n)
	err := e.l.Finish(ctx, x[from:to], []int{n}, nil, func(row int, logits []float32) error {
		base[row] = logSoftmax(make([]float64, len(logits)), logits)
		return nil
	})
	if err != nil {
		return err
	}
	q := make([]float64, e.l.Config().VocabSize)
	add := func(kind string, x []float32, tap func(runtime.Inputs) error) error {
		sum := 0.0
		err := e.l.Finish(ctx, x[from:to], []int{n}, tap, func(row int, logits []float32) error {
			logSoftmax(q, logits)
			for i, lp := range base[row] {
				if lp > negligible {
					sum += float64(math.Exp(lp) * (lp - q[i]))
				}
			}
			return nil
		})
		if err == nil && !floats.Finite(sum) {
			err = fmt.Errorf("the divergence with %s quantized is %g", kind, sum)
		}
		set(&m.Probes, kind, sequence, sum)
		return err
	}
	if e.roundsOutput() {
		if err := add(kindRounding, x, roundInputs); err != nil {
			return err
		}
	}
	for _, p := range list {
		if err := add(p.kind, p.x, nil); err != nil {
			return err
		}
	}
	return nil
}

// logSoftmax sets dst to the logarithms of probabilities.
func logSoftmax(dst []float64, logits []float32) []float64 {
	top := logits[0]
	for _, v := range logits {
		top = max(top, v)
	}
	sum := 0.0
	for i, v := range logits {
		dst[i] = float64(v) - float64(top)
		if dst[i] > negligible {
			sum += math.Exp(dst[i])
		}
	}
	sum = math.Log(sum)
	for i := range dst {
		dst[i] -= sum
	}
	return dst
}

// importance returns the importance of a tensor's columns, of each expert if it is a stack of theirs; nil if there is
// none.
func (e *estimator) importance(tensor string) []float32 {
	if tensor == arch.Embedding && e.l.Output() == arch.Embedding {
		tensor = stats.OutputEntry
	}
	if entry := e.s.Entry(tensor); entry != nil {
		return entry.Importance()
	}
	return nil
}

// roundTrip quantizes rows of cols values and replaces them by what their blocks stand for. Importance is nil, or of
// the columns of all rows, or of as many equal shares of the rows as it has values for.
func (e *estimator) roundTrip(w []float32, cols int, typ quant.Type, importance []float32) {
	if len(importance) > cols {
		n := len(w) / (len(importance) / cols)
		for columns := range slices.Chunk(importance, cols) {
			e.roundTrip(w[:n], cols, typ, columns)
			w = w[n:]
		}
		return
	}
	const perTask = 64
	work.Each(e.threads, (len(w)/cols+perTask-1)/perTask, func(task int) {
		rows := w[task*perTask*cols : min(len(w), (task+1)*perTask*cols)]
		blocks := make([]byte, typ.Size(int64(len(rows))))
		typ.Quantize(blocks, rows, cols, importance)
		typ.Dequantize(rows, blocks)
	})
}
