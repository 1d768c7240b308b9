package calib

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// AWQ (Lin et al. 2023, arXiv:2306.00978) scales channels, so that those that matter are rounded in
// finer steps. Factors become part of weights and cost nothing.

// fold is a place where channels can be scaled without changing what the model computes: what
// makes channel k is divided by a factor, and what reads it is multiplied.
type fold struct {
	// by makes the channels: a norm of one weight for each, or a matrix of width columns, of which
	// row first+k makes channel k.
	by           string
	first, width int
	// cols is the matrix that reads them: column c reads channel[c] of channels.
	cols     string
	channel  []int
	channels int
}

// folds returns the places in block i, each before the ones that depend on it. Between a
// norm and a matrix there is nothing else. Attention takes weighted sums of values, each dimension by
// itself, and a head of values is read by all query heads of its group. SwiGLU is linear in what up gives.
func folds(l *runtime.Layers, i int) []fold {
	c := l.Config()
	linear := l.Linear(i)
	qkv, o, up, down := linear[0], linear[1], linear[2], linear[3]
	norm := func(name, cols string) fold {
		return newFold(fmt.Sprintf("blk.%d.%s.weight", i, name), 0, 1, cols, c.Hidden, c.Hidden, func(c int) int { return c })
	}
	value := func(col int) int {
		head, dim := col/c.HeadDim, col%c.HeadDim
		return head/(c.Heads/c.KVHeads)*c.HeadDim + dim
	}
	return []fold{
		norm("attn_norm", qkv),
		newFold(qkv, (c.Heads+c.KVHeads)*c.HeadDim, c.Hidden, o, c.KVHeads*c.HeadDim, c.Heads*c.HeadDim, value),
		norm("ffn_norm", up),
		newFold(up, c.Intermediate, c.Hidden, down, c.Intermediate, c.Intermediate, func(c int) int { return c }),
	}
}

func newFold(by string, first, width int, cols string, channels, columns int, channel func(int) int) fold {
	f := fold{by: by, first: first, width: width, cols: cols, channel: make([]int, columns), channels: channels}
	for c := range f.channel {
		f.channel[c] = channel(c)
	}
	return f
}

// apply scales by the factors of the channels: by's weights are divided, cols' multiplied.
func (f *fold) apply(by, cols, factors []float32) {
	for k, s := range factors {
		row := by[(f.first+k)*f.width:][:f.width]
		for j := range row {
			row[j] /= s
		}
	}
	n := len(f.channel)
	for at := 0; at < len(cols); at += n {
		row := cols[at : at+n]
		for c, k := range f.channel {
			row[c] *= factors[k]
		}
	}
}

// scaling is a search for the factors of a fold.
type scaling struct {
	*fold
	types []quant.Type // of each row
	rows  int
	w     []float32 // rows of cols
	h     *square   // second moments of its inputs
	imp   []float32 // the diagonal
	// Mean squares of each channel: inputs and weights.
	in, weights []float64
	threads     int
}

// scalingRows is how many rows of a matrix judge a scaling, spread over all of them.
const scalingRows = 512

func newScaling(f *fold, typ func(row int) quant.Type, w, h []float32, threads int) *scaling {
	n := len(f.channel)
	rows := len(w) / n
	s := &scaling{fold: f, h: newSquare(n), imp: make([]float32, n), in: make([]float64, f.channels), weights: make([]float64, f.channels), threads: threads}
	for r := 0; r < rows; r += (rows + scalingRows - 1) / scalingRows {
		s.w = append(s.w, w[r*n:(r+1)*n]...)
		s.types = append(s.types, typ(r))
		s.rows++
	}
	for c := range n {
		s.imp[c] = h[c*n+c]
	}
	// The greatest is at least 1 and below 2, so that nothing overflows.
	_, exp := math.Frexp(float64(slices.Max(s.imp)))
	unit := float32(math.Ldexp(1, min(1-exp, 127)))
	s.h.fill(h, unit)
	for c, k := range f.channel {
		s.imp[c] *= unit
		s.in[k] += float64(s.imp[c])
		for r := range s.rows {
			v := float64(s.w[r*n+c])
			s.weights[k] += v * v // exact
		}
	}
	return s
}

