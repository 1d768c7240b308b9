package floats

import (
	"math"
	"slices"
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

func TestGreatest(t *testing.T) {
	values := []float32{1, 3, float32(math.Inf(-1)), 3, 2}
	for n, want := range [][]int32{{}, {1}, {1, 3}, {1, 3, 4}, {1, 3, 4, 0}, {1, 3, 4, 0, 2}, {1, 3, 4, 0, 2}} {
		if got := Greatest(values, n); !slices.Equal(got, want) {
			t.Errorf("the %d greatest are at %v, expected %v", n, got, want)
		}
	}
}
