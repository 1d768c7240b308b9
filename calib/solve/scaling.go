package solve

import (
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/quant"
)

// AWQ (Lin et al. 2023, arXiv:2306.00978) scales channels, so that those that matter are rounded in
// finer steps. The factors become part of the weights, so that nothing is stored or computed for them.

// Fold is a place where channels can be scaled without changing what the model computes: what
// makes channel k is divided by a factor, and what reads it is multiplied.
type Fold struct {
	// By makes the channels: a norm of one weight for each, or a matrix of Width columns, of which
	// row First+k makes channel k.
	By           string
	First, Width int
	// Cols is the matrix that reads them: column c reads Channel[c] of Channels.
	Cols     string
	Channel  []int
	Channels int
}

// Apply scales by the factors of the channels: the weights of By are divided, those of Cols multiplied.
func (f *Fold) Apply(by, cols, factors []float32) {
	for k, s := range factors {
		row := by[(f.First+k)*f.Width:][:f.Width]
		for j := range row {
			row[j] /= s
		}
	}
	n := len(f.Channel)
	for at := 0; at < len(cols); at += n {
		row := cols[at : at+n]
		for c, k := range f.Channel {
			row[c] *= factors[k]
		}
	}
}

// scaling is a search for the factors of a fold.
type scaling struct {
	*Fold
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

func newScaling(f *Fold, typ func(row int) quant.Type, w, h []float32, threads int) *scaling {
	n := len(f.Channel)
	rows := len(w) / n
	s := &scaling{
		Fold: f, h: newSquare(n), imp: make([]float32, n),
		in: make([]float64, f.Channels), weights: make([]float64, f.Channels), threads: threads,
	}
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
	for c, k := range f.Channel {
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

// Search returns the factors with the least loss, and that loss as a share of the loss without factors. w are the
// weights of Cols, row by row, typ the types of the rows, and h the second moments of the inputs, row by row. It tries
// powers of activations over powers of weights, as the paper does (AWQ, arXiv:2306.00978), but each with a power of its
// own. More than the square root of the activations was never best: the encoder weighs columns by them already.
func (f *Fold) Search(w, h []float32, typ func(row int) quant.Type, threads int) (factors []float32, share float64) {
	return newScaling(f, typ, w, h, threads).search()
}

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
