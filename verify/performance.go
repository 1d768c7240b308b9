package verify

import (
	"math"
)

// Performance is the speed and memory of the models on one machine, measured
// alternately.
type Performance struct {
	Threads   int     `json:"threads"`
	Bandwidth float64 `json:"bandwidth"`      // bytes a second that the machine reads with so many threads
	Base      *Speed  `json:"base,omitempty"` // absent if the original is not there
	Quant     Speed   `json:"quant"`
}

// Speed is that of one model. Estimates are of the mean of all runs.
type Speed struct {
	PP    Estimate   `json:"pp"`              // tokens a second of a prompt
	TG    Estimate   `json:"tg"`              // tokens a second one by one
	Share float64    `json:"bandwidth_share"` // that decoding reads weights with, of Performance.Bandwidth
	Load  float64    `json:"load_seconds"`    // mean
	RSS   int64      `json:"peak_rss"`        // bytes, the greatest, 0 where the system does not say
	Runs  []SpeedRun `json:"runs"`
}

// SpeedRun is what one run of a program with the model measured.
type SpeedRun struct {
	PP   float64 `json:"pp"` // tokens a second of a prompt
	TG   float64 `json:"tg"` // tokens a second one by one
	Load float64 `json:"load_seconds"`
	RSS  int64   `json:"peak_rss"`
}

// NewSpeed summarizes runs. Decoding a token reads so many bytes of weights, and the machine
// bandwidth bytes a second.
func NewSpeed(list []SpeedRun, bytesPerToken int64, bandwidth float64) Speed {
	load := runsOf(list, func(r *SpeedRun) float64 { return r.Load })
	s := Speed{
		PP:   estimate(runsOf(list, func(r *SpeedRun) float64 { return r.PP })),
		TG:   estimate(runsOf(list, func(r *SpeedRun) float64 { return r.TG })),
		Load: load.value(),
		Runs: list,
	}
	for _, r := range list {
		s.RSS = max(s.RSS, r.RSS)
	}
	if bandwidth > 0 {
		s.Share = s.TG.Value * float64(bytesPerToken) / bandwidth
	}
	return s
}

// exact is a figure without uncertainty.
type exact float64

func (e exact) value() float64                            { return float64(e) }
func (e exact) se() float64                               { return 0 }
func (e exact) interval(float64, int) (low, high float64) { return float64(e), float64(e) }
func (e exact) count() int                                { return 1 }

// runs is the mean of a few measurements, none of them negative.
type runs struct{ mean }

func runsOf(list []SpeedRun, f func(*SpeedRun) float64) runs {
	x := make([]float64, len(list))
	sum := 0.0
	for i := range list {
		x[i] = f(&list[i])
		sum += x[i]
	}
	n := float64(len(x))
	m := mean{n: len(x), m: sum / n}
	for _, v := range x {
		m.sd += (v - m.m) * (v - m.m)
	}
	m.sd = math.Sqrt(m.sd / (n - 1))
	return runs{m}
}

// interval is Student's (Biometrika 6, 1908): the deviation of a few runs is not known well.
func (s runs) interval(z float64, n int) (low, high float64) {
	if !(s.sd >= 0) || n < 2 {
		return 0, math.Inf(1)
	}
	half := studentT(z, n-1) * s.sd / math.Sqrt(float64(n))
	return max(0, s.m-half), s.m + half
}

// studentT returns the quantile of Student's distribution with the given degrees of freedom at the
// probability Φ(z), z > 0.
func studentT(z float64, freedom int) float64 {
	if freedom > 1000 { // the first correction to the normal distribution
		return z + (z*z*z+z)/(4*float64(freedom))
	}
	within := math.Erf(z / math.Sqrt2) // P(|T| < t)
	low, high := 0.0, 1.0
	for studentWithin(high, freedom) < within {
		high *= 2
	}
	for range 60 {
		if t := (low + high) / 2; studentWithin(t, freedom) < within {
			low = t
		} else {
			high = t
		}
	}
	return high
}

// studentWithin returns P(|T| < t), by the finite sums of Abramowitz and Stegun, Handbook of
// Mathematical Functions (1964), 26.7.3 and 26.7.4.
func studentWithin(t float64, freedom int) float64 {
	angle := math.Atan(t / math.Sqrt(float64(freedom)))
	sin, cos := math.Sincos(angle)
	if freedom%2 == 1 {
		sum, term := 0.0, cos
		for k := 3; k <= freedom; k += 2 {
			sum += term
			term *= cos * cos * float64(k-1) / float64(k)
		}
		return 2 / math.Pi * (angle + sin*sum)
	}
	sum, term := 0.0, 1.0
	for k := 2; k <= freedom; k += 2 {
		sum += term
		term *= cos * cos * float64(k-1) / float64(k)
	}
	return sin * sum
}
