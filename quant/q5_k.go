package quant

// Q5_K: 256 weights in 176 bytes: 8 groups of 32, y = d·sc·q - dmin·mn.
//
//	byte 0…1     d, float16
//	byte 2…3     dmin, float16
//	byte 4…15    sc and mn of each group, as in Q4_K
//	byte 16…47   the fifth bits: bit g of byte 16+i belongs to weight i of group g
//	byte 48…175  the low four bits, as in Q4_K

func dequantizeQ5_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[176:] {
		d, dmin := getF16(src), getF16(src[2:])
		high := src[16:48]
		for g := range 8 {
			sc, mn := getScaleMin(src[4:16], g)
			scale, min := d*float32(sc), float32(dmin*float32(mn))
			shift := 4 * (g & 1)
			for i, b := range src[48+g/2*32 : 80+g/2*32] {
				dst[32*g+i] = float32(scale*float32(b>>shift&15|high[i]>>g&1<<4)) - min
			}
		}
	}
}

// encoderQ5_K's search without importance is ggml's: from half a code below the top to one code above it.
var encoderQ5_K = scaleMin6Encoder{
	geometry: &codesQ5_K.Geometry,
	bytes:    176,
	search:   search{16, 31 - 0.5, 0.1},
	pack: func(dst []byte, codes []int32) {
		packTops(dst[16:48], codes, 4)
		packNibblePairs(dst[48:176], codes)
	},
}

var codesQ5_K = codes{
	Geometry: scaleMins6(uniform(0, 32)),
	unpack: func(b *Block, src []byte) {
		b.getScaleMins6(src)
		getNibblePairs(b.Codes, src[48:176])
		addTops(b.Codes, src[16:48], 4)
	},
	pack: func(dst []byte, b *Block) {
		b.putScaleMins6(dst)
		packTops(dst[16:48], b.Codes, 4)
		packNibblePairs(dst[48:176], b.Codes)
	},
}
