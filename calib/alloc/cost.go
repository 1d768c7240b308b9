package alloc

import (
	"context"
	"slices"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/arch"
	"github.com/phi3conv/phi3conv/internal/progress"
	"github.com/phi3conv/phi3conv/internal/work"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// What it costs to quantize a tensor. To second order, errors δ = (W-Q)·x at the outputs of a layer raise the mean KL
// divergence by ½·mean over tokens of E[(g·δ)²], g being the gradient of the model's own loss there. The
// estimate takes three assumptions: that costs of tensors add up; that g and δ point in unrelated directions, so that
// E[(g·δ)²] = |g|²·|δ|²/rows; and that errors of different columns are unrelated, so that |δ|² is a sum over
// columns of squared errors times mean squares, which the statistics hold weighted by |g|². Q is what the type's own
// encoder makes under these weights.
//
// An expert's outputs count by the tokens that reach it: |g|² is 0 for others. Of statistics without gradients, its
// share of all experts' tokens is its weight.

// Candidate is a type that a tensor may get.
type Candidate struct {
	Type  quant.Type
	Bytes int64
	// Cost is the estimated mean KL divergence in nats, of statistics with gradients; otherwise the
	// share of the outputs' energy that is error.
	Cost float64
	// output is the part of Cost that an embedding has as output matrix.
	output float64
}

// TensorCost is a tensor and its candidates.
type TensorCost struct {
	Tensor     string
	Elems      int64
	Linear     bool // a linear layer of a block, not the embedding nor the output matrix
	Candidates []Candidate

	layer string       // the tensor that it is, or is a part of
	types []quant.Type // of the candidates
}

const (
	// sampledRows of a part of a layer's outputs, or of all experts, spread evenly, are encoded for the estimate.
	sampledRows = 512
	// sampledTokens, spread evenly over the statistics' tokens, say which rows of an embedding or an
	// output matrix are encoded: how often a token occurs is how much its row counts.
	sampledTokens = 1536
	// Of the sampled rows, types whose encoder takes long encode one of slowEvery. What those cost as such a type,
	// compared with what they cost as slowLike, is taken to hold for all.
	slowEvery = 8
	slowLike  = quant.Q3_K
)

// slow reports whether a type's encoder takes several times as long as others: it looks for points of a grid.
func slow(t quant.Type) bool { return t.Geometry().Book != nil }

// Estimation is what [Estimate] finds out.
type Estimation struct {
	Tensors []TensorCost
	// Divergences says that costs are KL divergences, not shares of energy; then Factors, one for each kind of tensor,
	// are in them.
	Divergences bool
	Factors     []Factor
	// Gains are in the costs too, if Options.Solving was given.
	Gains []Gain
	// Rounding is what rounding activations to 8 bits, as runtimes do, adds to the divergence. It is in no cost.
	Rounding float64
}

// Options say what [Estimate] estimates.
type Options struct {
	// Candidates returns the types that a tensor with rows of cols values may get.
	Candidates func(tensor string, cols int) []quant.Type
	// Split estimates the parts of a matrix that may be stored apart (q, k and v) each by itself.
	Split bool
	// Solving, if not nil, is how a method solves layers, for [Gain]. The statistics must hold their tokens.
	Solving *solve.Options
	// Scale says that the method scales channels first.
	Scale bool
	// Progress, if not nil, is called with how much of the time of the estimate is over, and all of it, as far as can
	// be told, in parts of it that mean nothing else.
	Progress func(done, total int64)
}

// Estimate computes what each candidate costs for each of a model's matrices. Where the statistics hold gradients, it
// also measures two divergences on some of their tokens, that of the model with all linear layers quantized and that
// with the embedding quantized, and scales the estimates to agree with them. The result does not depend on the number
// of threads, nor on whether it was measured in parts: measured has what all parts of it, by [Measure], have found; nil
// measures here.
func Estimate(
	ctx context.Context, l *runtime.Layers, s *stats.File, opt Options, measured *Measured,
) (*Estimation, error) {
	e, err := newEstimator(l, s, opt)
	if err != nil {
		return nil, err
	}
	if measured == nil {
		if measured, err = e.run(ctx, opt, stats.Shard{I: 1, N: 1}); err != nil {
			return nil, err
		}
	}
	return e.estimation(measured, opt)
}

type estimator struct {
	l       *runtime.Layers
	s       *stats.File
	threads int
	worked  *progress.Work

	probeTokens int // that measured divergences are means over

	matrices []runtime.Tensor
	costs    []TensorCost // of each
}

// newEstimator lists the matrices and their types.
func newEstimator(l *runtime.Layers, s *stats.File, opt Options) (*estimator, error) {
	e := &estimator{l: l, s: s, threads: l.Threads(), probeTokens: probeTokens}
	if opt.Solving != nil {
		e.probeTokens = longProbeTokens
	}
	foreign := func(id int32) bool { return id < 0 || int(id) >= l.Config().VocabSize }
	if o := s.Origin; o != nil && slices.ContainsFunc(o.Tokens, foreign) {
		return nil, formats.FileErrorf(s.Path, -1, "it holds tokens that the model does not have")
	}
	tensors := l.Tensors()
	for i := range tensors {
		t := &tensors[i]
		list := t.Pieces()
		if !opt.Split || list == nil {
			list = []runtime.Tensor{*t}
		}
		for k := range list {
			t := &list[k]
			if len(t.Shape) < 2 {
				continue
			}
			e.matrices = append(e.matrices, *t)
			e.costs = append(e.costs, TensorCost{
				Tensor: t.GGUF, Elems: t.Elems(), Linear: t.GGUF != arch.Embedding && t.GGUF != stats.OutputEntry,
				layer: t.Role(), types: opt.Candidates(t.GGUF, t.Cols()),
			})
		}
	}
	return e, nil
}

// sample is rows of a tensor that are encoded for the estimate.
type sample struct {
	rows []int
	// weight is what the squared error of each of them counts.
	weight float64
	// columns are the mean squares of the inputs, nil for 1, and importance what encoders take.
	columns, importance []float32
}

// tensor estimates what some types cost for a matrix, and whether that is a divergence.
func (e *estimator) tensor(t *runtime.Tensor, types []quant.Type) ([]Candidate, bool, error) {
	samples, weighted, err := e.samples(t)
	if err != nil {
		return nil, false, err
	}
	energy, costs, output := 0.0, make([]float64, len(types)), make([]float64, len(types))
	for i := range samples {
		sums, err := e.encode(t, types, &samples[i])
		if err != nil {
			return nil, false, err
		}
		energy += sums[0]
		for k := range costs {
			costs[k] += sums[k+1]
			if len(samples) == 2 && i == 0 && t.GGUF == arch.Embedding { // the first is the one as output matrix
				output[k] = sums[k+1]
			}
		}
	}
	var list []Candidate
	for i, typ := range types {
		if !weighted && energy > 0 {
			costs[i] /= energy
		}
		list = append(list, Candidate{typ, typ.Size(t.Elems()), costs[i], output[i]})
	}
	return list, weighted, nil
}

// encode returns a sample's weighted squares: of its rows, then of their errors as each of the types.
func (e *estimator) encode(t *runtime.Tensor, types []quant.Type, s *sample) ([]float64, error) {
	const perTask = 2 * slowEvery
	tasks := (len(s.rows) + perTask - 1) / perTask
	// Per task: squares of rows; errors as each type; errors as slowLike, of all rows and of those for slow types.
	sums, errs := make([][]float64, tasks), make([]error, tasks)
	all, some := 1+len(types), 2+len(types)
	work.Each(e.threads, tasks, func(task int) {
		sums[task] = make([]float64, 3+len(types))
		r := rowEncoder{sample: s, row: make([]float32, t.Cols()), decoded: make([]float32, t.Cols())}
		for i := task * perTask; i < min(len(s.rows), (task+1)*perTask); i++ {
			if errs[task] = r.read(t, s.rows[i]); errs[task] != nil {
				return
			}
			sums[task][0] += s.squares(r.row)
			for k, typ := range types {
				if !slow(typ) || i%slowEvery == 0 {
					sums[task][1+k] += r.cost(typ)
				}
			}
			if slices.ContainsFunc(types, slow) {
				cost := r.cost(slowLike)
				if sums[task][all] += cost; i%slowEvery == 0 {
					sums[task][some] += cost
				}
			}
			e.worked.Add(workEncoding, encodingWork(types)*float64(len(r.row)))
		}
	})
	total := make([]float64, 3+len(types))
	for task := range sums {
		if errs[task] != nil {
			return nil, errs[task]
		}
		for i, v := range sums[task] {
			total[i] += v
		}
	}
	for k, typ := range types {
		if slow(typ) && total[some] > 0 {
			total[1+k] *= total[all] / total[some]
		}
	}
	return total[:all], nil
}

// rowEncoder encodes a row as types.
type rowEncoder struct {
	*sample
	row, decoded []float32
}

// read sets row.
func (r *rowEncoder) read(t *runtime.Tensor, row int) error {
	if err := t.ReadRow(r.row, row); err != nil {
		return err
	}
	if c := quant.CheckRange(r.row); c >= 0 {
		return formats.FileErrorf(t.Path, -1,
			"tensor %s [%d,%d] is %g, expected a magnitude below %d", t.HF, row, c, r.row[c], quant.Limit)
	}
	return nil
}

// cost returns the weighted squares of the row's errors as a type.
func (r *rowEncoder) cost(typ quant.Type) float64 {
	blocks := make([]byte, typ.Size(int64(len(r.row))))
	typ.Quantize(blocks, r.row, len(r.row), r.importance)
	typ.Dequantize(r.decoded, blocks)
	for i, v := range r.row {
		r.decoded[i] = v - r.decoded[i]
	}
	return r.squares(r.decoded)
}

// squares returns a row's weighted sum of squares.
func (s *sample) squares(row []float32) (sum float64) {
	for i, v := range row {
		square := float64(float64(v) * float64(v))
		if s.columns != nil {
			square = float64(square * float64(s.columns[i]))
		}
		sum += square
	}
	return float64(sum * s.weight)
}

// samples says which rows of a tensor to encode, and whether costs are divergences.
func (e *estimator) samples(t *runtime.Tensor) (all []sample, weighted bool, err error) {
	tied := e.l.Output() == t.GGUF && t.GGUF == arch.Embedding
	name := t.Role()
	if tied {
		name = stats.OutputEntry
	}
	entry := e.s.Entry(name)
	if name == arch.Embedding {
		s, weighted, err := e.embedding(t)
		return []sample{s}, weighted, err
	}
	if entry == nil {
		return nil, false, formats.FileErrorf(e.s.Path, -1, "no statistics of %s", name)
	}
	if cols := t.Cols() * e.l.Experts(t.GGUF); len(entry.Sums) != cols {
		return nil, false, formats.FileErrorf(e.s.Path, -1,
			"the statistics of %s are for %d columns, and the model has %d: they are another model's",
			name, len(entry.Sums), cols)
	}
	importance, weighted := entry.Importance(), entry.Parts > 0
	if name != stats.OutputEntry {
		all, err = e.linear(t, entry, importance)
		return all, weighted, err
	}
	norm, err := e.norms(name, 1)
	if err != nil {
		return nil, false, err
	}
	// The gradient of the loss at the outputs is p - label: the error of token v's row counts by the mean of
	// p_v·(1-p_v), whose sum over v is the mean |g|², and which goes with how often v occurs.
	rows := e.tokens(t.Rows())
	all = []sample{{rows, norm[0] / 2 / float64(len(rows)), importance, importance}}
	if tied && weighted {
		s, _, err := e.embedding(t)
		s.importance = importance
		return append(all, s), true, err
	}
	return all, weighted, nil
}

// linear samples each part of a layer's outputs that t has, or each expert.
func (e *estimator) linear(t *runtime.Tensor, entry *stats.Entry, columns []float32) ([]sample, error) {
	var groups []runtime.OutputGroup
	for _, g := range e.l.OutputGroups() {
		if g.Tensor == t.Role() {
			groups = append(groups, g)
		}
	}
	norms, err := e.norms(entry.Name, len(groups))
	if err != nil {
		return nil, err
	}
	experts := e.l.Experts(t.GGUF)
	var all []sample
	for i, g := range groups {
		first := g.First - t.First
		if first < 0 || first+g.Rows > t.Rows() {
			continue
		}
		n := min(g.Rows, max(1, sampledRows/experts))
		s := sample{weight: norms[i] / 2 / float64(n), columns: columns} // ½·|g|²/rows, for rows/n each
		if experts > 1 {
			s.columns = columns[i*t.Cols():][:t.Cols()]
			if entry.Parts == 0 {
				s.weight *= entry.Share(i)
			}
		}
		s.importance = s.columns
		for k := range n {
			s.rows = append(s.rows, first+k*g.Rows/n)
		}
		all = append(all, s)
	}
	return all, nil
}

// embedding samples an embedding's rows as the first residual stream has them. The gradient is the one after the
// first attention.
func (e *estimator) embedding(t *runtime.Tensor) (_ sample, weighted bool, err error) {
	name := e.l.SharedInputs(0)[1][0] // attention's output
	norms, err := e.norms(name, 1)
	if err != nil {
		return sample{}, false, err
	}
	rows := e.tokens(t.Rows())
	entry := e.s.Entry(name)
	return sample{rows: rows, weight: norms[0] / 2 / float64(len(rows)*t.Cols())}, entry != nil && entry.Parts > 0, nil
}

// norms returns [stats.MeanNorms] of a layer's n parts of outputs; 1 without gradients.
func (e *estimator) norms(name string, n int) ([]float64, error) {
	if entry := e.s.Entry(name); entry == nil || entry.Parts == 0 {
		return slices.Repeat([]float64{1}, n), nil
	}
	parts, err := e.s.Gradients(name)
	if err != nil {
		return nil, err
	}
	if len(parts) != n {
		return nil, formats.FileErrorf(e.s.Path, -1,
			"gradients of %d parts of %s, expected %d", len(parts), name, n)
	}
	return stats.MeanNorms(parts), nil
}

// tokens returns tokens of the statistics, spread evenly. Statistics of other programs hold no tokens: then it returns
// some of the whole vocabulary.
func (e *estimator) tokens(vocabulary int) []int {
	all, id := vocabulary, func(i int) int { return i }
	if o := e.s.Origin; o != nil && len(o.Tokens) > 0 {
		all, id = len(o.Tokens), func(i int) int { return int(o.Tokens[i]) }
	}
	rows := make([]int, min(all, sampledTokens))
	for k := range rows {
		rows[k] = id(k * all / len(rows))
	}
	return rows
}
