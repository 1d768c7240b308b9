package stats

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/usage"
)

// A text is divided into spans, which are consecutive sequences. Each sum is taken over a span by itself, and those of
// all spans are added up in order. So machines may have some spans each, and the bytes of the statistics do not depend
// on who had which.
const (
	// MaxShards is the most parts of a calibration: each has a span at least.
	MaxShards = maxSpans

	maxSpans  = 24  // many enough for some machines; their sums are in work files
	spanFloor = 512 // tokens that a span has about, at least: those that go through a block together
)

// spans divides the sequences of these lengths, and returns the first sequence of each span, and their number at the
// end.
func spans(lengths []int32) []int {
	tokens := 0
	for _, n := range lengths {
		tokens += int(n)
	}
	n := max(1, min(len(lengths), maxSpans, tokens/spanFloor))
	bounds := make([]int, n+1)
	for i := range bounds {
		bounds[i] = i * len(lengths) / n
	}
	return bounds
}

// Shard is a part of a calibration that is done by itself, on another machine perhaps: part I of N, from 1. It has
// whole spans.
type Shard struct {
	I int `json:"i"`
	N int `json:"n"`
}

// Portion is what a shard has of a text.
type Portion struct {
	Spans      [][]int32 // the lengths of the sequences, for each span
	Lengths    []int32   // of all of them
	Sequence   int       // the first one's number in the text
	First, End int       // tokens in the text
}

// Of returns the shard's portion of the sequences of these lengths.
func (s Shard) Of(lengths []int32) (*Portion, error) {
	bounds := spans(lengths)
	n := len(bounds) - 1
	if s.I < 1 || s.I > s.N || s.N > n {
		return nil, usage.Errorf("part %d of %d: this text can be divided into at most %d parts, "+
			"of whole sequences and at least %d tokens", s.I, s.N, n, spanFloor)
	}
	bounds = bounds[(s.I-1)*n/s.N : s.I*n/s.N+1]
	p := &Portion{Sequence: bounds[0], Lengths: lengths[bounds[0]:bounds[len(bounds)-1]]}
	for i := range len(bounds) - 1 {
		p.Spans = append(p.Spans, lengths[bounds[i]:bounds[i+1]])
	}
	for _, n := range lengths[:p.Sequence] {
		p.First += int(n)
	}
	p.End = p.First
	for _, n := range p.Lengths {
		p.End += int(n)
	}
	return p, nil
}

// Tokens returns how many tokens the portion has.
func (p *Portion) Tokens() int { return p.End - p.First }

// Add adds the entry of a layer: for each span in order, for each expert's matrix, its count and its columns' sums, as
// [Moments.Append] gives them. g may be nil.
func (s *File) Add(name string, experts, cols int, sums []float64, g Gradients) {
	e := Entry{Name: name, Sums: make([]float32, experts*cols), Counts: make([]float32, experts)}
	for x := range experts {
		total := make([]float64, 1+cols)
		for at := x * len(total); at < len(sums); at += experts * len(total) {
			for i, v := range sums[at:][:len(total)] {
				total[i] += v
			}
		}
		e.Counts[x] = float32(math.Round(total[0]))
		for c, v := range total[1:] {
			e.Sums[x*cols+c] = float32(v)
		}
	}
	if g != nil {
		e.Parts = g.Parts(name)
		for _, n := range g.Blocks(name) {
			e.Outputs += n
		}
	}
	s.Entries = append(s.Entries, e)
	s.ChunkCount = max(s.ChunkCount, int(e.Counts[0])/max(1, s.ChunkSize))
}
