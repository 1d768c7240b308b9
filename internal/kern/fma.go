package kern

import "math"

// fma32 returns a·b + c rounded once, as a hardware fused multiply-add does.
//
// The product of two float32 is exact in float64: 48 of 53 bits, exponents from
// -298 to 256. It therefore does not matter whether a compiler fuses it with the
// sums below. The sum is rounded to odd: where it is inexact, the neighbour with
// the odd last bit is taken. 53 ≥ 24+2 bits rounded to odd, then rounded to 24 or,
// for a subnormal result, to fewer, are what rounding once gives.
func fma32(a, b, c float32) float32 {
	p, z := float64(a)*float64(b), float64(c)
	s := p + z
	// lost is p + z - s, exact: Knuth's two-sum. It is NaN where s is not finite.
	zz := s - p
	lost := (p - (s - zz)) + (z - zz)
	if lost > 0 || lost < 0 {
		if u := math.Float64bits(s); u&1 == 0 {
			if (lost > 0) == (s > 0) {
				u++
			} else {
				u--
			}
			s = math.Float64frombits(u)
		}
	}
	return float32(s)
}
