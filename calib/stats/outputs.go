package stats

import (
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/formats/gguf"
	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/phi3conv/phi3conv/runtime"
)

// OutputMoments says how the loss's gradients g at the outputs of a layer go together, for blocks of outputs by
// themselves: those of [OutputBlocks].
type OutputMoments struct {
	Squares []float32 // Σ g² of each output
	// Pairs holds correlations: for each block, for each of its outputs i, those with the outputs before it. They are
	// estimates with the least expected square error, which few tokens make small.
	Pairs []float32
}

// outputBlock is the most outputs in a block. A statistics file has half as many float16 values for each output.
const outputBlock = 256

// OutputBlocks divides the parts of a layer's outputs, which have so many rows each, into blocks of at most 256
// outputs, as equal as can be. It returns how many outputs each block has.
func OutputBlocks(parts []int) (blocks []int) {
	for _, rows := range parts {
		n := (rows + outputBlock - 1) / outputBlock
		for i := range n {
			blocks = append(blocks, (i+1)*rows/n-i*rows/n)
		}
	}
	return blocks
}

// OutputSums sums g·gᵀ for blocks of a layer's outputs: in float64 over a sequence, in float32 over those of a span,
// and over spans, in their order.
type OutputSums struct {
	Blocks []int
	// Sums holds, for each block, the lower triangle row by row, and then the sum over all tokens of Σ r² over all
	// pairs of outputs, r being their correlation within the token's sequence.
	Sums []float32
}

// NewOutputSums makes sums for blocks of outputs.
func NewOutputSums(blocks []int) *OutputSums {
	return &OutputSums{blocks, make([]float32, OutputSumsLen(blocks))}
}

// OutputSumsLen returns how many values the sums for blocks of outputs have.
func OutputSumsLen(blocks []int) (size int) {
	for _, n := range blocks {
		size += n*(n+1)/2 + 1
	}
	return size
}

// AddSpan adds the sums over another span.
func (s *OutputSums) AddSpan(sums []float32) {
	for i, v := range sums {
		s.Sums[i] += v
	}
}

// Add adds the gradients of a sequence's tokens, of which one with more than 20 times the mean square counts as if it
// had so much.
func (s *OutputSums) Add(in runtime.Inputs, threads int) {
	squares := make([]float32, in.Rows)
	for t := range squares {
		sum := 0.0
		for _, v := range in.Row(t) {
			sum += float64(v) * float64(v) // exact
		}
		squares[t] = float32(sum)
	}
	weights, sums := clip(squares), s.Sums
	for _, n := range s.Blocks {
		in.Cols = n
		m := NewMoments(n, true)
		m.Add(in, weights, threads)
		full, own := m.Matrix(), make([]float32, 0, n*(n+1)/2)
		for i := range n {
			own = append(own, full[i*n:i*n+i+1]...)
		}
		for i, v := range own {
			sums[i] += v
		}
		sums[len(own)] += float32(float64(in.Rows) * squaredPairs(n, own))
		sums, in.X = sums[len(own)+1:], in.X[n:]
	}
}

// squaredPairs returns Σ r² over the pairs of a block's outputs, r being correlations.
func squaredPairs(n int, triangle []float32) (sum float64) {
	for i := range n {
		for j, v := range triangle[i*(i+1)/2:][:i] {
			if d := float64(triangle[i*(i+1)/2+i]) * float64(triangle[j*(j+1)/2+j]); d > 0 {
				sum += float64(float64(v) * float64(v) / d)
			}
		}
	}
	return sum
}

// mostTrust is the most that correlations count: with all of them a block might be singular.
const mostTrust = 0.95

// trust returns λ, so that of the estimates λ·r of a block's correlations, r being those of all of some sequences, the
// expected square error is the least: 1 less the share of Σ r² that is noise (Schäfer and Strimmer 2005, after Ledoit
// and Wolf 2004). within is Σ r² within a sequence, as a mean over tokens. Noise goes with 1/tokens, so within has as
// many times the noise of all as there are sequences, of whatever lengths.
func trust(all, within float64, sequences int) float64 {
	if sequences < 2 || all == 0 {
		return 0
	}
	noise := (within - all) / float64(sequences-1)
	return min(max(0, 1-noise/all), mostTrust)
}

