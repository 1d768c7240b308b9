package kvcache

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// multiply returns a·Wᵀ, the panels W being set by set, which returns their format.
func multiply(a []float32, panels int, set func(k *kern.Product) kern.Format) []float32 {
	out := make([]float32, panels*kern.Rows)
	scratch := make([]byte, kern.ScratchBytes+63)
	k := &kern.Product{
		Out: &out[0], OutStride: int64(4 * len(out)), A: (*byte)(unsafe.Pointer(&a[0])), AStride: int64(4 * len(a)),
		T: 1, Blocks: int64(len(a)), Panels: int64(panels),
		Scratch: &scratch[-uintptr(unsafe.Pointer(&scratch[0]))&63],
	}
	kern.Best().Products[set(k)](k)
	return out
}

// What was stored for every layer, head and position is what the products of attention get, but for rounding; from a
// copy too.
func TestLayout(t *testing.T) {
	const layers, heads, first, count = 2, 3, 32, 48
	r := rand.New(rand.NewPCG(1, 2))
	random := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(r.NormFloat64())
		}
		return x
	}
	for _, dim := range []int{32, 40, 96} {
		for typ, tolerance := range map[Type]float64{F32: 1e-6, F16: 1e-3, Q8_0: 2e-2} {
			l, s := NewLayout(typ, layers, heads, dim), &Scratch{}
			original, c := chunk(t, l), chunk(t, l)
			var keys, values [layers * heads][ChunkLen][]float32
			for n := range keys {
				for i := range ChunkLen {
					keys[n][i], values[n][i] = random(dim), random(dim)
					l.Store(s, original, n/heads, n%heads, i, keys[n][i], values[n][i])
				}
			}
			l.Copy(c, original, first+count-3) // the last three are in a panel that is copied whole
			for n := range keys {
				name := fmt.Sprintf("type %d, %d dimensions, layer %d, head %d", typ, dim, n/heads, n%heads)
				query := random(dim)
				got := multiply(query, count/kern.Rows, func(k *kern.Product) kern.Format {
					return l.Keys(k, s, c, n/heads, n%heads, first, count)
				})
				for i := range count {
					want, size := 0.0, 0.0
					for d, q := range query {
						v := float64(q) * float64(keys[n][first+i][d])
						want, size = want+v, size+math.Abs(v)
					}
					if math.Abs(float64(got[i])-want) > tolerance*size {
						t.Fatalf("%s: the product with key %d is %g, expected %g", name, first+i, got[i], want)
					}
				}
				const first, count = 7, 37 // need not be whole panels
				weights := random(count)
				got = multiply(weights, l.PaddedDim()/kern.Rows, func(k *kern.Product) kern.Format {
					return l.Values(k, s, c, n/heads, n%heads, first, count)
				})
				for d := range l.PaddedDim() {
					want, size := 0.0, 0.0
					for i, w := range weights {
						if d < dim {
							v := float64(w) * float64(values[n][first+i][d])
							want, size = want+v, size+math.Abs(v)
						}
					}
					if math.Abs(float64(got[d])-want) > tolerance*size {
						t.Fatalf("%s: dimension %d of the sum of values is %g, expected %g", name, d, got[d], want)
					}
				}
			}
		}
	}
}

func chunk(t *testing.T, l *Layout) *Chunk {
	t.Helper()
	c, err := l.NewChunk()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Free)
	return c
}

func TestBytes(t *testing.T) {
	for typ, want := range map[Type]int64{ // keys of 40 dimensions and values of 48; two groups each
		F32: 2 * 3 * 256 * 88 * 4, F16: 2 * 3 * 256 * 88 * 2, Q8_0: 2 * 3 * 256 * (88 + 2*2*2),
	} {
		if got := NewLayout(typ, 2, 3, 40).Bytes(); got != want {
			t.Errorf("type %d: %d bytes, expected %d", typ, got, want)
		}
	}
}
