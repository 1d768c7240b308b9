package kern

import (
	"encoding/binary"
	"math"

	"github.com/x448/float16"
)

// vectorGeneric is the definition of the vector kernels.
var vectorGeneric = Vector{
	RMSNorm:     rmsNorm,
	LayerNorm:   layerNorm,
	Softmax:     softmax,
	SiluMul:     siluMul,
	Gelu:        gelu,
	Gegelu:      gegelu,
	Sigmoid:     sigmoid,
	Rope:        rope,
	Add:         add,
	AddSum:      addSum,
	Quantize256: quantize256,
	Quantize32:  quantize32,
	ToF16:       toF16,
	ToBF16:      toBF16,
	ExpandF16:   expandF16,
	ExpandPairs: expandPairs,
	ScaleLanes:  scaleLanes,
	ScaleRows:   scaleRows,
}

// The constants of exp. Its polynomial is the minimax one of degree 6 that begins
// with 1 + r; its relative error is 2^-27.8 for |r| ≤ 0.347, before rounding.
const (
	expLow  = -87.33654      // the result is 0 below; e^expLow is just above the least normal number
	expHigh = 88.72283       // the result is infinite above
	log2e   = 1.442695       // 1/ln 2
	ln2High = 0.6931472      // ln 2 in float32
	ln2Low  = -1.9046542e-09 // ln 2 - ln2High
	magic   = 3 << 22        // 1.5·2²³: adding it rounds to an integer, held by the low bits
	expC2   = 0x1.fffffcp-2
	expC3   = 0x1.55549p-3
	expC4   = 0x1.5558f8p-5
	expC5   = 0x1.123b0ep-7
	expC6   = 0x1.6a2242p-10
)

// Exp returns e^x within 1 ulp, the same bits on every CPU.
func Exp(x float32) float32 { return exp(x) }

// exp returns e^x within 1 ulp, 0 for x < expLow. With n = round(x/ln 2) and
// r = x - n·ln 2 it is 2^n·e^r. The first step of r is exact: if n is not 0, x and
// n·ln2High are multiples of 2^-25 and differ by less than ½.
func exp(x float32) float32 {
	switch {
	case x < expLow:
		return 0
	case !(x <= expHigh):
		return x + float32(math.Inf(1)) // a NaN stays one
	}
	k := fma32(x, log2e, magic)
	n := k - magic
	r := fma32(n, -ln2High, x)
	r = fma32(n, -ln2Low, r)
	p := float32(expC6)
	for _, c := range [...]float32{expC5, expC4, expC3, expC2, 1, 1} {
		p = fma32(p, r, c)
	}
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(k)<<23)
}

// sumLanes adds 16 lanes: i and i+8, then i and i+4, and so on.
func sumLanes(l *[16]float32) float32 {
	for half := 8; half > 0; half /= 2 {
		for i := range half {
			l[i] += l[i+half]
		}
	}
	return l[0]
}

// invRMS returns 1/sqrt(sum/n + eps).
func invRMS(sum float32, n int, eps float32) float32 {
	return 1 / sqrt(float32(sum/float32(n))+eps)
}

func rmsNorm(dst, x, w []float32, n int, eps float32) {
	var sum [16]float32
	for i, v := range x {
		sum[i%16] = fma32(v, v, sum[i%16])
	}
	r := invRMS(sumLanes(&sum), n, eps)
	for i, v := range x {
		dst[i] = float32(v*r) * w[i]
	}
}

func layerNorm(dst, x, w, b []float32, n int, eps float32) {
	var sum [16]float32
	for i, v := range x {
		sum[i%16] += v
	}
	mean := sumLanes(&sum) / float32(n)
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] = v - mean
	}
	clear(dst[n:])
	rmsNorm(dst, dst, w, n, eps)
	add(dst, b[:len(x)])
}

func softmax(x []float32, lo, hi int, scale float32) {
	clear(x[:lo])
	clear(x[hi:])
	m := float32(math.Inf(-1))
	for i, v := range x[lo:hi] {
		x[lo+i] = v * scale
		m = max(m, x[lo+i])
	}
	var sum [16]float32
	for i := lo; i < hi; i++ {
		x[i] = exp(x[i] - m)
		sum[i%16] += x[i]
	}
	s := sumLanes(&sum)
	for i := lo; i < hi; i++ {
		x[i] /= s
	}
}

func siluMul(dst, gate, up []float32) {
	for i, g := range gate {
		dst[i] = float32(g/(1+exp(-g))) * up[i]
	}
}

// The constants of Gelu and Gegelu, factors of exp's argument.
const (
	geluLinear  = 1.5957691216057308 // 2√(2/π)
	geluCubic   = 0.044715 * geluLinear
	gegeluSlope = 1.702
)

func gelu(dst, x []float32) {
	for i, v := range x {
		dst[i] = v / (1 + exp(-geluArgument(v)))
	}
}

func geluArgument(x float32) float32 {
	return float32(x * (geluLinear + float32(geluCubic*float32(x*x))))
}

