package quant

import "encoding/binary"

// Q5_0: 32 weights in 22 bytes, y = d·(q - 16).
//
//	byte 0…1   d, float16
//	byte 2…5   the fifth bits: bit i is weight i's
//	byte 6…21  the low four bits, as in Q4_0

func dequantizeQ5_0(dst []float32, src []byte) {
	for ; len(dst) > 0; dst, src = dst[32:], src[22:] {
		d, high := getF16(src), binary.LittleEndian.Uint32(src[2:])
		for i, b := range src[6:22] {
			dst[i] = d * float32(int(b&15|byte(high>>i&1)<<4)-16)
			dst[i+16] = d * float32(int(b>>4|byte(high>>(i+16)&1)<<4)-16)
		}
	}
}

func quantizeQ5_0(dst []byte, src, imp []float32, s *scratch) {
	e := symmetricEncoder{levels: 16, bytes: 22, pack: func(dst []byte, codes []int32) {
		packQ5(dst[2:22], codes)
	}}
	e.quantize(dst, src, imp, s)
}

// packQ5 stores 32 codes: their fifth bits, then the nibbles.
func packQ5[C int32 | uint8](dst []byte, codes []C) {
	var bits uint32
	for i, c := range codes[:32] {
		bits |= uint32(c) >> 4 & 1 << i
	}
	binary.LittleEndian.PutUint32(dst, bits)
	packNibbles(dst[4:20], codes)
}

// getQ5 is the inverse of packQ5.
func getQ5(codes []uint8, src []byte) {
	getNibbles(codes, src[4:20])
	bits := binary.LittleEndian.Uint32(src)
	for i := range codes[:32] {
		codes[i] |= uint8(bits >> i & 1 << 4)
	}
}

var codesQ5_0 = codes{
	Geometry: symmetric32(uniform(-16, 32)),
	unpack: func(b *Block, src []byte) {
		b.setScale32(src, false)
		getQ5(b.Codes, src[2:22])
	},
	pack: func(dst []byte, b *Block) {
		b.putScale32(dst, false)
		packQ5(dst[2:22], b.Codes)
	},
}
