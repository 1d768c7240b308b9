package text

import (
	"testing"
)

func TestOverlap(t *testing.T) {
	seq := func(first, n int) (s []int32) {
		for i := range n {
			s = append(s, int32(first+i))
		}
		return s
	}
	tokens, lengths := append(seq(0, 50), seq(100, 50)...), []int32{50, 50}
	for _, c := range []struct {
		text []int32
		want float64
	}{
		{seq(0, 50), 1}, {seq(110, 20), 1}, {seq(1000, 50), 0}, {seq(0, 12), 0},
		{append(seq(0, 25), seq(1000, 37)...), 13.0 / 50}, // pieces that begin at 0 to 12 of 50
		{append(seq(45, 5), seq(100, 8)...), 0},           // across sequences
	} {
		if got := Overlap(tokens, lengths, c.text); got != c.want {
			t.Errorf("%d…: %g, expected %g", c.text[0], got, c.want)
		}
	}
}
