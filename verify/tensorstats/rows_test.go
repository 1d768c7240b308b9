package tensorstats

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// Of matrices whose rows are off by errors that scatter, none is unlike; swapped and damaged ones are, wherever pieces
// end.
func TestRows(t *testing.T) {
	const n, cols = 300, 96
	rng := rand.New(rand.NewPCG(9, 10))
	for _, noise := range []float64{0, 0.01, 0.07, 0.3} {
		a, b := make([]float32, n*cols), make([]float32, n*cols)
		for i := range n {
			off := noise * math.Exp(0.1*rng.NormFloat64())
			for j := i * cols; j < (i+1)*cols; j++ {
				x := rng.NormFloat64()
				a[j], b[j] = float32(x), float32(x+off*rng.NormFloat64())
			}
		}
		clear(a[7*cols : 8*cols]) // a dead row, which may become anything
		unlike := func(b []float32) []int {
			r := NewRows(cols)
			for from := 0; from < len(a); from += 1000 {
				to := min(len(a), from+1000)
				r.Add(a[from:to], b[from:to])
			}
			var rows []int
			for _, u := range r.Unlike("w") {
				rows = append(rows, u.Row)
			}
			slices.Sort(rows)
			return rows
		}
		if got := unlike(b); got != nil {
			t.Errorf("noise %v: rows %d are unlike", noise, got)
		}
		c := slices.Clone(b)
		copy(c[20*cols:], b[250*cols:251*cols])
		copy(c[250*cols:], b[20*cols:21*cols])
		for j := range 32 {
			c[100*cols+j] *= 16
		}
		clear(c[150*cols : 151*cols])
		want := []int{20, 100, 150, 250}
		if noise > 0.1 { // which hides a third of a row that is 16 times too large
			want = []int{20, 150, 250}
		}
		if got := unlike(c); !slices.Equal(got, want) {
			t.Errorf("noise %v: rows %d are unlike, want %d", noise, got, want)
		}
	}
}
