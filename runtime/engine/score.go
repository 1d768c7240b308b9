package engine

import (
	"math"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
	"github.com/phi3conv/phi3conv/internal/work"
)

// scorer makes log-probabilities of logits.
type scorer struct{ probs []float32 }

// token returns the log-probability of id and the top most likely candidates. A candidate's number is computed in one
// way, so that the most likely token has the same bits wherever it occurs.
func (s *scorer) token(logits []float32, id int32, top int) Token {
	best := 0
	for i, v := range logits {
		if v > logits[best] {
			best = i
		}
	}
	// The greatest probability is 1/Σ exp(x - greatest).
	n := len(logits)
	s.probs = work.Resize(s.probs, linear.Padded(n))
	copy(s.probs, logits)
	clear(s.probs[n:])
	kern.Best().Softmax(s.probs, 0, n, 1)
	sum := 0.0 // about 1: the sum that was divided by lost digits in float32
	for _, p := range s.probs[:n] {
		sum += float64(p)
	}
	greatest, ln := float64(logits[best]), math.Log(float64(s.probs[best])/sum)
	candidate := func(id int32) Candidate {
		return Candidate{id, float32(float64(logits[id]) - greatest + ln)}
	}
	t := Token{Candidate: candidate(id)}
	if top == 1 {
		t.Top = []Candidate{candidate(int32(best))}
	} else if top > 1 {
		t.Top = make([]Candidate, 0, top)
		for _, i := range floats.Greatest(logits, min(top, n)) {
			t.Top = append(t.Top, candidate(i))
		}
	}
	return t
}
