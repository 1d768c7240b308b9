package quant

// Q1_0 and Q2_0: a float16 d and codes of one or two bits. They are only read.
//
// Q1_0: 128 weights in 18 bytes, y = d where the bit is 1, else -d.
//
// Q2_0: 64 weights in 18 bytes, y = d·(q - 1).
//
//	byte 0…1   d, float16
//	byte 2…17  the codes in order, the first in the lowest bits

var codesQ1_0 = codes{
	Geometry: Geometry{Group: 32, Levels: []float32{-1, 1}, ScaleLo: 1, ScaleHi: 1},
	unpack: func(b *Block, src []byte) {
		b.setOnes(getF16(src))
		for i := range b.Codes {
			b.Codes[i] = src[2+i/8] >> (i % 8) & 1
		}
	},
}

func dequantizeQ1_0(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesQ1_0, 128, 18) }

var codesQ2_0 = codes{
	Geometry: ternary,
	unpack: func(b *Block, src []byte) {
		b.setOnes(getF16(src))
		for i := range b.Codes {
			b.Codes[i] = src[2+i/4] >> (i % 4 * 2) & 3
		}
	},
}

func dequantizeQ2_0(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesQ2_0, 64, 18) }
