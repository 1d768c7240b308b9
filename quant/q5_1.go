package quant

import "encoding/binary"

// Q5_1: 32 weights in 24 bytes, y = d·q + m.
//
//	byte 0…1   d, float16
//	byte 2…3   m, float16
//	byte 4…7   the fifth bits, as in Q5_0
//	byte 8…23  the low four bits, as in Q4_0

func dequantizeQ5_1(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[24:] {
		d, m, high := getF16(src), getF16(src[2:]), binary.LittleEndian.Uint32(src[4:])
		for i, b := range src[8:24] {
			dst[i] = float32(d*float32(b&15|byte(high>>i&1)<<4)) + m
			dst[i+16] = float32(d*float32(b>>4|byte(high>>(i+16)&1)<<4)) + m
		}
	}
}

func quantizeQ5_1(dst []byte, src, imp []float32, s *scratch) {
	e := affineEncoder{top: 31, bytes: 24, pack: func(dst []byte, codes []int32) {
		packQ5(dst[4:24], codes)
	}}
	e.quantize(dst, src, imp, s)
}

var codesQ5_1 = codes{
	Geometry: affine32(uniform(0, 32)),
	unpack: func(b *Block, src []byte) {
		b.setScale32(src, true)
		getQ5(b.Codes, src[4:24])
	},
	pack: func(dst []byte, b *Block) {
		b.putScale32(dst, true)
		packQ5(dst[4:24], b.Codes)
	},
}
