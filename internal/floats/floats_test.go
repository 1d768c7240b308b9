package floats

import (
	"math"
	"testing"
)

func TestFinite(t *testing.T) {
	for x, want := range map[float64]bool{
		0: true, -1: true, math.MaxFloat64: true, math.SmallestNonzeroFloat64: true,
		math.Inf(1): false, math.Inf(-1): false, math.NaN(): false,
	} {
		if Finite(x) != want {
			t.Errorf("Finite(%g) is %v", x, !want)
		}
	}
	if big := float32(math.MaxFloat32); !Finite(big) || Finite(2*big) {
		t.Error("float32 overflows unnoticed")
	}
}

func TestInverseOrZero(t *testing.T) {
	for x, want := range map[float32]float32{2: 0.5, -4: -0.25, 0: 0, 1e-45: 0, float32(math.Inf(1)): 0} {
		if got := InverseOrZero(x); got != want {
			t.Errorf("InverseOrZero(%g) is %g, expected %g", x, got, want)
		}
	}
}
