package main

import "fmt"

// Quantize256 and Quantize32. The greatest magnitude is found among the bit
// patterns without their sign. If it is from 2^-119 up and finite, codes are
// the products with 127/greatest, rounded to even; their magnitudes are at most 127, so
// that the narrowing never saturates. If not, all codes are 0 and d is 0 or NaN.
const (
	tinyBits  = (127 - 119) << 23     // 2^-119
	rangeBits = 0x7f800000 - tinyBits // the patterns from there to infinity
	nanBits   = 0x7fc00000
)

// Arguments of both kernels, and integer scratch space.
const (
	qDst, qX, qN, qStride = 0, 1, 2, 3
	qTop, qT              = 4, 5
)

func (a *isa) quantizeAVX2() {
	const dst, x, top, t = "AX", "SI", "R9", "R10" // r(0), r(1), r(4), r(5)
	const perm = "quantPerm<>(SB)"
	for i, lane := range []int{0, 4, 1, 5, 2, 6, 3, 7} {
		fmt.Fprintf(&a.buf, "DATA quantPerm<>+%d(SB)/4, $%d\n", 4*i, lane)
	}
	fmt.Fprintf(&a.buf, "GLOBL quantPerm<>(SB), RODATA|NOPTR, $32\n\n")

	// kernel does blocks of n elements: the greatest magnitude of four vectors at a time
	// to Y0…Y3, then either zero, with the bits of d in t, or codes,
	// with the factor in Y14 and d in X10, whose other lanes are 0.
	kernel := func(name, doc string, n int, codes, zero func()) {
		a.vector(name, doc, arguments{"dst x n stride", -1, false}, func() {
			a.set(15, noSign)
			a.p("VMOVDQU %s, Y13", perm)
			a.set(12, ones8)
			a.set(11, ones16)
			a.place("block")
			for i := range n / 8 {
				if i < 4 {
					a.p("VPAND %d(%s), Y15, Y%d", 32*i, x, i)
					continue
				}
				a.p("VPAND %d(%s), Y15, Y4", 32*i, x)
				a.p("VPMAXSD Y4, Y%d, Y%d", i%4, i%4)
			}
			a.p("VPMAXSD Y1, Y0, Y0")
			a.p("VPMAXSD Y3, Y2, Y2")
			a.p("VPMAXSD Y2, Y0, Y0")
			a.p("VEXTRACTI128 $1, Y0, X1")
			a.p("VPMAXSD X1, X0, X0")
			a.p("VPSHUFD $0x4e, X0, X1")
			a.p("VPMAXSD X1, X0, X0")
			a.p("VPSHUFD $0xb1, X0, X1")
			a.p("VPMAXSD X1, X0, X0")
			a.p("VMOVD X0, %s", top)
			a.p("LEAL %d(%s), %s", -tinyBits, top, t)
			a.p("CMPL %s, $%d", t, rangeBits)
			a.p("JAE zero")
			a.p("VMOVD %s, X0", top)
			a.p("MOVL $0x42fe0000, %s // 127", t)
			a.p("VMOVD %s, X1", t)
			a.p("VDIVSS X0, X1, X14")
			a.p("VDIVSS X1, X0, X10")
			a.p("VBROADCASTSS X14, Y14")
			codes()
			a.place("next")
			a.addImm(qX, 4*n)
			a.p("ADDQ %s, %s", a.r(qStride), dst)
			a.down(qN, 1, "block")
			a.p("JMP end")
			a.place("zero")
			a.p("MOVL $0, %s", t)
			a.p("CMPL %s, $%d", top, tinyBits)
			a.p("JB none")
			a.p("MOVL $%d, %s", nanBits, t)
			a.place("none")
			a.p("VPXOR Y0, Y0, Y0")
			zero()
			a.p("JMP next")
			a.place("end")
		})
	}
	// encode stores the codes of the i-th 32 elements, leaves them in Y0 and in Y3
	// the sums of each 4.
	encode := func(i int) {
		for j := range 4 {
			a.p("VMULPS %d(%s), Y14, Y%d", 128*i+32*j, x, j)
			a.p("VCVTPS2DQ Y%d, Y%d", j, j)
		}
		a.p("VPACKSSDW Y1, Y0, Y0")
		a.p("VPACKSSDW Y3, Y2, Y2")
		a.p("VPACKSSWB Y2, Y0, Y0")
		a.p("VPERMD Y0, Y13, Y0")
		a.p("VMOVDQU Y0, %d(%s)", 32*i, dst)
		a.p("VPMADDUBSW Y0, Y12, Y3")
		a.p("VPMADDWD Y3, Y11, Y3")
	}

	kernel("quantize256", "encodes n A256 records.", 256, func() {
		// Sums of 4 of elements 32i… in the low half and 32i+16… in the high half are
		// packed beside those of the next i and added in pairs, twice; a last packing leaves
		// the 16-element sums of even place in the low half, of odd place in the high half.
		pair := func(even, odd int) {
			a.p("VPACKSSDW Y%d, Y%d, Y%d", odd, even, even)
			a.p("VPMADDWD Y%d, Y11, Y%d", even, even)
		}
		for i := range 8 {
			encode(i)
			switch {
			case i == 3 || i == 7:
				pair(5, 3)
				pair(4, 5)
				if i == 3 {
					a.move(6, 4)
				}
			case i%4 == 1:
				pair(4, 3)
			case i%4 == 0:
				a.move(4, 3)
			default:
				a.move(5, 3)
			}
		}
		a.p("VPACKSSDW Y4, Y6, Y0")
		a.p("VEXTRACTI128 $1, Y0, X1")
		a.p("VPUNPCKLWD X1, X0, X2")
		a.p("VPUNPCKHWD X1, X0, X3")
		a.p("VPADDW X1, X0, X4")
		a.p("VMOVDQU X2, %d(%s)", a256Sum16, dst)
		a.p("VMOVDQU X3, %d(%s)", a256Sum16+16, dst)
		a.p("VMOVDQU X4, %d(%s)", a256Sum32, dst)
		a.p("VMOVUPS X10, %d(%s)", a256D, dst)
	}, func() {
		for off := 0; off < a256Sum32; off += 32 {
			a.p("VMOVDQU Y0, %d(%s)", off, dst)
		}
		a.p("VMOVD %s, X1", t)
		a.p("VMOVDQU X0, %d(%s)", a256Sum32, dst)
		a.p("VMOVDQU X1, %d(%s)", a256D, dst)
	})

	kernel("quantize32", "encodes n A32 records.", 32, func() {
		encode(0)
		a.p("VEXTRACTI128 $1, Y3, X0")
		a.p("VPADDD X3, X0, X0")
		a.p("VPSHUFD $0x4e, X0, X1")
		a.p("VPADDD X1, X0, X0")
		a.p("VPSHUFD $0xb1, X0, X1")
		a.p("VPADDD X1, X0, X0")
		a.p("VCVTDQ2PS X0, X0")
		a.p("VMULSS X0, X10, X0")
		a.p("VMOVSS X10, %d(%s)", a32D, dst)
		a.p("VMOVSS X0, %d(%s)", a32S, dst)
	}, func() {
		a.p("VMOVDQU Y0, (%s)", dst)
		a.p("MOVL %s, %d(%s)", t, a32D, dst)
		a.p("MOVL %s, %d(%s)", t, a32S, dst)
	})
}

