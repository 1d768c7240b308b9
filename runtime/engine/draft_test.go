package engine

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/phi3conv/phi3conv/internal/floats"
	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
)

// repeating makes a prompt that a lookup finds much in.
func repeating(r *rand.Rand) []int32 {
	phrase := make([]int32, 6+r.IntN(10))
	for i := range phrase {
		phrase[i] = int32(3 + r.IntN(200))
	}
	return slices.Concat(phrase, phrase, phrase[:r.IntN(len(phrase))])
}

// With drafts, answers are the same to the bit: the most likely tokens, and those that are drawn with a seed.
func TestDrafts(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{Threads: 1})
	other, err := runtime.Open(t.Context(), testmodel.Phi3(t), runtime.Options{Float32: true, Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	drafts, err := NewDraftModel(other, 512, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	plain, drafted := newEngine(t, m, Options{Context: 512}), newEngine(t, m, Options{Context: 512})
	drafted.eager = true
	for i := range 200 {
		q := Request{Prompt: repeating(r), MaxTokens: 24, Logprobs: 1}
		sampler := func() *runtime.Sampler {
			if i%2 == 0 {
				return nil
			}
			s, err := runtime.NewSampler(runtime.SamplerOptions{
				Temperature: 1, TopK: 20, TopP: 0.95, RepeatPenalty: 1.1, RepeatLastN: 8, Seed: uint64(i),
			})
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
		q.Sampler = sampler()
		want, err := do(t.Context(), plain, q)
		if err != nil {
			t.Fatal(err)
		}
		q.Sampler = sampler()
		q.Draft = [][]Drafter{
			{new(Lookup)}, {drafts.Drafter(q.Sampler)}, {new(Lookup), drafts.Drafter(q.Sampler)},
		}[i%3]
		got, err := do(t.Context(), drafted, q)
		if err != nil || got.bits() != want.bits() {
			t.Errorf("prompt %d: error %v\n%s\nwithout drafts\n%s", i, err, got.bits(), want.bits())
		}

		q.Sampler = sampler()
		q.Draft = []Drafter{new(Lookup)}
		var alone []int32
		q.Emit = func(t Token) bool { alone = append(alone, t.ID); return true }
		s, err := m.NewSequence(512)
		if err != nil {
			t.Fatal(err)
		}
		g, err := Generate(t.Context(), m, s, q)
		if err != nil || g.Tokens != len(want.tokens) || g.Stop != want.result.Stop {
			t.Fatalf("prompt %d: %+v, error %v", i, g, err)
		}
		for n, id := range alone {
			if id != want.tokens[n].ID {
				t.Fatalf("prompt %d: %v without an engine", i, alone)
			}
		}
		s.Free()
	}
	if s := drafted.Stats(); s.DraftMatched < 100 {
		t.Errorf("%d guesses of %d were right", s.DraftMatched, s.DraftTokens)
	}
	drafts.Close()
	if n := other.CacheInUse(); n != 0 {
		t.Errorf("%d bytes of the draft model's keys and values are left", n)
	}
}

// known guesses what it was told.
type known []int32

func (k known) Draft(text []int32, n int) []int32 {
	return k[min(len(text), len(k)):min(len(text)+n, len(k))]
}

func (known) Close() {}

// Guesses never make a text long enough for LongRoPE's other factors.
func TestDraftsLong(t *testing.T) {
	m := open(t, longRope(t), runtime.Options{Threads: 1})
	e := newEngine(t, m, Options{})
	e.eager = true
	for n := 5; n < 30; n += 3 {
		q := Request{Prompt: make([]int32, n), MaxTokens: 30, Logprobs: 0}
		for i := range q.Prompt {
			q.Prompt[i] = int32(5 + i)
		}
		want, err := do(t.Context(), e, q)
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Clone(q.Prompt)
		for _, t := range want.tokens {
			all = append(all, t.ID)
		}
		q.Draft = []Drafter{known(all)}
		if got, err := do(t.Context(), e, q); err != nil || got.bits() != want.bits() {
			t.Errorf("a prompt of %d: error %v\n%s\nwithout drafts\n%s", n, err, got.bits(), want.bits())
		}
	}
}

// Tokens that are drawn with drafts have the model's probabilities.
func TestDraftDistribution(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{Threads: 1})
	e := newEngine(t, m, Options{})
	e.eager = true
	prompt := []int32{1, 40, 50, 60}
	const kinds, draws = 4, 1000
	seq, err := m.NewSequence(0)
	if err != nil {
		t.Fatal(err)
	}
	// after returns the probabilities of the most likely tokens after a text, which are all that are drawn.
	after := func(text []int32) ([]int32, []float64) {
		seq.Truncate(0)
		logits, err := seq.Eval(t.Context(), text)
		if err != nil {
			t.Fatal(err)
		}
		ids, sum := floats.Greatest(logits, kinds), 0.0
		probs := make([]float64, kinds)
		for i, id := range ids {
			probs[i] = math.Exp(float64(logits[id] - logits[ids[0]]))
			sum += probs[i]
		}
		for i := range probs {
			probs[i] /= sum
		}
		return ids, probs
	}
	want := map[[2]int32]float64{}
	first, p := after(prompt)
	second, _ := after(append(slices.Clone(prompt), first[0]))
	for i, a := range first {
		second, q := after(append(slices.Clone(prompt), a))
		for j, b := range second {
			want[[2]int32{a, b}] = draws * p[i] * q[j]
		}
	}
	got := map[[2]int32]float64{}
	for seed := range uint64(draws) {
		s, err := runtime.NewSampler(runtime.SamplerOptions{Temperature: 1, TopK: kinds, TopP: 1, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		guess := known(slices.Concat(prompt, []int32{first[0], second[seed%2]}))
		a, err := do(t.Context(), e, Request{Prompt: prompt, MaxTokens: 3, Sampler: s, Draft: []Drafter{guess},
			PromptLogprobs: -1, Logprobs: -1})
		if err != nil {
			t.Fatal(err)
		}
		got[[2]int32{a.tokens[0].ID, a.tokens[1].ID}]++
	}
	chi, total := 0.0, 0.0
	for pair, w := range want {
		chi += (got[pair] - w) * (got[pair] - w) / w
		total += got[pair]
	}
	// 15 degrees of freedom: more than 37.7 comes with a probability of 0.001.
	if s := e.Stats(); chi > 37.7 || total != draws || s.DraftMatched < 100 || s.DraftMatched == s.DraftTokens {
		t.Errorf("χ² %.1f, %v draws of known pairs, %d guesses of %d were right", chi, total, s.DraftMatched,
			s.DraftTokens)
	}
}

// alike guesses the same token again and again.
type alike struct{}

func (alike) Draft(_ []int32, n int) []int32 { return make([]int32, n) }

func (alike) Close() {}

// Guesses never cost more than a small share of the time, whatever comes: wrong tokens only, tokens that are wrong
// where guesses are checked and right where they are not, and others that are so many times right.
func TestMisleading(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, add := range []float64{0.02, 0.1, 0.3, 0.9} { // what a further token takes, as a share of the first
		for right := -1; right <= 10; right++ { // of ten; -1: where it is not checked
			var p pace
			s, text, seconds, checked := newSpeculation([]Drafter{alike{}}), []int32{0}, 0.0, 0
			for len(text) < 2000 {
				guess := s.next(text, mostDraft, 0, &p)
				took := 0.1 + 0.1*add*float64(len(guess))
				p.add(1+len(guess), took)
				seconds += took
				checked += len(guess)
				var come []int32
				for i := 0; i <= len(guess); i++ {
					hit := r.IntN(10) < right || right < 0 && len(guess) == 0
					come = append(come, map[bool]int32{true: 0, false: 1}[hit])
					if !hit {
						break
					}
				}
				text = append(text, come...)
				s.came(come, &p)
				if speed := 0.1 * float64(len(text)-1) / seconds; len(text) > 30 && speed < 0.95 {
					t.Fatalf("%d of 10 right, each further token takes %v: after %d tokens at %.3f times the speed",
						right, add, len(text), speed)
				}
			}
			speed := 0.1 * float64(len(text)-1) / seconds
			if checked == 0 && add < 0.5 || right == 10 && speed < 0.9*17/(1+16*add) {
				t.Errorf("%d of 10 right, each further token takes %v: %d guesses checked, %.3f times the speed",
					right, add, checked, speed)
			}
		}
	}
}

// How much is guessed follows from what guesses were worth, and from what further tokens cost.
func TestWorth(t *testing.T) {
	var p pace
	p.add(1, 1)
	if n := p.worth(0, 0, 99, 0); n != 0 {
		t.Errorf("guesses that are never right: %d", n)
	}
	if n := p.worth(0.98, 0, 99, 0); n < 8 {
		t.Errorf("guesses that are always right: %d", n)
	}
	if n := p.worth(0.98, 0, 0.5, 0); n != 2 {
		t.Errorf("guesses of which two cost less than half a token: %d", n)
	}
	if n := p.worth(0.98, 10, 99, 0); n != 0 {
		t.Errorf("guesses that take longer than the model: %d", n)
	}
	if n := p.worth(0.5, 0.3, 99, 8); n != 0 {
		t.Errorf("guesses that take others longer than they save: %d", n)
	}
	for i := range 400 {
		p.add(1+i%4, 0.1*float64(1+i%4))
	}
	if n := p.worth(0.5, 0, 99, 0); n != 0 {
		t.Errorf("%d guesses where tokens together take as long as apart", n)
	}
}

// What some tokens take follows from what as many took of late, or from what fewer and more did.
func TestPace(t *testing.T) {
	var p pace
	took := func(n int) float64 { return max(0.1, 0.03*float64(n)) } // at first the weights, then the products
	for i := range 200 {
		n := []int{1, 2, 5, 17, 60}[i%5]
		p.add(n, took(n))
	}
	for n := range 60 {
		if got, want := p.of(float64(n+1)), took(n+1); math.Abs(got/want-1) > 0.2 {
			t.Errorf("%d tokens take %.3f, expected %.3f", n+1, got, want)
		}
	}
	p.add(2, 100) // a disturbance
	if x := p.of(2); x > 1.3*took(2) {
		t.Errorf("two tokens take %.3f", x)
	}
	for range 100 { // the machine has become slower
		p.add(1, 2*took(1))
	}
	if x := p.of(17); x < 1.5*took(17) {
		t.Errorf("on a slow machine 17 tokens take %.3f", x)
	}
	for range lastingFor {
		p.add(1, took(1))
	}
	if len(p.seen) != 1 {
		t.Errorf("%d numbers of tokens, expected 1", len(p.seen))
	}
	var still pace // of a clock that does not move
	for n := range 5 {
		still.add(n+1, 0)
	}
	if x := still.of(3); !(x > 0) {
		t.Errorf("three tokens take %v", x)
	}
}
