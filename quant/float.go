package quant

import (
	"encoding/binary"
	"math"
	"sync"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/x448/float16"
)

// F32, F16 and BF16: little-endian, one value a block. BF16 is the upper half of F32.

func dequantizeF32(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func quantizeF32(dst []byte, src, _ []float32, _ *scratch) {
	for i, x := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(x))
	}
}

// allF16 are the values of all float16 numbers. Computing them one by one takes a fifth of a conversion's time.
var allF16 = sync.OnceValue(func() *[1 << 16]float32 {
	all := new([1 << 16]float32)
	for bits := range all {
		all[bits] = fromF16(uint16(bits))
	}
	return all
})

func dequantizeF16(dst []float32, src []byte) {
	values := allF16()
	for i := range dst {
		dst[i] = values[binary.LittleEndian.Uint16(src[2*i:])]
	}
}

// quantizeF16 rounds to nearest even; values beyond the range become infinite.
func quantizeF16(dst []byte, src, _ []float32, _ *scratch) {
	for i, x := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], float16.Fromfloat32(x).Bits())
	}
}

func dequantizeBF16(dst []float32, src []byte) { kern.Best().ExpandBF16(dst, src) }

// quantizeBF16 rounds to nearest even and makes NaNs quiet.
func quantizeBF16(dst []byte, src, _ []float32, _ *scratch) {
	for i, x := range src {
		u := math.Float32bits(x)
		if x != x {
			u |= 1 << 22
		} else {
			u += 0x7fff + u>>16&1
		}
		binary.LittleEndian.PutUint16(dst[2*i:], uint16(u>>16))
	}
}
