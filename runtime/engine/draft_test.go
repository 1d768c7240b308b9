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
	if s := e.Stats(); chi > 37.7 || total != draws || s.DraftMatched < 20 || s.DraftMatched == s.DraftTokens {
		t.Errorf("χ² %.1f, %v draws of known pairs, %d guesses of %d were right", chi, total, s.DraftMatched,
			s.DraftTokens)
	}
}

// How much is guessed follows from what guesses were worth, and from what further tokens cost.
func TestWorth(t *testing.T) {
	var p pace
	if n := p.worth(0, 0, 0); n != 0 {
		t.Errorf("guesses that are never right: %d", n)
	}
	if n := p.worth(0.98, 0, 0); n < 8 {
		t.Errorf("guesses that are always right: %d", n)
	}
	if n := p.worth(0.98, 10, 0); n != 0 {
		t.Errorf("guesses that take longer than the model: %d", n)
	}
	if n := p.worth(0.5, 0.3, 8); n != 0 {
		t.Errorf("guesses that take others longer than they save: %d", n)
	}
	for i := range 50 {
		n := 1 + i%4
		p.add(n, 0.1+0.002*float64(n))
	}
	if x := p.of(9); math.Abs(x-0.118) > 0.001 {
		t.Errorf("9 tokens take %v", x)
	}
	few := p.worth(0.5, 0, 0)
	for i := range 400 {
		n := 1 + i%4
		p.add(n, 0.1*float64(n))
	}
	if n := p.worth(0.5, 0, 0); n != 0 || few == 0 {
		t.Errorf("%d guesses where tokens together take as long as apart, %d where they take no longer", n, few)
	}
}
