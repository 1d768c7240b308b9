package main

import (
	"fmt"
	"math"
	"strings"
)

// The kernels of kern.Vector. Loops take 16 elements at a time, in as many
// vectors as that needs; n, a multiple of 16, is at least 16. Registers 0…14 hold
// data, 15 is scratch space for emitters. Constants are in registers from 16 on,
// except in AVX2, which has only 16 and takes them from memory.

// constant is an index of constants.
type constant int

const (
	expLow constant = iota
	expHigh
	inf
	log2e
	magic
	minusLn2High
	minusLn2Low
	expC6
	expC5
	expC4
	expC3
	expC2
	one
	minusInf
	bf16Half
	bf16Quiet // the last that has a register; fetch the others, or take them from memory in AVX2
	noSign
	ones8
	ones16
	signs
	maxFloat
	minusGeluLinear
	minusGeluCubic
	minusGegeluSlope
	numConstants
)

const geluLinear = 1.5957691216057308 // 2√(2/π)

// constants mirrors the portable exp, which explains its part.
var constants = [numConstants]uint32{
	expLow:           math.Float32bits(-87.33654),
	expHigh:          math.Float32bits(88.72283),
	inf:              0x7f800000,
	log2e:            math.Float32bits(1.442695),
	magic:            math.Float32bits(3 << 22),
	minusLn2High:     math.Float32bits(-0.6931472),
	minusLn2Low:      math.Float32bits(1.9046542e-09),
	expC6:            math.Float32bits(0x1.6a2242p-10),
	expC5:            math.Float32bits(0x1.123b0ep-7),
	expC4:            math.Float32bits(0x1.5558f8p-5),
	expC3:            math.Float32bits(0x1.55549p-3),
	expC2:            math.Float32bits(0x1.fffffcp-2),
	one:              math.Float32bits(1),
	minusInf:         0xff800000,
	bf16Half:         0x7fff,
	bf16Quiet:        0x400000,
	noSign:           0x7fffffff,
	ones8:            0x01010101,
	ones16:           0x00010001,
	signs:            0x80000000,
	maxFloat:         0x7f7fffff,
	minusGeluLinear:  math.Float32bits(-geluLinear),
	minusGeluCubic:   math.Float32bits(-0.044715 * geluLinear),
	minusGegeluSlope: math.Float32bits(-1.702),
}

var expConstants = []constant{
	expLow, expHigh, inf, log2e, magic, minusLn2High, minusLn2Low, expC6, expC5, expC4, expC3, expC2, one,
}

// table writes the constants, each in all lanes for AVX2, once for the others.
func (a *isa) table() {
	n := 1
	if a.avx2() {
		n = 8
	}
	for i, c := range constants {
		for j := range n {
			fmt.Fprintf(&a.buf, "DATA vectorConst<>+%d(SB)/4, $0x%08x\n", 4*(n*i+j), c)
		}
	}
	fmt.Fprintf(&a.buf, "GLOBL vectorConst<>(SB), RODATA|NOPTR, $%d\n\n", 4*n*len(constants))
}

func (a *isa) avx2() bool { return a.name == "AVX2" }

// use loads constants into their registers; AVX2 does without.
func (a *isa) use(cs ...constant) {
	if a.avx2() {
		return
	}
	if a.neon() {
		a.p("MOVD $vectorConst<>(SB), R11")
	}
	for _, c := range cs {
		a.fetch(16+int(c), c)
	}
}

// fetch loads a constant into register d, after use.
func (a *isa) fetch(d int, c constant) {
	switch a.name {
	case "NEON":
		a.p("FMOVS %d(R11), F%d", 4*c, d)
		a.p("VDUP V%d.S[0], V%d.S4", d, d)
	case "AVX512":
		a.p("VBROADCASTSS vectorConst<>+%d(SB), Z%d", 4*c, d)
	default:
		a.p("VMOVUPS %s, %s", a.c(c), a.v(d))
	}
}

