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
		blocks := s.superBlocks(1, 16)
		b := &blocks[0]
		b.D = RoundF16(signedScales(b.Scale, s.Scale[:], 128))
		if s.refits {
			s.refit(&codesQ6_K.Geometry, blocks)
		}
		s.useScales(blocks)
		b.putScalesQ6_K(dst)
		s.C = 32
		s.EncodeRound(&s.Tile)
		packQ6(dst[:192], s.Codes[:256])
	}
}

// packQ6 stores 256 codes of six bits.
func packQ6[C int32 | uint8](dst []byte, codes []C) {
	for h := range 2 {
		c, out := codes[128*h:128*h+128], dst[64*h:64*h+64]
		for i := range out {
			out[i] = byte(c[i])&15 | byte(c[i+64])<<4
		}
	}
	var high [256]C
	for i, c := range codes {
		high[i] = c >> 4
	}
	packPairs(dst[128:192], high[:])
}

var codesQ6_K = codes{
	Geometry: Geometry{Group: 16, Levels: uniform(-32, 64), ScaleLo: -128, ScaleHi: 127},
	unpack: func(b *Block, src []byte) {
		b.D, b.DMin = getF16(src[208:]), 0
		for g, sc := range src[192:208] {
			b.Scale[g], b.Min[g] = int8(sc), 0
		}
		for i := range b.Codes {
			b.Codes[i] = src[i/128*64+i%64]>>(i%128/64*4)&15 | getPair(src[128:192], i)<<4
		}
	},
	pack: func(dst []byte, b *Block) {
		b.putScalesQ6_K(dst)
		packQ6(dst[:192], b.Codes)
	},
}

func (b *Block) putScalesQ6_K(dst []byte) {
	putF16(dst[208:], b.D)
	for g, sc := range b.Scale {
		dst[192+g] = byte(sc)
	}
}