func gegelu(dst, gate, up []float32, limit float32) {
	for i, g := range gate {
		g, l := clampGegelu(g, up[i], limit)
		dst[i] = float32(g/(1+exp(-float32(gegeluSlope*g)))) * (l + 1)
	}
}

// clampGegelu limits gate and up as Gegelu does. A NaN stays one.
func clampGegelu(gate, up, limit float32) (g, l float32) {
	if gate <= math.MaxFloat32 {
		gate = min(gate, limit)
	}
	if abs(up) <= math.MaxFloat32 {
		up = min(max(up, -limit), limit)
	}
	return gate, up
}

func sigmoid(dst, x []float32) {
	for i, v := range x {
		dst[i] = 1 / (1 + exp(-v))
	}
}

func rope(x, cos, sin []float32) {
	ropePairs(x[:len(cos)], x[len(cos):], cos, sin)
}

func ropePairs(first, second, cos, sin []float32) {
	for i, a := range first {
		b := second[i]
		first[i] = float32(a*cos[i]) - float32(b*sin[i])
		second[i] = float32(b*cos[i]) + float32(a*sin[i])
	}
}

func add(dst, x []float32) {
	for i, v := range x {
		dst[i] += v
	}
}

func addSum(dst, a, b []float32) {
	for i := range dst {
		dst[i] += a[i] + b[i]
	}
}

// quantizeBlock sets q to the codes of x and returns the size of a step. The
// greatest magnitude is found among bit patterns, where NaN is above infinity.
func quantizeBlock(q []byte, x []float32) (d float32) {
	var top uint32
	for _, v := range x {
		top = max(top, math.Float32bits(abs(v)))
	}
	greatest := math.Float32frombits(top)
	if !(greatest >= 0x1p-119 && greatest <= math.MaxFloat32) {
		clear(q)
		if greatest < 1 {
			return 0
		}
		return float32(math.NaN())
	}
	f := 127 / greatest
	for i, v := range x {
		q[i] = byte(int8(round(float32(v * f))))
	}
	return greatest / 127
}

// RoundBlock replaces x by what its int8 codes with one scale stand for: what a kernel multiplies in its place.
func RoundBlock(x []float32) {
	q := make([]byte, len(x))
	d := quantizeBlock(q, x)
	for i, c := range q {
		x[i] = float32(int8(c)) * d
	}
}

// sumCodes returns the sum of int8 codes.
func sumCodes(q []byte) (sum int) {
	for _, c := range q {
		sum += int(int8(c))
	}
	return sum
}

func quantize256(dst []byte, x []float32, stride int) {
	for ; len(x) > 0; x = x[256:] {
		r := dst[:A256Bytes]
		d := quantizeBlock(r[:256], x[:256])
		for i := range 16 {
			binary.LittleEndian.PutUint16(r[256+2*i:], uint16(sumCodes(r[16*i:16*i+16])))
		}
		for i := range 8 {
			binary.LittleEndian.PutUint16(r[288+2*i:], uint16(sumCodes(r[32*i:32*i+32])))
		}
		binary.LittleEndian.PutUint32(r[304:], math.Float32bits(d))
		clear(r[308:])
		if len(x) > 256 {
			dst = dst[stride:]
		}
	}
}

func quantize32(dst []byte, x []float32, stride int) {
	for ; len(x) > 0; x = x[32:] {
		r := dst[:A32Bytes]
		d := quantizeBlock(r[:32], x[:32])
		s := d * float32(sumCodes(r[:32]))
		binary.LittleEndian.PutUint32(r[32:], math.Float32bits(d))
		binary.LittleEndian.PutUint32(r[36:], math.Float32bits(s))
		if len(x) > 32 {
			dst = dst[stride:]
		}
	}
}

func toF16(dst []uint16, x []float32) {
	for i, v := range x {
		dst[i] = float16.Fromfloat32(v).Bits()
	}
}

func toBF16(dst []uint16, x []float32) {
	for i, v := range x {
		u := math.Float32bits(v)
		if v != v {
			dst[i] = uint16(u>>16) | 0x40 // quiet, so that it stays a NaN
		} else {
			dst[i] = uint16((u + 0x7fff + u>>16&1) >> 16)
		}
	}
}

func expandF16(dst []float32, x []uint16) {
	for i, u := range x {
		dst[i] = float16.Frombits(u).Float32()
	}
}

func expandPairs(dst []float32, x []uint32) {
	for i, u := range x {
		at := i/Rows*2*Rows + i%Rows
		dst[at] = math.Float32frombits(u << 16)
		dst[at+Rows] = math.Float32frombits(u &^ 0xffff)
	}
}

func scaleLanes(dst []float32, q []int8, scale *[16]float32) {
	for i, c := range q {
		dst[i] = float32(c) * scale[i%16]
	}
}

func scaleRows(dst []float32, q []int8, scale []float32) {
	for i, c := range q {
		dst[i] = float32(c) * scale[i/16]
	}
}
