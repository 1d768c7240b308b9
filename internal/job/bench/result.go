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
	Depth    int     `json:"n_depth"`    // tokens before those of the test
	Parallel int     `json:"n_parallel"` // sequences, which a test tgN decodes together
	Time     string  `json:"test_time"`  // of the start, RFC 3339
	Elapsed  float64 `json:"elapsed_s"`  // at the end of a window of Options.Sustain, otherwise 0
	OfFirst  float64 `json:"of_first"`   // speed of such a window as a share of the first one's, otherwise 0
	AvgNS    int64   `json:"avg_ns"`
	StdNS    int64   `json:"stddev_ns"`
	Avg      float64 `json:"avg_ts"` // tokens a second
	Std      float64 `json:"stddev_ts"`

	Read      int64   `json:"read_bytes_per_token"` // weights; 0 for prompts
	Rate      float64 `json:"read_bytes_per_s"`
	Bandwidth float64 `json:"bandwidth_bytes_per_s"` // of this machine
	Share     float64 `json:"bandwidth_share"`       // Rate / Bandwidth

	MACRate  float64 `json:"multiply_adds_per_s"`
	MACPeak  float64 `json:"peak_multiply_adds_per_s"` // of this machine, for most weights; 0 if unknown
	MACShare float64 `json:"peak_share"`               // MACRate / MACPeak

	Peer        string    `json:"peer,omitempty"` // the program of Options.Against
	PeerAvg     float64   `json:"peer_avg_ts,omitempty"`
	Ratio       float64   `json:"peer_ratio,omitempty"`      // mean of the repetitions' speeds over the peer's
	RatioLow    float64   `json:"peer_ratio_low,omitempty"`  // of the 95 % interval; 0 of one repetition
	RatioHigh   float64   `json:"peer_ratio_high,omitempty"` // likewise
	PeerSamples []float64 `json:"samples_peer_ts,omitempty"`

	// Kernels are the forms of the kernels in use for one token, see runtime.Model.Kernels.
	Kernels []string `json:"kernels"`

	Load  float64 `json:"load_s"`        // until the weights are in memory
	First float64 `json:"first_token_s"` // until the first token, with a prompt of one
	Peak  int64   `json:"peak_rss"`      // bytes; 0 where the system counts earlier models too

	SamplesNS []int64   `json:"samples_ns"` // of each repetition
	Samples   []float64 `json:"samples_ts"`

	macs float64 // multiply-adds of a repetition
}

// Test names the test as llama-bench does, such as pp512 and tg128 @ d4096; tg128 x8 decodes 8 sequences.
func (r *Result) Test() string {
	name := fmt.Sprintf("tg%d", r.Gen)
	if r.Prompt > 0 {
		name = fmt.Sprintf("pp%d", r.Prompt)
	}
	if r.Parallel > 1 {
		name += fmt.Sprintf(" x%d", r.Parallel)
	}
	if r.Depth > 0 {
		name += fmt.Sprintf(" @ d%d", r.Depth)
	}
	if r.Elapsed > 0 {
		name += fmt.Sprintf(" @ %.0f s", r.Elapsed)
	}
	return name
}

// set takes the times that repetitions of the test took.
func (r *Result) set(times []time.Duration) {
	sequences := float64(max(1, r.Parallel))
	tokens := sequences * float64(r.Prompt+r.Gen)
	ns := make([]float64, len(times))
	r.SamplesNS, r.Samples = make([]int64, len(times)), make([]float64, len(times))
	for i, t := range times {
		ns[i], r.SamplesNS[i], r.Samples[i] = float64(t.Nanoseconds()), t.Nanoseconds(), tokens/t.Seconds()
	}
	mean, deviation := meanAndDeviation(ns)
	r.AvgNS, r.StdNS = int64(mean), int64(deviation)
	r.Avg, r.Std = meanAndDeviation(r.Samples)
	r.Rate = r.Avg / sequences * float64(r.Read)
	r.MACRate = r.macs * r.Avg / tokens
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
