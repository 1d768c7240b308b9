package main

// Groups and the offsets mirror kern.Tile; kern's tests check that they agree.
const (
	Groups = 16

	offX     = 0
	offW     = offX + 2048
	offL     = offW + 2048
	offSrc   = offL + 2048
	offCodes = offSrc + 2048
	offScale = offCodes + 2048
	offMin   = offScale + 64
	offSumW  = offMin + 64
	offSumX  = offSumW + 64
	offSumL  = offSumX + 64
	offSumXL = offSumL + 64
	offSumL2 = offSumXL + 64
	offTable = offSumL2 + 64  // [32]float32
	offSteps = offTable + 128 // [40]float32
	offN     = offSteps + 160 // int
	offNStep = offN + 8       // int
	offLo    = offNStep + 8   // float32 …
	offHi    = offLo + 4
	offC     = offHi + 4
	offInvN  = offC + 4
	offTiny  = offInvN + 4
	offSigns = offTiny + 4
	offOne   = offSigns + 4
)

func kernels(a *isa) {
	a.function("weightAbs", "W = C·rms + |X|, rms over each group.", func() { weightAbs(a) })
	a.function("weightSquare", "W = X².", func() { weightSquare(a) })
	a.function("minMax", "Min and Scale = smallest and largest X of each group.", func() { minMax(a) })
	a.function("absMax", "Scale = the X of largest magnitude of each group, with its sign; the first of equals.",
		func() { absMax(a) })
	a.function("scaleMin", "Scale and Min by candidate search under the weighted squared error.",
		func() { scaleMin(a, false) })
	a.function("scaleMinAbs", "Scale and Min by candidate search under the weighted absolute error.",
		func() { scaleMin(a, true) })
	a.function("scaleSymmetric", "Scale by candidate search, codes Lo…Hi.", func() { scaleSymmetric(a) })
	a.function("scaleDescent", "Scale by coordinate descent over the codes Lo…Hi.", func() { scaleDescent(a) })
	a.function("scaleTable", "Scale by candidate search for the codes of Table.", func() { scaleTable(a) })
	a.function("codeSums", "SumW, SumX, SumL, SumXL and SumL2 for the codes round((X + Min) / Scale) in Lo…Hi.",
		func() { codeSums(a) })
	a.function("encodeRound", "Codes = round((Src + Min) / Scale) in Lo…Hi, plus C.", func() { encode(a, encodeRound) })
	a.function("encodeFloor", "Codes = floor((Src - Min) · Scale + C), at most Hi.", func() { encode(a, encodeFloor) })
	a.function("encodeAway", "Codes = Src · Scale, rounded with halves away from zero.",
		func() { encode(a, encodeAway) })
	a.function("encodeTable", "Codes = index of the Table entry nearest to Src · Scale.",
		func() { encode(a, encodeTable) })
	a.function("feedback", "L, E and Cost of 16 groups of N columns, whose errors move the columns after them.",
		func() { feedback(a) })
}

func weightAbs(a *isa) {
	const sum, x, signs, c = 0, 1, 2, 3
	a.bcast(signs, tile, offSigns)
	a.bcast(c, tile, offC)
	a.eachChunk(func() {
		a.zero(sum)
		a.point(px, offX)
		a.eachRow([]int{px}, func() {
			a.load(x, px, 0)
			a.mul(x, x, x)
			a.add(sum, sum, x)
		})
		a.bcast(x, tile, offInvN)
		a.mul(sum, sum, x)
		a.sqrt(sum, sum)
		a.mul(sum, sum, c)
		a.point(px, offX)
		a.point(pw, offW)
		a.eachRow([]int{px, pw}, func() {
			a.load(x, px, 0)
			a.abs(x, x, signs)
			a.add(x, sum, x)
			a.store(x, pw, 0)
		})
	})
}

func weightSquare(a *isa) {
	const x = 0
	a.eachChunk(func() {
		a.point(px, offX)
		a.point(pw, offW)
		a.eachRow([]int{px, pw}, func() {
			a.load(x, px, 0)
			a.mul(x, x, x)
			a.store(x, pw, 0)
		})
	})
}