// Moments returns what the sums over so many sequences, of so many tokens together, say.
func (s *OutputSums) Moments(sequences, tokens int) *OutputMoments {
	m, sums := &OutputMoments{}, s.Sums
	for _, n := range s.Blocks {
		triangle := sums[:n*(n+1)/2]
		within := float64(sums[len(triangle)]) / float64(tokens)
		share := trust(squaredPairs(n, triangle), within, sequences)
		for i := range n {
			square := triangle[i*(i+1)/2+i]
			for j, v := range triangle[i*(i+1)/2:][:i] {
				r := 0.0
				if d := float64(square) * float64(triangle[j*(j+1)/2+j]); d > 0 {
					r = share * (float64(v) / math.Sqrt(d))
				}
				m.Pairs = append(m.Pairs, float32(r))
			}
			m.Squares = append(m.Squares, square)
		}
		sums = sums[len(triangle)+1:]
	}
	return m
}

// outputsOf returns the number of outputs of an entry that have moments.
func outputsOf(f *gguf.File, name string) (int, error) {
	squares, pairs := f.Tensor(name+suffixOutputs), f.Tensor(name+suffixPairs)
	if squares == nil && pairs == nil {
		return 0, nil
	}
	if squares == nil || pairs == nil {
		return 0, formats.Errorf(-1, "one of %s and %s is missing", name+suffixOutputs, name+suffixPairs)
	}
	if squares.Type != quant.F32 || pairs.Type != quant.F16 || len(squares.Dims) != 1 || len(pairs.Dims) != 1 {
		return 0, formats.Errorf(squares.Offset, "tensors %s and %s are %s and %s of %d and %d dimensions, "+
			"expected F32 and F16 of one", squares.Name, pairs.Name, squares.Type, pairs.Type,
			len(squares.Dims), len(pairs.Dims))
	}
	return int(squares.Cols()), nil
}

// HasOutputs reports whether the file says of any layer how gradients at its outputs go together.
func (s *File) HasOutputs() bool {
	return slices.ContainsFunc(s.Entries, func(e Entry) bool { return e.Outputs > 0 })
}

// OutputMoments returns how the loss's gradients at the outputs of a layer go together, whose outputs are in blocks of
// these sizes; nil if the file does not say.
func (s *File) OutputMoments(name string, blocks []int) (*OutputMoments, error) {
	e := s.Entry(name)
	if e == nil || e.Outputs == 0 {
		return nil, nil
	}
	outputs, pairs := 0, 0
	for _, n := range blocks {
		outputs += n
		pairs += n * (n - 1) / 2
	}
	m, t := &OutputMoments{}, s.file.Tensor(name+suffixPairs)
	if e.Outputs != outputs || t.Cols() != int64(pairs) {
		return nil, formats.FileErrorf(s.Path, t.Offset, "%d outputs of %s and %d pairs of them, expected %d and %d",
			e.Outputs, name, t.Cols(), outputs, pairs)
	}
	var err error
	if m.Squares, err = readFloats(s.file.Tensor(name + suffixOutputs)); err != nil {
		return nil, formats.WithPath(err, s.Path)
	}
	raw := make([]byte, t.Size())
	if _, err := t.ReadAt(raw, 0); err != nil {
		return nil, formats.WithPath(formats.Wrapf(err, t.Offset, "reading tensor %s", t.Name), s.Path)
	}
	m.Pairs = make([]float32, pairs)
	quant.F16.Dequantize(m.Pairs, raw)
	for _, v := range m.Squares {
		if !(v >= 0) || !floats.Finite(v) {
			return nil, formats.FileErrorf(s.Path, -1, "a squared gradient of %s is %g", name, v)
		}
	}
	for _, v := range m.Pairs {
		if !(v >= -1.01 && v <= 1.01) {
			return nil, formats.FileErrorf(s.Path, t.Offset, "a correlation of gradients of %s is %g", name, v)
		}
	}
	return m, nil
}
