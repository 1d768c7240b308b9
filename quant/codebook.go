package quant

import (
	"fmt"
	"sync/atomic"

	"github.com/phi3conv/phi3conv/internal/grid"
)

// Codebook says which codes successive weights can have together where one code stands for several: the levels of
// their magnitudes are a point of a grid, and signs are free or, of every eight, an even number is negative.
type Codebook struct {
	Dim  int  // weights of a point, 4 or 8
	Even bool // of the signs of eight weights an even number is negative

	levels    int        // of a magnitude
	magnitude []float32  // by level
	level     [512]uint8 // of sixteenths of a magnitude, rounded up
	grid      *grid.Grid
	values    []float32 // magnitudes, Dim of each point
	point     []int16   // by key: the number of the point, -1 where there is none
	near      []atomic.Pointer[[]uint16]
	numbers   []uint16 // 0, 1, 2, …
	pairs     []uint16 // of points of eight: the levels of every two weights, of each in two bits
}

// greatestMagnitude is more than any level's.
const greatestMagnitude = 16

// nearestPoints is how many points around a place that is no point are looked at for the nearest by weighted distance.
// 12 leave an error 0.2 % (IQ3) to 0.4 % (IQ2_XS) above that of 24.
const nearestPoints = 16

// newCodebook makes the codebook of a grid whose levels have these magnitudes, in ascending order.
func newCodebook(g *grid.Grid, even bool, magnitudes ...float32) *Codebook {
	c := &Codebook{Dim: g.Dim, Even: even, levels: g.Levels, magnitude: magnitudes, grid: g}
	for i := range magnitudes[1:] {
		mid := int(8 * (magnitudes[i] + magnitudes[i+1])) // a whole number of sixteenths, and not above it any more
		for k := mid + 1; k < len(c.level); k++ {
			c.level[k] = uint8(i + 1)
		}
	}
	keys := 1
	for range g.Dim {
		keys *= g.Levels
	}
	c.point, c.near = make([]int16, keys), make([]atomic.Pointer[[]uint16], keys)
	for i := range c.point {
		c.point[i] = -1
	}
	for i := range g.Len() {
		c.point[c.key(g.Point(i))] = int16(i)
		c.numbers = append(c.numbers, uint16(i))
	}
	for _, l := range g.Points {
		c.values = append(c.values, magnitudes[l])
	}
	if g.Dim == 8 {
		for i := range g.Len() {
			pairs := uint16(0)
			for k, l := range g.Point(i) {
				pairs |= uint16(l) << (4*(k/2) + 2*(1-k%2))
			}
			c.pairs = append(c.pairs, pairs)
		}
	}
	return c
}

// key numbers all combinations of levels.
func (c *Codebook) key(levels []uint8) int {
	key := 0
	for _, l := range levels {
		key = key*c.levels + int(l)
	}
	return key
}

// Near returns the numbers of the points around some levels: of the point alone if there is one, else of the nearest,
// the nearest first.
func (c *Codebook) Near(levels []uint8) []uint16 {
	key := c.key(levels)
	if c.point[key] >= 0 {
		return c.numbers[c.point[key]:][:1]
	}
	return c.nearKey(key)
}

// Level returns the level whose magnitude is nearest to x, a magnitude in units of the scale.
func (c *Codebook) Level(x float32) uint8 {
	if !(x < greatestMagnitude) {
		return uint8(c.levels) - 1
	}
	i := int32(16 * x)
	if float32(i) < 16*x {
		i++
	}
	return c.level[int(max(i, 0))&(len(c.level)-1)]
}

// Levels returns the levels of a point.
func (c *Codebook) Levels(point int) []uint8 { return c.grid.Point(point) }

// Magnitude returns what a level stands for, in units of the scale.
func (c *Codebook) Magnitude(level uint8) float32 { return c.magnitude[level] }

// Code returns the code of a weight.
func (c *Codebook) Code(level uint8, negative bool) uint8 {
	if negative {
		return uint8(c.levels) - 1 - level
	}
	return uint8(c.levels) + level
}

// nearKey returns the points nearest to a combination of levels, the nearest first, of equals the first.
func (c *Codebook) nearKey(key int) []uint16 {
	if list := c.near[key].Load(); list != nil {
		return *list
	}
	var at [8]float32
	for i, k := c.Dim-1, key; i >= 0; i-- {
		at[i], k = c.magnitude[k%c.levels], k/c.levels
	}
	list, distance := make([]uint16, 0, nearestPoints), make([]float32, 0, nearestPoints)
	for p := range c.grid.Len() {
		var d float32
		for i, l := range c.grid.Point(p) {
			e := at[i] - c.magnitude[l]
			d += float32(e * e)
		}
		n := len(list)
		if n == nearestPoints && d >= distance[n-1] {
			continue
		}
		if n < nearestPoints {
			list, distance = append(list, 0), append(distance, 0)
			n++
		}
		i := n - 1
		for ; i > 0 && d < distance[i-1]; i-- {
			list[i], distance[i] = list[i-1], distance[i-1]
		}
		list[i], distance[i] = uint16(p), d
	}
	c.near[key].Store(&list)
	return list
}