func minMax(a *isa) {
	const lo, hi, x = 0, 1, 2
	a.eachChunk(func() {
		a.point(px, offX)
		a.load(lo, px, 0)
		a.load(hi, px, 0)
		a.eachRow([]int{px}, func() {
			a.load(x, px, 0)
			a.min(lo, lo, x)
			a.max(hi, hi, x)
		})
		a.point(tmp, offMin)
		a.store(lo, tmp, 0)
		a.point(tmp, offScale)
		a.store(hi, tmp, 0)
	})
}

// signedMax leaves in top the value of largest magnitude of each lane; amax, x
// and t are scratch space, signs holds -0.
func signedMax(a *isa, top, amax, x, t, signs int) {
	a.zero(top)
	a.zero(amax)
	a.point(px, offX)
	a.eachRow([]int{px}, func() {
		a.load(x, px, 0)
		a.abs(t, x, signs)
		a.less(amax, t)
		a.blend(amax, t)
		a.blend(top, x)
	})
}

func absMax(a *isa) {
	const top, amax, x, t, signs = 0, 1, 2, 3, 4
	a.bcast(signs, tile, offSigns)
	a.eachChunk(func() {
		signedMax(a, top, amax, x, t, signs)
		a.point(tmp, offScale)
		a.store(top, tmp, 0)
	})
}

// inverse sets inv = 1/v where mag ≥ Tiny and 0 elsewhere; t is scratch space.
func inverse(a *isa, inv, v, mag, t int) {
	a.bcast(inv, tile, offOne)
	a.div(inv, inv, v)
	a.bcast(t, tile, offTiny)
	a.less(mag, t)
	a.zero(t)
	a.blend(inv, t)
}

// scaleMin searches y = scale·l + min, min ≤ 0, l in 0…Hi. For each candidate
// factor f of Steps, l = round(f/(highest - min)·(x - min)), min being the best so
// far, gives codes, for which the weighted least squares scale and min follow in
// closed form; the pair with the least error, evaluated directly, wins. A pair
// that is not finite has an error that compares as not smaller, so it never wins.
func scaleMin(a *isa, absolute bool) {
	const (
		highest, sumW, sumX, best, scale, min, hi, zero = 0, 1, 2, 3, 4, 5, 6, 7
		f, sumL, sumL2, sumXL                           = 8, 9, 10, 11
		x, l, t                                         = 12, 13, 14
	)
	// err adds this row's weighted error for the codes in l.
	err := func(sum, s, m int) {
		a.mul(l, l, s)
		a.add(l, l, m)
		a.subMem(l, px, 0, t)
		if absolute {
			a.bcast(t, tile, offSigns)
			a.abs(l, l, t)
		} else {
			a.mul(l, l, l)
		}
		a.mulMem(l, pw, 0, t)
		a.add(sum, sum, l)
	}
	// codes sets l to the codes for the values in x.
	codes := func() {
		a.sub(l, x, min)
		a.mul(l, l, f)
		a.round(l, l)
		a.max(l, l, zero)
		a.min(l, l, hi)
	}
	// factor sets f = f/(highest - min), 0 where that span counts as zero.
	factor := func() {
		a.sub(t, highest, min)
		a.div(f, f, t)
		a.bcast(l, tile, offTiny)
		a.less(t, l)
		a.blend(f, zero)
	}
	a.bcast(hi, tile, offHi)
	a.zero(zero)
	a.eachChunk(func() {
		a.zero(min)
		a.point(px, offX)
		a.load(highest, px, 0)
		a.zero(sumW)
		a.zero(sumX)
		a.point(pw, offW)
		a.eachRow([]int{px, pw}, func() {
			a.load(x, px, 0)
			a.load(t, pw, 0)
			a.min(min, min, x)
			a.max(highest, highest, x)
			a.add(sumW, sumW, t)
			a.mul(t, t, x)
			a.add(sumX, sumX, t)
		})
		a.point(tmp, offSumW)
		a.store(sumW, tmp, 0)

		a.move(f, hi)
		factor() // leaves the mask set where the span counts as zero, the span in t
		a.div(scale, t, hi)
		a.blend(scale, zero)
		a.zero(best)
		a.point(px, offX)
		a.point(pw, offW)
		a.eachRow([]int{px, pw}, func() {
			a.load(x, px, 0)
			codes()
			err(best, scale, min)
		})

		a.pointAt(pstep, offSteps)
		a.loadInt(cStep, offNStep)
		a.loop(cStep, func() {
			a.bcast(f, pstep, 0)
			a.addImm(pstep, 4)
			factor()
			a.zero(sumL)
			a.zero(sumL2)
			a.zero(sumXL)
			a.point(px, offX)
			a.point(pw, offW)
			a.point(pl, offL)
			a.eachRow([]int{px, pw, pl}, func() {
				a.load(x, px, 0)
				codes()
				a.store(l, pl, 0)
				a.load(t, pw, 0)
				a.mul(t, t, l)
				a.add(sumL, sumL, t)
				a.mul(x, x, t)
				a.add(sumXL, sumXL, x)
				a.mul(t, t, l)
				a.add(sumL2, sumL2, t)
			})
			// x = scale = (sumW·sumXL - sumX·sumL)/D, l = min = (sumL2·sumX - sumL·sumXL)/D,
			// D = sumW·sumL2 - sumL².
			a.mul(t, sumW, sumL2)
			a.mul(x, sumL, sumL)
			a.sub(t, t, x)
			a.mul(x, sumW, sumXL)
			a.mul(l, sumX, sumL)
			a.sub(x, x, l)
			a.div(x, x, t)
			a.mul(l, sumL2, sumX)
			a.mul(f, sumL, sumXL)
			a.sub(l, l, f)
			a.div(l, l, t)
			// A positive min is not allowed: then min = 0 and scale = sumXL/sumL2.
			a.less(zero, l)
			a.div(f, sumXL, sumL2)
			a.blend(x, f)
			a.blend(l, zero)
			a.move(sumL, x)
			a.move(sumL2, l)
			a.zero(sumXL)
			a.point(px, offX)
			a.point(pw, offW)
			a.point(pl, offL)
			a.eachRow([]int{px, pw, pl}, func() {
				a.load(l, pl, 0)
				err(sumXL, sumL, sumL2)
			})
			a.less(sumXL, best)
			a.andLess(zero, sumL, t)
			a.blend(best, sumXL)
			a.blend(scale, sumL)
			a.blend(min, sumL2)
		})
		a.point(tmp, offScale)
		a.store(scale, tmp, 0)
		a.point(tmp, offMin)
		a.store(min, tmp, 0)
	})
}

