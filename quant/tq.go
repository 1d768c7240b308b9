package quant

// TQ1_0 and TQ2_0: 256 weights, y = d·(q - 1), q = 0, 1 or 2; TQ2_0 can have 3. They are only read.
//
// TQ1_0, 54 bytes: five digits of base 3 in a byte. A byte is x/256 rounded up for the number 0 ≤ x < 256 whose
// digits, from the first after the point on, they are.
//
//	byte 0…31   digit n of byte m is code 32n + m
//	byte 32…47  digit n of byte m is code 160 + 16n + m
//	byte 48…51  digit n of byte m is code 240 + 4n + m, four digits each
//	byte 52…53  d, float16
//
// TQ2_0, 66 bytes:
//
//	byte 0…63   two bits a code: those of columns 32n + m of 128 are in bits 2n and 2n+1 of byte m
//	byte 64…65  d, float16

// ternary is the geometry of both. All groups share d.
var ternary = Geometry{Group: 32, Levels: uniform(-1, 4), ScaleLo: 1, ScaleHi: 1}

// setOnes sets d, and every scale to 1.
func (b *Block) setOnes(d float32) {
	b.D, b.DMin = d, 0
	for g := range b.Scale {
		b.Scale[g], b.Min[g] = 1, 0
	}
}

var codesTQ1_0 = codes{
	Geometry: ternary,
	unpack: func(b *Block, src []byte) {
		b.setOnes(getF16(src[52:]))
		codes := b.Codes
		for _, part := range [...]struct{ at, n, digits int }{{0, 32, 5}, {32, 16, 5}, {48, 4, 4}} {
			power := byte(1)
			for range part.digits {
				for m := range part.n {
					codes[m] = uint8(uint16(src[part.at+m]*power) * 3 >> 8)
				}
				codes, power = codes[part.n:], 3*power
			}
		}
	},
}

func dequantizeTQ1_0(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesTQ1_0, 256, 54) }

var codesTQ2_0 = codes{
	Geometry: ternary,
	unpack: func(b *Block, src []byte) {
		b.setOnes(getF16(src[64:]))
		for i := range b.Codes {
			b.Codes[i] = src[i/128*32+i%32] >> (i % 128 / 32 * 2) & 3
		}
	},
}

func dequantizeTQ2_0(dst []float32, src []byte) { dequantizeCodes(dst, src, &codesTQ2_0, 256, 66) }
