package quant

import "github.com/phi3conv/phi3conv/internal/floats"

// Q4_1: 32 weights in 20 bytes, y = d·q + m.
//
//	byte 0…1   d, float16
//	byte 2…3   m, float16
//	byte 4…19  the codes, as in Q4_0

func dequantizeQ4_1(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[20:] {
		d, m := getF16(src), getF16(src[2:])
		for i, b := range src[4:20] {
			dst[i] = float32(d*float32(b&15)) + m
			dst[i+16] = float32(d*float32(b>>4)) + m
		}
	}
}

func quantizeQ4_1(dst []byte, src, imp []float32, s *scratch) {
	e := affineEncoder{top: 15, bytes: 20, pack: func(dst []byte, codes []int32) {
		packNibbles(dst[4:20], codes)
	}}
	e.quantize(dst, src, imp, s)
}

// affineEncoder encodes blocks of 32 with a scale, a minimum and codes 0…top.
//
// Without importance the codes span the block's range exactly: ggml's reference rule.
type affineEncoder struct {
	top, bytes int                             // bytes of a block
	pack       func(dst []byte, codes []int32) // stores a block's codes
}

func (e *affineEncoder) quantize(dst []byte, src, imp []float32, s *scratch) {
	for len(src) > 0 {
		n := min(len(src), 512)
		s.load(src[:n], 32)
		s.Lo, s.Hi = 0, float32(e.top)
		if imp == nil {
			s.MinMax(&s.Tile)
			for g := range n / 32 {
				d := (s.Scale[g] - s.Min[g]) / float32(e.top)
				putF16(dst[g*e.bytes:], d)
				putF16(dst[g*e.bytes+2:], s.Min[g])
				s.Scale[g] = floats.InverseOrZero(d)
			}
			s.C = 0.5
			s.EncodeFloor(&s.Tile)
		} else {
			s.loadWeights(imp[:n])
			s.candidates(importanceSearch(s.Hi))
			s.ScaleMin(&s.Tile)
			for g := range n / 32 {
				d := putF16(dst[g*e.bytes:], s.Scale[g])
				m := putF16(dst[g*e.bytes+2:], s.Min[g])
				s.setScale(g, d, -m)
			}
			s.C = 0
			s.EncodeRound(&s.Tile)
			imp = imp[n:]
		}
		for g := range n / 32 {
			e.pack(dst[g*e.bytes:], s.Codes[32*g:32*g+32])
		}
		dst, src = dst[n/32*e.bytes:], src[n:]
	}
}

var codesQ4_1 = codes{
	Geometry: affine32(uniform(0, 16)),
	unpack: func(b *Block, src []byte) {
		b.setScale32(src, true)
		getNibbles(b.Codes, src[4:20])
	},
	pack: func(dst []byte, b *Block) {
		b.putScale32(dst, true)
		packNibbles(dst[4:20], b.Codes)
	},
}
