package quant

import (
	"encoding/binary"

	"github.com/phi3conv/phi3conv/internal/grid"
)

// IQ1_S and IQ1_M: points of eight weights -1, 0 or 1, one of 2048, all moved by δ = ±1/8: y = d·sc·(p + δ).
// They are only read.
//
// IQ1_S: 256 weights in 50 bytes: 8 groups of 32.
//
//	byte 0…1    d, float16
//	byte 2…33   the low 8 bits of the points' numbers
//	byte 34…49  for each group 16 bits: the high three bits of the numbers of its four points,
//	            (sc - 1)/2 in the next three, and whether δ is negative
//
// IQ1_M: 256 weights in 56 bytes: 16 groups of 16, each with two points.
//
//	byte 0…31   the low 8 bits of the points' numbers
//	byte 32…47  for each point a nibble: the high three bits of its number, and whether δ is negative
//	byte 48…55  four times 16 bits: (sc - 1)/2 of four groups in three bits each, and four bits of d

// iq1Levels are p + δ: negative δ first where they are equally far from zero.
var iq1Levels = []float32{-1.125, -0.875, -0.125, 0.125, 0.875, 1.125}

// setIQ1Point sets the codes of the weights of a point.
func setIQ1Point(codes []uint8, point int, negative bool) {
	for i, level := range grid.IQ1S.Point(point) {
		codes[i] = 2*level + 1
		if negative {
			codes[i] = 2 * level
		}
	}
}

var codesIQ1_S = codes{
	Geometry: Geometry{Group: 32, Levels: iq1Levels, ScaleLo: 1, ScaleHi: 15},
	unpack: func(b *Block, src []byte) {
		b.D, b.DMin = getF16(src), 0
		for g := range 8 {
			high := int(binary.LittleEndian.Uint16(src[34+2*g:]))
			b.Scale[g], b.Min[g] = oddScale(uint32(high>>12&7)), 0
			for j := range 4 {
				point := int(src[2+4*g+j]) | high>>(3*j)&7<<8
				setIQ1Point(b.Codes[32*g+8*j:][:8], point, high>>15 == 1)
			}
		}
	},
}

func dequantizeIQ1_S(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesIQ1_S, 256, 50) }

var codesIQ1_M = codes{
	Geometry: Geometry{Group: 16, Levels: iq1Levels, ScaleLo: 1, ScaleHi: 15},
	unpack: func(b *Block, src []byte) {
		b.D, b.DMin = fromF16(scaleIQ1_M(src)), 0
		for g := range 16 {
			scales := binary.LittleEndian.Uint16(src[48+g/4*2:])
			b.Scale[g], b.Min[g] = oddScale(uint32(scales>>(g%4*3)&7)), 0
			for j := range 2 {
				high := int(src[32+g] >> (4 * j) & 15)
				setIQ1Point(b.Codes[16*g+8*j:][:8], int(src[2*g+j])|high&7<<8, high>>3 == 1)
			}
		}
	},
}

// scaleIQ1_M returns the bits of a block's d.
func scaleIQ1_M(src []byte) (d uint16) {
	for i := range 4 {
		d |= uint16(src[49+2*i]>>4) << (4 * i)
	}
	return d
}

// badIQ1_M reports whether d is infinite or not a number.
func badIQ1_M(src []byte) bool { return scaleIQ1_M(src)&0x7c00 == 0x7c00 }

func dequantizeIQ1_M(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesIQ1_M, 256, 56) }