// c returns the operand that is a constant.
func (a *isa) c(c constant) string {
	switch a.name {
	case "NEON":
		return fmt.Sprintf("V%d.S4", 16+c)
	case "AVX512":
		return fmt.Sprintf("Z%d", 16+c)
	}
	return fmt.Sprintf("vectorConst<>+%d(SB)", 32*c)
}

// set copies a constant to register d.
func (a *isa) set(d int, c constant) {
	if a.neon() {
		a.move(d, 16+int(c))
	} else {
		a.p("VMOVUPS %s, %s", a.c(c), a.v(d))
	}
}

// opConst sets d = n op c by op or the x86 instruction of that kind.
func (a *isa) opConst(op func(d, n, m int), x86 string, d, n int, c constant) {
	if a.neon() {
		op(d, n, 16+int(c))
	} else {
		a.p("%s %s, %s, %s", x86, a.c(c), a.v(n), a.v(d))
	}
}

// addProduct sets d += n·c, rounded once.
func (a *isa) addProduct(d, n int, c constant) {
	if a.neon() {
		a.p("VFMLA %s, V%d.S4, V%d.S4", a.c(c), n, d)
	} else {
		a.p("VFMADD231PS %s, %s, %s", a.c(c), a.v(n), a.v(d))
	}
}

// addSquare sets d += n², rounded once.
func (a *isa) addSquare(d, n int) {
	if a.neon() {
		a.p("VFMLA V%d.S4, V%d.S4, V%d.S4", n, n, d)
	} else {
		a.p("VFMADD231PS %s, %s, %s", a.v(n), a.v(n), a.v(d))
	}
}

// horner sets d = d·r + c, rounded once, through t.
func (a *isa) horner(d, r int, c constant, t int) {
	if a.neon() {
		a.set(t, c)
		a.p("VFMLA V%d.S4, V%d.S4, V%d.S4", r, d, t)
		a.move(d, t)
	} else {
		a.p("VFMADD213PS %s, %s, %s", a.c(c), a.v(r), a.v(d))
	}
}

// shift shifts the lanes of d left by n bits, or right for negative n.
func (a *isa) shift(d, s, n int) {
	switch {
	case a.neon() && n > 0:
		a.p("VSHL $%d, V%d.S4, V%d.S4", n, s, d)
	case a.neon():
		a.p("VUSHR $%d, V%d.S4, V%d.S4", -n, s, d)
	case n > 0:
		a.p("VPSLLD $%d, %s, %s", n, a.v(s), a.v(d))
	default:
		a.p("VPSRLD $%d, %s, %s", -n, a.v(s), a.v(d))
	}
}

// addInt sets d = n + m as 32-bit integers.
func (a *isa) addInt(d, n, m int) {
	if a.neon() {
		a.p("VADD V%d.S4, V%d.S4, V%d.S4", m, n, d)
	} else {
		a.p("VPADDD %s, %s, %s", a.v(m), a.v(n), a.v(d))
	}
}

