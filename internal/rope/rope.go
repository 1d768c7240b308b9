// Package rope computes the angles of rotary position embedding, as their sines and cosines. The rotation itself is a
// kernel, Rope of package kern.
package rope

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/arch"
)

// Angles computes what rotary position embedding (arXiv 2104.09864) rotates by, in float32 as transformers does, with
// the factors of LongRoPE (arXiv 2402.13753).
type Angles struct {
	short, long                        []float32 // frequencies, radians per position; the same without LongRoPE
	shortFactor, longFactor, positions float32   // of cos and sin, and of positions; 1 without LongRoPE or scaling
	original                           int       // the longest sequence that uses short
}

// New makes the angles of a model.
func New(c *arch.Config) *Angles {
	r := &Angles{shortFactor: 1, longFactor: 1, positions: float32(c.RopeScale), original: c.Context}
	freq := func(factors []float32) []float32 {
		f := make([]float32, c.RotaryDims/2)
		for i := range f {
			d := float32(math.Pow(float64(float32(c.RopeTheta)), float64(float32(2*i)/float32(c.RotaryDims))))
			if factors != nil {
				d *= factors[i]
			}
			f[i] = 1 / d
		}
		return f
	}
	r.short = freq(nil)
	r.long = r.short
	if l := c.LongRope; l != nil {
		r.short, r.long = freq(l.Short), freq(l.Long)
		r.shortFactor, r.longFactor = float32(l.AttnFactorShort), float32(l.AttnFactor)
		r.positions, r.original = 1, c.OriginalContext
	}
	return r
}

// IsLong reports whether a sequence of n tokens uses the long factors, for all its positions.
func (r *Angles) IsLong(n int) bool { return n > r.original }

// At sets cos and sin, of one value for each pair of dimensions that is rotated, to those of a position. long says
// which factors apply, see [Angles.IsLong].
func (r *Angles) At(cos, sin []float32, pos int, long bool) {
	frequencies, factor := r.short, r.shortFactor
	if long {
		frequencies, factor = r.long, r.longFactor
	}
	at := float32(pos) * r.positions
	for i, f := range frequencies {
		s, c := sincos(float64(f * at))
		cos[i], sin[i] = float32(c)*factor, float32(s)*factor
	}
}

// sincos returns the sine and cosine of 0 ≤ x < 2^20, correct to about 1e-15; above, the products below are not
// exact, and the error grows to 1e-7 at 2^30. Those of package math differ in the last bits where the compiler fuses
// multiplications and additions; here every operation is rounded. Cody-Waite reduction, Taylor series on |r| ≤ π/4.
func sincos(x float64) (sin, cos float64) {
	const (
		pio2a = 1.57079632673412561417e+00 // the first 33 bits of π/2, the next 33, the rest
		pio2b = 6.07710050630396597660e-11
		pio2c = 2.02226624879595063154e-21
	)
	n := math.Floor(float64(x*(2/math.Pi)) + 0.5)
	r := x - float64(n*pio2a)
	r -= float64(n * pio2b)
	r -= float64(n * pio2c)
	z := float64(r * r)
	sin, cos = 0, 0
	for i := len(sinSeries) - 1; i >= 0; i-- {
		sin = float64(sin*z) + sinSeries[i]
		cos = float64(cos*z) + cosSeries[i]
	}
	sin = float64(sin * r)
	switch int64(n) & 3 {
	case 1:
		return cos, -sin
	case 2:
		return -sin, -cos
	case 3:
		return -cos, sin
	}
	return sin, cos
}

// Coefficients of sin(r)/r and cos(r) in r².
var (
	sinSeries = [...]float64{
		1, -1.0 / 6, 1.0 / 120, -1.0 / 5040, 1.0 / 362880,
		-1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000, 1.0 / 355687428096000,
	}
	cosSeries = [...]float64{
		1, -1.0 / 2, 1.0 / 24, -1.0 / 720, 1.0 / 40320,
		-1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200, 1.0 / 20922789888000,
	}
)