// maxFactor bounds factors and their inverses: what is divided must stay in the range of float16, in
// which some programs compute.
const maxFactor = 16

// factors returns a factor for each channel, in^(a/16) / weights^(b/16), so that the greatest times
// the least is 1, within bounds.
func (s *scaling) factors(a, b int) []float32 {
	raw := make([]float64, s.channels)
	least, most := math.Inf(1), 0.0
	for k := range raw {
		if s.in[k] > 0 && s.weights[k] > 0 {
			raw[k] = sixteenths(s.in[k], a) / sixteenths(s.weights[k], b)
			least, most = min(least, raw[k]), max(most, raw[k])
		}
	}
	factors := make([]float32, s.channels)
	middle := math.Sqrt(least) * math.Sqrt(most)
	for k, v := range raw {
		factors[k] = 1 // for a channel that carries nothing
		if v > 0 {
			factors[k] = float32(min(max(v/middle, 1./maxFactor), maxFactor))
		}
	}
	return factors
}

// sixteenths returns x^(k/16) for k up to 16, from square roots alone, which are the same
// on every CPU.
func sixteenths(x float64, k int) float64 {
	result := 1.0
	for bit := 16; bit > 0; bit /= 2 {
		if k&bit != 0 {
			result *= x
		}
		x = math.Sqrt(x)
	}
	return result
}

// loss returns tr((W-Q)·H·(W-Q)ᵀ) of the rows, Q being what their types' own encoders make of them
// with the columns scaled, scaled back.
func (s *scaling) loss(factors []float32) float64 {
	n := len(s.channel)
	column, imp := make([]float32, n), make([]float32, n)
	for c, k := range s.channel {
		column[c] = factors[k]
		imp[c] = s.imp[c] / column[c] / column[c]
	}
	imp = quant.Relative(imp)
	sums := make([]float64, (s.rows+tileRows-1)/tileRows)
	parallel(s.threads, len(sums), func(w *multiplier, task int) {
		first := task * tileRows
		count := min(tileRows, s.rows-first)
		scaled, e := make([]float32, count*n), newRows(count, n)
		for i, v := range s.w[first*n : (first+count)*n] {
			scaled[i] = v * column[i%n]
		}
		for r := range count {
			row, typ := e.row(r)[:n], s.types[first+r]
			data := make([]byte, typ.Size(int64(n)))
			typ.Quantize(data, scaled[r*n:(r+1)*n], n, imp)
			typ.Dequantize(row, data)
			for c, v := range scaled[r*n : (r+1)*n] {
				row[c] = (v - row[c]) / column[c]
			}
		}
		sums[task] = w.quadratic(e, count, s.h)
	})
	return total(sums)
}

// search returns the factors with the least loss, and that loss as a share of the loss without. It tries what the
// paper does (Lin et al. 2023, AWQ, arXiv:2306.00978), powers of activations over powers of weights, those two by
// themselves. More than the root of the activations was never best: the encoder weighs columns by them already.
func (s *scaling) search() (factors []float32, share float64) {
	factors = s.factors(0, 0) // 1 each
	none := s.loss(factors)
	best := none
	for b := 0; b <= 12; b += 4 {
		for a := 0; a <= 4; a += 2 {
			if a == 0 && b == 0 {
				continue
			}
			f := s.factors(a, b)
			if loss := s.loss(f); loss < best {
				best, factors = loss, f
			}
		}
	}
	if none == 0 {
		return factors, 1
	}
	return factors, best / none
}

