package seal

// What is chosen at random in a seal depends on the number of the position alone, so that a model has one seal.

// sampled reports whether position i of n is one of the full ones. They are the positions
// ⌊(j + u)·n/full⌋ for j = 0…full-1, u being a pseudo-random number from 0 to 1.
func sampled(i, n, full int) bool {
	if full == 0 {
		return false
	}
	j := uint64(i) * uint64(full) / uint64(n) // its part begins at ⌈j·n/full⌉
	begin := (j*uint64(n) + uint64(full) - 1) / uint64(full)
	end := ((j+1)*uint64(n) + uint64(full) - 1) / uint64(full)
	return uint64(i)-begin == splitMix(j+1)%(end-begin)
}

// splitMix is SplitMix64's output i.
func splitMix(i uint64) uint64 {
	z := i * 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// draws is the index of the first output of SplitMix64 that draws a token. Those before it choose full positions.
const draws = 1 << 32

// uniform is the pseudo-random number, 0 ≤ u < 1, that draws position i's token.
func uniform(i int) float64 { return float64(splitMix(draws+uint64(i))>>11) / (1 << 53) }