// choose returns the point for which Σ w·(x - scale·magnitude)² is least, of the first of the neighbours of what x is
// rounded to, and the sum. x may be negative, where a sign is not that of the weight.
func (c *Codebook) choose(x, w []float32, scale, inv float32, neighbours int) (point int, cost float32) {
	key := 0
	for _, v := range x {
		key = key*c.levels + int(c.Level(float32(v*inv)))
	}
	if c.Dim == 4 {
		return c.choose4((*[4]float32)(x), (*[4]float32)(w), key, scale, neighbours)
	}
	return c.choose8((*[8]float32)(x), (*[8]float32)(w), key, scale, neighbours)
}

func (c *Codebook) choose4(x, w *[4]float32, key int, scale float32, neighbours int) (point int, cost float32) {
	list := c.numbers[max(c.point[key], 0):][:1]
	if c.point[key] < 0 {
		list = c.nearKey(key)[:neighbours]
	}
	x0, x1, x2, x3 := x[0], x[1], x[2], x[3]
	w0, w1, w2, w3 := w[0], w[1], w[2], w[3]
	cost = inf
	for _, p := range list {
		m := (*[4]float32)(c.values[4*int(p):])
		e0, e1 := x0-float32(scale*m[0]), x1-float32(scale*m[1])
		e2, e3 := x2-float32(scale*m[2]), x3-float32(scale*m[3])
		sum := float32(float32(w0*e0)*e0) + float32(float32(w1*e1)*e1)
		if sum += float32(float32(w2*e2)*e2) + float32(float32(w3*e3)*e3); sum < cost {
			point, cost = int(p), sum
		}
	}
	return point, cost
}

// choose8 looks costs up: two weights with three levels each have nine, which many points share.
func (c *Codebook) choose8(x, w *[8]float32, key int, scale float32, neighbours int) (point int, cost float32) {
	if p := int(c.point[key]); p >= 0 {
		return p, cost8((*[8]float32)(c.values[8*p:]), x, w, scale)
	}
	var at [3]float32
	for l := range at {
		at[l] = float32(scale * c.magnitude[l])
	}
	var pairs [4][16]float32
	for i := range pairs {
		first, second := costs3(x[2*i], w[2*i], &at), costs3(x[2*i+1], w[2*i+1], &at)
		for k, cost := range first {
			row := pairs[i][4*k:][:3]
			row[0], row[1], row[2] = cost+second[0], cost+second[1], cost+second[2]
		}
	}
	cost = inf
	for _, p := range c.nearKey(key)[:neighbours] {
		n := c.pairs[p]
		sum := (pairs[0][n&15] + pairs[1][n>>4&15]) + (pairs[2][n>>8&15] + pairs[3][n>>12])
		if sum < cost {
			point, cost = int(p), sum
		}
	}
	return point, cost
}

// costs3 returns w·(x - value)² of three values.
func costs3(x, w float32, values *[3]float32) [3]float32 {
	e0, e1, e2 := x-values[0], x-values[1], x-values[2]
	return [3]float32{float32(float32(w*e0) * e0), float32(float32(w*e1) * e1), float32(float32(w*e2) * e2)}
}

// cost8 returns Σ w·(x - scale·m)².
func cost8(m, x, w *[8]float32, scale float32) (cost float32) {
	var c [8]float32
	for i := range c {
		e := x[i] - float32(scale*m[i])
		c[i] = float32(float32(w[i]*e) * e)
	}
	return ((c[0] + c[1]) + (c[2] + c[3])) + ((c[4] + c[5]) + (c[6] + c[7]))
}

// split returns the number of the point of some codes, and their signs: bit i is set where weight i is negative.
// It panics if there is no such point.
func (c *Codebook) split(codes []uint8) (point int, signs uint8) {
	n := uint8(c.levels)
	var levels [8]uint8
	for i, code := range codes {
		levels[i] = code - n
		if code < n {
			levels[i] = n - 1 - code
			signs |= 1 << i
		}
	}
	if point = int(c.point[c.key(levels[:c.Dim])]); point < 0 {
		panic(fmt.Sprintf("quant: the codes %v are no point of their grid", codes))
	}
	return point, signs
}

// join sets the codes of the weights of a point; bit i of signs says that weight i is negative.
func (c *Codebook) join(codes []uint8, point int, signs uint8) {
	c.setCodes(codes, c.grid.Point(point), signs)
}

// setCodes sets codes to levels with signs.
func (c *Codebook) setCodes(codes, levels []uint8, signs uint8) {
	for i, level := range levels {
		codes[i] = c.Code(level, signs>>i&1 == 1)
	}
}
