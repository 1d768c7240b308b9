package quant

// Q2_K: 256 weights in 84 bytes: 16 groups of 16, y = d·sc·q - dmin·mn.
//
//	byte 0…15   sc in the low nibble of byte g, mn in the high one
//	byte 16…79  the codes, see packPairs
//	byte 80…81  d, float16
//	byte 82…83  dmin, float16

func dequantizeQ2_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[84:] {
		d, dmin := getF16(src[80:]), getF16(src[82:])
		for g, b := range src[:16] {
			scale, min := d*float32(b&15), float32(dmin*float32(b>>4))
			for i := 16 * g; i < 16*g+16; i++ {
				dst[i] = float32(scale*float32(getPair(src[16:80], i))) - min
			}
		}
	}
}

// searchQ2_K is ggml's search without importance: from half a code below the top to one code above it.
var searchQ2_K = search{16, 3 - 0.5, 0.1}

func quantizeQ2_K(dst []byte, src, imp []float32, s *scratch) {
	for ; len(src) > 0; dst, src = dst[84:], src[256:] {
		s.load(src[:256], 16)
		s.Lo, s.Hi = 0, 3
		if imp == nil {
			s.C = 0
			s.WeightAbs(&s.Tile)
			s.candidates(searchQ2_K)
			s.ScaleMinAbs(&s.Tile)
		} else {
			s.loadWeights(imp[:256])
			s.candidates(importanceSearch(s.Hi))
			s.ScaleMin(&s.Tile)
			imp = imp[256:]
		}
		blocks := s.superBlocks(1, 16)
		s.groupScales(&blocks[0], 0, 15, imp != nil)
		if s.refits {
			s.refit(&codesQ2_K.Geometry, blocks)
		}
		s.useScales(blocks)
		blocks[0].putScalesQ2_K(dst)
		s.C = 0
		s.EncodeRound(&s.Tile)
		packPairs(dst[16:80], s.Codes[:256])
	}
}

// packPairs stores the low two bits of 256 codes: code 128·h + 32·j + i in bits
// 2j and 2j+1 of byte 32·h + i.
func packPairs[C int32 | uint8](dst []byte, codes []C) {
	for h := range 2 {
		c, out := codes[128*h:128*h+128], dst[32*h:32*h+32]
		for i := range out {
			out[i] = byte(c[i]&3 | c[i+32]&3<<2 | c[i+64]&3<<4 | c[i+96]&3<<6)
		}
	}
}

// getPair returns the two bits of weight i that packPairs stored.
func getPair(b []byte, i int) byte { return b[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3 }

var codesQ2_K = codes{
	Geometry: Geometry{Group: 16, Levels: uniform(0, 4), ScaleHi: 15, MinHi: 15},
	unpack: func(b *Block, src []byte) {
		b.D, b.DMin = getF16(src[80:]), getF16(src[82:])
		for g, v := range src[:16] {
			b.Scale[g], b.Min[g] = int8(v&15), int8(v>>4)
		}
		getPairs(b.Codes, src[16:80])
	},
	pack: func(dst []byte, b *Block) {
		b.putScalesQ2_K(dst)
		packPairs(dst[16:80], b.Codes)
	},
}

func (b *Block) putScalesQ2_K(dst []byte) {
	putF16(dst[80:], b.D)
	putF16(dst[82:], b.DMin)
	for g, sc := range b.Scale {
		dst[g] = byte(sc | b.Min[g]<<4)
	}
}
