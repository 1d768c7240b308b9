package quant

// Q4_K: 256 weights in 144 bytes: 8 groups of 32, y = d·sc·q - dmin·mn.
//
//	byte 0…1     d, float16
//	byte 2…3     dmin, float16
//	byte 4…15    sc and mn of each group, 6 bits each, see putScaleMin
//	byte 16…143  32 bytes for each pair of groups: the even group in the low nibbles

func dequantizeQ4_K(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[144:] {
		d, dmin := getF16(src), getF16(src[2:])
		for g := range 8 {
			sc, mn := getScaleMin(src[4:16], g)
			scale, min := d*float32(sc), float32(dmin*float32(mn))
			shift := 4 * (g & 1)
			for i, b := range src[16+g/2*32 : 48+g/2*32] {
				dst[32*g+i] = float32(scale*float32(b>>shift&15)) - min
			}
		}
	}
}

// encoderQ4_K's search without importance is ggml's: a code to each side of the top.
var encoderQ4_K = scaleMin6Encoder{
	geometry: &codesQ4_K.Geometry,
	bytes:    144,
	search:   search{21, 15 - 1, 0.1},
	pack:     func(dst []byte, codes []int32) { packNibblePairs(dst[16:144], codes) },
}

// packNibblePairs stores the low four bits of 256 codes as Q4_K and Q5_K do.
func packNibblePairs[C int32 | uint8](dst []byte, codes []C) {
	for p := range 4 {
		lo, hi, out := codes[64*p:64*p+32], codes[64*p+32:64*p+64], dst[32*p:32*p+32]
		for i := range out {
			out[i] = byte(lo[i])&15 | byte(hi[i])<<4
		}
	}
}

// getScaleMin returns group g's scale and minimum from the 12 bytes of Q4_K and
// Q5_K: groups 0…3 have theirs in the low six bits of bytes g and g+4; groups 4…7
// have the low four bits in byte g+4 and the high two in the top of bytes g-4 and g.
func getScaleMin(b []byte, g int) (scale, min byte) {
	if g < 4 {
		return b[g] & 63, b[g+4] & 63
	}
	return b[g+4]&15 | b[g-4]>>6<<4, b[g+4]>>4 | b[g]>>6<<4
}

// putScaleMin is the inverse of getScaleMin. b must be zero at first.
func putScaleMin(b []byte, g int, scale, min byte) {
	if g < 4 {
		b[g] |= scale
		b[g+4] |= min
		return
	}
	b[g+4] = scale&15 | min<<4
	b[g-4] |= scale >> 4 << 6
	b[g] |= min >> 4 << 6
}

// scaleMin6Encoder encodes super-blocks of 8 groups of 32 with 6-bit scales and minima: Q4_K and Q5_K.
type scaleMin6Encoder struct {
	geometry *Geometry
	bytes    int                             // of a super-block
	search   search                          // without importance
	pack     func(dst []byte, codes []int32) // stores a super-block's codes
}

func (e *scaleMin6Encoder) quantize(dst []byte, src, imp []float32, s *scratch) {
	top := float32(len(e.geometry.Levels) - 1)
	for len(src) > 0 {
		n := min(len(src), 512)
		s.load(src[:n], 32)
		s.Lo, s.Hi = 0, top
		if imp == nil {
			s.C = 1
			s.WeightAbs(&s.Tile)
			s.candidates(e.search)
		} else {
			s.loadWeights(imp[:n])
			s.candidates(importanceSearch(top))
		}
		s.ScaleMin(&s.Tile)
		blocks := s.superBlocks(n/256, 8)
		for i := range blocks {
			s.groupScales(&blocks[i], 8*i, 63, imp != nil)
		}
		if s.refits {
			s.refit(e.geometry, blocks)
		}
		s.useScales(blocks)
		s.C = 0
		s.EncodeRound(&s.Tile)
		for i := range blocks {
			out := dst[i*e.bytes:]
			blocks[i].putScaleMins6(out)
			e.pack(out, s.Codes[256*i:256*i+256])
		}
		dst, src = dst[n/256*e.bytes:], src[n:]
		if imp != nil {
			imp = imp[n:]
		}
	}
}

// getNibblePairs is the inverse of packNibblePairs.
func getNibblePairs(codes []uint8, src []byte) {
	for i, b := range src[:128] {
		at := i/32*64 + i%32
		codes[at], codes[at+32] = b&15, b>>4
	}
}

var codesQ4_K = codes{
	Geometry: scaleMins6(uniform(0, 16)),
	unpack: func(b *Block, src []byte) {
		b.getScaleMins6(src)
		getNibblePairs(b.Codes, src[16:144])
	},
	pack: func(dst []byte, b *Block) {
		b.putScaleMins6(dst)
		packNibblePairs(dst[16:144], b.Codes)
	},
}

// scaleMins6 describes the blocks of Q4_K and Q5_K.
func scaleMins6(levels []float32) Geometry {
	return Geometry{Group: 32, Levels: levels, ScaleHi: 63, MinHi: 63}
}

func (b *Block) getScaleMins6(src []byte) {
	b.D, b.DMin = getF16(src), getF16(src[2:])
	for g := range 8 {
		sc, mn := getScaleMin(src[4:16], g)
		b.Scale[g], b.Min[g] = int8(sc), int8(mn)
	}
}

func (b *Block) putScaleMins6(dst []byte) {
	putF16(dst, b.D)
	putF16(dst[2:], b.DMin)
	clear(dst[4:16])
	for g := range 8 {
		putScaleMin(dst[4:16], g, byte(b.Scale[g]), byte(b.Min[g]))
	}
}
