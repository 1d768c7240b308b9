package sample

import (
	"math"
	"testing"

	"gonum.org/v1/gonum/floats/scalar"
	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"
)

// Quantiles of scipy 1.17.1's stats.t.
func TestStudentT(t *testing.T) {
	for _, c := range []struct {
		freedom      int
		at95, at97_5 float64
	}{
		{1, 6.313751514675037, 12.706204736174694}, {2, 2.9199855803537242, 4.302652729749462},
		{3, 2.3533634348018233, 3.1824463052837078},
		{4, 2.1318467863266495, 2.7764451051977934}, {5, 2.0150483733330233, 2.5705818356363146},
		{9, 1.833112932656237, 2.262157162798205},
		{30, 1.697260886593957, 2.0422724563012378}, {999, 1.646380345427535, 1.9623414611334493},
		{1001, 1.646377292199468, 1.9623367052808798},
		{100000, 1.6448688647849696, 1.9599877075346095},
	} {
		for z, want := range map[float64]float64{Z95: c.at95, Z975: c.at97_5} {
			n := c.freedom + 1
			_, high := Few{Mean{n: n, sd: math.Sqrt(float64(n))}}.Interval(z, n)
			if !scalar.EqualWithinRel(high, want, 1e-10) || c.freedom < 1000 &&
				!scalar.EqualWithinRel(high, want, 1e-12) {
				t.Errorf("%d degrees of freedom at %v: %v, expected %v", c.freedom, z, high, want)
			}
		}
	}
}

func TestLowRank(t *testing.T) {
	for _, c := range []struct {
		n       int
		q, tail float64
		want    int
	}{ // scipy.stats.binom.ppf(tail, n, q)
		{0, 0.5, 0.05, 0}, {1, 0.5, 0.05, 0}, {4, 0.5, 0.05, 0}, {5, 0.5, 0.05, 1}, {100, 0.5, 0.025, 40},
		{298, 0.01, 0.05, 0}, {299, 0.01, 0.05, 1},
		{1000, 0.999, 0.025, 997}, {10240, 0.99, 0.05, 10121}, {1_000_000, 0.95, 0.025, 949572},
		{100_000_000, 0.001, 0.025, 99381},
	} {
		if got := lowRank(c.n, c.q, c.tail); got != c.want {
			t.Errorf("lowRank(%d, %v, %v) is %d, expected %d", c.n, c.q, c.tail, got, c.want)
		}
	}
}

// The constants are gonum's quantiles, and exact.
func TestNormal(t *testing.T) {
	for p, z := range map[float64]float64{0.95: Z95, 0.975: Z975} {
		if q := distuv.UnitNormal.Quantile(p); math.Abs(q/z-1) > 1e-15 {
			t.Errorf("the quantile of %v is %v, expected %v", p, q, z)
		}
		if got := (1 + math.Erf(z/math.Sqrt2)) / 2; math.Abs(got-p) > 1e-16 {
			t.Errorf("Φ(%v) is %v, expected %v", z, got, p)
		}
	}
}

// gonum's moments are in other terms: its skewness and kurtosis estimate those of the population.
func TestMean(t *testing.T) {
	x := []float64{1, 2, 2.5, 7, 3, 0.25, 11}
	m := MeanOf(len(x), func(i int) float64 { return x[i] })
	mean, sd := stat.MeanStdDev(x, nil)
	n := float64(len(x))
	for _, v := range []struct {
		name      string
		got, want float64
	}{
		{"mean", m.Value(), mean}, {"deviation", m.sd, sd}, {"standard error", m.SE(), stat.StdErr(sd, n)},
		{"skewness", m.skew * math.Sqrt(n*(n-1)) / (n - 2), stat.Skew(x, nil)},
		{"kurtosis", ((n+1)*m.kurt + 6) * (n - 1) / (n - 2) / (n - 3), stat.ExKurtosis(x, nil)},
	} {
		if !scalar.EqualWithinRel(v.got, v.want, 1e-14) {
			t.Errorf("%s is %v, expected %v", v.name, v.got, v.want)
		}
	}
}