// exp sets p = e^x by the steps of the portable exp. r and k are scratch space, as is register 15.
func (a *isa) exp(p, x, r, k int) {
	const t = 15
	a.set(k, magic)
	a.addProduct(k, x, log2e)
	a.opConst(a.sub, "VSUBPS", p, k, magic)
	a.move(r, x)
	a.addProduct(r, p, minusLn2High)
	a.addProduct(r, p, minusLn2Low)
	a.set(p, expC6)
	for _, c := range []constant{expC5, expC4, expC3, expC2, one, one} {
		a.horner(p, r, c, t)
	}
	a.shift(k, k, 23)
	a.addInt(p, p, k)
	// Where x is above expHigh or NaN, x + ∞; where it is below expLow, 0.
	switch {
	case a.neon():
		a.neon3(0x6e20e400, "fcmge", t, 16+int(expHigh), x)
		a.add(r, x, 16+int(inf))
		a.word(0x6ee01c00|t<<16|uint32(r)<<5|uint32(p), fmt.Sprintf("bif v%d.16b, v%d.16b, v%d.16b", p, r, t))
		a.neon3(0x6ea0e400, "fcmgt", t, 16+int(expLow), x)
		a.word(0x4e601c00|t<<16|uint32(p)<<5|uint32(p), fmt.Sprintf("bic v%d.16b, v%d.16b, v%d.16b", p, p, t))
	case a.avx512():
		a.p("VCMPPS $22, %s, %s, K1", a.c(expHigh), a.v(x))
		a.p("VADDPS %s, %s, K1, %s", a.c(inf), a.v(x), a.v(p))
		a.p("VCMPPS $21, %s, %s, K1", a.c(expLow), a.v(x))
		a.p("VMOVAPS.Z %s, K1, %s", a.v(p), a.v(p))
	default:
		a.p("VCMPPS $22, %s, %s, Y15", a.c(expHigh), a.v(x))
		a.p("VADDPS %s, %s, %s", a.c(inf), a.v(x), a.v(r))
		a.p("VBLENDVPS Y15, %s, %s, %s", a.v(r), a.v(p), a.v(p))
		a.p("VCMPPS $17, %s, %s, Y15", a.c(expLow), a.v(x))
		a.p("VANDNPS %s, Y15, %s", a.v(p), a.v(p))
	}
}

// arguments names a kernel's parameters, in order. The integers and pointers come to
// be in registers r(0), r(1) and so on.
type arguments struct {
	ints  string // pointers and lengths, separated by spaces
	float int    // the register for a last float32 parameter f in all lanes; none if negative
	ret   bool   // returns a float32, from lane 0 of register 0
}

// vector writes a kernel.
func (a *isa) vector(name, doc string, args arguments, body func()) {
	a.labels = 0
	ints := strings.Fields(args.ints)
	size := 8 * len(ints)
	if args.float >= 0 {
		size += 4
	}
	ret := (size + 7) &^ 7
	if args.ret {
		size = ret + 4
	}
	a.text(name+" "+doc, name, size)
	for i, arg := range ints {
		if a.neon() {
			a.p("MOVD %s+%d(FP), %s", arg, 8*i, a.r(i))
		} else {
			a.p("MOVQ %s+%d(FP), %s", arg, 8*i, a.r(i))
		}
	}
	if args.float >= 0 {
		if a.neon() {
			a.p("FMOVS f+%d(FP), F%d", 8*len(ints), args.float)
			a.p("VDUP V%d.S[0], V%d.S4", args.float, args.float)
		} else {
			a.p("VBROADCASTSS f+%d(FP), %s", 8*len(ints), a.v(args.float))
		}
	}
	body()
	if args.ret {
		if a.neon() {
			a.p("FMOVS F0, ret+%d(FP)", ret)
		} else {
			a.p("VMOVSS X0, ret+%d(FP)", ret)
		}
	}
	if !a.neon() {
		a.p("VZEROUPPER")
	}
	a.p("RET")
	fmt.Fprintln(&a.buf)
}

// each runs body for each vector of 16 elements, part 0, 1, …, its float32 being off
// bytes after the pointers; then it moves each pointer by its step in bytes, and
// goes on until n elements are done.
func (a *isa) each(n int, pointers, steps []int, body func(part, off int)) {
	l := a.label()
	a.place(l)
	for part := range 16 / a.lanes {
		body(part, 4*a.lanes*part)
	}
	for i, p := range pointers {
		a.addImm(p, steps[i])
	}
	a.down(n, 16, l)
}

// down subtracts by from n and jumps to l unless that makes it 0.
func (a *isa) down(n, by int, l string) {
	if a.neon() {
		a.p("SUBS $%d, %s, %s", by, a.r(n), a.r(n))
		a.p("BNE %s", l)
	} else {
		a.p("SUBQ $%d, %s", by, a.r(n))
		a.p("JNZ %s", l)
	}
}

