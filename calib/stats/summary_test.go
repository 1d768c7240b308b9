package stats

import (
	"slices"
	"testing"
)

func TestSummary(t *testing.T) {
	s := &File{ChunkSize: 512, ChunkCount: 2, Entries: []Entry{
		{Name: "t", Sums: slices.Repeat([]float32{1024}, 99), Counts: []float32{1024}},
	}}
	e := &s.Entries[0]
	e.Sums = append(e.Sums, 1024*400)
	e.Sums[5] = 0
	sum := s.Summarize()
	got := sum.Entries[0]
	if got.Dead != 1 || !slices.Equal(got.Outliers, []int{99}) || got.Ratio != 20 || got.Energy != 4.98 ||
		got.Tokens != 1024 || sum.Tokens != 1024 {
		t.Errorf("%+v", got)
	}
	if got.Share < 0.8 || got.Share > 0.81 {
		t.Errorf("share %g", got.Share)
	}
	if len(sum.Warnings) != 2 {
		t.Errorf("%q", sum.Warnings)
	}
}

// Of experts, the summary has the tokens of each and figures of all, and warns of those that few tokens or none
// reached.
func TestExpertSummary(t *testing.T) {
	s := &File{ChunkSize: 512, Entries: []Entry{
		{Name: "blk.0.ffn_down_exps.weight", Sums: []float32{600, 1200, 0, 0, 50, 100}, Counts: []float32{600, 0, 50}},
		{Name: "blk.0.ffn_up_exps.weight", Sums: []float32{600, 0, 50}, Counts: []float32{600, 0, 50}},
		{Name: "output.weight", Sums: []float32{20000}, Counts: []float32{20000}},
	}}
	sum := s.Summarize()
	e := sum.Entries[0]
	if e.Tokens != 650 || e.Columns != 2 || e.Energy != 1.5 || !slices.Equal(e.Experts, []int64{600, 0, 50}) {
		t.Errorf("%+v", e)
	}
	want := []string{
		"no token reached an expert, for which the statistics of all experts stand: blk.0.expert 1",
		"less than 128 tokens reached an expert, whose statistics are completed by those of all experts: " +
			"blk.0.expert 2 (50)",
	}
	if sum.Tokens != 20000 || !slices.Equal(sum.Warnings, want) {
		t.Errorf("%d tokens, %q", sum.Tokens, sum.Warnings)
	}
	s.ChunkSize = 0
	if sum := s.Summarize(); sum.Entries[0].Experts != nil || len(sum.Warnings) != 0 {
		t.Errorf("without counts of tokens: %+v", sum)
	}
}
