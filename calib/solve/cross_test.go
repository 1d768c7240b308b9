package solve

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/phi3conv/phi3conv/runtime"
)

// Against plain float64 sums.
func TestCrossMoments(t *testing.T) {
	const cols = 48
	in := runtime.Inputs{Rows: 300, Cols: cols, Stride: cols + 16, X: make([]float32, 300*(cols+16))}
	r := rand.New(rand.NewPCG(1, cols))
	for i := range in.X {
		in.X[i] = float32(r.NormFloat64())
	}
	some := make([]float32, 300)
	for i := range some {
		some[i] = float32(i%5) / 2
	}
	original := make([]float32, 300*cols)
	for i := range original {
		original[i] = float32(i%17) - 8
	}
	for _, weights := range [][]float32{nil, some} {
		m := NewCrossMoments(cols)
		m.Add(in, original, weights, 2)
		m.Add(in, original, weights, 1)
		got := m.Matrix()
		for i := range cols {
			for j := range cols {
				want, size := 0.0, 0.0
				for r := range 300 {
					w := 2.0
					if weights != nil {
						w *= float64(weights[r])
					}
					p := w * (float64(original[r*cols+i]) - float64(in.Row(r)[i])) * float64(in.Row(r)[j])
					want, size = want+p, size+math.Abs(p)
				}
				if math.Abs(float64(got[i*cols+j])-want) > 2e-5*size {
					t.Fatalf("element %d,%d is %g, want %g", i, j, got[i*cols+j], want)
				}
			}
		}
	}
}