// clamp limits l to the values in lo and hi.
func clamp(a *isa, l, lo, hi int) {
	a.max(l, l, lo)
	a.min(l, l, hi)
}

// searchScale searches y = scale·l. Each candidate f of Steps maps the value of
// largest magnitude to f, and toCode then turns the value in l into its code,
// with t, u and s as scratch space. The least squares scale for the codes is
// sumLX/sumL2 and lowers the error by sumLX²/sumL2. Registers 4 and 5 are toCode's.
func searchScale(a *isa, toCode func(l, t, u, s int)) {
	const (
		top, inv, best, scale = 0, 1, 2, 3
		f, sumLX, sumL2, sumW = 6, 7, 8, 9
		x, l, t, u, s         = 10, 11, 12, 13, 14
	)
	a.eachChunk(func() {
		a.bcast(l, tile, offSigns)
		signedMax(a, top, u, x, t, l)
		inverse(a, inv, top, u, t)
		a.zero(best)
		a.zero(scale)
		a.zero(sumW)
		a.point(pw, offW)
		a.eachRow([]int{pw}, func() {
			a.addMem(sumW, pw, 0, t)
		})
		a.point(tmp, offSumW)
		a.store(sumW, tmp, 0)
		a.pointAt(pstep, offSteps)
		a.loadInt(cStep, offNStep)
		a.loop(cStep, func() {
			a.bcast(f, pstep, 0)
			a.addImm(pstep, 4)
			a.mul(f, f, inv)
			a.zero(sumLX)
			a.zero(sumL2)
			a.point(px, offX)
			a.point(pw, offW)
			a.eachRow([]int{px, pw}, func() {
				a.load(x, px, 0)
				a.mul(l, x, f)
				toCode(l, t, u, s)
				a.load(t, pw, 0)
				a.mul(t, t, l)
				a.mul(x, x, t)
				a.add(sumLX, sumLX, x)
				a.mul(t, t, l)
				a.add(sumL2, sumL2, t)
			})
			better(a, best, scale, sumLX, sumL2, x, l, t)
		})
		a.point(tmp, offScale)
		a.store(scale, tmp, 0)
	})
}

// scaleSymmetric searches with the codes Lo…Hi.
func scaleSymmetric(a *isa) {
	const lo, hi = 4, 5
	a.bcast(lo, tile, offLo)
	a.bcast(hi, tile, offHi)
	searchScale(a, func(l, _, _, _ int) {
		a.round(l, l)
		clamp(a, l, lo, hi)
	})
}