// reduce leaves in lane 0 of register 0 the 16 lanes of the registers from 0 on,
// combined by op or the x86 instruction of that kind without its suffix.
func (a *isa) reduce(op func(d, n, m int), x86 string) {
	switch {
	case a.neon():
		op(0, 0, 2)
		op(1, 1, 3)
		op(0, 0, 1)
		a.p("VEXT $8, V0.B16, V0.B16, V1.B16")
		op(0, 0, 1)
		a.p("VDUP V0.S[1], V1.S4")
		op(0, 0, 1)
		return
	case a.avx512():
		a.p("VEXTRACTF64X4 $1, Z0, Y1")
	}
	a.p("%sPS Y1, Y0, Y0", x86)
	a.p("VEXTRACTF128 $1, Y0, X1")
	a.p("%sPS X1, X0, X0", x86)
	a.p("VMOVHLPS X0, X0, X1")
	a.p("%sPS X1, X0, X0", x86)
	a.p("VMOVSHDUP X0, X1")
	a.p("%sSS X1, X0, X0", x86)
}

// vectors writes the kernels. Those for which AVX2's are as good are left out of AVX-512.
func vectors(a *isa) []byte {
	a.table()
	parts := 16 / a.lanes

	a.vector("sumSquares", "returns Σx².", arguments{"x n", -1, true}, func() {
		const x, n = 0, 1
		for i := range parts {
			a.zero(i)
		}
		a.each(n, []int{x}, []int{64}, func(part, off int) {
			a.load(4, x, off)
			a.addSquare(part, 4)
		})
		a.reduce(a.add, "VADD")
	})

	a.vector("normalize", "sets dst = x·f·w.", arguments{"dst x w n", 0, false}, func() {
		const dst, x, w, n = 0, 1, 2, 3
		a.each(n, []int{dst, x, w}, []int{64, 64, 64}, func(_, off int) {
			a.load(4, x, off)
			a.mul(4, 4, 0)
			a.mulMem(4, w, off, 5)
			a.store(4, dst, off)
		})
	})

	a.vector("sum", "returns Σx.", arguments{"x n", -1, true}, func() {
		const x, n = 0, 1
		for i := range parts {
			a.zero(i)
		}
		a.each(n, []int{x}, []int{64}, func(part, off int) {
			a.addMem(part, x, off, 4)
		})
		a.reduce(a.add, "VADD")
	})

	a.vector("center", "sets dst = x - f.", arguments{"dst x n", 0, false}, func() {
		const dst, x, n = 0, 1, 2
		a.each(n, []int{dst, x}, []int{64, 64}, func(_, off int) {
			a.load(4, x, off)
			a.sub(4, 4, 0)
			a.store(4, dst, off)
		})
	})

	a.vector("scaleMax", "sets x = f·x and returns the greatest.", arguments{"x n", 5, true}, func() {
		const x, n = 0, 1
		a.use(minusInf)
		for i := range parts {
			a.set(i, minusInf)
		}
		a.each(n, []int{x}, []int{64}, func(part, off int) {
			a.load(4, x, off)
			a.mul(4, 4, 5)
			a.store(4, x, off)
			a.max(part, part, 4)
		})
		a.reduce(a.max, "VMAX")
	})

	a.vector("expSum", "sets x = exp(x - f) and returns Σx.", arguments{"x n", 8, true}, func() {
		const x, n = 0, 1
		a.use(expConstants...)
		for i := range parts {
			a.zero(i)
		}
		a.each(n, []int{x}, []int{64}, func(part, off int) {
			a.load(4, x, off)
			a.sub(4, 4, 8)
			a.exp(5, 4, 6, 7)
			a.store(5, x, off)
			a.add(part, part, 5)
		})
		a.reduce(a.add, "VADD")
	})

	a.vector("divide", "sets x = x/f.", arguments{"x n", 0, false}, func() {
		const x, n = 0, 1
		a.each(n, []int{x}, []int{64}, func(_, off int) {
			a.load(4, x, off)
			a.div(4, 4, 0)
			a.store(4, x, off)
		})
	})

	a.vector("siluMul", "sets dst = gate/(1 + exp(-gate))·up.", arguments{"dst gate up n", -1, false}, func() {
		const dst, gate, up, n = 0, 1, 2, 3
		a.use(expConstants...)
		a.zero(0)
		a.each(n, []int{dst, gate, up}, []int{64, 64, 64}, func(_, off int) {
			a.load(1, gate, off)
			a.sub(2, 0, 1)
			a.exp(3, 2, 4, 5)
			a.opConst(a.add, "VADDPS", 3, 3, one)
			a.div(1, 1, 3)
			a.mulMem(1, up, off, 2)
			a.store(1, dst, off)
		})
	})

	a.vector("gelu", "sets dst = x/(1 + exp(-z)), z = x·(2√(2/π) + 2√(2/π)·0.044715·x²).",
		arguments{"dst x n", -1, false}, func() {
			const dst, x, n = 0, 1, 2
			const linear, cubic = 6, 7
			a.use(expConstants...)
			a.fetch(linear, minusGeluLinear)
			a.fetch(cubic, minusGeluCubic)
			a.each(n, []int{dst, x}, []int{64, 64}, func(_, off int) {
				a.load(1, x, off)
				a.mul(2, 1, 1)
				a.mul(2, 2, cubic)
				a.add(2, 2, linear)
				a.mul(2, 1, 2)
				a.exp(3, 2, 4, 5)
				a.opConst(a.add, "VADDPS", 3, 3, one)
				a.div(1, 1, 3)
				a.store(1, dst, off)
			})
		})

	// A NaN among the gates and ups is the last operand of min and max, the one that x86 returns then.
	a.vector("gegelu", "sets dst = g/(1 + exp(-1.702·g))·(l + 1), g and l being gate and up limited by f unless infinite.",
		arguments{"dst gate up n", 8, false}, func() {
			const dst, gate, up, n = 0, 1, 2, 3
			const limit, minusLimit, slope, most, sign = 8, 9, 10, 11, 12
			a.use(expConstants...)
			a.fetch(slope, minusGegeluSlope)
			a.fetch(most, maxFloat)
			a.fetch(sign, signs)
			a.zero(minusLimit)
			a.sub(minusLimit, minusLimit, limit)
			a.each(n, []int{dst, gate, up}, []int{64, 64, 64}, func(_, off int) {
				a.load(0, gate, off)
				a.min(1, limit, 0)
				a.less(most, 0)
				a.blend(1, 0)
				a.mul(2, 1, slope)
				a.exp(3, 2, 4, 5)
				a.opConst(a.add, "VADDPS", 3, 3, one)
				a.div(1, 1, 3)
				a.load(0, up, off)
				a.max(2, minusLimit, 0)
				a.min(2, limit, 2)
				a.abs(3, 0, sign)
				a.less(most, 3)
				a.blend(2, 0)
				a.opConst(a.add, "VADDPS", 2, 2, one)
				a.mul(1, 1, 2)
				a.store(1, dst, off)
			})
		})

	a.vector("sigmoid", "sets dst = 1/(1 + exp(-x)).", arguments{"dst x n", -1, false}, func() {
		const dst, x, n = 0, 1, 2
		a.use(expConstants...)
		a.zero(0)
		a.fetch(1, one)
		a.each(n, []int{dst, x}, []int{64, 64}, func(_, off int) {
			a.load(2, x, off)
			a.sub(2, 0, 2)
			a.exp(3, 2, 4, 5)
			a.add(3, 3, 1)
			a.div(3, 1, 3)
			a.store(3, dst, off)
		})
	})

	a.vector("rope", "turns the pairs (x[i], y[i]).", arguments{"x y cos sin n", -1, false}, func() {
		const x, y, cos, sin, n = 0, 1, 2, 3, 4
		a.each(n, []int{x, y, cos, sin}, []int{64, 64, 64, 64}, func(_, off int) {
			a.load(0, x, off)
			a.load(1, y, off)
			a.load(2, cos, off)
			a.load(3, sin, off)
			a.mul(4, 0, 2)
			a.mul(5, 1, 3)
			a.sub(4, 4, 5)
			a.store(4, x, off)
			a.mul(1, 1, 2)
			a.mul(0, 0, 3)
			a.add(1, 1, 0)
			a.store(1, y, off)
		})
	})

	a.vector("add", "sets dst += x.", arguments{"dst x n", -1, false}, func() {
		const dst, x, n = 0, 1, 2
		a.each(n, []int{dst, x}, []int{64, 64}, func(_, off int) {
			a.load(0, dst, off)
			a.addMem(0, x, off, 1)
			a.store(0, dst, off)
		})
	})

	a.vector("addSum", "sets dst += a + b.", arguments{"dst a b n", -1, false}, func() {
		const dst, x, y, n = 0, 1, 2, 3
		a.each(n, []int{dst, x, y}, []int{64, 64, 64}, func(_, off int) {
			a.load(0, x, off)
			a.addMem(0, y, off, 1)
			a.addMem(0, dst, off, 1)
			a.store(0, dst, off)
		})
	})

	a.vector("toF16", "rounds to float16.", arguments{"dst x n", -1, false}, func() {
		const dst, x, n = 0, 1, 2
		a.each(n, []int{dst, x}, []int{32, 64}, func(part, off int) {
			a.load(part, x, off)
			switch {
			case !a.neon():
				a.p("VCVTPS2PH $0, %s, %d(%s)", a.v(part), off/2, a.r(dst))
			case part%2 == 0:
				a.word(0x0e216800|uint32(part)<<5|4, fmt.Sprintf("fcvtn v4.4h, v%d.4s", part))
			default:
				a.word(0x4e216800|uint32(part)<<5|4, fmt.Sprintf("fcvtn2 v4.8h, v%d.4s", part))
				a.store(4, dst, off/2-8)
			}
		})
	})

	a.vector("toBF16", "rounds to bfloat16.", arguments{"dst x n", -1, false}, func() {
		const dst, x, n = 0, 1, 2
		a.use(bf16Half, bf16Quiet)
		a.each(n, []int{dst, x}, []int{32, 64}, func(part, off int) {
			// The upper halves of u + 0x7fff + bit 16 of u; of a NaN, u with the quiet bit.
			const u, t = 4, 5
			a.load(u, x, off)
			a.shift(t, u, 15)
			a.shift(t, t, -31)
			a.addInt(t, t, u)
			switch {
			case a.neon():
				a.addInt(part, t, 16+int(bf16Half))
				a.neon3(0x4e20e400, "fcmeq", t, u, u)
				a.p("VORR %s, V%d.B16, V%d.B16", strings.Replace(a.c(bf16Quiet), "S4", "B16", 1), u, u)
				a.word(0x6ee01c00|t<<16|u<<5|uint32(part), fmt.Sprintf("bif v%d.16b, v%d.16b, v%d.16b", part, u, t))
				if part%2 == 1 {
					a.p("VUZP2 V%d.H8, V%d.H8, V%d.H8", part, part-1, part)
					a.store(part, dst, off/2-8)
				}
			case a.avx512():
				a.p("VPADDD %s, Z5, Z5", a.c(bf16Half))
				a.p("VCMPPS $3, Z4, Z4, K1")
				a.p("VPORD %s, Z4, K1, Z5", a.c(bf16Quiet))
				a.p("VPSRLD $16, Z5, Z5")
				a.p("VPMOVDW Z5, %d(%s)", off/2, a.r(dst))
			default:
				a.p("VPADDD %s, Y5, Y5", a.c(bf16Half))
				a.p("VCMPPS $3, Y4, Y4, Y6")
				a.p("VPOR %s, Y4, Y4", a.c(bf16Quiet))
				a.p("VBLENDVPS Y6, Y4, Y5, Y5")
				a.p("VPSRLD $16, Y5, Y%d", part)
				if part == 1 {
					a.p("VPACKUSDW Y1, Y0, Y0")
					a.p("VPERMQ $0xd8, Y0, Y0")
					a.p("VMOVDQU Y0, (%s)", a.r(dst))
				}
			}
		})
	})

	a.vector("expandF16", "converts to float32.", arguments{"dst x n", -1, false}, func() {
		const dst, x, n = 0, 1, 2
		a.each(n, []int{dst, x}, []int{64, 32}, func(part, off int) {
			switch {
			case !a.neon():
				a.p("VCVTPH2PS %d(%s), %s", off/2, a.r(x), a.v(0))
			case part%2 == 0:
				a.load(1, x, off/2)
				a.word(0x0e217800|1<<5, "fcvtl v0.4s, v1.4h")
			default:
				a.word(0x4e217800|1<<5, "fcvtl2 v0.4s, v1.8h")
			}
			a.store(0, dst, off)
		})
	})

	a.vector("expandPairs", "takes the halves of units apart.", arguments{"dst x n", -1, false}, func() {
		const dst, x, n = 0, 1, 2
		a.each(n, []int{dst, x}, []int{128, 64}, func(part, off int) {
			a.load(0, x, off)
			a.shift(1, 0, 16)
			a.shift(0, 0, -16)
			a.shift(0, 0, 16)
			a.store(1, dst, off)
			a.store(0, dst, 64+off)
		})
	})

	a.vector("scaleLanes", "sets dst[16k+i] = q[16k+i]·scale[i].", arguments{"dst q scale n", -1, false}, func() {
		const dst, q, scale, n = 0, 1, 2, 3
		for i := range parts {
			a.load(i, scale, 4*a.lanes*i)
		}
		a.each(n, []int{dst, q}, []int{64, 16}, func(part, off int) {
			a.widen(4, q, part)
			a.mul(4, 4, part)
			a.store(4, dst, off)
		})
	})

	a.vector("scaleRows", "sets dst[16k+i] = q[16k+i]·scale[k].", arguments{"dst q scale n", -1, false}, func() {
		const dst, q, scale, n = 0, 1, 2, 3
		a.each(n, []int{dst, q, scale}, []int{64, 16, 4}, func(part, off int) {
			if part == 0 {
				a.bcast(0, scale, 0)
			}
			a.widen(4, q, part)
			a.mul(4, 4, 0)
			a.store(4, dst, off)
		})
	})

	switch {
	case a.neon():
		a.quantizeNEON()
	case a.avx2():
		a.quantizeAVX2()
	}
	return a.buf.Bytes()
}

// widen sets d to vector part of the 16 int8 at base, as float32. NEON loads all 16
// into register 8 at part 0.
func (a *isa) widen(d, base, part int) {
	if !a.neon() {
		a.p("VPMOVSXBD %d(%s), %s", a.lanes*part, a.r(base), a.v(d))
		a.p("VCVTDQ2PS %s, %s", a.v(d), a.v(d))
		return
	}
	switch part {
	case 0:
		a.load(8, base, 0)
		a.word(0x0f08a400|8<<5|9, "sxtl v9.8h, v8.8b")
	case 2:
		a.word(0x4f08a400|8<<5|9, "sxtl2 v9.8h, v8.16b")
	}
	if part%2 == 0 {
		a.word(0x0f10a400|9<<5|uint32(d), fmt.Sprintf("sxtl v%d.4s, v9.4h", d))
	} else {
		a.word(0x4f10a400|9<<5|uint32(d), fmt.Sprintf("sxtl2 v%d.4s, v9.8h", d))
	}
	a.neon2(0x4e21d800, "scvtf", d, d)
}
