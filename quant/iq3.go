package quant

import (
	"encoding/binary"

	"github.com/phi3conv/phi3conv/internal/grid"
)

// IQ3_XXS and IQ3_S: points of four magnitudes, y = ±d·sc·p with sc = 1, 3 … 31.
//
// IQ3_XXS: 256 weights in 98 bytes: 8 groups of 32; magnitudes 1, 3 … 13 and 15.5.
//
//	byte 0…1    d, float16
//	byte 2…65   the numbers of the points, 8 of each group
//	byte 66…97  for each group 32 bits: the signs of every eight weights in 7 bits (the eighth makes the number of
//	            negatives even), (sc - 1)/2 in the high four
//
// IQ3_S: 256 weights in 110 bytes: 8 groups of 32; magnitudes 1, 3 … 15.
//
//	byte 0…1      d, float16
//	byte 2…65     the low 8 bits of the numbers of the points, 8 of each group
//	byte 66…73    their ninth bits, a byte for each group
//	byte 74…105   the signs, a bit for each weight
//	byte 106…109  (sc - 1)/2 of two groups, the even one in the low nibble

var (
	bookIQ3_XXS = newCodebook(grid.IQ3XXS, true, 1, 3, 5, 7, 9, 11, 13, 15.5)
	bookIQ3_S   = newCodebook(grid.IQ3S, false, 1, 3, 5, 7, 9, 11, 13, 15)
)

var codesIQ3_XXS = codes{
	Geometry: vectorGeometry(32, bookIQ3_XXS),
	unpack: func(b *Block, src []byte) {
		b.D, b.DMin = getF16(src), 0
		for g := range 8 {
			all := binary.LittleEndian.Uint32(src[66+4*g:])
			b.Scale[g], b.Min[g] = oddScale(all>>28), 0
			for j := range 8 {
				signs := evenSigns(all>>(j/2*7)) >> (j % 2 * 4)
				bookIQ3_XXS.join(b.Codes[32*g+4*j:], int(src[2+8*g+j]), signs)
			}
		}
	},
	pack: func(dst []byte, b *Block) {
		putF16(dst, b.D)
		for g := range 8 {
			all := uint32(storedScale(b.Scale[g])) << 28
			for j := range 8 {
				point, signs := bookIQ3_XXS.split(b.Codes[32*g+4*j:][:4])
				dst[2+8*g+j] = byte(point)
				all |= uint32(signs<<(j%2*4)&127) << (j / 2 * 7)
			}
			binary.LittleEndian.PutUint32(dst[66+4*g:], all)
		}
	},
}

func dequantizeIQ3_XXS(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesIQ3_XXS, 256, 98) }

var codesIQ3_S = codes{
	Geometry: vectorGeometry(32, bookIQ3_S),
	unpack: func(b *Block, src []byte) {
		b.getScales4(src, src[106:])
		for j := range 64 {
			point := int(src[2+j]) | int(src[66+j/8])>>(j%8)&1<<8
			bookIQ3_S.join(b.Codes[4*j:], point, src[74+j/2]>>(j%2*4))
		}
	},
	pack: func(dst []byte, b *Block) {
		b.putScales4(dst, dst[106:])
		clear(dst[66:106])
		for j := range 64 {
			point, signs := bookIQ3_S.split(b.Codes[4*j:][:4])
			dst[2+j] = byte(point)
			dst[66+j/8] |= byte(point>>8) << (j % 8)
			dst[74+j/2] |= signs << (j % 2 * 4)
		}
	},
}

func dequantizeIQ3_S(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesIQ3_S, 256, 110) }

func quantizeIQ3_XXS(dst []byte, src, imp []float32, s *scratch) {
	quantizeVectors(dst, src, imp, s, &codesIQ3_XXS, 98, search{11, 14, 0.3})
}

func quantizeIQ3_S(dst []byte, src, imp []float32, s *scratch) {
	quantizeVectors(dst, src, imp, s, &codesIQ3_S, 110, search{11, 13.5, 0.3})
}
