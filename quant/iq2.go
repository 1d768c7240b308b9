package quant

import (
	"encoding/binary"

	"github.com/phi3conv/phi3conv/internal/grid"
)

// IQ2_XXS, IQ2_XS and IQ2_S: points of eight magnitudes of 1, 25/8 and 43/8, y = ±d·sc·p with sc = 1, 3 … 31.
//
// IQ2_XXS: 256 weights in 66 bytes: 8 groups of 32. It is only read.
//
//	byte 0…1    d, float16
//	byte 2…65   for each group 8 bytes: the numbers of its four points, and 32 bits: the signs of each point in
//	            7 bits (the eighth makes the number of negatives even), (sc - 1)/2 in the high four
//
// IQ2_XS: 256 weights in 74 bytes: 16 groups of 16.
//
//	byte 0…1    d, float16
//	byte 2…65   for each point 16 bits: its number in the low nine, its signs in seven as in IQ2_XXS
//	byte 66…73  (sc - 1)/2 of two groups, the even one in the low nibble
//
// IQ2_S: 256 weights in 82 bytes: 16 groups of 16.
//
//	byte 0…1    d, float16
//	byte 2…33   the low 8 bits of the points' numbers
//	byte 34…65  their signs, bit i for weight i
//	byte 66…73  the high two bits of the numbers of four points
//	byte 74…81  (sc - 1)/2 of two groups, the even one in the low nibble

var (
	bookIQ2_XXS = newCodebook(grid.IQ2XXS, true, 1, 3.125, 5.375)
	bookIQ2_XS  = newCodebook(grid.IQ2XS, true, 1, 3.125, 5.375)
	bookIQ2_S   = newCodebook(grid.IQ2S, false, 1, 3.125, 5.375)
)

var codesIQ2_XXS = codes{
	Geometry: vectorGeometry(32, bookIQ2_XXS),
	unpack: func(b *Block, src []byte) {
		b.D, b.DMin = getF16(src), 0
		for g := range 8 {
			part := src[2+8*g:]
			signs := binary.LittleEndian.Uint32(part[4:])
			b.Scale[g], b.Min[g] = oddScale(signs>>28), 0
			for j := range 4 {
				bookIQ2_XXS.join(b.Codes[32*g+8*j:], int(part[j]), evenSigns(signs>>(7*j)))
			}
		}
	},
}

func dequantizeIQ2_XXS(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesIQ2_XXS, 256, 66) }

var codesIQ2_XS = codes{
	Geometry: vectorGeometry(16, bookIQ2_XS),
	unpack: func(b *Block, src []byte) {
		b.getScales4(src, src[66:])
		for j := range 32 {
			v := uint32(binary.LittleEndian.Uint16(src[2+2*j:]))
			bookIQ2_XS.join(b.Codes[8*j:], int(v&511), evenSigns(v>>9))
		}
	},
	pack: func(dst []byte, b *Block) {
		b.putScales4(dst, dst[66:])
		for j := range 32 {
			point, signs := bookIQ2_XS.split(b.Codes[8*j:][:8])
			binary.LittleEndian.PutUint16(dst[2+2*j:], uint16(point)|uint16(signs)<<9)
		}
	},
}

func dequantizeIQ2_XS(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesIQ2_XS, 256, 74) }

var codesIQ2_S = codes{
	Geometry: vectorGeometry(16, bookIQ2_S),
	unpack: func(b *Block, src []byte) {
		b.getScales4(src, src[74:])
		for j := range 32 {
			point := int(src[2+j]) | int(src[66+j/4])>>(j%4*2)&3<<8
			bookIQ2_S.join(b.Codes[8*j:], point, src[34+j])
		}
	},
	pack: func(dst []byte, b *Block) {
		b.putScales4(dst, dst[74:])
		clear(dst[66:74])
		for j := range 32 {
			point, signs := bookIQ2_S.split(b.Codes[8*j:][:8])
			dst[2+j], dst[34+j] = byte(point), signs
			dst[66+j/4] |= byte(point>>8) << (j % 4 * 2)
		}
	},
}

func dequantizeIQ2_S(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesIQ2_S, 256, 82) }

func quantizeIQ2_XS(dst []byte, src, imp []float32, s *scratch) {
	quantizeVectors(dst, src, imp, s, &codesIQ2_XS, 74, search{11, 4.625, 0.15})
}

func quantizeIQ2_S(dst []byte, src, imp []float32, s *scratch) {
	quantizeVectors(dst, src, imp, s, &codesIQ2_S, 82, search{11, 4.625, 0.15})
}
