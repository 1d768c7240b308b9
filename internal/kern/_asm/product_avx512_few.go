package main

import (
	"fmt"
	"slices"
)

// Few tokens, at most [vnniFormat.fewest]: codes are multiplied as they are unpacked, as with one token, with each of
// the tokens. Storing a block's codes and loading them again takes longer than multiplying them with two tokens.
//
// Registers: codes are in Z0 and Z1, sums in those of fewSums, in R13 and R14 what SI and CX are at the beginning of a
// panel, the rest is as in the direct way. Scratch has the scales of groups where it has them with many tokens, and the
// tokens' sums of minima in place of the minima.

// fewSums are the registers for sums: of the block, a register for each token, then of groups. The last eight are free
// in formats that do not keep more bits of codes there.
var fewSums = [...]int{16, 17, 18, 19, 20, 21, 22, 23, 2, 3, 4, 5, 24, 25, 26, 8, 9, 10, 11, 12, 13, 14, 15}

// fewAhead512 is how many bytes ahead weights are prefetched. On Zen 5 four tokens are 4 to 15 % slower with 8 KiB,
// most of all with Q6_K, whose blocks begin with scales that are at their end, and up to 6 % with 16 KiB. With two
// threads PREFETCHT0 is 5 % slower than NTA, and T1 17 %.
const fewAhead512 = 12 << 10

// fewest returns the greatest number of tokens that registers suffice for: Q3_K begins four groups at a time, and has
// third bits in Z8….
func (f *vnniFormat) fewest() int {
	if f.name == "Q3_K" {
		return 3
	}
	return 4
}

// few writes the subroutine for 2 to f.fewest() tokens, DX. Registers are as [vnni.operands] sets them.
func (a *vnni) few(f *vnniFormat) {
	a.begin("vnniFew"+f.name+"<>", "$0-0", "The products of few tokens.")
	a.p("MOVQ %d(AX), R12", pPanels)
	a.p("MOVQ SI, R13")
	a.p("MOVQ CX, R14")
	a.given = 2
	for n := 2; n <= f.fewest(); n++ {
		if n > 2 {
			a.place(fmt.Sprintf("few%d", n))
		}
		if n < f.fewest() {
			a.p("CMPQ DX, $%d", n)
			a.p("JNE few%d", n+1)
		}
		panel := a.label()
		a.out(n)
		a.place(panel)
		if f.groups > 0 {
			a.few256(f, n)
		} else {
			a.few32(f, n)
		}
		a.p("MOVQ R13, SI")
		a.p("MOVQ R14, CX")
		a.p("ADDQ $64, BX")
		a.p("DECQ R12")
		a.p("JNZ %s", panel)
		a.p("VZEROUPPER")
		a.p("RET")
	}
	a.given = 6
	fmt.Fprintln(&a.buf)
}

// eachFew calls emit with a block's codes, as f.codes does, and prefetches as many bytes meanwhile, in their order.
func (a *vnni) eachFew(f *vnniFormat, emit func(col, z int)) {
	fetched, done, all := 0, 0, 64
	if f.groups == 0 {
		all = 8
	}
	f.codes(a, f, func(col, z int) {
		done++
		for ; fetched < f.bytes()*done/all; fetched += 64 {
			a.p("PREFETCHNTA %d(DI)", fewAhead512+fetched)
		}
		emit(col, z)
	})
}

// few256 adds super-blocks to the results of n tokens, which wait in Out.
func (a *vnni) few256(f *vnniFormat, n int) {
	block := a.label()
	a.zero(0)
	for t := range n {
		a.p("VMOVUPS Z0, %s", outAt(t))
	}
	a.place(block)
	f.scales(a, f)
	for t := range n {
		a.zero(2 + t)
	}
	a.eachMins(f, func(i, z int) {
		for t := range n {
			a.p("VPDPWSSD.BCST %d(SI), Z%d, Z%d", a256Bytes*t+sums(f.groups)+4*i, z, 2+t)
		}
	})
	for t := range n {
		a.p("VMOVDQU64 Z%d, %d(R8)", 2+t, sMins+64*t)
	}
	narrow := f.narrow && f.groups == 16 // sums of 32 columns are scaled at once
	a.storeScales(f, narrow)
	a.sumFew(f, n, narrow)
	f.factors(a, f)
	for t := range n {
		z := fewSums[t]
		a.p("VCVTDQ2PS Z%d, Z%d", z, z)
		a.p("VCVTDQ2PS %d(R8), Z6", sMins+64*t)
		a.p("VMULPS.BCST %d(SI), Z24, Z7", a256Bytes*t+a256D)
		a.p("VMULPS.BCST %d(SI), Z25, Z27", a256Bytes*t+a256D)
		a.p("VFMADD213PS %s, Z7, Z%d", outAt(t), z)
		a.p("VFMADD231PS Z6, Z27, Z%d", z)
		a.p("VMOVUPS Z%d, %s", z, outAt(t))
	}
	a.p("ADDQ $%d, DI", f.bytes())
	a.p("ADDQ R9, SI")
	a.p("DECQ CX")
	a.p("JNZ %s", block)
}

// sumFew sets the first n of fewSums to the tokens' sums over a super-block.
func (a *vnni) sumFew(f *vnniFormat, n int, narrow bool) {
	for t := range n {
		a.zero(fewSums[t])
	}
	free := fewSums[n:]
	size := 256 / f.groups
	done, sumOf := map[int]int{}, map[int][]int{} // of a group: columns so far, a register for each token
	a.eachFew(f, func(col, z int) {
		g := col / size
		if done[g] == 0 {
			sumOf[g], free = free[:n], free[n:]
			for _, s := range sumOf[g] {
				a.zero(s)
			}
		}
		for t, s := range sumOf[g] {
			a.p("VPDPBUSD.BCST %d(SI), Z%d, Z%d", a256Bytes*t+col, z, s)
		}
		if done[g] += 4; done[g] < size {
			return
		}
		a.p("VMOVDQU64 %d(R8), Z6", sScales+64*g)
		for t, s := range sumOf[g] {
			a.addScaled(narrow, 6, s, fewSums[t])
		}
		free = slices.Concat(sumOf[g], free)
	})
}

// few32 sets the results of n tokens, which wait in registers, to the sums over blocks of 32.
func (a *vnni) few32(f *vnniFormat, n int) {
	block := a.label()
	for t := range n {
		a.zero(fewSums[t])
	}
	a.place(block)
	s := fewSums[n:]
	for t := range n {
		a.zero(s[t])
	}
	a.eachFew(f, func(col, z int) {
		for t := range n {
			a.p("VPDPBUSD.BCST %d(SI), Z%d, Z%d", a32Bytes*t+col, z, s[t])
		}
	})
	f.factors(a, f)
	for t := range n {
		a.p("VMULPS.BCST %d(SI), Z24, Z7", a32Bytes*t+a32D)
		a.p("VCVTDQ2PS Z%d, Z%d", s[t], s[t])
		a.p("VFMADD231PS Z%d, Z7, Z%d", s[t], fewSums[t])
		a.p("VFMADD231PS.BCST %d(SI), Z25, Z%d", a32Bytes*t+a32S, fewSums[t])
	}
	a.p("ADDQ $%d, DI", f.bytes())
	a.p("ADDQ R9, SI")
	a.p("DECQ CX")
	a.p("JNZ %s", block)
	for t := range n {
		a.p("VMOVUPS Z%d, %s", fewSums[t], outAt(t))
	}
}
