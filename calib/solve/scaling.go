package solve

import (
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// AWQ (Lin et al. 2023, arXiv:2306.00978) scales channels, so that those that matter are rounded in
// finer steps. The factors become part of the weights, so that nothing is stored or computed for them.

// Scaling is factors of the channels of a place where they can be scaled.
type Scaling struct {
	runtime.Fold
	Factors []float32
}

// Apply scales those of a tensor's weights w, its rows from row first on, that make or read the channels: the former
// are divided, the latter multiplied.
func (s *Scaling) Apply(tensor string, first int, w []float32) {
	for _, m := range s.Makers {
		s.apply(m, tensor, first, w, func(row []float32, k int) {
			for j := range row {
				row[j] /= s.Factors[k]
			}
		})
	}
	for _, r := range s.Readers {
		s.apply(r, tensor, first, w, func(row []float32, _ int) {
			for c, k := range s.Channel {
				row[c] *= s.Factors[k]
			}
		})
	}
}

// apply calls do with those of w's rows that are in the span, and their numbers there.
func (s *Scaling) apply(span runtime.Span, tensor string, first int, w []float32, do func(row []float32, i int)) {
	if span.Tensor != tensor {
		return
	}
	for at := 0; at < len(w); at += span.Cols {
		if i := first + at/span.Cols - span.First; i >= 0 && i < span.Rows {
			do(w[at:at+span.Cols], i)
		}
	}
}

// ScaledRow is a row that reads scaled channels, and the type that it gets.
type ScaledRow struct {
	W    []float32
	Type quant.Type
}

// scaling is a search for the factors of a fold.
type scaling struct {
	*runtime.Fold
	list []ScaledRow
	h    *square   // second moments of the inputs
	imp  []float32 // the diagonal
	// Mean squares of each channel: inputs and weights.
	in, weights []float64
	threads     int
}

// SampledRows is how many rows judge a scaling, spread over all that read the channels.
const SampledRows = 512

func newScaling(f *runtime.Fold, list []ScaledRow, h []float32, threads int) *scaling {
	n := len(f.Channel)
	s := &scaling{
		Fold: f, list: list, h: newSquare(n), imp: make([]float32, n),
		in: make([]float64, f.Channels), weights: make([]float64, f.Channels), threads: threads,
	}
	for c := range n {
		s.imp[c] = h[c*n+c]
	}
	// The greatest is at least 1 and below 2, so that nothing overflows.
	_, exp := math.Frexp(float64(slices.Max(s.imp)))
	unit := float32(math.Ldexp(1, min(1-exp, 127)))
	s.h.fill(h, unit)
	for c, k := range f.Channel {
		s.imp[c] *= unit
		s.in[k] += float64(s.imp[c])
		for r := range list {
			v := float64(list[r].W[c])
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
	raw := make([]float64, s.Channels)
	least, most := math.Inf(1), 0.0
	for k := range raw {
		if s.in[k] > 0 && s.weights[k] > 0 {
			raw[k] = sixteenths(s.in[k], a) / sixteenths(s.weights[k], b)
			least, most = min(least, raw[k]), max(most, raw[k])
		}
	}
	factors := make([]float32, s.Channels)
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
	n := len(s.Channel)
	column, imp := make([]float32, n), make([]float32, n)
	for c, k := range s.Channel {
		column[c] = factors[k]
		imp[c] = s.imp[c] / column[c] / column[c]
	}
	imp = quant.Relative(imp)
	sums := make([]float64, (len(s.list)+tileRows-1)/tileRows)
	parallel(s.threads, len(sums), func(w *multiplier, task int) {
		first := task * tileRows
		count := min(tileRows, len(s.list)-first)
		scaled, e := make([]float32, n), newRows(count, n)
		for r := range count {
			row, from := e.row(r)[:n], &s.list[first+r]
			for c, v := range from.W {
				scaled[c] = v * column[c]
			}
			data := make([]byte, from.Type.Size(int64(n)))
			from.Type.Quantize(data, scaled, n, imp)
			from.Type.Dequantize(row, data)
			for c, v := range scaled {
				row[c] = (v - row[c]) / column[c]
			}
		}
		sums[task] = w.quadratic(e, count, s.h)
	})
	return total(sums)
}

// Search returns the factors with the least loss, and that loss as a share of the loss without factors. list are rows
// that read the channels, [SampledRows] or less, and h the second moments of the inputs, row by row. It tries
// powers of activations over powers of weights, as the paper does (AWQ, arXiv:2306.00978), but each with a power of its
// own. More than the square root of the activations was never best: the encoder weighs columns by them already. worked
// gets parts of [SearchWork].
func Search(
	f runtime.Fold, list []ScaledRow, h []float32, threads int, worked func(work float64),
) (found *Scaling, share float64) {
	factors, share := newScaling(&f, list, h, threads).search(worked)
	return &Scaling{f, factors}, share
}

func (s *scaling) search(worked func(work float64)) (factors []float32, share float64) {
	each := SearchWork(len(s.Channel)) / losses
	factors = s.factors(0, 0) // 1 each
	none := s.loss(factors)
	worked(each)
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
			worked(each)
		}
	}
	if none == 0 {
		return factors, 1
	}
	return factors, best / none
}
