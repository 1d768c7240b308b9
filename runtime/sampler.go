package runtime

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/work"
)

// SamplerOptions say how a token is chosen. The zero value always chooses the most
// likely. Meanings and order are llama.cpp's: repetition penalty, TopK, TopP,
// MinP, Temperature.
type SamplerOptions struct {
	Temperature float32 // divides logits; 0 chooses the most likely token, the lowest id among equals
	TopK        int     // keep so many most likely tokens; 0 keeps all
	TopP        float32 // of these, keep the fewest most likely whose probabilities reach this sum; 1 keeps all
	MinP        float32 // of these, keep those at least MinP times as likely as the most likely one; 0 keeps all
	// RepeatPenalty divides positive logits of the last RepeatLastN tokens and multiplies
	// the others; 1 changes nothing, and neither does 0.
	RepeatPenalty float32
	RepeatLastN   int
	Seed          uint64
}

// llama.cpp's defaults.
const (
	DefaultTemperature   = 0.8
	DefaultTopK          = 40
	DefaultTopP          = 0.95
	DefaultMinP          = 0.05
	DefaultRepeatPenalty = 1
	DefaultRepeatLastN   = 64
)

// DefaultSampling returns llama.cpp's defaults, with a random seed.
func DefaultSampling() SamplerOptions {
	return SamplerOptions{
		Temperature: DefaultTemperature, TopK: DefaultTopK, TopP: DefaultTopP, MinP: DefaultMinP,
		RepeatPenalty: DefaultRepeatPenalty, RepeatLastN: DefaultRepeatLastN, Seed: rand.Uint64(),
	}
}

// Sampler chooses tokens. The same logits and seed give the same tokens on every
// machine. It is used by one goroutine at a time.
type Sampler struct {
	opt    SamplerOptions
	random rand.PCG
	logits []float32 // with penalties
	tokens []candidate
	probs  []float32
}

type candidate struct {
	logit, prob float32
	id          int32
}

// NewSampler checks the options.
func NewSampler(opt SamplerOptions) (*Sampler, error) {
	for _, f := range []struct {
		name            string
		value, min, max float32
	}{
		{"temperature", opt.Temperature, 0, 1e6},
		{"top-p", opt.TopP, 0, 1},
		{"min-p", opt.MinP, 0, 1},
		{"repeat-penalty", opt.RepeatPenalty, 1e-6, 1e6},
	} {
		if f.value != 0 && !(f.value >= f.min && f.value <= f.max) {
			return nil, fmt.Errorf("%s is %v, expected %v to %v", f.name, f.value, f.min, f.max)
		}
	}
	if opt.TopK < 0 {
		return nil, fmt.Errorf("top-k is %d, expected 0 or more", opt.TopK)
	}
	if opt.RepeatLastN < 0 {
		return nil, fmt.Errorf("repeat-last-n is %d, expected 0 or more", opt.RepeatLastN)
	}
	return &Sampler{opt: opt, random: *rand.NewPCG(opt.Seed, 0)}, nil
}

// Set makes s draw what from would draw next, and leaves from as it is.
func (s *Sampler) Set(from *Sampler) { s.opt, s.random = from.opt, from.random }

// Sample chooses the token after history. logits are those after its last token, none of them NaN; they are not
// changed.
func (s *Sampler) Sample(logits []float32, history []int32) int32 {
	o := &s.opt
	if n := min(o.RepeatLastN, len(history)); n > 0 && o.RepeatPenalty != 0 && o.RepeatPenalty != 1 {
		logits = s.penalize(logits, history[len(history)-n:])
	}
	if o.Temperature == 0 {
		return greedy(logits)
	}
	s.keepTopK(logits)
	if o.TopP < 1 || o.MinP > 0 {
		s.softmax(1)
		s.keepProbable()
	}
	s.softmax(min(1/o.Temperature, math.MaxFloat32))
	return s.draw()
}

// penalize returns a copy of logits with the repetition penalty applied.
func (s *Sampler) penalize(logits []float32, recent []int32) []float32 {
	s.logits = append(s.logits[:0], logits...)
	for _, id := range recent {
		// From logits, not s.logits: an id that occurs twice is penalized once.
		if v := logits[id]; v > 0 {
			s.logits[id] = v / s.opt.RepeatPenalty
		} else {
			s.logits[id] = v * s.opt.RepeatPenalty
		}
	}
	return s.logits
}

