package verify

// Performance is the speed and memory of the models on one machine, measured
// alternately.
type Performance struct {
	Threads   int     `json:"threads"`
	Bandwidth float64 `json:"bandwidth"`      // bytes a second that the machine reads with so many threads
	Base      *Speed  `json:"base,omitempty"` // absent if the original is not there
	Quant     Speed   `json:"quant"`
}

// Speed is that of one model.
type Speed struct {
	PP    Estimate `json:"pp"`              // tokens a second of a prompt
	TG    Estimate `json:"tg"`              // tokens a second one by one
	Share float64  `json:"bandwidth_share"` // that decoding reads weights with, of Performance.Bandwidth
	Load  float64  `json:"load_seconds"`
	RSS   int64    `json:"peak_rss"` // bytes, 0 where the system does not say
}
