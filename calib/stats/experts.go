package stats

import (
	"fmt"
	"strings"
)

// FloorTokens is the number of tokens below which an expert's statistics are completed by those of all experts.
//
// The mean square of a column over n tokens is off by a relative √(v/n), v being the relative variance of a square. The
// experts' true mean squares are off from the mean of all by a relative t. Of λ·own + (1-λ)·all, λ = n/(n + v/t²) has
// the least expected square error; v/t² is 25 to 69 in the trained small model. λ = n/FloorTokens, which is taken,
// differs little from it for few tokens, and is 1 for experts with FloorTokens, whose importance is llama.cpp's.
const FloorTokens = 128

// total returns the sum of the counts of all experts.
func (e *Entry) total() float64 {
	total := 0.0
	for _, n := range e.Counts {
		total += float64(n)
	}
	return total
}

// pooled returns the mean square of each column over the tokens of all experts, nil if there is no token.
func (e *Entry) pooled() []float64 {
	cols, count := len(e.Sums)/len(e.Counts), e.total()
	if count == 0 {
		return nil
	}
	mean := make([]float64, cols)
	for i, v := range e.Sums {
		if e.Counts[i/cols] > 0 {
			mean[i%cols] += float64(v)
		}
	}
	for c := range mean {
		mean[c] /= count
	}
	return mean
}

// Share returns an expert's share of the tokens that reach any of them, the same for each if the file does not tell.
func (e *Entry) Share(expert int) float64 {
	total := e.total()
	if len(e.Counts) == 1 || total == 0 {
		return 1
	}
	return float64(e.Counts[expert]) / total
}

// Floor completes the statistics of an expert that less than FloorTokens tokens reached: the tokens that are missing
// count with the mean squares that columns have in all, the inputs of all experts, and say nothing of how columns go
// together.
func (m *Moments) Floor(all *Moments) {
	missing := FloorTokens - m.Count
	if missing <= 0 || all.Count == 0 {
		return
	}
	for c, sum := range all.sums {
		add := float64(sum / all.Count * missing)
		m.sums[c] += add
		if m.matrix != nil {
			from := c / stripeCols * stripeCols
			m.matrix[c/stripeCols][(c-from)*stripeCols+c-from] += add
		}
	}
	m.Count += missing
}

// ExpertWarnings says which experts no token reached, and which few did.
func (s *File) ExpertWarnings() []string {
	if s.ChunkSize == 0 {
		return nil // the older form does not tell
	}
	var none, few []string
	seen := map[string]bool{} // an expert has several matrices
	for i := range s.Entries {
		e := &s.Entries[i]
		if len(e.Counts) == 1 {
			continue
		}
		block := e.Name[:strings.LastIndex(strings.TrimSuffix(e.Name, ".weight"), ".")+1]
		for x, n := range e.Counts {
			expert := fmt.Sprintf("%sexpert %d", block, x)
			if n >= FloorTokens || seen[expert] {
				continue
			}
			if seen[expert] = true; n == 0 {
				none = append(none, expert)
			} else {
				few = append(few, fmt.Sprintf("%s (%.0f)", expert, n))
			}
		}
	}
	var all []string
	if none != nil {
		all = append(all, fmt.Sprintf("no token reached %s, for which the statistics of all experts stand: %s",
			experts(none), strings.Join(shorten(none), ", ")))
	}
	if few != nil {
		all = append(all, fmt.Sprintf("less than %d tokens reached %s, whose statistics are completed by those of all "+
			"experts: %s", FloorTokens, experts(few), strings.Join(shorten(few), ", ")))
	}
	return all
}

func experts(list []string) string {
	if len(list) == 1 {
		return "an expert"
	}
	return fmt.Sprintf("%d experts", len(list))
}

// shorten leaves out what is more than a message should list.
func shorten(list []string) []string {
	const most = 12
	if len(list) <= most {
		return list
	}
	return append(list[:most:most], fmt.Sprintf("and %d more", len(list)-most))
}