// greedy returns the token of the greatest logit, the first of equals.
func greedy(logits []float32) int32 {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	return int32(best)
}

// keepTopK sets the candidates: the TopK tokens of greatest logits, or all. Those found so far are a heap with the
// least likely at h[0], and most of the other tokens are less likely than that.
func (s *Sampler) keepTopK(logits []float32) {
	k := s.opt.TopK
	if k == 0 || k > len(logits) {
		k = len(logits)
	}
	s.tokens = s.tokens[:0]
	for i, v := range logits[:k] {
		s.tokens = append(s.tokens, candidate{logit: v, id: int32(i)})
	}
	if k == len(logits) {
		return
	}
	heapify(s.tokens, worse)
	least := s.tokens[0].logit
	for i, v := range logits[k:] {
		if v > least {
			s.tokens[0] = candidate{logit: v, id: int32(k + i)}
			down(s.tokens, 0, worse)
			least = s.tokens[0].logit
		}
	}
}

// softmax sets the candidates' probabilities, with logits times scale.
func (s *Sampler) softmax(scale float32) {
	n := len(s.tokens)
	s.probs = work.Resize(s.probs, linear.Padded(n))
	top := s.tokens[0].logit
	for _, c := range s.tokens {
		top = max(top, c.logit)
	}
	for i, c := range s.tokens {
		s.probs[i] = c.logit - top // so that none overflows
	}
	clear(s.probs[n:])
	kern.Best().Softmax(s.probs, 0, n, scale) // the same bits from every set
	for i := range s.tokens {
		s.tokens[i].prob = s.probs[i]
	}
}

// keepProbable drops candidates by TopP and MinP. Both keep the first ones in the order of probability, so they can be
// applied together. Only those that are kept are put in order: they are taken from a heap, to the end of the slice.
func (s *Sampler) keepProbable() {
	var top float32
	for _, c := range s.tokens {
		top = max(top, c.prob)
	}
	// Without those below (1-TopP)/n the others' sum is still above TopP; half of that
	// leaves room for rounding.
	least := max(top*s.opt.MinP, (1-s.opt.TopP)/float32(2*len(s.tokens)))
	h := s.tokens[:0]
	for _, c := range s.tokens {
		if c.prob >= least {
			h = append(h, c)
		}
	}
	s.tokens = h
	if s.opt.TopP == 1 {
		return
	}
	heapify(h, better)
	first := len(h) // s.tokens[first:] are kept
	for sum := 0.0; len(h) > 0; {
		sum += float64(h[0].prob)
		first--
		h[0], h[first] = h[first], h[0]
		h = h[:first]
		if sum >= float64(s.opt.TopP) {
			break
		}
		down(h, 0, better)
	}
	s.tokens = append(s.tokens[:0], s.tokens[first:]...)
}

// draw returns a candidate by its probability.
func (s *Sampler) draw() int32 {
	sum := 0.0
	for _, c := range s.tokens {
		sum += float64(c.prob)
	}
	target := float64(s.random.Uint64()>>11) / (1 << 53) * sum
	sum = 0
	for _, c := range s.tokens {
		sum += float64(c.prob)
		if sum > target {
			return c.id
		}
	}
	return s.tokens[len(s.tokens)-1].id // target was rounded up to the sum
}

// better orders candidates by likelihood, then by id.
func better(a, b *candidate) bool {
	return a.logit > b.logit || a.logit == b.logit && a.id < b.id
}

func worse(a, b *candidate) bool { return better(b, a) }

// heapify makes h a heap, in which no candidate comes before h[0].
func heapify(h []candidate, before func(a, b *candidate) bool) {
	for i := len(h)/2 - 1; i >= 0; i-- {
		down(h, i, before)
	}
}

// down moves h[i] down in the heap h, below those that come before it.
func down(h []candidate, i int, before func(a, b *candidate) bool) {
	for {
		j := 2*i + 1
		if j >= len(h) {
			return
		}
		if j+1 < len(h) && before(&h[j+1], &h[j]) {
			j++
		}
		if !before(&h[j], &h[i]) {
			return
		}
		h[i], h[j] = h[j], h[i]
		i = j
	}
}
