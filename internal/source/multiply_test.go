package source

import (
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// The figures by the shapes of a block's matrices; the embedding is only looked up.
func TestMultiplyAdds(t *testing.T) {
	m, err := Open(testmodel.Phi3(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	c := m.Config
	block := c.Hidden*(c.Heads+2*c.KVHeads)*c.HeadDim + c.Heads*c.HeadDim*c.Hidden + 3*c.Hidden*c.Intermediate
	output, key := c.Hidden*c.VocabSize, 2*c.Layers*c.Heads*c.HeadDim
	for _, x := range []struct{ before, n, keys int }{{0, 1, 1}, {0, 3, 6}, {7, 2, 8 + 9}} {
		want := float64(x.n*c.Layers*block + output + x.keys*key)
		if got := m.MultiplyAdds(x.before, x.n); got != want {
			t.Errorf("%d tokens after %d: %g multiply-adds, expected %g", x.n, x.before, got, want)
		}
	}
	c.SlidingWindow = 2
	if got, want := m.MultiplyAdds(0, 4)-m.MultiplyAdds(0, 3), float64(c.Layers*block+2*key); got != want {
		t.Errorf("a token with a window of 2: %g, expected %g", got, want)
	}
}
