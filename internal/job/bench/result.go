package bench

import (
	"fmt"
	"math"
	"time"
)

// Result is the measurement of one test. Names in JSON are llama-bench's as far as it has them.
type Result struct {
	Build    string  `json:"build_commit"` // the program's version
	CPU      string  `json:"cpu_info"`
	Path     string  `json:"model_filename"`
	Size     int64   `json:"model_size"` // bytes of weights
	Params   int64   `json:"model_n_params"`
	Backend  string  `json:"backends"`
	Batch    int     `json:"n_batch"`
	Threads  int     `json:"n_threads"`
	Cache    string  `json:"type_k"`
	CacheV   string  `json:"type_v"`
	Float32  bool    `json:"float32"`
	NoRepack bool    `json:"no_repack"`
	Prompt   int     `json:"n_prompt"`
	Gen      int     `json:"n_gen"`
	Time     string  `json:"test_time"` // of the start, RFC 3339
	Elapsed  float64 `json:"elapsed_s"` // at the end of a window of Options.Sustain, otherwise 0
	AvgNS    int64   `json:"avg_ns"`
	StdNS    int64   `json:"stddev_ns"`
	Avg      float64 `json:"avg_ts"` // tokens a second
	Std      float64 `json:"stddev_ts"`

	Read      int64   `json:"read_bytes_per_token"` // weights; 0 for prompts
	Rate      float64 `json:"read_bytes_per_s"`
	Bandwidth float64 `json:"bandwidth_bytes_per_s"` // of this machine
	Share     float64 `json:"bandwidth_share"`       // Rate / Bandwidth

	Load  float64 `json:"load_s"`        // until the weights are in memory
	First float64 `json:"first_token_s"` // until the first token, with a prompt of one
	Peak  int64   `json:"peak_rss"`      // bytes; 0 where the system counts earlier models too

	SamplesNS []int64   `json:"samples_ns"` // of each repetition
	Samples   []float64 `json:"samples_ts"`
}

// Test names the test as llama-bench does, such as pp512 and tg128.
func (r *Result) Test() string {
	switch {
	case r.Prompt > 0:
		return fmt.Sprintf("pp%d", r.Prompt)
	case r.Elapsed > 0:
		return fmt.Sprintf("tg%d @ %.0f s", r.Gen, r.Elapsed)
	}
	return fmt.Sprintf("tg%d", r.Gen)
}

// set takes the times that repetitions of the test took.
func (r *Result) set(times []time.Duration) {
	tokens := float64(r.Prompt + r.Gen)
	ns := make([]float64, len(times))
	r.SamplesNS, r.Samples = make([]int64, len(times)), make([]float64, len(times))
	for i, t := range times {
		ns[i], r.SamplesNS[i], r.Samples[i] = float64(t.Nanoseconds()), t.Nanoseconds(), tokens/t.Seconds()
	}
	mean, deviation := meanAndDeviation(ns)
	r.AvgNS, r.StdNS = int64(mean), int64(deviation)
	r.Avg, r.Std = meanAndDeviation(r.Samples)
	r.Rate = r.Avg * float64(r.Read)
}

// meanAndDeviation returns the mean and the sample standard deviation.
func meanAndDeviation(x []float64) (mean, deviation float64) {
	for _, v := range x {
		mean += v / float64(len(x))
	}
	if len(x) < 2 {
		return mean, 0
	}
	for _, v := range x {
		deviation += (v - mean) * (v - mean)
	}
	return mean, math.Sqrt(deviation / float64(len(x)-1))
}
