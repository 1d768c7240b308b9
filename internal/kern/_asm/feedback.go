package main

// Offsets mirror kern.Feedback; kern's tests check that they agree.
const (
	offFeedX     = 0
	offFeedW     = offFeedX + 2048
	offFeedL     = offFeedW + 2048
	offFeedE     = offFeedL + 2048
	offFeedScale = offFeedE + 2048
	offFeedInv   = offFeedScale + 64
	offFeedMin   = offFeedInv + 64
	offFeedCost  = offFeedMin + 64
	offFeedU     = offFeedCost + 64 // *[32][32]float32
	offFeedD     = offFeedU + 8     // *[32]float32
	offFeedN     = offFeedD + 8     // int
	offFeedLo    = offFeedN + 8     // float32 …
	offFeedHi    = offFeedLo + 4
)

// feedback takes four columns at a time. Their weights are moved by the errors of all columns before them, which are in
// memory, and by those of each other. All sums are in the order of the columns.
func feedback(a *isa) {
	const (
		columns                      = 4
		scale, inv, min, lo, hi, sum = 0, 1, 2, 3, 4, 5
		x                            = 6 // and 7 to 9: of the four columns
		e, t, v                      = 10, 11, 12
		row                          = 4 * Groups // bytes of a row of lanes
		rowU                         = 4 * 32     // bytes of a row of U
		// Pointers: px to the columns in X, psrc to them in row 0 of U, pstep to them in D; pw walks over E and pl over U.
		before = tmp // how many columns are before
	)
	a.bcast(lo, tile, offFeedLo)
	a.bcast(hi, tile, offFeedHi)
	a.eachChunk(func() {
		for r, off := range []int{scale: offFeedScale, inv: offFeedInv, min: offFeedMin} {
			a.point(tmp, off)
			a.load(r, tmp, 0)
		}
		a.zero(sum)
		a.point(px, offFeedX)
		a.loadInt(psrc, offFeedU)
		a.loadInt(pstep, offFeedD)
		a.loadInt(cRow, offFeedN)
		a.shiftRight(cRow, columns)
		a.setInt(before, 0)
		a.loop(cRow, func() {
			for j := range columns {
				a.load(x+j, px, row*j)
			}
			a.point(pw, offFeedE)
			a.copyInt(pl, psrc)
			a.copyInt(cStep, before)
			a.unlessZero(cStep, func() {
				a.loop(cStep, func() {
					a.load(e, pw, 0)
					for j := range columns {
						a.mulBcast(t, e, pl, 4*j)
						a.add(x+j, x+j, t)
					}
					a.addImm(pw, row)
					a.addImm(pl, rowU)
				})
			})
			for j := range columns {
				a.add(v, x+j, min)
				a.mul(v, v, inv)
				clamp(a, v, lo, hi)
				a.round(v, v)
				a.store(v, px, offFeedL+row*j)
				a.mul(v, v, scale)
				a.sub(v, v, min)
				a.load(e, px, offFeedW+row*j)
				a.sub(e, e, v)
				a.store(e, px, offFeedE+row*j)
				for k := j + 1; k < columns; k++ {
					a.mulBcast(t, e, pl, rowU*j+4*k)
					a.add(x+k, x+k, t)
				}
				a.sub(v, x+j, v)
				a.mul(v, v, v)
				a.mulBcast(v, v, pstep, 4*j)
				a.add(sum, sum, v)
			}
			a.addImm(px, columns*row)
			a.addImm(psrc, 4*columns)
			a.addImm(pstep, 4*columns)
			a.addImm(before, columns)
		})
		a.point(tmp, offFeedCost)
		a.store(sum, tmp, 0)
	})
}
