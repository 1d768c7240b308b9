package quant

import "encoding/binary"

// Q5_0: 32 weights in 22 bytes, y = d·(q - 16).
//
//	byte 0…1   d, float16
//	byte 2…5   the fifth bits: bit i is weight i's
//	byte 6…21  the low four bits, as in Q4_0

func dequantizeQ5_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[22:] {
		d, high := getF16(src), binary.LittleEndian.Uint32(src[2:])
		for i, b := range src[6:22] {
			dst[i] = d * float32(int(b&15|byte(high>>i&1)<<4)-16)
			dst[i+16] = d * float32(int(b>>4|byte(high>>(i+16)&1)<<4)-16)
		}
	}
}

func quantizeQ5_0(dst []byte, src, imp []float32, s *scratch) {
	quantizeSymmetric32(dst, src, imp, s, 16, 22, func(dst []byte, codes []int32) {
		binary.LittleEndian.PutUint32(dst[2:], fifthBits(codes))
		packNibbles(dst[6:22], codes)
	})
}

// fifthBits collects bit 4 of 32 codes.
func fifthBits(codes []int32) uint32 {
	var bits uint32
	for i, c := range codes[:32] {
		bits |= uint32(c) >> 4 & 1 << i
	}
	return bits
}
