package quant

import (
	"encoding/binary"

	"github.com/phi3conv/phi3conv/internal/floats"
)

// IQ4_NL and IQ4_XS store 4-bit indices into a fixed list of 16 unevenly spaced
// values, denser around zero where weights are.
//
// IQ4_NL: 32 weights in 18 bytes, y = d·value[q]; laid out as Q4_0.
//
// IQ4_XS: 256 weights in 136 bytes: 8 groups of 32, y = d·sc·value[q].
//
//	byte 0…1    d, float16
//	byte 2…3    the high two bits of sc + 32 of group g in bits 2g and 2g+1
//	byte 4…7    the low four bits, the even group in the low nibble
//	byte 8…135  the indices, each group as in Q4_0

var iq4Values = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// searchIQ4 is ggml's: seven codes to each side of the lowest value, -127.
var searchIQ4 = search{16, -135, 1}

// useIQ4 puts the values into the tile's table and sets the candidates: the
// weight of greatest magnitude becomes 127 or something between -134 and -120.
func (s *scratch) useIQ4() {
	s.Table[0] = iq4Values[0]
	for k := 1; k < 16; k++ {
		s.Table[k] = iq4Values[k] - iq4Values[k-1]
		s.Table[16+k] = (iq4Values[k] + iq4Values[k-1]) / 2
	}
	s.candidates(searchIQ4)
	s.Steps[0] = 127 // in place of -135: the weight may be positive
}

func dequantizeIQ4_NL(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[18:] {
		decodeIQ4(dst[:32], src[2:18], getF16(src))
	}
}

func decodeIQ4(dst []float32, src []byte, scale float32) {
	for i, b := range src[:16] {
		dst[i] = scale * iq4Values[b&15]
		dst[i+16] = scale * iq4Values[b>>4]
	}
}

func quantizeIQ4_NL(dst []byte, src, imp []float32, s *scratch) {
	s.useIQ4()
	for len(src) > 0 {
		n := min(len(src), 512)
		s.load(src[:n], 32)
		if imp == nil {
			s.WeightSquare(&s.Tile)
		} else {
			s.loadWeights(imp[:n])
			imp = imp[n:]
		}
		s.ScaleTable(&s.Tile)
		for g := range n / 32 {
			s.Scale[g] = floats.InverseOrZero(putF16(dst[18*g:], s.Scale[g]))
		}
		s.EncodeTable(&s.Tile)
		for g := range n / 32 {
			packNibbles(dst[18*g+2:18*g+18], s.Codes[32*g:32*g+32])
		}
		dst, src = dst[n/32*18:], src[n:]
	}
}

func dequantizeIQ4_XS(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[256:], src[136:] {
		d, high := getF16(src), binary.LittleEndian.Uint16(src[2:])
		for g := range 8 {
			sc := int(src[4+g/2]>>(g%2*4)&15) | int(high>>(2*g)&3)<<4
			decodeIQ4(dst[32*g:32*g+32], src[8+16*g:24+16*g], d*float32(sc-32))
		}
	}
}

func quantizeIQ4_XS(dst []byte, src, imp []float32, s *scratch) {
	s.useIQ4()
	for len(src) > 0 {
		n := min(len(src), 512)
		s.load(src[:n], 32)
		if imp == nil {
			s.WeightSquare(&s.Tile)
		} else {
			s.loadWeights(imp[:n])
			imp = imp[n:]
		}
		s.ScaleTable(&s.Tile)
		for b := range n / 256 {
			out := dst[136*b:]
			var scales [8]int8
			d := putF16(out, signedScales(scales[:], s.Scale[8*b:8*b+8], 32))
			putScalesIQ4(out, scales[:])
			for g, sc := range scales {
				s.Scale[8*b+g] = floats.InverseOrZero(d * float32(sc))
			}
		}
		s.EncodeTable(&s.Tile)
		for b := range n / 256 {
			for g := range 8 {
				packNibbles(dst[136*b+8+16*g:], s.Codes[256*b+32*g:256*b+32*g+32])
			}
		}
		dst, src = dst[n/256*136:], src[n:]
	}
}

var codesIQ4_NL = nibbles32(iq4Values[:])

var codesIQ4_XS = codes{
	Geometry: Geometry{Group: 32, Levels: iq4Values[:], ScaleLo: -32, ScaleHi: 31},
	unpack: func(b *Block, src []byte) {
		b.D, b.DMin = getF16(src), 0
		high := binary.LittleEndian.Uint16(src[2:])
		for g := range 8 {
			b.Scale[g] = int8(int(src[4+g/2]>>(g%2*4)&15)|int(high>>(2*g)&3)<<4) - 32
			b.Min[g] = 0
			getNibbles(b.Codes[32*g:32*g+32], src[8+16*g:24+16*g])
		}
	},
	pack: func(dst []byte, b *Block) {
		putF16(dst, b.D)
		putScalesIQ4(dst, b.Scale)
		for g := range 8 {
			packNibbles(dst[8+16*g:24+16*g], b.Codes[32*g:32*g+32])
		}
	},
}

// putScalesIQ4 stores the eight scales of an IQ4_XS block.
func putScalesIQ4(dst []byte, scales []int8) {
	var high uint16
	clear(dst[4:8])
	for g, sc := range scales {
		high |= uint16(sc+32) >> 4 << (2 * g)
		dst[4+g/2] |= byte((sc + 32) & 15 << (g % 2 * 4))
	}
	binary.LittleEndian.PutUint16(dst[2:], high)
}
