package engine

import (
	"time"
)

// mostDraft is how many tokens are guessed at most.
const mostDraft = 16

// speculation guesses how a text goes on. A guess is checked, evaluated with the last token of the text, where that is
// likely to save time; otherwise it is only compared with what comes, which costs nothing.
type speculation struct {
	guessers []guesser
	from     *guesser // whose guess it is
	guess    []int32
	checked  int // tokens of guess that are evaluated

	drafted, matched int64
}

// guesser is a Drafter, and what its guesses were worth.
type guesser struct {
	Drafter
	right float64 // probability that a guessed token comes if those before it came
	each  float64 // seconds that it takes to guess a token
	rest  int     // tokens for which it is not asked
}

const (
	firstRight = 0.6 // before anything is known
	learning   = 0.1 // weight of a new observation
	pause      = 32  // tokens that come before a guesser that takes time and is not worth it is asked again
)

func newSpeculation(all []Drafter) speculation {
	var s speculation
	for _, d := range all {
		s.guessers = append(s.guessers, guesser{Drafter: d, right: firstRight})
	}
	return s
}

// next guesses at most n tokens after text and returns those that are to be checked. others is how many tokens are
// evaluated at the same time beside the last one of text.
func (s *speculation) next(text []int32, n, others int, p *pace) []int32 {
	s.guess, s.from, s.checked = s.guess[:0], nil, 0
	if n = min(n, mostDraft); n <= 0 {
		return nil
	}
	for i := range s.guessers {
		g := &s.guessers[i]
		if g.rest > 0 {
			g.rest--
			continue
		}
		worth := min(p.worth(g.right, g.each, others), n)
		begin := time.Now()
		s.guess = append(s.guess, g.Draft(text, max(worth, 1))...)
		if len(s.guess) == 0 {
			continue
		}
		each := time.Since(begin).Seconds() / float64(len(s.guess))
		if g.each == 0 {
			g.each = each
		}
		g.each += learning * (each - g.each)
		if worth == 0 && g.each > p.of(1)/100 {
			g.rest = pause
		}
		s.from, s.checked = g, min(worth, len(s.guess))
		break
	}
	return s.guess[:s.checked]
}

// came takes the tokens that came after the text.
func (s *speculation) came(tokens []int32) {
	if s.from == nil {
		return
	}
	for i, id := range s.guess {
		if i == len(tokens) {
			break
		}
		hit := 0.0
		if id == tokens[i] {
			hit = 1
		}
		s.from.right += learning * (hit - s.from.right)
		if i < s.checked {
			s.matched += int64(hit)
		}
		if hit == 0 {
			break
		}
	}
	s.drafted += int64(s.checked)
	s.guess, s.from, s.checked = s.guess[:0], nil, 0
}

func (s *speculation) close() {
	for i := range s.guessers {
		s.guessers[i].Close()
	}
}

// pace is how long the model takes for a number of tokens: a line through the times of late, each of which counts a
// little less than the one after it.
type pace struct{ n, x, xx, y, xy float64 }

const (
	forget     = 0.99
	assumedAdd = 0.2 // of the time of one token, for each more, as long as nothing is known
)

// add notes that tokens took so many seconds.
func (p *pace) add(tokens int, seconds float64) {
	x := float64(tokens)
	p.n, p.x, p.xx = forget*p.n+1, forget*p.x+x, forget*p.xx+x*x
	p.y, p.xy = forget*p.y+seconds, forget*p.xy+x*seconds
}

// of returns the seconds that so many tokens take, with 1 for one token if nothing is known.
func (p *pace) of(tokens float64) float64 {
	if p.n == 0 {
		return 1 + assumedAdd*(tokens-1)
	}
	x, y := p.x/p.n, p.y/p.n
	slope := assumedAdd * y / (1 + assumedAdd*(x-1))
	if spread := p.xx/p.n - x*x; spread > 0.05 {
		slope = (p.xy/p.n - x*y) / spread
	}
	return max(y+slope*(tokens-x), y/100)
}

// worth returns the number of guesses with which the most tokens come in a second, those of others included, who wait
// for the guesses too, if each is right with a probability and takes some seconds. It is 0 where none are best.
func (p *pace) worth(right, each float64, others int) int {
	base := float64(1 + others)
	best, most := 0, base/p.of(base)
	come, all := 1.0, 1.0
	for n := 1; n <= mostDraft; n++ {
		all *= right
		come += all
		if rate := (float64(others) + come) / (p.of(base+float64(n)) + float64(n)*each); rate > most {
			best, most = n, rate
		}
	}
	return best
}
