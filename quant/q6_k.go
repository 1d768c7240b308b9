package quant

// Q6_K: 256 weights in 210 bytes: 16 groups of 16, y = d·sc·(q - 32).
//
//	byte 0…127    the low four bits: weight 128·h + r in byte 64·h + r%64, the
//	              low nibble for r < 64
//	byte 128…191  the high two bits, as in Q2_K
//	byte 192…207  sc of each group, int8
//	byte 208…209  d, float16

func dequantizeQ6_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[210:] {
		d := getF16(src[208:])
		for g, sc := range src[192:208] {
			scale := d * float32(int8(sc))
			for i := 16 * g; i < 16*g+16; i++ {
				q := src[i/128*64+i%64]>>(i%128/64*4)&15 | getPair(src[128:192], i)<<4
				dst[i] = scale * float32(int(q)-32)
			}
		}
	}
}

func quantizeQ6_K(dst []byte, src, imp []float32, s *scratch) {
	for ; len(src) > 0; dst, src = dst[210:], src[256:] {
		s.load(src[:256], 16)
		if imp == nil {
			s.WeightSquare(&s.Tile)
		} else {
			s.loadWeights(imp[:256])
			imp = imp[256:]
		}
		s.symmetricCandidates(32)
		s.ScaleSymmetric(&s.Tile)
		var scales [16]int
		d := putF16(dst[208:], signedScales(scales[:], s.Scale[:], 128))
		for g, sc := range scales {
			dst[192+g] = byte(int8(sc))
			s.setScale(g, d*float32(sc), 0)
		}
		s.C = 32
		s.EncodeRound(&s.Tile)
		codes := s.Codes[:256]
		for h := range 2 {
			c, out := codes[128*h:128*h+128], dst[64*h:64*h+64]
			for i := range out {
				out[i] = byte(c[i]&15 | c[i+64]<<4)
			}
		}
		for i := range codes {
			codes[i] >>= 4
		}
		packPairs(dst[128:192], codes)
	}
}
