package kern

import (
	"encoding/binary"
	"math"
)

// generic is the portable implementation and the definition of every kernel.
// Products are converted explicitly so that no compiler fuses them with a sum.
var generic = Set{
	Name:           "generic",
	Transpose:      transpose,
	WeightAbs:      weightAbs,
	WeightSquare:   weightSquare,
	MinMax:         minMax,
	AbsMax:         absMax,
	ScaleMin:       func(t *Tile) { scaleMin(t, false) },
	ScaleMinAbs:    func(t *Tile) { scaleMin(t, true) },
	ScaleSymmetric: scaleSymmetric,
	ScaleDescent:   scaleDescent,
	ScaleTable:     scaleTable,
	CodeSums:       codeSums,
	EncodeRound:    encodeRound,
	EncodeFloor:    encodeFloor,
	EncodeAway:     encodeAway,
	EncodeTable:    encodeTable,
	Feedback:       feedback,
	ExpandBF16:     expandBF16,
	Below:          below,
	Read:           read,
	Products:       productsGeneric,
	Vector:         vectorGeneric,
}

func negativeZero() float32 { return math.Float32frombits(1 << 31) }

// round rounds to the nearest integer, halves to even, for |x| < 2²².
func round(x float32) float32 {
	const magic = 3 << 22 // adding it leaves no bit for the fraction
	return float32(x+magic) - magic
}

func abs(x float32) float32 { return math.Float32frombits(math.Float32bits(x) &^ (1 << 31)) }

func floor(x float32) float32 { return float32(math.Floor(float64(x))) }

func sqrt(x float32) float32 { return float32(math.Sqrt(float64(x))) }

func transpose(dst, src *[512]float32, n int) {
	for g := range Groups {
		for i, x := range src[n*g : n*g+n] {
			dst[Groups*i+g] = x
		}
	}
}

// rows returns the part of a tile's array that is in use.
func (t *Tile) rows(a *[512]float32) []float32 { return a[: Groups*t.N : Groups*t.N] }

func weightAbs(t *Tile) {
	x, w := t.rows(&t.X), t.rows(&t.W)
	for g := range Groups {
		var sum float32
		for i := g; i < len(x); i += Groups {
			sum += float32(x[i] * x[i])
		}
		base := float32(sqrt(sum*t.InvN) * t.C)
		for i := g; i < len(x); i += Groups {
			w[i] = base + abs(x[i])
		}
	}
}

func weightSquare(t *Tile) {
	x, w := t.rows(&t.X), t.rows(&t.W)
	for i := range x {
		w[i] = x[i] * x[i]
	}
}

func minMax(t *Tile) {
	x := t.rows(&t.X)
	for g := range Groups {
		lo, hi := x[g], x[g]
		for i := g; i < len(x); i += Groups {
			lo, hi = min(lo, x[i]), max(hi, x[i])
		}
		t.Min[g], t.Scale[g] = lo, hi
	}
}

func absMax(t *Tile) {
	for g := range Groups {
		t.Scale[g], _ = t.signedMax(g)
	}
}

// signedMax returns the value of greatest magnitude in group g and its magnitude.
func (t *Tile) signedMax(g int) (top, amax float32) {
	x := t.rows(&t.X)
	for i := g; i < len(x); i += Groups {
		if ax := abs(x[i]); amax < ax {
			top, amax = x[i], ax
		}
	}
	return top, amax
}

// inverse returns 1/v, or 0 where the magnitude counts as zero.
func (t *Tile) inverse(v, magnitude float32) float32 {
	if magnitude < t.Tiny {
		return 0
	}
	return 1 / v
}