// scaleTable searches with the codes of Table.
func scaleTable(a *isa) {
	const v = 4
	searchScale(a, func(l, t, u, s int) {
		a.move(v, l)
		nearest(a, l, v, t, u, s)
	})
}

// better takes scale = sumLX/sumL2 where sumL2 > 0 and sumLX² > best·sumL2,
// best being scale·sumLX so far. The registers x, l and t are scratch space.
func better(a *isa, best, scale, sumLX, sumL2, x, l, t int) {
	a.div(x, sumLX, sumL2)
	a.mul(l, best, sumL2)
	a.mul(t, sumLX, sumLX)
	a.less(l, t)
	a.zero(t)
	a.andLess(t, sumL2, l)
	a.blend(scale, x)
	a.mul(x, x, sumLX)
	a.blend(best, x)
}

// scaleDescent starts from l = round(Steps[0]/top · x) and gives each l in turn the
// value that is best with the others held, five times over. Tile.L holds the codes.
func scaleDescent(a *isa) {
	const (
		top, inv, lo, hi, sumLX, sumL2 = 0, 1, 2, 3, 4, 5
		x, w, l, lx, l2, nl, nlx, nl2  = 6, 7, 8, 9, 10, 11, 12, 13
		t                              = 14
	)
	a.bcast(lo, tile, offLo)
	a.bcast(hi, tile, offHi)
	a.eachChunk(func() {
		a.bcast(l, tile, offSigns)
		signedMax(a, top, w, x, t, l)
		inverse(a, inv, top, w, t)
		a.bcast(t, tile, offSteps)
		a.mul(inv, inv, t)
		a.zero(sumLX)
		a.zero(sumL2)
		a.point(px, offX)
		a.point(pw, offW)
		a.point(pl, offL)
		a.eachRow([]int{px, pw, pl}, func() {
			a.load(x, px, 0)
			a.mul(l, x, inv)
			a.round(l, l)
			clamp(a, l, lo, hi)
			a.store(l, pl, 0)
			a.load(w, pw, 0)
			a.mul(w, w, l)
			a.mul(x, x, w)
			a.add(sumLX, sumLX, x)
			a.mul(w, w, l)
			a.add(sumL2, sumL2, w)
		})
		a.setInt(cStep, 5)
		a.loop(cStep, func() {
			a.point(px, offX)
			a.point(pw, offW)
			a.point(pl, offL)
			a.eachRow([]int{px, pw, pl}, func() {
				a.load(x, px, 0)
				a.load(w, pw, 0)
				a.load(l, pl, 0)
				// lx, l2: the sums without this element.
				a.mul(t, w, l)
				a.mul(lx, t, x)
				a.sub(lx, sumLX, lx)
				a.mul(l2, t, l)
				a.sub(l2, sumL2, l2)
				a.mul(nl, x, l2)
				a.div(nl, nl, lx)
				a.round(nl, nl)
				clamp(a, nl, lo, hi)
				a.mul(t, w, nl)
				a.mul(nlx, t, x)
				a.add(nlx, lx, nlx)
				a.mul(nl2, t, nl)
				a.add(nl2, l2, nl2)
				// Accept where lx > 0, nl2 > 0 and nlx²·sumL2 > sumLX²·nl2.
				a.mul(w, nlx, nlx)
				a.mul(w, w, sumL2)
				a.mul(x, sumLX, sumLX)
				a.mul(x, x, nl2)
				a.less(x, w)
				a.zero(t)
				a.andLess(t, lx, w)
				a.andLess(t, nl2, w)
				a.blend(l, nl)
				a.blend(sumLX, nlx)
				a.blend(sumL2, nl2)
				a.store(l, pl, 0)
			})
		})
		// Scale = sumLX/sumL2, or 0 where sumL2 is 0.
		a.zero(x)
		a.div(t, sumLX, sumL2)
		a.less(x, sumL2)
		a.blend(x, t)
		a.point(tmp, offScale)
		a.store(x, tmp, 0)
	})
}