// scale scales the channels of block i. Where it has been done by an earlier run, it takes the norms from there; the
// matrices are as they have been quantized then.
func (q *quantizer) scale(ctx context.Context, i int) error {
	q.scaled, q.inverse = map[string][]float32{}, map[string][]float32{}
	places := slices.DeleteFunc(folds(q.l, i), func(f fold) bool { return !q.covers(f.by) || !q.covers(f.cols) })
	if i >= q.done {
		if err := q.search(ctx, places); err != nil {
			return err
		}
	}
	for _, f := range places {
		if f.width != 1 {
			continue
		}
		norm, p := q.scaled[f.by], q.placesOf(f.by)[0]
		if norm == nil {
			norm = make([]float32, f.channels)
			if err := readFloatsAt(q.work, norm, p.at); err != nil {
				return err
			}
		} else if err := writeFloats(q.work, norm, p.at); err != nil {
			return err
		}
		if err := q.l.SetWeights(f.by, norm); err != nil {
			return err
		}
	}
	for tensor, w := range q.scaled {
		if q.inverse[tensor] == nil {
			continue // a norm
		}
		if err := q.l.SetWeights(tensor, w); err != nil {
			return err
		}
	}
	return nil
}

// placesOf returns those of a linear layer, or of a norm.
func (q *quantizer) placesOf(layer string) []encodedPlace {
	var places []encodedPlace
	for _, p := range q.places {
		if p.layer == layer {
			places = append(places, p)
		}
	}
	return places
}

// covers reports whether all rows of a layer have places.
func (q *quantizer) covers(layer string) bool {
	rows, _, err := q.l.Shape(layer)
	return err == nil && covers(q.placesOf(layer), rows)
}

func covers(places []encodedPlace, rows int) bool {
	for _, p := range places {
		rows -= p.rows
	}
	return rows == 0
}

// search finds the factors of some places in a block and keeps what they make of the weights. The inputs that judge
// them are those of the block as the original has it, behind the quantized ones; one place's factors change
// nothing for another's.
func (q *quantizer) search(ctx context.Context, places []fold) error {
	type inputs struct {
		*Moments
		weights []float32 // of the tokens
	}
	all := map[string]inputs{}
	for _, f := range places {
		weights, err := q.tokenWeights(f.cols)
		if err != nil {
			return err
		}
		all[f.cols] = inputs{NewMoments(len(f.channel), true), weights}
	}
	if len(places) == 0 {
		return nil
	}
	err := q.l.Forward(ctx, q.x, q.lengths, runtime.Pass{Until: places[len(places)-1].cols, Tap: func(in runtime.Inputs) error {
		if m, ok := all[in.Tensor]; ok {
			w := m.weights
			if w != nil {
				w = w[in.First:][:in.Rows]
			}
			m.Add(in, w, q.opt.Threads)
		}
		return nil
	}})
	if err != nil {
		return err
	}
	for _, f := range places {
		if err := ctx.Err(); err != nil {
			return err
		}
		by, err := q.weights(f.by)
		if err != nil {
			return err
		}
		w, err := q.weights(f.cols)
		if err != nil {
			return err
		}
		n := len(f.channel)
		into := q.placesOf(f.cols)
		l := &Layer{Rows: len(w) / n, Cols: n, Type: into[0].Type, W: w, H: Square(all[f.cols].Lower(), n)}
		if err := l.check(); err != nil {
			return &formats.Error{Path: q.l.Source().Path, Off: -1, What: fmt.Sprintf("tensor %s: %v", f.cols, err)}
		}
		typ := func(row int) quant.Type {
			return into[slices.IndexFunc(into, func(p encodedPlace) bool { return row >= p.first && row < p.first+p.rows })].Type
		}
		factors, share := newScaling(&f, typ, w, l.H, q.opt.Threads).search()
		if q.opt.Scaled != nil {
			q.opt.Scaled(f.cols, share)
		}
		f.apply(by, w, factors)
		inverse := make([]float32, n)
		for c, k := range f.channel {
			inverse[c] = 1 / factors[k]
		}
		q.scaled[f.by], q.scaled[f.cols], q.inverse[f.cols] = by, w, inverse
	}
	return nil
}

// weights returns a tensor's weights, scaled where the block's channels are.
func (q *quantizer) weights(tensor string) ([]float32, error) {
	if w := q.scaled[tensor]; w != nil {
		return w, nil
	}
	return q.l.Weights(tensor)
}
