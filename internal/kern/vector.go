//go:build (amd64 || arm64) && !purego

package kern

import "math"

// vectorKernels are the steps of a [Vector] in assembly. Lengths n are multiples
// of 16, at least 16, except those of the quantize kernels, which count blocks.
type vectorKernels struct {
	sumSquares func(x *float32, n int) float32            // Σx²
	normalize  func(dst, x, w *float32, n int, f float32) // dst = x·f·w
	sum        func(x *float32, n int) float32            // Σx
	center     func(dst, x *float32, n int, f float32)    // dst = x - f
	scaleMax   func(x *float32, n int, f float32) float32 // x = f·x; returns the greatest
	expSum     func(x *float32, n int, f float32) float32 // x = exp(x - f); returns Σx
	divide     func(x *float32, n int, f float32)         // x = x/f
	rope       func(x, y, cos, sin *float32, n int)       // turns the pairs (x[i], y[i])

	// As the fields of Vector.
	siluMul                 func(dst, gate, up *float32, n int)
	gelu, sigmoid           func(dst, x *float32, n int)
	gegelu                  func(dst, gate, up *float32, n int, f float32)
	add                     func(dst, x *float32, n int)
	addSum                  func(dst, a, b *float32, n int)
	quantize256, quantize32 func(dst *byte, x *float32, n, stride int)
	toF16, toBF16           func(dst *uint16, x *float32, n int)
	expandF16               func(dst *float32, x *uint16, n int)
	expandPairs             func(dst *float32, x *uint32, n int)
	scaleLanes, scaleRows   func(dst *float32, q *int8, scale *float32, n int)
}

// vector returns functions that check lengths, give the kernels a multiple of 16, and do
// what is left of any other length in portable Go.
func (k vectorKernels) vector() Vector {
	return Vector{
		RMSNorm: func(dst, x, w []float32, n int, eps float32) {
			if whole(len(x), 16) {
				k.rmsNorm(dst[:len(x)], x, w[:len(x)], n, eps)
			}
		},
		LayerNorm: func(dst, x, w, b []float32, n int, eps float32) {
			if whole(len(x), 16) {
				dst, w, b = dst[:len(x)], w[:len(x)], b[:len(x)]
				k.center(&dst[0], &x[0], len(x), k.sum(&x[0], len(x))/float32(n))
				clear(dst[n:])
				k.rmsNorm(dst, dst, w, n, eps)
				k.add(&dst[0], &b[0], len(x))
			}
		},
		Softmax: k.softmax,
		SiluMul: func(dst, gate, up []float32) {
			if whole(len(gate), 16) {
				dst, up = dst[:len(gate)], up[:len(gate)]
				k.siluMul(&dst[0], &gate[0], &up[0], len(gate))
			}
		},
		Gelu:    mapping(k.gelu),
		Sigmoid: mapping(k.sigmoid),
		Gegelu: func(dst, gate, up []float32, limit float32) {
			if whole(len(gate), 16) {
				dst, up = dst[:len(gate)], up[:len(gate)]
				k.gegelu(&dst[0], &gate[0], &up[0], len(gate), limit)
			}
		},
		Rope: func(x, cos, sin []float32) {
			n := len(cos)
			first, second, sin := x[:n], x[n:2*n], sin[:n]
			w := n &^ 15
			if w > 0 {
				k.rope(&first[0], &second[0], &cos[0], &sin[0], w)
			}
			ropePairs(first[w:], second[w:], cos[w:], sin[w:])
		},
		Add: func(dst, x []float32) {
			if whole(len(x), 16) {
				dst = dst[:len(x)]
				k.add(&dst[0], &x[0], len(x))
			}
		},
		AddSum: func(dst, a, b []float32) {
			if whole(len(dst), 16) {
				a, b = a[:len(dst)], b[:len(dst)]
				k.addSum(&dst[0], &a[0], &b[0], len(dst))
			}
		},
		Quantize256: quantizer(k.quantize256, 256, A256Bytes),
		Quantize32:  quantizer(k.quantize32, 32, A32Bytes),
		ToF16:       converter(k.toF16, toF16),
		ToBF16:      converter(k.toBF16, toBF16),
		ExpandF16:   converter(k.expandF16, expandF16),
		ExpandPairs: func(dst []float32, x []uint32) {
			if whole(len(x), 16) {
				dst = dst[:2*len(x)]
				k.expandPairs(&dst[0], &x[0], len(x))
			}
		},
		ScaleLanes: func(dst []float32, q []int8, scale *[16]float32) {
			if whole(len(q), 16) {
				dst = dst[:len(q)]
				k.scaleLanes(&dst[0], &q[0], &scale[0], len(q))
			}
		},
		ScaleRows: func(dst []float32, q []int8, scale []float32) {
			if whole(len(q), 16) {
				dst, scale = dst[:len(q)], scale[:len(q)/16]
				k.scaleRows(&dst[0], &q[0], &scale[0], len(q))
			}
		},
	}
}

func (k vectorKernels) rmsNorm(dst, x, w []float32, n int, eps float32) {
	k.normalize(&dst[0], &x[0], &w[0], len(x), invRMS(k.sumSquares(&x[0], len(x)), n, eps))
}

// softmax gives the kernels the whole vectors that contain lo…hi. So that the other elements
// of these do not count, they are set to x[lo] for the search for the greatest, and to -∞, of
// which the exponential is 0, for the sum.
func (k vectorKernels) softmax(x []float32, lo, hi int, scale float32) {
	whole(len(x), 16)
	first := lo &^ 15
	part := x[first : (hi+15)&^15]
	before, after := x[first:lo], x[hi:first+len(part)]
	fill(before, x[lo])
	fill(after, x[lo])
	m := k.scaleMax(&part[0], len(part), scale)
	fill(before, float32(math.Inf(-1)))
	fill(after, float32(math.Inf(-1)))
	k.divide(&part[0], len(part), k.expSum(&part[0], len(part), m))
	clear(x[:lo])
	clear(x[hi:])
}

// fill sets all of x to v.
func fill(x []float32, v float32) {
	for i := range x {
		x[i] = v
	}
}

// mapping returns a function of each element of x.
func mapping(kernel func(dst, x *float32, n int)) func(dst, x []float32) {
	return func(dst, x []float32) {
		if whole(len(x), 16) {
			dst = dst[:len(x)]
			kernel(&dst[0], &x[0], len(x))
		}
	}
}

// converter returns a function for any length: kernel does a multiple of 16 values, rest the others.
func converter[D, S float32 | uint16](
	kernel func(dst *D, x *S, n int), rest func(dst []D, x []S),
) func(dst []D, x []S) {
	return func(dst []D, x []S) {
		n := len(x) &^ 15
		dst = dst[:len(x)]
		if n > 0 {
			kernel(&dst[0], &x[0], n)
		}
		rest(dst[n:], x[n:])
	}
}

// quantizer returns a function that calls kernel, if dst has room for a record of size bytes for each block of x.
func quantizer(kernel func(dst *byte, x *float32, n, stride int), block, size int) func([]byte, []float32, int) {
	return func(dst []byte, x []float32, stride int) {
		if whole(len(x), block) {
			n := len(x) / block
			_ = dst[(n-1)*stride : (n-1)*stride+size]
			kernel(&dst[0], &x[0], n, stride)
		}
	}
}

// whole reports whether n is not 0. It panics unless n is a multiple of block, which is
// the caller's mistake.
func whole(n, block int) bool {
	if n%block != 0 {
		panic("kern: length not a multiple of the block")
	}
	return n > 0
}
