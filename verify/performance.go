package verify

import "github.com/phi3conv/phi3conv/internal/sample"

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
	Share float64    `json:"bandwidth_share"` // of Performance.Bandwidth at which decoding reads weights
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
		Load: load.Value(),
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

// runsOf is the mean of a figure of the runs.
func runsOf(list []SpeedRun, f func(*SpeedRun) float64) sample.Few {
	x := make([]float64, len(list))
	for i := range list {
		x[i] = f(&list[i])
	}
	return sample.FewOf(x)
}
