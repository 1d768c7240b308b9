//go:build !purego

package kern

func readAVX2(b []byte) (sum [32]byte) {
	if len(b) > 0 {
		xorAVX2(&b[0], len(b), &sum)
	}
	return sum
}

//go:noescape
func xorAVX2(b *byte, n int, sum *[32]byte)
