package quant

import "github.com/phi3conv/phi3conv/internal/floats"

// The second level of the K-quants and of IQ4_XS: the scales of a super-block's
// groups become small integers that share one float16 factor.

// groupScales encodes Scale and -Min of the tile's groups from at on in b, as integers 0…top.
// With weighted, SumW says how much each group matters.
func (s *scratch) groupScales(b *Block, at, top int, weighted bool) {
	n := len(b.Scale)
	scales, lows := s.Scale[at:at+n], s.Min[at:at+n]
	for g := range lows {
		lows[g] = -lows[g]
	}
	var d, dmin float32
	if weighted {
		w := s.SumW[at : at+n]
		d, dmin = weightedScales(b.Scale, scales, w, top), weightedScales(b.Min, lows, w, top)
	} else {
		d, dmin = plainScales(b.Scale, scales, top), plainScales(b.Min, lows, top)
	}
	b.D, b.DMin = RoundF16(d), RoundF16(dmin)
}

// plainScales gives the largest x, all ≥ 0, the code top and rounds the others.
func plainScales(codes []int8, x []float32, top int) (d float32) {
	var largest float32
	for _, v := range x {
		largest = max(largest, v)
	}
	if largest <= 0 {
		return 0
	}
	inv := floats.InverseOrZero(largest) * float32(top)
	for i, v := range x {
		codes[i] = int8(min(nearest(inv*v), top))
	}
	return largest / float32(top)
}

// weightedScales finds d and codes 0…top that minimise Σ w·(x - d·code)², x ≥ 0:
// the best of nine scales near largest/top, then coordinate descent.
func weightedScales(codes []int8, x, w []float32, top int) (d float32) {
	var largest float32
	for _, v := range x {
		largest = max(largest, v)
	}
	if largest < tiny {
		return 0
	}
	code := func(v float32) float32 { return float32(max(0, min(nearest(v), top))) }
	var inv, least float32
	for k := range 9 {
		step := []float32{0, -4, -3, -2, -1, 1, 2, 3, 4}[k]
		i := (float32(0.1*step) + float32(top)) / largest
		scale := 1 / i
		var sum float32
		for j, v := range x {
			diff := v - float32(scale*code(i*v))
			sum += float32(float32(w[j]*diff) * diff)
		}
		if k == 0 || sum < least {
			inv, least = i, sum
		}
	}
	var l [16]float32
	var sumLX, sumL2 float32
	for i, v := range x {
		l[i] = code(inv * v)
		wl := float32(w[i] * l[i])
		sumLX += float32(wl * v)
		sumL2 += float32(wl * l[i])
	}
	for range 5 {
		changed := false
		for i, v := range x {
			wl := float32(w[i] * l[i])
			lx, l2 := sumLX-float32(wl*v), sumL2-float32(wl*l[i])
			if !(lx > 0 && l2 > 0) {
				continue
			}
			nl := code(float32(v*l2) / lx)
			if nl == l[i] {
				continue
			}
			wl = float32(w[i] * nl)
			nlx, nl2 := lx+float32(wl*v), l2+float32(wl*nl)
			if float32(float32(nlx*nlx)*sumL2) > float32(float32(sumLX*sumLX)*nl2) {
				l[i], sumLX, sumL2, changed = nl, nlx, nl2, true
			}
		}
		if !changed {
			break
		}
	}
	for i := range x {
		codes[i] = int8(l[i])
	}
	if sumL2 <= 0 {
		return 0
	}
	return sumLX / sumL2
}

// tiny is the magnitude below which scales count as zero.
const tiny = 1e-15

// greatest returns the value of greatest magnitude, the first of equals.
func greatest(x []float32) float32 {
	var largest float32
	for _, v := range x {
		if abs(v) > abs(largest) {
			largest = v
		}
	}
	return largest
}

// signedScales gives the x of greatest magnitude the code -top and rounds the
// others into -top…top-1.
func signedScales(codes []int8, x []float32, top int) (d float32) {
	largest := greatest(x)
	if abs(largest) < tiny {
		return 0
	}
	inv := float32(-top) / largest
	for i, v := range x {
		codes[i] = int8(max(-top, min(nearest(inv*v), top-1)))
	}
	return 1 / inv
}

// weightedSignedScales finds d and codes -top…top-1 that minimise Σ w·(x - d·code)²
// over candidates as in ScaleSymmetric.
func weightedSignedScales(codes []int8, x, w []float32, top int) (d float32) {
	largest := greatest(x)
	if abs(largest) < tiny {
		return 0
	}
	code := func(v float32) int { return max(-top, min(nearest(v), top-1)) }
	var inv, gain float32
	for k := range 19 {
		step := float32(0)
		if k > 0 {
			step = float32(k - 10)
			if k >= 10 {
				step++
			}
		}
		i := -(float32(top) + float32(0.1*step)) / largest
		var sumLX, sumL2 float32
		for j, v := range x {
			l := float32(code(i * v))
			wl := float32(w[j] * l)
			sumLX += float32(wl * v)
			sumL2 += float32(wl * l)
		}
		if sumL2 > 0 && float32(sumLX*sumLX) > float32(gain*sumL2) {
			inv, d = i, sumLX/sumL2
			gain = d * sumLX
		}
	}
	for i, v := range x {
		codes[i] = int8(code(inv * v))
	}
	return d
}
