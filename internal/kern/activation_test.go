package kern

import (
	"math"
	"math/rand/v2"
	"testing"
)

// LayerNorm against float64. The mean is of the size of the spread, so that variance and mean square differ.
func TestLayerNorm(t *testing.T) {
	const n, eps = 1000, 1e-5 // and 8 of padding
	random := normal(rand.New(rand.NewPCG(5, 6)))
	x, w, b := random(1008, 5), random(1008, 1), random(1008, 1)
	clear(x[n:])
	clear(b[n:])
	var mean, size, variance float64
	for i := range x[:n] {
		x[i] += 5
		mean += float64(x[i]) / n
		size += math.Abs(float64(x[i])) / n
	}
	for _, v := range x[:n] {
		d := float64(v) - mean
		variance += d * d / n
	}
	for _, s := range Sets() {
		t.Run(s.Name, func(t *testing.T) {
			dst := make([]float32, len(x))
			s.LayerNorm(dst, x, w, b, n, eps)
			for i, v := range x[:n] {
				f := float64(w[i]) / math.Sqrt(variance+eps)
				y := (float64(v) - mean) * f
				// 68 roundings of the mean; those of RMSNorm, one of the difference and one of the last sum.
				near(t, i, dst[i], y+float64(b[i]), half*(68*size*math.Abs(f)+42*math.Abs(y)+math.Abs(float64(b[i]))))
			}
			for i, v := range dst[n:] {
				near(t, n+i, v, 0, 0)
			}
		})
	}
}
