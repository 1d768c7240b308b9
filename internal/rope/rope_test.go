package rope

import (
	"math"
	"testing"
)

// sincos against package math.
func TestSincos(t *testing.T) {
	for x := 0.0; x < 1<<20; x = x*1.01 + 0.013 {
		s, c := sincos(x)
		if ws, wc := math.Sincos(x); math.Abs(s-ws) > 2e-15 || math.Abs(c-wc) > 2e-15 {
			t.Fatalf("x = %v: %v, %v, expected %v, %v", x, s, c, ws, wc)
		}
	}
}
