package quant

import "github.com/phi3conv/phi3conv/internal/floats"

// Q4_0: 32 weights in 18 bytes, y = d·(q - 8).
//
//	byte 0…1   d, float16
//	byte 2…17  weight i in the low nibble of byte 2+i, weight i+16 in the high one

func dequantizeQ4_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[18:] {
		d := getF16(src)
		for i, b := range src[2:18] {
			dst[i] = d * float32(int(b&15)-8)
			dst[i+16] = d * float32(int(b>>4)-8)
		}
	}
}

func quantizeQ4_0(dst []byte, src, imp []float32, s *scratch) {
	e := symmetricEncoder{levels: 8, bytes: 18, pack: func(dst []byte, codes []int32) {
		packNibbles(dst[2:18], codes)
	}}
	e.quantize(dst, src, imp, s)
}

// packNibbles stores 32 codes: code i in the low nibble of byte i, code i+16 in the high one.
func packNibbles[C int32 | uint8](dst []byte, codes []C) {
	_, _ = dst[15], codes[31]
	for i := range 16 {
		dst[i] = byte(codes[i])&15 | byte(codes[i+16])<<4
	}
}

// symmetricEncoder encodes blocks of 32 with a scale and codes 0…2·levels-1 that stand for -levels…levels-1.
//
// Without importance the weight of greatest magnitude gets the code 0 exactly and
// the others are rounded: ggml's reference rule.
type symmetricEncoder struct {
	levels, bytes int                             // bytes of a block
	pack          func(dst []byte, codes []int32) // stores a block's codes
}

func (e *symmetricEncoder) quantize(dst []byte, src, imp []float32, s *scratch) {
	for len(src) > 0 {
		n := min(len(src), 512)
		s.load(src[:n], 32)
		if imp == nil {
			s.AbsMax(&s.Tile)
			for g := range n / 32 {
				d := s.Scale[g] / float32(-e.levels)
				putF16(dst[g*e.bytes:], d)
				s.Scale[g], s.Min[g] = floats.InverseOrZero(d), 0
			}
			s.Hi, s.C = float32(2*e.levels-1), float32(e.levels)+0.5
			s.EncodeFloor(&s.Tile)
		} else {
			s.loadWeights(imp[:n])
			s.symmetricCandidates(e.levels)
			s.ScaleSymmetric(&s.Tile)
			for g := range n / 32 {
				s.setScale(g, putF16(dst[g*e.bytes:], s.Scale[g]), 0)
			}
			s.C = float32(e.levels)
			s.EncodeRound(&s.Tile)
			imp = imp[n:]
		}
		for g := range n / 32 {
			e.pack(dst[g*e.bytes:], s.Codes[32*g:32*g+32])
		}
		dst, src = dst[n/32*e.bytes:], src[n:]
	}
}

// setScale gives group g the scale and the minimum with which EncodeRound finds its codes.
func (s *scratch) setScale(g int, scale, min float32) {
	if scale == 0 {
		scale, min = unused, 0
	}
	s.Scale[g], s.Min[g] = scale, min
}

var codesQ4_0 = nibbles32(uniform(-8, 16))
