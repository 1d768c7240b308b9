package quant

import "math"

// MXFP4 and NVFP4: codes are numbers of 4 bits, sign, two bits of exponent, one of mantissa (E2M1), with a scale that
// is a number of 8 bits. They are only read, and exact as BF16.
//
// MXFP4: 32 weights in 17 bytes, y = 2^(e - 127)·E2M1.
//
//	byte 0      e; 0 stands for 2^-127
//	byte 1…16   codes as in Q4_0
//
// NVFP4: 64 weights in 36 bytes: 4 groups of 16.
//
//	byte 0…3    the groups' scales: four bits of exponent, three of mantissa (E4M3); 0x7f is 0, the high bit is not
//	            used
//	byte 4…35   codes, 8 bytes of each group: the first eight weights in the low nibbles

// fp4 are twice the values of E2M1, which halves of the scales multiply.
var fp4 = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// halfE8M0 returns 2^(e - 128).
func halfE8M0(e byte) float32 {
	if e < 2 {
		return math.Float32frombits(0x00200000 << e)
	}
	return math.Float32frombits(uint32(e-1) << 23)
}

// halfE4M3 returns half of the number.
func halfE4M3(v byte) float32 {
	mantissa, exponent := int(v&7), int(v>>3&15)
	switch {
	case v == 0x7f:
		return 0
	case exponent == 0:
		return float32(math.Ldexp(float64(mantissa), -10))
	}
	return float32(math.Ldexp(float64(8+mantissa), exponent-11))
}

func dequantizeMXFP4(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[17:] {
		decodeFP4(dst[:32], src[1:], halfE8M0(src[0]))
	}
}

func dequantizeNVFP4(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[64:], src[36:] {
		for g := range 4 {
			decodeFP4(dst[16*g:16*g+16], src[4+8*g:], halfE4M3(src[g]))
		}
	}
}

// decodeFP4 decodes a group: its first half is in the low nibbles.
func decodeFP4(dst []float32, src []byte, half float32) {
	n := len(dst) / 2
	for i, b := range src[:n] {
		dst[i], dst[i+n] = half*fp4[b&15], half*fp4[b>>4]
	}
}

// badMXFP4 reports whether a weight is beyond the range of float32.
func badMXFP4(src []byte) bool {
	var values [32]float32
	dequantizeMXFP4(values[:], src[:17])
	for _, v := range values {
		if !(abs(v) <= math.MaxFloat32) {
			return true
		}
	}
	return false
}
