package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/runtime"
	"github.com/phi3conv/phi3conv/testdata"
)

func open(t testing.TB, path string, opt runtime.Options) *runtime.Model {
	t.Helper()
	opt.Batched = true
	m, err := runtime.Open(t.Context(), path, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func newEngine(t testing.TB, m *runtime.Model, opt Options) *Engine {
	t.Helper()
	e, err := New(m, opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// answer is all that a request gave.
type answer struct {
	tokens []Token
	result Result
}

func do(ctx context.Context, e *Engine, r Request) (answer, error) {
	var a answer
	emit := r.Emit
	r.Emit = func(t Token) bool {
		a.tokens = append(a.tokens, t)
		return emit == nil || emit(t)
	}
	var err error
	a.result, err = e.Do(ctx, r)
	return a, err
}

// bits writes out all that must not depend on other requests.
func (a answer) bits() string {
	s := fmt.Sprint(a.result.Stop, a.result.StopID, a.result.Tokens)
	for _, tokens := range [][]Token{a.result.Prompt, a.tokens, {a.result.Last}} {
		for _, t := range tokens {
			s += fmt.Sprint(" ", t.ID, math.Float32bits(t.Logprob))
			for _, c := range t.Top {
				s += fmt.Sprint(",", c.ID, math.Float32bits(c.Logprob))
			}
		}
		s += "|"
	}
	return s
}

// sampling makes a request of a kind, with a sampler of its own. Every kind begins like others.
func sampling(t testing.TB, kind int) Request {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(kind), 1))
	text := func(seed, n int) []int32 {
		r := rand.New(rand.NewPCG(uint64(seed), 2))
		ids := make([]int32, n)
		for i := range ids {
			ids[i] = int32(3 + r.IntN(200))
		}
		return ids
	}
	q := Request{MaxTokens: 1 + r.IntN(12), Logprobs: r.IntN(4) - 1, PromptLogprobs: r.IntN(4) - 1}
	q.Prompt = append(text(kind%3, 1+r.IntN(300)), text(kind, r.IntN(20))...)
	if kind%4 > 0 {
		s, err := runtime.NewSampler(runtime.SamplerOptions{
			Temperature: 1, TopK: 40, TopP: 0.95, Seed: uint64(kind), RepeatPenalty: 1.1, RepeatLastN: 20,
		})
		if err != nil {
			t.Fatal(err)
		}
		q.Sampler = s
	}
	switch kind % 5 {
	case 1:
		q.Bias = map[int32]float32{5: 3, 9: -100}
	case 2:
		q.Draft = []Drafter{new(Lookup)}
	case 3:
		q.MaxTokens = 0
		q.PromptLogprobs = max(q.PromptLogprobs, 0)
	case 4:
		q.Stop = []int32{7, 8, 11}
	}
	return q
}

// A request gives the same bits alone and among others, first or with beginnings that were kept, whatever the threads.
func TestIndependent(t *testing.T) {
	for _, arch := range []string{"tiny-phi3", "tiny-phimoe"} {
		path := testmodel.Copy(t, arch)
		const requests = 32
		want := make([]string, requests)
		for i := range want {
			e := newEngine(t, open(t, path, runtime.Options{Threads: 1}), Options{Context: 512})
			a, err := do(t.Context(), e, sampling(t, i))
			if err != nil {
				t.Fatal(err)
			}
			want[i] = a.bits()
			e.Close()
		}
		for threads := 1; threads <= 2; threads++ {
			m := open(t, path, runtime.Options{Threads: threads})
			e := newEngine(t, m, Options{Context: 512, Parallel: 5, Queue: 100, Chunk: 7, Bytes: m.CacheBytes(512) * 7})
			for round := range 2 {
				var all sync.WaitGroup
				for i := range requests {
					all.Go(func() {
						time.Sleep(time.Duration(i*i%17) * time.Millisecond)
						a, err := do(t.Context(), e, sampling(t, i))
						if err != nil || a.bits() != want[i] {
							t.Errorf("%s, %d threads, round %d, request %d: error %v\n%s\nalone\n%s",
								arch, threads, round, i, err, a.bits(), want[i])
						}
					})
				}
				all.Wait()
			}
			s := e.Stats()
			if s.Requests != 2*requests || s.KeptTokens == 0 || s.Running+s.Waiting > 0 {
				t.Errorf("%+v", s)
			}
			e.Close()
			if n := m.CacheInUse(); n != 0 {
				t.Errorf("%d bytes of keys and values are left", n)
			}
		}
	}
}

// Log-probabilities are those of Model.Eval, and drafts change nothing.
func TestLogprobs(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{})
	e := newEngine(t, m, Options{})
	prompt := sampling(t, 12).Prompt
	for range 2 { // then with the kept beginning
		a, err := do(t.Context(), e, Request{Prompt: prompt, MaxTokens: 3, Logprobs: 2, PromptLogprobs: 5})
		if err != nil {
			t.Fatal(err)
		}
		all := append(slices.Clone(a.result.Prompt), a.tokens...)
		if len(a.tokens) != 3 || len(all) != len(prompt)+3 || !math.IsNaN(float64(all[0].Logprob)) {
			t.Fatalf("%d tokens of the answer, %d in all, the first: %v", len(a.tokens), len(all), all[0])
		}
		s, err := m.NewSequence(0)
		if err != nil {
			t.Fatal(err)
		}
		text := slices.Clone(prompt)
		for _, c := range a.tokens {
			text = append(text, c.ID)
		}
		check := func(i int, x []float32) error {
			if i+1 == len(text) {
				return nil
			}
			sum, best := 0.0, 0
			for id, v := range x {
				sum += math.Exp(float64(v))
				if v > x[best] {
					best = id
				}
			}
			c := all[i+1]
			if want := float64(x[text[i+1]]) - math.Log(sum); math.Abs(float64(c.Logprob)-want) > 1e-5 {
				t.Errorf("token %d: log-probability %v, expected %v", i+1, c.Logprob, want)
			}
			if c.Top[0].ID != int32(best) || c.ID == int32(best) && c.Logprob != c.Top[0].Logprob {
				t.Errorf("token %d: %v, the most likely is %d", i+1, c, best)
			}
			return nil
		}
		if err := m.Eval(t.Context(), runtime.Request{Seq: s, Tokens: text, All: true, Logits: check}); err != nil {
			t.Fatal(err)
		}
	}
	if kept := e.Stats().KeptTokens; kept < int64(len(prompt)-2) {
		t.Errorf("%d tokens were kept of %d", kept, len(prompt))
	}
}

// longRope writes a model whose original context is 24.
func longRope(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for _, v := range testdata.Variants() {
		if v.Name == "longrope_su" {
			if err := v.Write(dir); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir
}

// A prompt evaluated in parts, beyond LongRoPE's original context, has the bits of one evaluated at once.
func TestLongRope(t *testing.T) {
	dir := longRope(t)
	m := open(t, dir, runtime.Options{})
	prompt := make([]int32, 60)
	for i := range prompt {
		prompt[i] = int32((i*37 + 5) % m.VocabSize())
	}
	r := Request{Prompt: prompt, MaxTokens: 4, PromptLogprobs: 1}
	whole, err := do(t.Context(), newEngine(t, m, Options{Chunk: 100}), r)
	if err != nil {
		t.Fatal(err)
	}
	m = open(t, dir, runtime.Options{})
	e := newEngine(t, m, Options{Chunk: 7, Parallel: 3})
	var all sync.WaitGroup
	for i := range 3 {
		all.Go(func() {
			time.Sleep(time.Duration(i) * time.Millisecond)
			if i == 2 { // a short one with the same beginning
				_, err := do(t.Context(), e, Request{Prompt: prompt[:20], MaxTokens: 30, PromptLogprobs: 1})
				if err != nil {
					t.Error(err)
				}
				return
			}
			if a, err := do(t.Context(), e, r); err != nil || a.bits() != whole.bits() {
				t.Errorf("error %v\n%s\nat once\n%s", err, a.bits(), whole.bits())
			}
		})
	}
	all.Wait()
	if a, err := do(t.Context(), e, r); err != nil || a.bits() != whole.bits() {
		t.Errorf("kept: error %v\n%s\nat once\n%s", err, a.bits(), whole.bits())
	}
}

// Requests that cannot run are refused; those that are canceled end soon and leave nothing.
func TestLimits(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{})
	e := newEngine(t, m, Options{Parallel: 1, Queue: 1, Context: 300})
	var tooLong *runtime.ContextError
	if _, err := e.Do(t.Context(), Request{Prompt: make([]int32, 301)}); !errors.As(err, &tooLong) {
		t.Errorf("301 tokens: error %v", err)
	}
	for _, r := range []Request{{}, {Prompt: []int32{-1}}, {Prompt: []int32{1}, Bias: map[int32]float32{1 << 20: 1}}} {
		if _, err := e.Do(t.Context(), r); err == nil {
			t.Errorf("%+v: no error", r)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	started := make(chan bool)
	ended := make(chan error)
	go func() {
		first := true
		r := Request{Prompt: []int32{1, 2}, MaxTokens: -1, Bias: map[int32]float32{5: 100}}
		r.Emit = func(Token) bool {
			if first {
				close(started)
			}
			first = false
			return true
		}
		_, err := do(ctx, e, r)
		ended <- err
	}()
	<-started
	waiting, leave := context.WithCancel(t.Context())
	go func() {
		_, err := e.Do(waiting, Request{Prompt: []int32{1}, MaxTokens: 1})
		ended <- err
	}()
	for e.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
		if e.Stats().Running == 0 {
			t.Fatal("the answer ended too early")
		}
	}
	if _, err := e.Do(t.Context(), Request{Prompt: []int32{1}}); !errors.Is(err, ErrQueueFull) {
		t.Errorf("a full queue: error %v", err)
	}
	leave()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("left the queue: error %v", err)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: error %v", err)
	}
	a, err := do(t.Context(), e, Request{Prompt: []int32{1, 2}, MaxTokens: 50, Emit: func(Token) bool { return false }})
	if err != nil || a.result.Stop != runtime.StopCaller || a.result.Tokens != 1 {
		t.Errorf("stopped by the caller: %+v, error %v", a.result, err)
	}
	e.Close()
	if _, err := e.Do(t.Context(), Request{Prompt: []int32{1}}); !errors.Is(err, ErrClosed) {
		t.Errorf("closed: error %v", err)
	}
	if n := m.CacheInUse(); n != 0 {
		t.Errorf("%d bytes of keys and values are left", n)
	}
}

// only allows some tokens, in turns.
type only struct {
	ids  [][]int32
	seen []int32
}

func (o *only) Allow(allowed []uint64) error {
	clear(allowed)
	for _, id := range o.ids[len(o.seen)%len(o.ids)] {
		allowed[id/64] |= 1 << (id % 64)
	}
	return nil
}

func (o *only) Accept(id int32) { o.seen = append(o.seen, id) }

// pausing is only, and calls pause once so many tokens came.
type pausing struct {
	only
	after int
	pause func()
}

func (p *pausing) Allow(allowed []uint64) error {
	if len(p.seen) == p.after {
		p.pause()
	}
	return p.only.Allow(allowed)
}

// A prompt that begins as a running request's answer does: its tokens there have keys and values already, but no
// log-probabilities.
func TestPromptOfAnswer(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{})
	prompt, cycle := sampling(t, 12).Prompt, []int32{17, 130, 64}
	next := Request{Prompt: slices.Concat(prompt, cycle, cycle, cycle, []int32{5}), MaxTokens: 2, PromptLogprobs: 3}
	want, err := do(t.Context(), newEngine(t, m, Options{}), next)
	if err != nil {
		t.Fatal(err)
	}
	m = open(t, testmodel.Phi3(t), runtime.Options{})
	e := newEngine(t, m, Options{Parallel: 2})
	var all sync.WaitGroup
	c := &pausing{only: only{ids: [][]int32{cycle[:1], cycle[1:2], cycle[2:]}}, after: 20}
	c.pause = func() {
		all.Go(func() {
			if a, err := do(t.Context(), e, next); err != nil || a.bits() != want.bits() {
				t.Errorf("error %v\n%s\nalone\n%s", err, a.bits(), want.bits())
			} else if a.result.Kept < len(prompt)-1 {
				t.Errorf("%d tokens of %d were kept", a.result.Kept, len(next.Prompt))
			}
		})
		for e.Stats().Waiting == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	answer := Request{Prompt: prompt, MaxTokens: 40, PromptLogprobs: 3, Constraint: c}
	if _, err := do(t.Context(), e, answer); err != nil {
		t.Error(err)
	}
	all.Wait()
}

func TestConstraint(t *testing.T) {
	e := newEngine(t, open(t, testmodel.Phi3(t), runtime.Options{}), Options{})
	c := &only{ids: [][]int32{{17}, {130, 131}, {64}}}
	a, err := do(t.Context(), e, Request{
		Prompt: []int32{1, 2, 3}, MaxTokens: 5, Constraint: c, Draft: []Drafter{new(Lookup)},
	})
	if err != nil {
		t.Fatal(err)
	}
	for i, tok := range a.tokens {
		if !slices.Contains(c.ids[i%3], tok.ID) || c.seen[i] != tok.ID {
			t.Errorf("token %d is %d, allowed were %v", i, tok.ID, c.ids[i%3])
		}
	}
	r := Request{Prompt: []int32{1}, MaxTokens: 5, Constraint: &only{ids: [][]int32{{}}}}
	if _, err := do(t.Context(), e, r); err == nil {
		t.Error("nothing is allowed: no error")
	}
}

// Whatever is added and given up, the cache finds the longest beginning that it has.
func TestCache(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{})
	r := rand.New(rand.NewPCG(1, 2))
	c := newCache(0)
	var kept [][]int32
	for range 300 {
		text := make([]int32, 1+r.IntN(8))
		for i := range text {
			text[i] = int32(r.IntN(3))
		}
		want := 0
		for _, k := range kept {
			want = max(want, min(common(k, text), len(text)-1))
		}
		n, from := c.find(false, text, -1)
		if n != want || n > 0 && common(from.seq.Tokens(), text) < n {
			t.Fatalf("%v: found %d, expected %d of %v", text, n, want, kept)
		}
		s, err := m.NewSequence(16)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Eval(t.Context(), runtime.Request{Seq: s, Tokens: text}); err != nil {
			t.Fatal(err)
		}
		c.add(false, s, nil)
		kept = append(kept, text)
		if r.IntN(40) == 0 {
			c.clear()
			kept = nil
			if m.CacheInUse() != 0 {
				t.Fatalf("%d bytes are left", m.CacheInUse())
			}
		}
	}
}

// Many ends of one text, such as the answers to choose from, take no memory.
func TestCacheOfEnds(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{})
	c := newCache(8)
	text := make([]int32, 40)
	for end := range int32(20) {
		text = append(text[:36], end, end, end, end)
		s, err := m.NewSequence(len(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Eval(t.Context(), runtime.Request{Seq: s, Tokens: text}); err != nil {
			t.Fatal(err)
		}
		c.add(false, s, nil)
		if n := m.CacheInUse(); n != m.CacheBytes(1) {
			t.Fatalf("%d bytes after %d texts, expected %d", n, end+1, m.CacheBytes(1))
		}
	}
	if n, _ := c.find(false, append(text[:36], 30, 31), -1); n != 36 {
		t.Errorf("found %d tokens of 36", n)
	}
	c.clear()
}

// Lookup's guesses are how the text went on, and never depend on how often it was asked.
func TestLookup(t *testing.T) {
	text := []int32{1, 2, 3, 4, 5, 1, 2, 3}
	l := new(Lookup)
	if g := l.Draft(text[:7], 4); g != nil {
		t.Errorf("nothing occurred twice: %v", g)
	}
	if g := l.Draft(text, 4); !slices.Equal(g, []int32{4, 5, 1, 2}) {
		t.Errorf("guesses %v", g)
	}
	if g := l.Draft(append(text, 4), 9); !slices.Equal(g, []int32{5, 1, 2, 3, 4, 5, 1, 2, 3}) {
		t.Errorf("guesses %v", g)
	}
	if g := new(Lookup).Draft(text, 1); !slices.Equal(g, []int32{4}) {
		t.Errorf("guesses %v", g)
	}
}

// A log-probability is right to the last bit but one of float32 where a token is much likelier than each of the many
// others, too. Clients add them up.
func TestLargeVocabulary(t *testing.T) {
	var s scorer
	logits := make([]float32, 50000)
	for peak := float32(8); peak < 20; peak += 0.25 {
		logits[5] = peak
		sum := math.Exp(float64(peak)) + float64(len(logits)-1)
		for id, x := range logits[:10] {
			got, want := float64(s.token(logits, int32(id), 0).Logprob), float64(x)-math.Log(sum)
			if math.Abs(got-want) > math.Abs(want)/(1<<23)+1e-7 {
				t.Errorf("one of %v, token %d: %v, expected %v", peak, id, got, want)
			}
		}
	}
}

// A text gives the same rows, to the bit, while it is written and when it is read, whatever is kept of it.
func TestRows(t *testing.T) {
	m := open(t, testmodel.Phi3(t), runtime.Options{})
	e := newEngine(t, m, Options{Chunk: 5})
	text := []int32{1, 399, 263, 262, 354, 272}
	prompt := len(text)
	var written, read [][]float32
	_, err := e.Do(t.Context(), Request{Prompt: text, MaxTokens: 20, Logprobs: -1, PromptLogprobs: -1,
		Emit: func(t Token) bool { text = append(text, t.ID); return true },
		Rows: func(at int, logits []float32) {
			if at != 2+len(written) {
				t.Errorf("row of place %d, expected %d", at, 2+len(written))
			}
			written = append(written, slices.Clone(logits))
		}, FirstRow: 2})
	if err != nil || len(written) != len(text)-2 {
		t.Fatalf("%d tokens, %d rows of the prompt and the answer: %v", len(text), len(written), err)
	}
	for _, first := range []int{2, prompt, len(text) - 3, len(text) - 1} {
		for _, logprobs := range []int{-1, 1} {
			read = read[:0]
			_, err := e.Do(t.Context(), Request{Prompt: text[:len(text)-1], PromptLogprobs: logprobs, FirstRow: first,
				Rows: func(at int, logits []float32) { read = append(read, slices.Clone(logits)) }})
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(read, written[first-2:], slices.Equal[[]float32]) {
				t.Errorf("from %d on, the %d rows that are read are not those that were written", first, len(read))
			}
		}
	}
	for _, first := range []int{0, len(text) + 1} {
		r := Request{Prompt: text, Rows: func(int, []float32) {}, FirstRow: first}
		if _, err := e.Do(t.Context(), r); err == nil {
			t.Errorf("rows from place %d on: no error", first)
		}
	}
}

// A prompt that nobody waits for any more is not read to its end.
func TestCanceledPrompt(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	read := 0.0
	m := open(t, testmodel.Phi3(t), runtime.Options{Threads: 1, Batch: 16, Computed: func(tokens float64) {
		if read += tokens; read > 20 {
			cancel()
			time.Sleep(10 * time.Millisecond) // for the goroutine that is told, on a busy machine
		}
	}})
	e := newEngine(t, m, Options{})
	if _, err := e.Do(ctx, Request{Prompt: make([]int32, 400), MaxTokens: 1}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if read > 100 {
		t.Errorf("%.0f tokens of 400 were read", read)
	}
}
