package stats

import (
	"fmt"
	"math"
	"slices"
)

// Summary says what statistics cover and what stands out in them.
type Summary struct {
	Tokens     int64          `json:"tokens"` // of the entry that has most
	Chunks     int            `json:"chunks"`
	ChunkSize  int            `json:"chunk_size"`
	Datasets   []string       `json:"datasets"`
	Sequences  int            `json:"sequences,omitempty"`
	Vocabulary int            `json:"distinct_tokens,omitempty"`
	Entries    []EntrySummary `json:"entries"`
	Warnings   []string       `json:"warnings"`
}

// EntrySummary describes the inputs of a linear layer.
type EntrySummary struct {
	Name    string  `json:"tensor"`
	Tokens  int64   `json:"tokens"` // of experts, those of all together
	Columns int     `json:"columns"`
	Energy  float64 `json:"mean_square"`
	// Outliers are the columns whose root mean square is more than outlierRatio times the
	// median column's, the greatest first. Ratio is the greatest's.
	Outliers []int   `json:"outlier_columns"`
	Ratio    float64 `json:"greatest_over_median"`
	// Share is the part of the energy that the greatest hundredth of the columns has.
	Share float64 `json:"top_percent_share"`
	Dead  int     `json:"dead_columns"` // always 0
	// Experts are the tokens that reached each expert, of stacked ones; the figures above are those of the inputs of
	// all experts together.
	Experts []int64 `json:"expert_tokens,omitempty"`
	// Weighted says that tokens are weighted by squared gradients, which are in the file.
	Weighted bool `json:"fisher"`
}

const (
	outlierRatio = 10
	// enoughTokens is what llama.cpp's users take at least; below it a column's mean square is
	// uncertain by several per cent.
	enoughTokens = 10000
)

// Summarize describes the statistics.
func (s *File) Summarize() *Summary {
	sum := &Summary{
		Chunks: s.ChunkCount, ChunkSize: s.ChunkSize, Datasets: append([]string{}, s.Datasets...),
		Entries: []EntrySummary{}, Warnings: []string{},
	}
	dead := 0
	for i := range s.Entries {
		e := s.Entries[i].summarize()
		if s.ChunkSize == 0 {
			e.Tokens, e.Experts = 0, nil // the older form counts chunks
		}
		if len(e.Experts) == 0 {
			sum.Tokens = max(sum.Tokens, e.Tokens)
		}
		if e.Dead > 0 {
			dead++
		}
		sum.Entries = append(sum.Entries, e)
	}
	if s.ChunkSize > 0 && sum.Tokens < enoughTokens {
		sum.warn("%d tokens are few: 10,000 or more give steady figures", sum.Tokens)
	}
	if dead > 0 {
		sum.warn("%d layers have columns that are always 0", dead)
	}
	sum.Warnings = append(sum.Warnings, s.ExpertWarnings()...)
	if o := s.Origin; o != nil {
		sum.Sequences = len(o.Lengths)
		distinct := map[int32]bool{}
		for _, id := range o.Tokens {
			distinct[id] = true
		}
		sum.Vocabulary = len(distinct)
	}
	return sum
}

func (s *Summary) warn(format string, args ...any) {
	s.Warnings = append(s.Warnings, fmt.Sprintf(format, args...))
}

func (e *Entry) summarize() EntrySummary {
	mean := e.meanSquares()
	sum := EntrySummary{Name: e.Name, Columns: len(mean), Outliers: []int{}, Weighted: e.Parts > 0}
	for _, n := range e.Counts {
		sum.Tokens += int64(n)
		if len(e.Counts) > 1 {
			sum.Experts = append(sum.Experts, int64(n))
		}
	}
	order := make([]int, len(mean))
	total := 0.0
	for i, v := range mean {
		order[i] = i
		total += float64(v)
		if v == 0 {
			sum.Dead++
		}
	}
	sum.Energy = total / float64(len(mean))
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case mean[a] > mean[b]:
			return -1
		case mean[a] < mean[b]:
			return 1
		}
		return 0
	})
	top := 0.0
	for _, i := range order[:(len(order)+99)/100] {
		top += float64(mean[i])
	}
	if total > 0 {
		sum.Share = top / total
	}
	if median := float64(mean[order[len(order)/2]]); median > 0 {
		sum.Ratio = math.Sqrt(float64(mean[order[0]]) / median)
		for _, i := range order {
			if math.Sqrt(float64(mean[i])/median) <= outlierRatio {
				break
			}
			sum.Outliers = append(sum.Outliers, i)
		}
	}
	return sum
}

// meanSquares returns those of columns, of experts those of all together.
func (e *Entry) meanSquares() []float32 {
	if len(e.Counts) == 1 {
		return e.Importance()
	}
	mean := slices.Repeat([]float32{1}, len(e.Sums)/len(e.Counts))
	for c, v := range e.pooled() {
		mean[c] = float32(v)
	}
	return mean
}
