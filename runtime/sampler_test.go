package runtime

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func newTestSampler(t testing.TB, opt SamplerOptions) *Sampler {
	t.Helper()
	s, err := NewSampler(opt)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSamplerGreedy(t *testing.T) {
	for _, c := range []struct {
		name    string
		opt     SamplerOptions
		logits  []float32
		history []int32
		want    int32
	}{
		{"the lowest of equals", SamplerOptions{}, []float32{1, 3, 2, 3}, nil, 1},
		{"negative", SamplerOptions{TopK: 2, TopP: 0.5}, []float32{-3, -2, -4}, nil, 1},
		{
			"a positive logit is divided", SamplerOptions{RepeatPenalty: 2, RepeatLastN: 8}, []float32{1, 1.9, 0},
			[]int32{1, 1}, 0,
		},
		{
			"once however often the token occurs", SamplerOptions{RepeatPenalty: 2, RepeatLastN: 8},
			[]float32{0.9, 2, 0}, []int32{1, 1, 1}, 1,
		},
		{
			"a negative one is multiplied", SamplerOptions{RepeatPenalty: 2, RepeatLastN: 8}, []float32{-1.5, -1},
			[]int32{1}, 0,
		},
		{
			"only the last tokens", SamplerOptions{RepeatPenalty: 2, RepeatLastN: 2}, []float32{1.5, 2, 1},
			[]int32{1, 0, 2}, 1,
		},
		{"no penalty by default", SamplerOptions{RepeatLastN: 2}, []float32{1.5, 2, 1}, []int32{1}, 1},
		{"one candidate", SamplerOptions{Temperature: 1, TopK: 1, TopP: 1}, []float32{1, 3, 2, 3}, nil, 1},
		{"top-p of 0 keeps one", SamplerOptions{Temperature: 1, TopP: 0}, []float32{1, 3, 2, 3}, nil, 1},
		{"so does min-p of 1", SamplerOptions{Temperature: 1, TopP: 1, MinP: 1}, []float32{1, 2, 3}, nil, 2},
		{"almost no temperature", SamplerOptions{Temperature: 1e-30, TopP: 1}, []float32{1e29, 1e30, -1e30}, nil, 1},
	} {
		logits := slices.Clone(c.logits)
		if got := newTestSampler(t, c.opt).Sample(logits, c.history); got != c.want {
			t.Errorf("%s: token %d, expected %d", c.name, got, c.want)
		}
		if !slices.Equal(logits, c.logits) {
			t.Errorf("%s: the logits were changed", c.name)
		}
	}
}

// probabilities returns what each token's probability should be, by sorting everything.
func probabilities(o SamplerOptions, logits []float32) []float64 {
	order := make([]int, len(logits))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case logits[a] > logits[b]:
			return -1
		case logits[a] < logits[b]:
			return 1
		}
		return 0
	})
	softmax := func(temperature float64) (p []float64) {
		sum := 0.0
		for _, id := range order {
			p = append(p, math.Exp(float64(logits[id]-logits[order[0]])/temperature))
			sum += p[len(p)-1]
		}
		for i := range p {
			p[i] /= sum
		}
		return p
	}
	if o.TopK > 0 {
		order = order[:min(o.TopK, len(order))]
	}
	if o.TopP < 1 {
		sum, n := 0.0, 0
		for _, p := range softmax(1) {
			sum += p
			n++
			if sum >= float64(o.TopP) {
				break
			}
		}
		order = order[:n]
	}
	p := softmax(1)
	n := 1
	for n < len(p) && p[n] >= p[0]*float64(o.MinP) {
		n++
	}
	order = order[:n]
	all := make([]float64, len(logits))
	for i, p := range softmax(float64(o.Temperature)) {
		all[order[i]] = p
	}
	return all
}

func TestSamplerProbabilities(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, opt := range []SamplerOptions{
		{Temperature: 1, TopP: 1},
		{Temperature: 0.8, TopK: 40, TopP: 0.95, MinP: 0.05},
		{Temperature: 0.8, TopP: 0.95, MinP: 0.05},
		{Temperature: 1.5, TopP: 0.9},
		{Temperature: 0.3, TopK: 7, TopP: 1},
		{Temperature: 2, TopP: 1, MinP: 0.01},
		{Temperature: 2, TopK: 5000, TopP: 0.999},
	} {
		s := newTestSampler(t, opt)
		for _, n := range []int{1, 2, 17, 1000} {
			logits := make([]float32, n)
			for i := range logits {
				logits[i] = float32(math.Round(r.NormFloat64()*40) / 10) // with equals
			}
			want := probabilities(opt, logits)
			s.Sample(logits, nil)
			got := make([]float64, n)
			for _, c := range s.tokens {
				got[c.id] = float64(c.prob)
			}
			for i := range want {
				if math.Abs(got[i]-want[i]) > 1e-6 {
					t.Errorf("%+v, %d logits: token %d has probability %v, expected %v", opt, n, i, got[i], want[i])
					break
				}
			}
		}
	}
}

