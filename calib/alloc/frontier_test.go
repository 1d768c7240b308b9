package alloc

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/phi3conv/phi3conv/quant"
)

// randomCosts makes tensors of some layers, the embedding and an output matrix. Costs mostly fall with size.
func randomCosts(rng *rand.Rand, layers int) []TensorCost {
	var all []TensorCost
	types := quant.Types()
	for i := range layers + 2 {
		t := TensorCost{Tensor: fmt.Sprint(i), Linear: i < layers, Elems: 256 * int64(1+rng.IntN(6))}
		for range 1 + rng.IntN(4) {
			q := types[rng.IntN(len(types))]
			cost := math.Exp2(-q.BitsPerWeight()) * (0.5 + rng.Float64())
			t.Candidates = append(t.Candidates, Candidate{Type: q, Bytes: q.Size(t.Elems), Cost: cost})
		}
		all = append(all, t)
	}
	return all
}

// every calls use with size and cost of every allocation.
func every(all []TensorCost, use func(bytes int64, cost float64)) {
	if len(all) == 0 {
		use(0, 0)
		return
	}
	for _, o := range all[0].Candidates {
		every(all[1:], func(bytes int64, cost float64) { use(bytes+o.Bytes, cost+o.Cost) })
	}
}

// The frontier is what trying everything finds.
func TestFrontierBruteForce(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 60 {
		costs := randomCosts(rng, rng.IntN(5))
		f := NewFrontier(costs)
		low, high := int64(math.MaxInt64), int64(0)
		every(costs, func(bytes int64, _ float64) { low, high = min(low, bytes), max(high, bytes) })
		for range 20 {
			limit := low - 50 + rng.Int64N(high-low+100)
			best, found := math.Inf(1), false
			every(costs, func(bytes int64, cost float64) {
				if bytes <= limit {
					best, found = min(best, cost), true
				}
			})
			a := f.AtSize(limit)
			if found != (a != nil) {
				t.Fatalf("%d bytes: %v, expected %v", limit, a, found)
			}
			if !found {
				continue
			}
			if a.Bytes > limit || math.Abs(a.Cost-best) > 1e-12 {
				t.Fatalf("%d bytes: %d with %g, expected %g", limit, a.Bytes, a.Cost, best)
			}
			check(t, costs, a)
			// And the smallest with that cost.
			least := int64(math.MaxInt64)
			every(costs, func(bytes int64, cost float64) {
				if cost <= best+1e-12 {
					least = min(least, bytes)
				}
			})
			if b := f.AtCost(best + 1e-12); b == nil || b.Bytes != least {
				t.Fatalf("cost %g: %v, expected %d bytes", best, b, least)
			}
		}
		if a := f.Smallest(); a.Bytes != low {
			t.Fatalf("the smallest has %d bytes, expected %d", a.Bytes, low)
		}
		if f.AtCost(-1) != nil || f.AtSize(low-1) != nil {
			t.Fatal("what cannot be was found")
		}
	}
}

// check adds up an allocation.
func check(t *testing.T, costs []TensorCost, a *Allocation) {
	t.Helper()
	bytes, cost := int64(0), 0.0
	for i, x := range a.Types {
		least := math.Inf(1)
		for _, o := range costs[i].Candidates {
			if o.Type == x.Type {
				least = min(least, o.Cost)
			}
		}
		bytes += x.Type.Size(costs[i].Elems)
		if cost += least; x.Tensor != costs[i].Tensor || math.IsInf(least, 1) {
			t.Fatalf("tensor %d: %v", i, x)
		}
	}
	if bytes != a.Bytes || math.Abs(cost-a.Cost) > 1e-12 {
		t.Fatalf("%d bytes and %g, expected %d and %g", a.Bytes, a.Cost, bytes, cost)
	}
}

// More bytes never cost more; where sizes have no common unit, sizes hold all the same.
func TestFrontierMonotone(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	costs := randomCosts(rng, 40)
	for i := range costs {
		costs[i].Elems += 256 * rng.Int64N(4000)
		for k := range costs[i].Candidates {
			o := &costs[i].Candidates[k]
			o.Bytes = o.Type.Size(costs[i].Elems)
		}
	}
	f := NewFrontier(costs)
	last := f.Smallest()
	for _, a := range f.Curve(50) {
		check(t, costs, &a)
		if a.Cost > last.Cost || a.Bytes < last.Bytes {
			t.Fatalf("%d bytes cost %g, and %d bytes %g", a.Bytes, a.Cost, last.Bytes, last.Cost)
		}
		last = &a
		if b := f.AtSize(a.Bytes - 1); b != nil && (b.Bytes >= a.Bytes || b.Cost < a.Cost) {
			t.Fatalf("below %d bytes there are %d with %g", a.Bytes, b.Bytes, b.Cost)
		}
	}
}

// A table that would be too large is made with a larger unit, and sizes are kept still.
func TestFrontierCoarse(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	var costs []TensorCost
	for i := range 200 {
		n := int64(1<<24 + 256*rng.IntN(1<<16))
		t := TensorCost{Tensor: fmt.Sprint(i), Linear: true, Elems: n}
		for _, q := range []quant.Type{quant.Q2_K, quant.Q4_K, quant.Q6_K} {
			cost := math.Exp2(-2*q.BitsPerWeight()) * (0.5 + rng.Float64())
			t.Candidates = append(t.Candidates, Candidate{Type: q, Bytes: q.Size(n), Cost: cost})
		}
		costs = append(costs, t)
	}
	const most = 1 << 22
	f := newFrontier(costs, most)
	if cells := len(f.least) * len(costs); cells > 2*most {
		t.Errorf("%d cells", cells)
	}
	for _, bpw := range []float64{2.7, 3.5, 4.5, 6} {
		limit := int64(0)
		for i := range costs {
			limit += int64(bpw * float64(costs[i].Elems) / 8)
		}
		a := f.AtSize(limit)
		check(t, costs, a)
		if a.Bytes > limit || a.Bytes < limit-limit/100 {
			t.Errorf("%d bytes, expected %d", a.Bytes, limit)
		}
	}
}