func scaleMin(t *Tile, absolute bool) {
	x, w, l := t.rows(&t.X), t.rows(&t.W), t.rows(&t.L)
	for g := range Groups {
		var bestMin, sumW, sumX float32
		highest := x[g]
		for i := g; i < len(x); i += Groups {
			bestMin, highest = min(bestMin, x[i]), max(highest, x[i])
			sumW += w[i]
			sumX += float32(w[i] * x[i])
		}
		code := func(x, f float32) float32 {
			return min(max(round(float32((x-bestMin)*f)), 0), t.Hi)
		}
		fitError := func(l, s, m, x, w float32) float32 {
			d := float32(float32(l*s)+m) - x
			if absolute {
				return abs(d) * w
			}
			return float32(d*d) * w
		}
		factor := func(f float32) float32 {
			span := highest - bestMin
			if span < t.Tiny {
				return 0
			}
			return f / span
		}

		scale := (highest - bestMin) / t.Hi
		if highest-bestMin < t.Tiny {
			scale = 0
		}
		var best float32
		f := factor(t.Hi)
		for i := g; i < len(x); i += Groups {
			best += float32(fitError(code(x[i], f), scale, bestMin, x[i], w[i]))
		}
		for _, step := range t.Steps[:t.NSteps] {
			f := factor(step)
			var sumL, sumL2, sumXL float32
			for i := g; i < len(x); i += Groups {
				l[i] = code(x[i], f)
				wl := float32(w[i] * l[i])
				sumL += wl
				sumXL += float32(x[i] * wl)
				sumL2 += float32(wl * l[i])
			}
			d := float32(sumW*sumL2) - float32(sumL*sumL)
			s := (float32(sumW*sumXL) - float32(sumX*sumL)) / d
			m := (float32(sumL2*sumX) - float32(sumL*sumXL)) / d
			if 0 < m {
				s, m = sumXL/sumL2, 0
			}
			var sum float32
			for i := g; i < len(x); i += Groups {
				sum += float32(fitError(l[i], s, m, x[i], w[i]))
			}
			if sum < best && 0 < s {
				best, scale, bestMin = sum, s, m
			}
		}
		t.Scale[g], t.Min[g], t.SumW[g] = scale, bestMin, sumW
	}
}

// fit is a running choice of the scale with the greatest gain sumLX²/sumL2.
type fit struct{ scale, gain float32 }

func (f *fit) offer(sumLX, sumL2 float32) {
	if s := sumLX / sumL2; float32(f.gain*sumL2) < float32(sumLX*sumLX) && 0 < sumL2 {
		f.scale, f.gain = s, s*sumLX
	}
}

func (t *Tile) clamp(l float32) float32 { return min(max(round(l), t.Lo), t.Hi) }

func scaleSymmetric(t *Tile) { searchScale(t, t.clamp) }

func scaleTable(t *Tile) {
	searchScale(t, func(v float32) float32 {
		_, value := t.nearest(v)
		return value
	})
}

// searchScale tries the factors of Steps with the codes that code gives to scaled values.
func searchScale(t *Tile, code func(v float32) float32) {
	x, w := t.rows(&t.X), t.rows(&t.W)
	for g := range Groups {
		inv := t.inverse(t.signedMax(g))
		t.SumW[g] = 0
		for i := g; i < len(x); i += Groups {
			t.SumW[g] += w[i]
		}
		var best fit
		for _, step := range t.Steps[:t.NSteps] {
			f := step * inv
			var sumLX, sumL2 float32
			for i := g; i < len(x); i += Groups {
				l := code(float32(x[i] * f))
				wl := float32(w[i] * l)
				sumLX += float32(x[i] * wl)
				sumL2 += float32(wl * l)
			}
			best.offer(sumLX, sumL2)
		}
		t.Scale[g] = best.scale
	}
}

