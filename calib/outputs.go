package calib

import (
	"strings"

	"github.com/phi3conv/phi3conv/calib/solve"
	"github.com/phi3conv/phi3conv/calib/stats"
	"github.com/phi3conv/phi3conv/runtime"
)

// outputBlocks returns the sizes of the blocks into which a layer's outputs are divided.
func outputBlocks(groups []runtime.OutputGroup, tensor string) []int {
	var parts []int
	for _, g := range groups {
		if g.Tensor == tensor {
			parts = append(parts, g.Rows)
		}
	}
	return stats.OutputBlocks(parts)
}

// newOutputSums makes sums for the linear layers whose outputs' gradients go together, and lists their names in order.
func newOutputSums(l *runtime.Layers, groups []runtime.OutputGroup) (all map[string]*stats.OutputSums, order []string) {
	all, order = map[string]*stats.OutputSums{}, outputLayers(l)
	for _, name := range order {
		all[name] = stats.NewOutputSums(outputBlocks(groups, name))
	}
	return all, order
}

// outputLayers lists the linear layers whose outputs' gradients go together, in order.
func outputLayers(l *runtime.Layers) (names []string) {
	for i := range l.Count() {
		for _, name := range l.Linear(i) {
			if correlated(name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// outputSumsBytes is the memory that the sums of [newOutputSums] take.
func outputSumsBytes(l *runtime.Layers) (size int64) {
	groups := l.OutputGroups()
	for _, name := range outputLayers(l) {
		size += 4 * int64(stats.OutputSumsLen(outputBlocks(groups, name)))
	}
	return size
}

// outputsOf returns the blocks of outputs of a layer's rows from first to end, nil if the statistics do not tell.
func (q *quantizer) outputsOf(name string, first, end int) ([]solve.Outputs, error) {
	blocks := outputBlocks(q.l.OutputGroups(), name)
	m, err := q.stats.OutputMoments(name, blocks)
	if m == nil || err != nil {
		return nil, err
	}
	factors := q.rowFactors(name)
	var all []solve.Outputs
	pairs, at := m.Pairs, 0
	for _, n := range blocks {
		o := solve.Outputs{First: at - first, Squares: m.Squares[at : at+n], Pairs: pairs[:n*(n-1)/2]}
		if factors != nil { // outputs that are divided have gradients that are multiplied
			o.Squares = make([]float32, n)
			for i := range n {
				o.Squares[i] = m.Squares[at+i] * factors[at+i] * factors[at+i]
			}
		}
		if at >= first && at+n <= end && goTogether(o.Pairs) {
			all = append(all, o)
		}
		pairs, at = pairs[n*(n-1)/2:], at+n
	}
	return all, nil
}

// rowFactors returns what the rows of a layer are divided by, nil for 1.
func (q *quantizer) rowFactors(name string) []float32 {
	for _, s := range q.scalings {
		for _, m := range s.Makers {
			if m.Tensor != name {
				continue
			}
			rows, _, err := q.l.Shape(name)
			if err != nil {
				return nil // every layer has a shape
			}
			factors := make([]float32, rows)
			for i := range factors {
				factors[i] = 1
			}
			copy(factors[m.First:m.First+m.Rows], s.Factors)
			return factors
		}
	}
	return nil
}

// correlated reports whether gradients at a layer's outputs may go together more than by chance. Those of queries and
// keys do, elsewhere feedback gained nothing: docs/methods-measured.md.
func correlated(tensor string) bool {
	return strings.Contains(tensor, ".attn_") && !strings.Contains(tensor, ".attn_output")
}

// leastTrust is what the root mean square of a block's correlations must be: errors of rows that hardly go together
// are not worth the time.
const leastTrust = 0.01

// goTogether reports whether a block's correlations are worth feeding errors back by.
func goTogether(pairs []float32) bool {
	sum := 0.0
	for _, r := range pairs {
		sum += float64(r) * float64(r)
	}
	return sum > leastTrust*leastTrust*float64(len(pairs))
}
