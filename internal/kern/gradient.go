package kern

import "math"

// Gradients of the kernels that are not linear: what a loss's gradient dy with respect to the result says about the
// arguments. They are portable Go around the kernels of a [Vector], with the same bits on every CPU. Slices have their
// own length, without padding, except scratch, which is memory for that length rounded up to 16. dy stays.

// GeluBack replaces x by the gradient with respect to it through [Vector.Gelu].
func (v *Vector) GeluBack(x, dy, scratch []float32) {
	for i, a := range x {
		scratch[i] = geluArgument(a)
	}
	tail := v.tails(scratch, len(x))
	for i, a := range x {
		x[i] = dy[i] * gatedSlope(a, geluLinear+float32(3*geluCubic*float32(a*a)), tail[i])
	}
}

// GegeluBack replaces gate and up by the gradients with respect to them through [Vector.Gegelu]. They are 0 at the
// limit and beyond, as PyTorch has it.
func (v *Vector) GegeluBack(gate, up, dy []float32, limit float32, scratch []float32) {
	for i := range gate {
		g, _ := clampGegelu(gate[i], up[i], limit)
		scratch[i] = gegeluSlope * g
	}
	tail := v.tails(scratch, len(gate))
	for i, d := range dy[:len(gate)] {
		g, l := clampGegelu(gate[i], up[i], limit)
		if atLimit(gate[i], limit) {
			gate[i] = 0
		} else {
			gate[i] = float32(d*(l+1)) * gatedSlope(g, gegeluSlope, tail[i])
		}
		if atLimit(abs(up[i]), limit) {
			up[i] = 0
		} else {
			up[i] = d * float32(g*sigma(g, tail[i]))
		}
	}
}

// atLimit reports whether Gegelu's result does not depend on v: it is at limit or beyond, and finite.
func atLimit(v, limit float32) bool { return limit <= v && v <= math.MaxFloat32 }

// tails sets the first n elements of z to σ(-|z|) and returns them, with what pads them to 16. Unlike σ(z), it keeps
// its digits where σ(z) is almost 1.
func (v *Vector) tails(z []float32, n int) []float32 {
	z = z[:(n+15)&^15]
	for i, a := range z {
		z[i] = -abs(a)
	}
	v.Sigmoid(z, z)
	return z
}

// sigma returns σ(z) from the tail σ(-|z|), z having the sign of g.
func sigma(g, tail float32) float32 {
	if g > 0 {
		return 1 - tail
	}
	return tail
}

// gatedSlope returns the derivative of g·σ(z) with respect to g, slope being that of z and tail σ(-|z|).
func gatedSlope(g, slope, tail float32) float32 {
	s := sigma(g, tail)
	if bend := float32(tail * (1 - tail)); bend != 0 { // slope may be infinite if it is
		s += float32(float32(g*slope) * bend)
	}
	return s
}

// LayerNormBack is backward through [Vector.LayerNorm]: with d = x - Σx/n, r = 1/√(Σd²/n + eps) and g = dy·w,
// dx = r·(g - Σg/n) - d·r³·Σ(g·d)/n. If add is set, it adds to what dx holds. Sums are float64.
func LayerNormBack(dx, dy, x, w []float32, eps float32, add bool) {
	n := float64(len(x))
	var mean float64
	for _, v := range x {
		mean += float64(v)
	}
	mean /= n
	var squares, sumG, sumGD float64
	for i, v := range x {
		d, g := float64(v)-mean, float64(dy[i])*float64(w[i]) // g is exact
		squares += float64(d * d)
		sumG += g
		sumGD += float64(g * d)
	}
	r := 1 / math.Sqrt(squares/n+float64(eps))
	meanG, f := sumG/n, r*r*r*sumGD/n
	for i, v := range x {
		g := float64(dy[i]) * float64(w[i])
		d := float32(float64(r*(g-meanG)) - float64(f*(float64(v)-mean)))
		if add {
			d += dx[i]
		}
		dx[i] = d
	}
}