func scaleDescent(t *Tile) {
	x, w, l := t.rows(&t.X), t.rows(&t.W), t.rows(&t.L)
	for g := range Groups {
		f := t.inverse(t.signedMax(g)) * t.Steps[0]
		var sumLX, sumL2 float32
		for i := g; i < len(x); i += Groups {
			l[i] = t.clamp(float32(x[i] * f))
			wl := float32(w[i] * l[i])
			sumLX += float32(x[i] * wl)
			sumL2 += float32(wl * l[i])
		}
		for range 5 {
			for i := g; i < len(x); i += Groups {
				wl := float32(w[i] * l[i])
				lx := sumLX - float32(wl*x[i])
				l2 := sumL2 - float32(wl*l[i])
				if !(0 < lx) {
					continue
				}
				nl := t.clamp(float32(x[i]*l2) / lx)
				wl = float32(w[i] * nl)
				nlx := lx + float32(wl*x[i])
				nl2 := l2 + float32(wl*nl)
				if float32(float32(sumLX*sumLX)*nl2) < float32(float32(nlx*nlx)*sumL2) && 0 < nl2 {
					l[i], sumLX, sumL2 = nl, nlx, nl2
				}
			}
		}
		t.Scale[g] = 0
		if 0 < sumL2 {
			t.Scale[g] = sumLX / sumL2
		}
	}
}

func codeSums(t *Tile) {
	x, w := t.rows(&t.X), t.rows(&t.W)
	for g := range Groups {
		var sumW, sumX, sumL, sumXL, sumL2 float32
		for i := g; i < len(x); i += Groups {
			l := t.code(x[i], g)
			sumW += w[i]
			sumX += float32(w[i] * x[i])
			wl := float32(w[i] * l)
			sumL += wl
			sumXL += float32(x[i] * wl)
			sumL2 += float32(wl * l)
		}
		t.SumW[g], t.SumX[g], t.SumL[g], t.SumXL[g], t.SumL2[g] = sumW, sumX, sumL, sumXL, sumL2
	}
}

// code returns the code of x in group g as EncodeRound takes it, without C.
func (t *Tile) code(x float32, g int) float32 {
	return round(min(max((x+t.Min[g])/t.Scale[g], t.Lo), t.Hi))
}

// nearest returns the index and the value of the code of Table nearest to v;
// a value in the middle goes up.
func (t *Tile) nearest(v float32) (index int32, value float32) {
	value = t.Table[0]
	for k := 1; k < 16 && t.Table[16+k] <= v; k++ {
		index, value = int32(k), value+t.Table[k]
	}
	return index, value
}

func (t *Tile) encode(code func(x float32, g int) float32) {
	n := int(t.N)
	for g := range Groups {
		for i := n * g; i < n*g+n; i++ {
			t.Codes[i] = int32(code(t.Src[i], g))
		}
	}
}

func encodeRound(t *Tile) {
	t.encode(func(x float32, g int) float32 { return t.code(x, g) + t.C })
}

func encodeFloor(t *Tile) {
	t.encode(func(x float32, g int) float32 {
		return min(floor(float32((x-t.Min[g])*t.Scale[g])+t.C), t.Hi)
	})
}

func encodeAway(t *Tile) {
	t.encode(func(x float32, g int) float32 {
		v := float32(x * t.Scale[g])
		a := abs(v)
		q := floor(a)
		if t.C <= a-q {
			q++
		}
		if v < 0 {
			return -q
		}
		return q
	})
}

func encodeTable(t *Tile) {
	t.encode(func(x float32, g int) float32 {
		index, _ := t.nearest(float32(x * t.Scale[g]))
		return float32(index)
	})
}

func expandBF16(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

func below(x []float32, limit float32) bool {
	for _, v := range x {
		if !(abs(v) < limit) {
			return false
		}
	}
	return true
}

func feedback(f *Feedback) {
	n := int(f.N)
	for g := range Groups {
		var moved [32]float32
		var cost float32
		for i := range n {
			moved[i] = f.X[Groups*i+g]
		}
		for i := range n {
			x := moved[i]
			l := round(min(max(float32((x+f.Min[g])*f.Inv[g]), f.Lo), f.Hi))
			v := float32(f.Scale[g]*l) - f.Min[g]
			r, e := x-v, f.W[Groups*i+g]-v
			cost += float32(float32(r*r) * f.D[i])
			f.L[Groups*i+g], f.E[Groups*i+g] = l, e
			for k, u := range f.U[i][i+1 : n] {
				moved[i+1+k] += float32(e * u)
			}
		}
		f.Cost[g] = cost
	}
}
