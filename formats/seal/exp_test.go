package seal

import (
	"hash/fnv"
	"math"
	"math/rand/v2"
	"testing"
)

func TestExpLn(t *testing.T) {
	rng := rand.New(rand.NewPCG(8, 9))
	for range 100000 {
		x := -30 * rng.Float64()
		if rng.IntN(4) == 0 {
			x = -708 * rng.Float64()
		}
		if got, want := exp(x), math.Exp(x); math.Abs(got-want) > 2e-15*want {
			t.Fatalf("exp(%v) = %v, want %v", x, got, want)
		}
		y := math.Exp(30*rng.Float64() - 15)
		if got, want := ln(y), math.Log(y); math.Abs(got-want) > 4e-16*(1+math.Abs(want)) {
			t.Fatalf("ln(%v) = %v, want %v", y, got, want)
		}
	}
	if exp(0) != 1 || exp(-709) != 0 || exp(math.Inf(-1)) != 0 || ln(1) != 0 {
		t.Error(exp(0), exp(-709), ln(1))
	}
}

// The same bits everywhere: CI runs this on amd64 and arm64.
func TestSameBits(t *testing.T) {
	h := fnv.New64a()
	for i := range 100000 {
		x := -708 * float64(i) / 100000 // no sum, which a compiler would fuse with the product
		_, _ = h.Write(le.AppendUint64(nil, math.Float64bits(exp(x))))
		_, _ = h.Write(le.AppendUint64(nil, math.Float64bits(ln(float64(i+1)*0.37))))
	}
	if got, want := h.Sum64(), uint64(0xcaf5100bde7ffea6); got != want {
		t.Errorf("%#x, want %#x", got, want)
	}
}
