package tensorstats

import (
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
)

// sample is a thousand values of which two are far out.
func sample() []float32 {
	x := make([]float32, 1000)
	for i := range x {
		x[i] = float32((i*7919)%1009-504) / 64 / 16
	}
	x[100], x[200], x[300] = 7.5, -9.25, 0
	return x
}

// rounded is x rounded to multiples of 1/8.
func rounded(x []float32) []float32 {
	y := make([]float32, len(x))
	for i, v := range x {
		y[i] = float32(math.RoundToEven(8*float64(v)) / 8)
	}
	return y
}

// near fails unless got is want to 13 digits: numpy sums in another order.
func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if math.IsNaN(want) && math.IsNaN(got) || got == want {
		return
	}
	if !(math.Abs(got-want) <= 1e-13*math.Abs(want)) {
		t.Errorf("%s is %.17g, expected %.17g", what, got, want)
	}
}

// Expected values of the samples are numpy's, in float64.
func TestStatsSample(t *testing.T) {
	var s Stats
	s.Add(sample())
	near(t, "mean", s.Mean(), -0.0016005859375)
	near(t, "std", s.Std(), 0.47183508362249499)
	if s.Count != 1000 || s.Zero != 2 || s.NaN != 0 || s.Inf != 0 || s.Min != -9.25 || s.Max != 7.5 ||
		s.AbsMax() != 9.25 {
		t.Errorf("got %+v", s)
	}
}

func TestStats(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	for _, tc := range []struct {
		name           string
		x              []float32
		want           Stats // the exported fields
		mean, std      float64
		finite, absMax float64
	}{
		{"nothing", nil, Stats{}, 0, 0, 0, 0},
		{"one value", []float32{-3}, Stats{Count: 1, Min: -3, Max: -3}, -3, 0, 1, 3},
		{"three values", []float32{1, 2, 6}, Stats{Count: 3, Min: 1, Max: 6}, 3, math.Sqrt(14.0 / 3), 3, 6},
		{"zeros of both signs", []float32{0, float32(math.Copysign(0, -1)), 2}, Stats{Count: 3, Zero: 2, Max: 2},
			2.0 / 3, math.Sqrt(8.0 / 9), 3, 2},
		{"equal values, which sums of squares would blur", slices.Repeat([]float32{1.1}, 1000),
			Stats{Count: 1000, Min: 1.1, Max: 1.1}, float64(float32(1.1)), 0, 1000, float64(float32(1.1))},
		{"not finite", []float32{nan, inf, 1, -inf, 3, nan}, Stats{Count: 6, NaN: 2, Inf: 2, Min: 1, Max: 3}, 2, 1, 2,
			3},
		{"nothing finite", []float32{nan, -inf}, Stats{Count: 2, NaN: 1, Inf: 1}, 0, 0, 0, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var s Stats
			s.Add(tc.x)
			near(t, "mean", s.Mean(), tc.mean)
			near(t, "std", s.Std(), tc.std)
			near(t, "finite", float64(s.Finite()), tc.finite)
			near(t, "abs max", float64(s.AbsMax()), tc.absMax)
			got := Stats{Count: s.Count, NaN: s.NaN, Inf: s.Inf, Zero: s.Zero, Min: s.Min, Max: s.Max}
			if got != tc.want {
				t.Errorf("got %+v, expected %+v", got, tc.want)
			}
		})
	}
}

func TestDistributionSample(t *testing.T) {
	x := sample()
	var s Stats
	s.Add(x)
	d := NewDistribution(&s)
	d.Add(x)
	if want := [Bins]int64{1, 0, 0, 0, 0, 20, 238, 239, 239, 239, 23, 0, 0, 0, 0, 1}; d.Bin != want {
		t.Errorf("bins %d, expected %d", d.Bin, want)
	}
	want := []Extreme{{200, -9.25}, {100, 7.5}, {765, 0.4921875}, {521, 0.49121094}, {277, 0.49023438}}
	if d.Outliers != 2 || !slices.Equal(d.Top, want) {
		t.Errorf("%d outliers, top %v, expected 2, %v", d.Outliers, d.Top, want)
	}
	near(t, "lowest edge", d.Edge(0), s.Mean()-4*s.Std())
	near(t, "middle edge", d.Edge(Bins/2), s.Mean())
	near(t, "highest edge", d.Edge(Bins), s.Mean()+4*s.Std())
	near(t, "sigma of 7.5", d.Sigma(7.5), (7.5-s.Mean())/s.Std())
}

func TestDistributionOfEqualValues(t *testing.T) {
	x := []float32{2, 2, float32(math.NaN()), 2}
	var s Stats
	s.Add(x)
	d := NewDistribution(&s)
	d.Add(x)
	if d.Outliers != 0 || d.Bin[Bins/2] != 3 || d.Sigma(2) != 0 ||
		!slices.Equal(d.Top, []Extreme{{0, 2}, {1, 2}, {3, 2}}) {
		t.Errorf("got %+v", d)
	}
}

