package kern

import "encoding/binary"

// read is the portable [Set].Read.
func read(b []byte) (sum [32]byte) {
	var s [4]uint64
	for ; len(b) > 0; b = b[32:] {
		for i := range s {
			s[i] ^= binary.LittleEndian.Uint64(b[8*i:])
		}
	}
	for i, v := range s {
		binary.LittleEndian.PutUint64(sum[8*i:], v)
	}
	return sum
}
