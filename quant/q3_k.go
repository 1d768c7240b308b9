package quant

// Q3_K: 256 weights in 110 bytes: 16 groups of 16, y = d·sc·(q - 4).
//
//	byte 0…31     the third bits: bit i/32 of byte i%32 is weight i's
//	byte 32…95    the low two bits, as in Q2_K
//	byte 96…107   sc + 32 of each group, 6 bits each, see putScale6
//	byte 108…109  d, float16

func dequantizeQ3_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[110:] {
		d := getF16(src[108:])
		for g := range 16 {
			scale := d * float32(getScale6(src[96:108], g)-32)
			for i := 16 * g; i < 16*g+16; i++ {
				q := getPair(src[32:96], i) | src[i%32]>>(i/32)&1<<2
				dst[i] = scale * float32(int(q)-4)
			}
		}
	}
}

// getScale6 returns group g's six bits from the 12 bytes of Q3_K: the low four in
// a nibble of byte g%8, low for the first eight; the high two in byte 8 + g%4.
func getScale6(b []byte, g int) int {
	return int(b[g%8]>>(g/8*4)&15 | b[8+g%4]>>(g/4*2)&3<<4)
}

// putScale6 is the inverse of getScale6. b must be zero at first.
func putScale6(b []byte, g, v int) {
	b[g%8] |= byte(v & 15 << (g / 8 * 4))
	b[8+g%4] |= byte(v >> 4 << (g / 4 * 2))
}

func quantizeQ3_K(dst []byte, src, imp []float32, s *scratch) {
	for ; len(src) > 0; dst, src = dst[110:], src[256:] {
		s.load(src[:256], 16)
		blocks := s.superBlocks(1, 16)
		b := &blocks[0]
		if imp == nil {
			s.WeightSquare(&s.Tile)
			s.Lo, s.Hi = -4, 3
			s.candidates(search{1, -4, 0}) // where the descent starts
			s.ScaleDescent(&s.Tile)
			b.D = RoundF16(signedScales(b.Scale, s.Scale[:], 32))
		} else {
			s.loadWeights(imp[:256])
			s.symmetricCandidates(4)
			s.ScaleSymmetric(&s.Tile)
			b.D = RoundF16(weightedSignedScales(b.Scale, s.Scale[:], s.SumW[:], 32))
			if s.refits {
				s.refit(&codesQ3_K.Geometry, blocks)
			}
			imp = imp[256:]
		}
		s.useScales(blocks)
		b.putScalesQ3_K(dst)
		s.C = 4
		s.EncodeRound(&s.Tile)
		packTops(dst[:32], s.Codes[:256], 2)
		packPairs(dst[32:96], s.Codes[:256])
	}
}

// packTops stores the given bit of 256 codes, the highest one: code i's in bit i/32 of byte i%32.
func packTops[C int32 | uint8](dst []byte, codes []C, bit int) {
	for i := range dst[:32] {
		var bits byte
		for j := range 8 {
			bits |= byte(codes[32*j+i]>>bit) << j
		}
		dst[i] = bits
	}
}

// addTops is the inverse of packTops.
func addTops(codes []uint8, src []byte, bit int) {
	for i := range codes {
		codes[i] |= src[i%32] >> (i / 32) & 1 << bit
	}
}

var codesQ3_K = codes{
	Geometry: Geometry{Group: 16, Levels: uniform(-4, 8), ScaleLo: -32, ScaleHi: 31},
	unpack: func(b *Block, src []byte) {
		b.D, b.DMin = getF16(src[108:]), 0
		for g := range 16 {
			b.Scale[g], b.Min[g] = int8(getScale6(src[96:108], g)-32), 0
		}
		getPairs(b.Codes, src[32:96])
		addTops(b.Codes, src[:32], 2)
	},
	pack: func(dst []byte, b *Block) {
		b.putScalesQ3_K(dst)
		packTops(dst[:32], b.Codes, 2)
		packPairs(dst[32:96], b.Codes)
	},
}

func (b *Block) putScalesQ3_K(dst []byte) {
	putF16(dst[108:], b.D)
	clear(dst[96:108])
	for g, sc := range b.Scale {
		putScale6(dst[96:108], g, int(sc)+32)
	}
}
