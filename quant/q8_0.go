package quant

import "github.com/phi3conv/phi3conv/internal/floats"

// Q8_0: 32 weights in 34 bytes, y = d·q.
//
//	byte 0…1   d, float16
//	byte 2…33  q, int8

func dequantizeQ8_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[34:] {
		d := getF16(src)
		for i, b := range src[2:34] {
			dst[i] = d * float32(int8(b))
		}
	}
}

// quantizeQ8_0 follows ggml's rule: the greatest magnitude becomes ±127, halves
// round away from zero. Importance would change little at 8 bits and is not used.
func quantizeQ8_0(dst []byte, src, _ []float32, s *scratch) {
	for len(src) > 0 {
		n := min(len(src), 512)
		s.load(src[:n], 32)
		s.AbsMax(&s.Tile)
		for g := range n / 32 {
			d := abs(s.Scale[g]) / 127
			putF16(dst[g*34:], d)
			s.Scale[g] = floats.InverseOrZero(d)
		}
		s.C = 0.5
		s.EncodeAway(&s.Tile)
		for g := range n / 32 {
			q := dst[g*34+2 : g*34+34]
			for i, c := range s.Codes[32*g : 32*g+32] {
				q[i] = byte(c)
			}
		}
		dst, src = dst[n/32*34:], src[n:]
	}
}

var codesQ8_0 = codes{
	Geometry: symmetric32(uniform(-128, 256)),
	unpack: func(b *Block, src []byte) {
		b.setScale32(src, false)
		for i, c := range src[2:34] {
			b.Codes[i] = c ^ 128 // q + 128
		}
	},
	pack: func(dst []byte, b *Block) {
		b.putScale32(dst, false)
		for i, c := range b.Codes {
			dst[2+i] = c ^ 128
		}
	},
}