func TestDiffSample(t *testing.T) {
	x := sample()
	var d Diff
	d.Add(x, rounded(x))
	near(t, "RMSE", d.RMSE(), 0.036296438529009108)
	near(t, "max error", d.MaxAbs(), 0.0625)
	near(t, "cosine", d.Cosine(), 0.99707711001450838)
	near(t, "SQNR", d.SQNR(), 22.278574308440753)
}

func TestDiff(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	undefined := math.NaN()
	for _, tc := range []struct {
		name                        string
		a, b                        []float32
		rmse, worst, cosine, signal float64
	}{
		{"nothing", nil, nil, 0, 0, 1, math.Inf(1)},
		{"equal", []float32{1, -2}, []float32{1, -2}, 0, 0, 1, math.Inf(1)},
		{"by hand", []float32{3, 4}, []float32{3, 3}, math.Sqrt(0.5), 1, 21 / (5 * math.Sqrt(18)), 10 * math.Log10(25)},
		{"opposite", []float32{1, 1}, []float32{-1, -1}, 2, 2, -1, 10 * math.Log10(0.25)},
		{"reference is zero", []float32{0, 0}, []float32{0, 2}, math.Sqrt2, 2, 0, math.Inf(-1)},
		{"lost to zero", []float32{0, 2}, []float32{0, 0}, math.Sqrt2, 2, 0, 0},
		{"NaN in one", []float32{1, 2}, []float32{1, nan}, undefined, undefined, undefined, undefined},
		{"NaN in both", []float32{nan}, []float32{nan}, undefined, undefined, undefined, undefined},
		{"the same infinity", []float32{inf, 1}, []float32{inf, 1}, 0, 0, 1, math.Inf(1)},
		{"opposite infinities", []float32{inf}, []float32{-inf}, undefined, undefined, undefined, undefined},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var d Diff
			d.Add(tc.a, tc.b)
			near(t, "RMSE", d.RMSE(), tc.rmse)
			near(t, "max error", d.MaxAbs(), tc.worst)
			near(t, "cosine", d.Cosine(), tc.cosine)
			near(t, "SQNR", d.SQNR(), tc.signal)
			if d.Count != int64(len(tc.a)) {
				t.Errorf("count %d, expected %d", d.Count, len(tc.a))
			}
		})
	}
}

func TestDiffMerge(t *testing.T) {
	x := sample()
	y := rounded(x)
	var whole, sum, first, second Diff
	whole.Add(x, y)
	first.Add(x[:300], y[:300])
	second.Add(x[300:], y[300:])
	sum.Merge(&first)
	sum.Merge(&second)
	near(t, "RMSE", sum.RMSE(), whole.RMSE())
	near(t, "max error", sum.MaxAbs(), whole.MaxAbs())
	near(t, "cosine", sum.Cosine(), whole.Cosine())
	near(t, "SQNR", sum.SQNR(), whole.SQNR())
	bad := Diff{}
	bad.Add([]float32{1}, []float32{float32(math.NaN())})
	sum.Merge(&bad)
	if !math.IsNaN(sum.RMSE()) || sum.Count != 1001 {
		t.Errorf("after merging a NaN: RMSE %g, count %d", sum.RMSE(), sum.Count)
	}
}

// The results must not depend, not even in the last bit, on how a tensor is cut.
func TestPieces(t *testing.T) {
	x := sample()
	x[0], x[500] = float32(math.NaN()), float32(math.Inf(-1))
	y, z := sample(), rounded(sample())
	type result struct {
		s Stats
		d Distribution
		e Diff
	}
	run := func(cuts []int) result {
		var r result
		each := func(f func(from, to int)) {
			from := 0
			for _, to := range append(cuts, len(x)) {
				f(from, to)
				from = to
			}
		}
		each(func(from, to int) { r.s.Add(x[from:to]) })
		d := NewDistribution(&r.s)
		each(func(from, to int) { d.Add(x[from:to]) })
		each(func(from, to int) { r.e.Add(y[from:to], z[from:to]) })
		r.d = *d
		return r
	}
	whole := run(nil)
	if n := whole.s.Finite(); n != 998 {
		t.Fatalf("%d finite values, expected 998", n)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20 {
		cuts := []int{rng.IntN(1001), rng.IntN(1001), 1, rng.IntN(1001)}
		slices.Sort(cuts)
		got := run(cuts)
		if !reflect.DeepEqual(got, whole) {
			t.Fatalf("cut at %d: got %+v, expected %+v", cuts, got, whole)
		}
	}
}