func codeSums(a *isa) {
	const (
		scale, min, lo, hi             = 0, 1, 2, 3
		sumW, sumX, sumL, sumXL, sumL2 = 4, 5, 6, 7, 8
		x, l, w                        = 9, 10, 11
	)
	a.bcast(lo, tile, offLo)
	a.bcast(hi, tile, offHi)
	a.eachChunk(func() {
		a.point(tmp, offScale)
		a.load(scale, tmp, 0)
		a.point(tmp, offMin)
		a.load(min, tmp, 0)
		for _, sum := range []int{sumW, sumX, sumL, sumXL, sumL2} {
			a.zero(sum)
		}
		a.point(px, offX)
		a.point(pw, offW)
		a.eachRow([]int{px, pw}, func() {
			a.load(x, px, 0)
			a.load(w, pw, 0)
			a.add(l, x, min)
			a.div(l, l, scale)
			clamp(a, l, lo, hi)
			a.round(l, l)
			a.add(sumW, sumW, w)
			a.mul(x, x, w)
			a.add(sumX, sumX, x)
			a.load(x, px, 0)
			a.mul(w, w, l)
			a.add(sumL, sumL, w)
			a.mul(x, x, w)
			a.add(sumXL, sumXL, x)
			a.mul(w, w, l)
			a.add(sumL2, sumL2, w)
		})
		a.point(tmp, offSumW)
		a.store(sumW, tmp, 0)
		a.point(tmp, offSumX)
		a.store(sumX, tmp, 0)
		a.point(tmp, offSumL)
		a.store(sumL, tmp, 0)
		a.point(tmp, offSumXL)
		a.store(sumXL, tmp, 0)
		a.point(tmp, offSumL2)
		a.store(sumL2, tmp, 0)
	})
}

// nearest sets q to the code value nearest to v: the lowest, Table[0], plus the
// step Table[k] for each midpoint Table[16+k] that v reaches, k = 1…15.
// t, u, s are scratch space.
func nearest(a *isa, q, v, t, u, s int) {
	a.bcast(q, tile, offTable)
	for k := 1; k < 16; k++ {
		a.bcast(t, tile, offTable+64+4*k)
		a.bcast(s, tile, offTable+4*k)
		a.addWhereLessEq(q, s, t, v, u)
	}
}

const (
	encodeRound = iota
	encodeFloor
	encodeAway
	encodeTable
)

// encode walks over Src in its natural order: N elements for each of the 16 groups.
func encode(a *isa, mode int) {
	const scale, min, lo, hi, c, x, t, u, s, one = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
	a.bcast(lo, tile, offLo)
	a.bcast(hi, tile, offHi)
	a.bcast(c, tile, offC)
	a.bcast(one, tile, offOne)
	a.pointAt(psrc, offSrc)
	a.pointAt(pdst, offCodes)
	a.setInt(lane, 0)
	a.setInt(cLane, Groups)
	a.loop(cLane, func() {
		a.point(tmp, offScale)
		a.bcast(scale, tmp, 0)
		a.point(tmp, offMin)
		a.bcast(min, tmp, 0)
		a.loadInt(cRow, offN)
		a.shiftRight(cRow, a.lanes)
		a.loop(cRow, func() {
			a.load(x, psrc, 0)
			switch mode {
			case encodeRound:
				a.add(x, x, min)
				a.div(x, x, scale)
				a.max(x, x, lo)
				a.min(x, x, hi)
				a.round(x, x)
				a.add(x, x, c)
			case encodeFloor:
				a.sub(x, x, min)
				a.mul(x, x, scale)
				a.add(x, x, c)
				a.floor(x, x)
				a.min(x, x, hi)
			case encodeAway:
				// floor(|v|) + 1 where the fraction is ≥ ½, with v's sign.
				a.mul(x, x, scale)
				a.bcast(t, tile, offSigns)
				a.abs(t, x, t)
				a.floor(u, t)
				a.sub(t, t, u)
				a.addWhereLessEq(u, one, c, t, s)
				a.zero(s)
				a.sub(t, s, u)
				a.less(x, s)
				a.move(x, u)
				a.blend(x, t)
			case encodeTable:
				a.mul(x, x, scale)
				a.zero(u)
				for k := 1; k < 16; k++ {
					a.bcast(t, tile, offTable+64+4*k)
					a.addWhereLessEq(u, one, t, x, s)
				}
				a.move(x, u)
			}
			a.toInt(x, x)
			a.store(x, pdst, 0)
			a.addImm(psrc, 4*a.lanes)
			a.addImm(pdst, 4*a.lanes)
		})
		a.addImm(lane, 4)
	})
}
