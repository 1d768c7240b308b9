package source

import (
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// The figures by the shapes of a block's matrices. The embedding is only looked up; of the last block a token before
// the last has keys and values only.
func TestMultiplyAdds(t *testing.T) {
	m, err := Open(testmodel.Phi3(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	c := m.Config
	qkv := c.Hidden * (c.Heads + 2*c.KVHeads) * c.HeadDim
	rest := c.Heads*c.HeadDim*c.Hidden + 3*c.Hidden*c.Intermediate
	output, key := c.Hidden*c.VocabSize, 2*c.Heads*c.HeadDim
	for _, x := range []struct{ before, n, keys, last int }{{0, 1, 1, 1}, {0, 3, 6, 3}, {7, 2, 8 + 9, 9}} {
		want := float64(x.n*c.Layers*qkv + (x.n*(c.Layers-1)+1)*rest + output + (x.keys*(c.Layers-1)+x.last)*key)
		if got := m.MultiplyAdds(x.before, x.n); got != want {
			t.Errorf("%d tokens after %d: %g multiply-adds, expected %g", x.n, x.before, got, want)
		}
	}
	c.SlidingWindow = 2
	want := float64(c.Layers*qkv + (c.Layers-1)*(rest+2*key))
	if got := m.MultiplyAdds(0, 4) - m.MultiplyAdds(0, 3); got != want {
		t.Errorf("a token with a window of 2: %g, expected %g", got, want)
	}
}