func (a *isa) quantizeNEON() {
	// test jumps to zero, with the bits of d in R5, if the greatest lane of V16 is
	// no good; if it is, the factor comes to be in V21 and d in V22, whose other lanes are 0.
	test := func() {
		a.word(0x6eb0a800|16<<5|16, "umaxv s16, v16.4s")
		a.p("VMOV V16.S[0], R4")
		a.p("MOVD $%d, R6", tinyBits)
		a.p("SUB R6, R4, R5")
		a.p("MOVD $%d, R7", rangeBits)
		a.p("CMPW R7, R5")
		a.p("BHS zero")
		a.p("MOVD $0x42fe0000, R5 // 127")
		a.p("FMOVS R5, F20")
		a.p("FDIVS F16, F20, F21")
		a.p("FDIVS F20, F16, F22")
		a.p("VDUP V21.S[0], V21.S4")
	}
	// encode turns the 16 float32 in registers from v on into 16 codes in v.
	encode := func(v int) {
		for i := v; i < v+4; i++ {
			a.mul(i, i, 21)
			a.toInt(i, i)
		}
		a.p("VUZP1 V%d.H8, V%d.H8, V%d.H8", v+1, v, v)
		a.p("VUZP1 V%d.H8, V%d.H8, V%d.H8", v+3, v+2, v+2)
		a.p("VUZP1 V%d.B16, V%d.B16, V%d.B16", v+2, v, v)
	}
	magnitudes := func(first, last int) {
		for i := first; i <= last; i++ {
			a.neon2(0x4ea0f800, "fabs", i, i)
		}
	}
	umax := func(d, n, m int) { a.neon3(0x6ea06400, "umax", d, n, m) }
	// finish ends the loop over blocks; zero stores a record without codes.
	finish := func(zero func()) {
		a.place("next")
		a.p("ADD R3, R0")
		a.down(qN, 1, "block")
		a.p("B end")
		a.place("zero")
		a.p("CMPW R6, R4")
		a.p("MOVD $%d, R5", nanBits)
		a.p("CSEL HS, R5, ZR, R5")
		for i := range 4 {
			a.zero(i)
		}
		a.p("FMOVS R5, F4")
		zero()
		a.p("B next")
		a.place("end")
	}

	a.vector("quantize256", "encodes n A256 records.", arguments{"dst x n stride", -1, false}, func() {
		a.place("block")
		a.p("MOVD R1, R8")
		a.zero(16)
		a.p("MOVD $16, R9")
		a.place("greatest")
		a.p("VLD1.P 64(R8), [V0.S4, V1.S4, V2.S4, V3.S4]")
		magnitudes(0, 3)
		umax(0, 0, 1)
		umax(2, 2, 3)
		umax(0, 0, 2)
		umax(16, 16, 0)
		a.p("SUBS $1, R9, R9")
		a.p("BNE greatest")
		a.p("MOVD R1, R10")
		a.p("MOVD R8, R1")
		test()
		// The sums of 16 codes are shifted into V6 from the top, and from its bottom into V5.
		a.p("MOVD R0, R8")
		a.p("MOVD $16, R9")
		a.place("codes")
		a.p("VLD1.P 64(R10), [V0.S4, V1.S4, V2.S4, V3.S4]")
		encode(0)
		a.p("VST1.P [V0.B16], 16(R8)")
		a.word(0x4e303800|0<<5|4, "saddlv h4, v0.16b")
		a.p("VEXT $2, V6.B16, V5.B16, V5.B16")
		a.p("VEXT $2, V4.B16, V6.B16, V6.B16")
		a.p("SUBS $1, R9, R9")
		a.p("BNE codes")
		a.p("VADDP V6.H8, V5.H8, V7.H8")
		a.p("VST1.P [V5.H8, V6.H8, V7.H8], 48(R8)")
		a.p("FMOVQ F22, (R8)")
		finish(func() {
			a.p("MOVD R0, R8")
			for range 4 {
				a.p("VST1.P [V0.B16, V1.B16, V2.B16, V3.B16], 64(R8)")
			}
			a.p("VST1.P [V0.B16, V1.B16, V2.B16], 48(R8)")
			a.p("FMOVQ F4, (R8)")
		})
	})

	a.vector("quantize32", "encodes n A32 records.", arguments{"dst x n stride", -1, false}, func() {
		a.place("block")
		a.p("VLD1.P 64(R1), [V0.S4, V1.S4, V2.S4, V3.S4]")
		a.p("VLD1.P 64(R1), [V4.S4, V5.S4, V6.S4, V7.S4]")
		for i := range 8 {
			a.neon2(0x4ea0f800, "fabs", 16+i, i)
		}
		for step := 4; step > 0; step /= 2 {
			for i := range step {
				umax(16+i, 16+i, 16+i+step)
			}
		}
		test()
		encode(0)
		encode(4)
		a.p("VMOV V4.B16, V1.B16")
		a.p("VST1 [V0.B16, V1.B16], (R0)")
		a.word(0x4e202800|0<<5|2, "saddlp v2.8h, v0.16b")
		a.word(0x4e206800|1<<5|2, "sadalp v2.8h, v1.16b")
		a.word(0x4e703800|2<<5|2, "saddlv s2, v2.8h")
		a.neon2(0x4e21d800, "scvtf", 2, 2)
		a.p("FMULS F2, F22, F2")
		a.p("FMOVS F22, %d(R0)", a32D)
		a.p("FMOVS F2, %d(R0)", a32S)
		finish(func() {
			a.p("VST1 [V0.B16, V1.B16], (R0)")
			a.p("FMOVS F4, %d(R0)", a32D)
			a.p("FMOVS F4, %d(R0)", a32S)
		})
	})
}
