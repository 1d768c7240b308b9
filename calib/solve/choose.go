package solve

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/quant"
)

// noLimit is a limit that every cost is below.
const noLimit = math.MaxFloat32

// setting is what a group's codes are multiplied with.
type setting struct {
	scale, min int8
	d, dmin    float32
}

// factors returns what a code is multiplied with, and what is subtracted then.
func (s *setting) factors() (scale, min float32) {
	return s.d * float32(s.scale), s.dmin * float32(s.min)
}

// chooser looks for the scales, minimums and codes of the groups that some rows have at the same columns, each for
// itself; a kernel tries a setting of each row at once.
type chooser struct {
	*tile
	kernel kern.Feedback
	g      *group
	at     int // column
	rows   []int
	list   [kern.Groups]int // memory for rows
	// Of each row: weights, and the same moved by the errors of columns before the group.
	w, x [kern.Groups]vector
	// The least cost so far, or a limit, and whether anything cost less; that setting and its codes.
	limit [kern.Groups]float32
	found [kern.Groups]bool
	taken [kern.Groups]setting
	codes [kern.Groups][maxGroup]uint8
	// The setting on trial, and whether there is one; where steps are from, and whether one has helped.
	trial  [kern.Groups]setting
	tried  [kern.Groups]bool
	from   [kern.Groups]setting
	better [kern.Groups]bool
}

// choose looks from the settings that the groups of rows, at most kern.Groups, have at a column by small steps for the
// ones that leave the least cost with the feedback in g, and takes those that cost less than limit. w, x and limit are
// set before; found says which rows have others.
func (c *chooser) choose(g *group, at int, rows []int) {
	c.g, c.at, c.rows = g, at, rows
	if c.levels.uniform {
		c.load()
	}
	for i, r := range c.rows {
		k := r*c.Cols + c.at
		gi, bi := k/c.geo.Group, k/c.block
		c.taken[i] = setting{c.scale[gi], c.min[gi], c.d[bi], c.dmin[bi]}
		c.trial[i], c.tried[i], c.found[i] = c.taken[i], true, false
	}
	c.try()
	if c.block == c.geo.Group {
		c.climb32()
	} else {
		c.climb()
	}
	for i, r := range c.rows {
		if !c.found[i] {
			continue
		}
		k := r*c.Cols + c.at
		gi, bi, s := k/c.geo.Group, k/c.block, &c.taken[i]
		c.scale[gi], c.min[gi], c.d[bi], c.dmin[bi] = s.scale, s.min, s.d, s.dmin
		copy(c.tile.codes[k:k+c.geo.Group], c.codes[i][:])
	}
}

// load lays the rows out for the kernel.
func (c *chooser) load() {
	f, l := &c.kernel, c.levels
	f.U, f.D, f.N = (*[maxGroup][maxGroup]float32)(&c.g.u), &c.g.d, int64(c.g.n)
	f.Lo, f.Hi = l.lo, l.hi
	for i := range c.rows {
		for k := range c.g.n {
			f.W[kern.Groups*k+i], f.X[kern.Groups*k+i] = c.w[i][k], c.x[i][k]
		}
	}
}

// try finds the codes of the settings on trial, and takes those that cost less than the limit.
func (c *chooser) try() {
	if !c.levels.uniform {
		c.tryEach()
		return
	}
	f := &c.kernel
	for i := range c.rows {
		f.Scale[i], f.Min[i] = c.trial[i].factors()
		f.Inv[i] = floats.InverseOrZero(f.Scale[i])
	}
	kern.Best().Feedback(f)
	for i := range c.rows {
		if c.tried[i] && f.Cost[i] < c.limit[i] {
			c.take(i, f.Cost[i])
			for k := range c.g.n {
				c.codes[i][k] = uint8(f.L[kern.Groups*k+i] - f.Lo)
			}
		}
	}
}

// tryEach is try for types whose levels no kernel finds.
func (c *chooser) tryEach() {
	var codes [maxGroup]uint8
	for i := range c.rows {
		if !c.tried[i] {
			continue
		}
		scale, min := c.trial[i].factors()
		cost := c.g.feedback(c.levels, &codes, &c.w[i], &c.x[i], scale, min, c.limit[i])
		if cost < c.limit[i] {
			c.take(i, cost)
			c.codes[i] = codes
		}
	}
}

func (c *chooser) take(i int, cost float32) {
	c.limit[i], c.taken[i], c.found[i], c.better[i] = cost, c.trial[i], true, true
}

// climb moves the integer scales and minimums by one step.
func (c *chooser) climb() {
	step := 1
	if c.geo.OddScale {
		step = 2
	}
	for i := range c.rows {
		c.better[i] = c.taken[i].d != 0 || c.taken[i].dmin != 0
	}
	for range climbs {
		var climbing [kern.Groups]bool
		for i := range c.rows {
			climbing[i], c.from[i], c.better[i] = c.better[i], c.taken[i], false
		}
		for ds := -step; ds <= step; ds += step {
			for dm := -1; dm <= 1; dm++ {
				c.step(&climbing, ds, dm)
			}
		}
	}
}

// step tries settings that are a step away.
func (c *chooser) step(climbing *[kern.Groups]bool, ds, dm int) {
	if ds == 0 && dm == 0 {
		return
	}
	any := false
	for i := range c.rows {
		s := c.from[i]
		scale, min := int(s.scale)+ds, int(s.min)+dm
		c.tried[i] = climbing[i] && scale >= c.geo.ScaleLo && scale <= c.geo.ScaleHi &&
			min >= c.geo.MinLo && min <= c.geo.MinHi
		if c.tried[i] {
			s.scale, s.min = int8(scale), int8(min)
			c.trial[i], any = s, true
		}
	}
	if any {
		c.try()
	}
}

// climbs is the most steps of a climb. One takes most of the gain, and two or more differ by less than 1 %: for Q4_K
// random layers keep 0.397 of the encoder's error without, 0.324 with one, 0.322 with two, 0.323 with three.
const climbs = 3

// steps32 are the steps of a search for the float16 scale d of a block of one group, as shares of it. A step of 0.06
// moves the outermost values of a type of 4 bits, outermost times d, by 0.48 d, half the distance of two values; the
// others by a quarter and an eighth of it. With none, one, two and three of them, error feedback and refinement of
// random layers leave 0.338, 0.308, 0.297 and 0.292 of the encoder's error for Q4_0, and 0.473, 0.449, 0.420 and
// 0.389 for Q4_1. The numbers are part of what a method's bytes are.
var steps32 = [...]float32{0.06, 0.03, 0.015}

// outermost is the number of steps of d from the middle of a type of 4 bits to its end. A minimum moves by as
// much as a change of d by the same share moves the outermost value.
const outermost = 8

// climb32 moves the scale and the minimum of blocks of one group by smaller and smaller shares.
func (c *chooser) climb32() {
	for _, h := range steps32 {
		c.steps32(h, func(s *setting, h float32) { s.d = quant.RoundF16(s.d + float32(h*s.d)) })
		if c.geo.MinHi > 0 {
			c.steps32(h, func(s *setting, h float32) { s.dmin = quant.RoundF16(s.dmin + float32(outermost*h*s.d)) })
		}
	}
}

// steps32 tries settings that are a share away, down and up.
func (c *chooser) steps32(share float32, move func(s *setting, h float32)) {
	c.from = c.taken
	for _, h := range [...]float32{-share, share} {
		for i := range c.rows {
			c.trial[i], c.tried[i] = c.from[i], true
			move(&c.trial[i], h)
		}
		c.try()
	}
}
