package kern

import (
	"math/rand/v2"
	"testing"
)

func TestRead(t *testing.T) {
	r := rand.NewPCG(5, 6)
	for _, n := range []int{0, 256, 512, 256 * 9} {
		b := guardedMemory(t, n)
		b = b[len(b)-n:]
		for i := range b {
			b[i] = byte(r.Uint64())
		}
		want := read(b)
		for i := range 32 { // by itself
			for j := i; j < n; j += 32 {
				want[i] ^= b[j]
			}
		}
		if want != [32]byte{} {
			t.Errorf("generic, %d bytes: wrong by %x", n, want)
		}
		for _, s := range Sets() {
			if got, want := s.Read(b), read(b); got != want {
				t.Errorf("%s, %d bytes: %x, expected %x", s.Name, n, got, want)
			}
		}
	}
}
