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
