package tensorstats

import (
	"fmt"
	"math"
	"slices"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/quant"
	"github.com/x448/float16"
)

// Exponent of a float16, in the second of its two bytes.
const (
	firstExponentBit = 10
	exponentBits     = 5
	maxScales        = 2 // float16 numbers in a block
)

const (
	farShare     = 0.15 // of a block's power: the least error that any flip leaves is nearly a quarter
	flipChance   = 1e-8 // that a tensor without damage has a block that is named
	freedomShare = 3    // in place of 2: as if a third of the columns had no errors
)

// findFlips tests the blocks of the row that are far from the reference's. rowPower is Σa².
func (r *Rows) findFlips(row int, rowPower float64) {
	s := r.rowGain(row, rowPower)
	n := r.typ.BlockLen()
	for k, p := range r.parts {
		power := float64(s * s * p.aa)
		far := power - float64(2*s*p.ab) + p.bb
		if far <= farShare*power || p.aa < leastNorm2*rowPower/float64(len(r.parts)) || s == 0 {
			continue
		}
		if !floats.Finite(far) {
			far = math.Inf(1)
		}
		r.tested++
		bytes := r.typ.BlockBytes()
		what, log := r.repair.try(r.typ, r.blocks[k*bytes:(k+1)*bytes], r.ref[k*n:(k+1)*n], s, far)
		if log < math.Log(flipChance) {
			r.flips = append(r.flips, flip{row, k * n, what, log})
		}
	}
}

// rowGain returns what the row's values are multiplied by: the median of its blocks' gains or, of few blocks, what is
// known of the row.
func (r *Rows) rowGain(row int, rowPower float64) float64 {
	r.gain = r.gain[:0]
	for _, p := range r.parts {
		if g := p.ab / p.aa; p.aa >= leastNorm2*rowPower/float64(len(r.parts)) && floats.Finite(g) {
			r.gain = append(r.gain, g)
		}
	}
	known := 1.0
	if r.gains != nil {
		known = r.gains[row]
	}
	if len(r.gain) < 3 && !math.IsNaN(known) {
		return known
	}
	if len(r.gain) == 0 {
		return 0
	}
	slices.Sort(r.gain)
	return r.gain[len(r.gain)/2]
}

// repair tries bits of scales. It holds scratch.
type repair struct {
	block  []byte
	values []float32
}

// try returns the bit whose flip brings a block nearest to ref·s, and the logarithm of the probability that it brings
// a good block so near, however far that is: see the documentation of the package.
func (r *repair) try(typ quant.Type, block []byte, ref []float64, s, far float64) (what string, log float64) {
	r.block = append(r.block[:0], block...)
	if len(r.values) != len(ref) {
		r.values = make([]float32, len(ref))
	}
	scales, group := typ.ScaleOffsets(), typ.Geometry().Group
	full, within := powers(ref, s, group)
	freedom := float64(len(ref))
	if book := typ.Geometry().Book; book != nil {
		freedom /= float64(book.Dim) // a point suits the important ones of its weights, and the others as may be
	}
	if len(scales) == maxScales { // the minimum of each group may be anything
		full, freedom = within, float64(len(ref)-2*len(ref)/group)
	}
	best := far / 2
	for i, at := range scales {
		before := scaleAt(block[at:])
		for bit := range exponentBits {
			mask := byte(1) << (firstExponentBit - 8 + bit)
			r.block[at+1] ^= mask
			f := scaleAt(r.block[at:]) / before
			typ.Dequantize(r.values, r.block)
			r.block[at+1] ^= mask
			left := 0.0
			for j, x := range ref {
				d := float64(r.values[j]) - float64(x*s)
				left += float64(d * d)
			}
			room := far
			if i == 0 {
				room = full * min(1, (1-f)*(1-f))
			}
			if left < best {
				best, log = left, freedom/freedomShare*math.Log(left/room)
				what = fmt.Sprintf("bit %d of the scale at byte %d of a block", firstExponentBit+bit, at)
			}
		}
	}
	return what, log
}

// powers returns the sum of (s·ref)², and that of its differences to the means of groups.
func powers(ref []float64, s float64, group int) (full, within float64) {
	for g := range slices.Chunk(ref, group) {
		var sum, square float64
		for _, x := range g {
			sum += x
			square += float64(x * x)
		}
		full += square
		within += max(0, square-float64(sum*sum)/float64(len(g)))
	}
	return s * s * full, s * s * within
}

func scaleAt(b []byte) float64 {
	return float64(float16.Frombits(uint16(b[0]) | uint16(b[1])<<8).Float32())
}

// nameFlips says which rows have blocks with a flipped bit.
func (r *Rows) nameFlips(why map[int]string) {
	limit := math.Log(flipChance / float64(exponentBits*maxScales*max(1, r.tested)))
	best := make(map[int]float64)
	for _, f := range r.flips {
		if f.log < min(limit, best[f.row]) {
			best[f.row] = f.log
			why[f.row] = fmt.Sprintf("%s flipped, columns %d to %d", f.what, f.col, f.col+r.typ.BlockLen()-1)
		}
	}
}
