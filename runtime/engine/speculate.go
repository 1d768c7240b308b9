package engine

import (
	"cmp"
	"math/bits"
	"slices"
	"time"
)

// mostDraft is how many tokens are guessed at most.
const mostDraft = 16

// speculation guesses how a text goes on. A guess is checked, evaluated with the last token of the text, where that is
// likely to save time; otherwise it is only compared with what comes, which costs nothing.
//
// What is likely follows from the guesses so far, and a text may be such that they mislead. So there is an account of
// what guesses have saved and cost, in tokens that could have come in the time, and one that might overdraw it is not
// made: whatever the text, guesses cost at most lossShare of the time, and mostLost tokens.
type speculation struct {
	guessers []guesser
	from     *guesser // whose guess it is
	guess    []int32
	checked  int     // tokens of guess that are evaluated
	others   int     // tokens that are evaluated with them
	cost     float64 // of guessing, in tokens
	eager    bool    // see Engine

	saved  float64 // less what was lost
	tokens int     // that came

	drafted, matched int64
}

// guesser is a Drafter, and what its guesses were worth.
type guesser struct {
	Drafter
	right float64 // probability that a guessed token comes if those before it came
	each  float64 // seconds that it takes to guess a token, 0 as long as it has not
	rest  int     // tokens for which it is not asked
	read  int     // tokens of the text when it was last asked
}

const (
	firstRight = 0.6 // before anything is known
	learning   = 0.1 // weight of a new observation
	pause      = 32  // tokens that come before a guesser that takes time and is not worth it is asked again
	lossShare  = 0.025
	mostLost   = 0.5
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
	s.guess, s.from, s.checked, s.others, s.cost = s.guess[:0], nil, 0, others, 0
	if n = min(n, mostDraft); n <= 0 || len(p.seen) == 0 {
		return nil
	}
	for i := range s.guessers {
		if s.ask(&s.guessers[i], text, n, others, p) {
			break
		}
	}
	return s.guess[:s.checked]
}

// ask takes a guess of g. It returns false if there is none.
func (s *speculation) ask(g *guesser, text []int32, n, others int, p *pace) bool {
	if g.rest > 0 {
		g.rest--
		return false
	}
	left := s.saved + mostLost + lossShare*float64(s.tokens)
	// What the guesser has neither seen nor guessed it must read first.
	left -= p.inTokens(g.each*float64(max(len(text)-g.read-mostDraft-1, 0)), others)
	worth := min(p.worth(g.right, g.each, left, others), n)
	if g.each == 0 {
		worth = min(worth, 1)
	}
	slow := g.each > p.of(1)/100
	if s.eager {
		worth, slow = min(n, 4), false
	}
	if slow && p.inTokens(g.each*float64(max(worth, 1)), others) > left {
		return false
	}
	begin := time.Now()
	s.guess = append(s.guess, g.Draft(text, max(worth, 1))...)
	took := time.Since(begin).Seconds()
	if g.each > 0 || len(s.guess) > 0 { // reading the prompt is not counted
		s.cost += p.inTokens(took, others)
	}
	g.read = len(text)
	if len(s.guess) == 0 {
		return false
	}
	each := took / float64(len(s.guess))
	if g.each == 0 {
		g.each = each
	}
	g.each += learning * (each - g.each)
	if worth == 0 && slow {
		g.rest = pause
	}
	s.from, s.checked = g, min(worth, len(s.guess))
	return true
}

// came takes the tokens that came after the text. The pace knows already how long they took.
func (s *speculation) came(tokens []int32, p *pace) {
	s.tokens += len(tokens)
	s.saved -= s.cost
	if s.checked > 0 {
		s.saved -= p.cost(s.checked, s.others)
	}
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
			s.saved += hit
		}
		if hit == 0 {
			break
		}
	}
	s.drafted += int64(s.checked)
	s.guess, s.from, s.checked, s.cost = s.guess[:0], nil, 0, 0
}

func (s *speculation) close() {
	for i := range s.guessers {
		s.guessers[i].Close()
	}
}

// pace is how long the model takes for numbers of tokens. That is no line: few tokens take as long as one, since the
// weights must be read, and many take as long as they are many.
type pace struct {
	seen  []paced // by tokens
	steps int
}

type paced struct {
	tokens, seconds float64 // means of late
	last            int     // the step that was one
}

const (
	assumedAdd = 0.2  // of the time of one token, for each more, as long as nothing is known
	lastingFor = 500  // steps, after which what was seen says nothing any more: it may have been disturbed
	also       = 0.1  // weight of a new observation for all numbers of tokens: the machine is slower for all
	own        = 0.05 // and for its own
)

// add notes that tokens took so many seconds.
func (p *pace) add(tokens int, seconds float64) {
	p.steps++
	seconds = max(seconds, 1e-9) // a coarse clock may not have moved
	x := float64(tokens)
	if len(p.seen) > 0 {
		expected := p.of(x)
		seconds = min(seconds, 2*expected) // something else ran
		for i := range p.seen {
			p.seen[i].seconds *= 1 + also*(seconds/expected-1)
		}
		p.seen = slices.DeleteFunc(p.seen, func(s paced) bool { return s.last < p.steps-lastingFor })
	}
	group := func(n int) int { // all up to 15, then 8 groups to the double
		shift := max(bits.Len(uint(n))-4, 0)
		return 8*shift + n>>shift
	}
	i, known := slices.BinarySearchFunc(p.seen, group(tokens), func(s paced, g int) int {
		return cmp.Compare(group(int(s.tokens)), g)
	})
	if !known {
		p.seen = slices.Insert(p.seen, i, paced{x, seconds, p.steps})
		return
	}
	s := &p.seen[i]
	s.tokens += own * (x - s.tokens)
	s.seconds += own * (seconds - s.seconds)
	s.last = p.steps
}

// of returns the seconds that so many tokens take, once anything is known.
func (p *pace) of(tokens float64) float64 {
	like := func(s paced) float64 {
		return s.seconds * (1 + assumedAdd*(tokens-1)) / (1 + assumedAdd*(s.tokens-1))
	}
	i := slices.IndexFunc(p.seen, func(s paced) bool { return s.tokens >= tokens })
	switch i {
	case -1:
		return like(p.seen[len(p.seen)-1])
	case 0:
		return like(p.seen[0])
	}
	below, above := p.seen[i-1], p.seen[i]
	return below.seconds + (above.seconds-below.seconds)*(tokens-below.tokens)/(above.tokens-below.tokens)
}

// inTokens returns how many tokens would come in some seconds without guesses, others being evaluated, too.
func (p *pace) inTokens(seconds float64, others int) float64 {
	base := float64(1 + others)
	return seconds * base / p.of(base)
}

// cost returns how many tokens would come in the time that it takes to check n guesses.
func (p *pace) cost(n, others int) float64 {
	base := float64(1 + others)
	return max(p.inTokens(p.of(base+float64(n))-p.of(base), others), 0)
}

// worth returns the number of guesses with which the most tokens come in a second, those of others included, who wait
// for the guesses too, if each is right with a probability and takes some seconds. They cost at most so many tokens. It
// is 0 where none are best.
func (p *pace) worth(right, each, most float64, others int) int {
	base := float64(1 + others)
	best, rate := 0, base/p.of(base)
	come, all := 1.0, 1.0
	for n := 1; n <= mostDraft; n++ {
		all *= right
		come += all
		guessing := float64(n) * each
		if p.cost(n, others)+p.inTokens(guessing, others) > most {
			break
		}
		if r := (float64(others) + come) / (p.of(base+float64(n)) + guessing); r > rate {
			best, rate = n, r
		}
	}
	return best
}