// Tokens come as often as they should.
func TestSamplerDraw(t *testing.T) {
	s := newTestSampler(t, SamplerOptions{Temperature: 1, TopP: 1, Seed: 3})
	logits := []float32{0, float32(math.Log(2)), float32(math.Log(4)), float32(math.Inf(-1)), float32(math.Log(3))}
	const draws = 100000
	count := make([]float64, len(logits))
	for range draws {
		count[s.Sample(logits, nil)]++
	}
	for i, want := range []float64{0.1, 0.2, 0.4, 0, 0.3} {
		if got := count[i] / draws; math.Abs(got-want) > 0.01 {
			t.Errorf("token %d came in %.3f of draws, expected %v", i, got, want)
		}
	}
}

// The same seed gives these tokens on every platform.
func TestSamplerSeed(t *testing.T) {
	logits := make([]float32, 1000)
	for i := range logits {
		logits[i] = float32(i*7919%1000) / 100
	}
	for seed, want := range map[uint64]string{
		1: "[556 372 704 681 346 803 815 840 322 162]",
		2: "[667 852 223 927 446 988 335 556 173 717]",
	} {
		opt := DefaultSampling()
		opt.Seed, opt.TopK, opt.RepeatPenalty = seed, 200, 1.1
		s := newTestSampler(t, opt)
		var got []int32
		for range 10 {
			got = append(got, s.Sample(logits, got))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("seed %d: %v, expected %s", seed, got, want)
		}
	}
	if a, b := DefaultSampling().Seed, DefaultSampling().Seed; a == b {
		t.Errorf("the default seed is %d twice", a)
	}
}

func TestSamplerAllocates(t *testing.T) {
	logits := make([]float32, 5000)
	for i := range logits {
		logits[i] = float32(i*7919%1000) / 100
	}
	history := []int32{1, 2, 3}
	for _, k := range []int{0, 40} {
		opt := DefaultSampling()
		opt.TopK, opt.RepeatPenalty = k, 1.1
		s := newTestSampler(t, opt)
		s.Sample(logits, history)
		if n := testing.AllocsPerRun(10, func() { s.Sample(logits, history) }); n != 0 {
			t.Errorf("top-k %d: %v allocations a token", k, n)
		}
	}
}

func TestSamplerOptions(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		opt  SamplerOptions
		want string
	}{
		{SamplerOptions{Temperature: -1}, "temperature is -1, expected 0 to 1e+06"},
		{SamplerOptions{Temperature: nan}, "temperature is NaN"},
		{SamplerOptions{TopP: 1.5}, "top-p is 1.5, expected 0 to 1"},
		{SamplerOptions{MinP: -0.1}, "min-p is -0.1, expected 0 to 1"},
		{SamplerOptions{RepeatPenalty: -2}, "repeat-penalty is -2, expected 1e-06 to 1e+06"},
		{SamplerOptions{RepeatPenalty: float32(math.Inf(1))}, "repeat-penalty is +Inf"},
		{SamplerOptions{TopK: -1}, "top-k is -1, expected 0 or more"},
		{SamplerOptions{RepeatLastN: -1}, "repeat-last-n is -1, expected 0 or more"},
	} {
		if _, err := NewSampler(c.opt); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%+v: error %v, expected %s", c.opt, err, c.want)
		}
	}
	if _, err := NewSampler(DefaultSampling()); err != nil {
		t.Error(err)
	}
}

func BenchmarkSampler(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	logits := make([]float32, 200064)
	for i := range logits {
		logits[i] = float32(r.NormFloat64() * 3)
	}
	for _, k := range []int{0, 40} {
		opt := DefaultSampling()
		opt.TopK = k
		s := newTestSampler(b, opt)
		b.Run(fmt.Sprintf("top-k %d", k), func(b *testing.B) {
			for b.Loop() {
				s.Sample(logits, nil)
			}
		})
	}
}
