package verify

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// hashed is a model whose logits depend on the tokens so far alone.
type hashed struct {
	vocab int
	noise float32
	fail  error
}

func (h hashed) VocabSize() int { return h.vocab }

func (h hashed) Logits(_ context.Context, tokens []int32, first int, emit func(int, []float32) error) error {
	row := make([]float32, h.vocab)
	seed := uint64(1)
	for i, t := range tokens {
		seed = seed*6364136223846793005 + uint64(t) + 1
		if i < first {
			continue
		}
		r := rand.New(rand.NewPCG(seed, 1))
		for j := range row {
			row[j] = float32(r.NormFloat64()) * 3
		}
		r = rand.New(rand.NewPCG(seed, 2))
		for j := range row {
			row[j] += h.noise * float32(r.NormFloat64())
		}
		if err := emit(i, row); err != nil {
			return err
		}
	}
	return h.fail
}

func tokens(n, vocab int) []int32 {
	t := make([]int32, n)
	for i := range t {
		t[i] = int32(i * 31 % vocab)
	}
	return t
}

func TestWindows(t *testing.T) {
	text := tokens(100, 50)
	w := Windows(3, text, Conventions{Name: LlamaPerplexity, Context: 16, Stride: 16, First: 8, BOS: true}, 49)
	if len(w) != 6 {
		t.Fatalf("%d windows, expected 6", len(w))
	}
	for i, x := range w {
		if x.Text != 3 || x.Start != 16*i || x.Scored() != 7 || x.Tokens[0] != 49 || x.Tokens[1] != text[16*i+1] {
			t.Errorf("window %d: %+v", i, x)
		}
	}
	if text[16] == 49 {
		t.Error("the text was changed")
	}

	// Every token but the first is scored once, in order, with at least what the stride leaves before it.
	for _, c := range []struct{ n, context, stride int }{{100, 16, 4}, {100, 16, 16}, {10, 16, 4}, {17, 16, 15},
		{2, 16, 1}} {
		next := 1
		for _, x := range Windows(0, text[:c.n], Conventions{Name: Strided, Context: c.context, Stride: c.stride}, -1) {
			for i := x.First; i < len(x.Tokens)-1; i++ {
				if x.Start+i+1 != next {
					t.Fatalf("%+v: token %d is scored, expected %d", c, x.Start+i+1, next)
				}
				if x.Start > 0 && i+1 < c.context-c.stride {
					t.Fatalf("%+v: token %d has %d tokens before it", c, next, i+1)
				}
				next++
			}
		}
		if next != c.n {
			t.Errorf("%+v: scored up to token %d", c, next-1)
		}
	}
}

func TestRun(t *testing.T) {
	text := tokens(64, 50)
	windows := Windows(0, text, Conventions{Name: LlamaPerplexity, Context: 16, Stride: 16, First: 8}, -1)
	same, err := Run(context.Background(), hashed{vocab: 50}, hashed{vocab: 50}, windows, nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(same) != 4*7 {
		t.Fatalf("%d positions, expected 28", len(same))
	}
	for i, p := range same {
		if p.KLD != 0 || !p.SameTop || p.Base != p.Quant || p.Index != i/7*16+i%7+9 || p.Context != i%7+9 ||
			p.Token != text[p.Index] {
			t.Errorf("position %d: %+v", i, p)
		}
	}
	done := 0
	noisy, err := Run(context.Background(), hashed{vocab: 50}, hashed{vocab: 50, noise: 0.3}, windows,
		func(n int) { done = n })
	if err != nil || done != len(windows) {
		t.Fatalf("error %v, %d windows done", err, done)
	}
	for i, p := range noisy {
		if !(p.KLD > 0) || p.Base != same[i].Base {
			t.Errorf("position %d: %+v", i, p)
		}
	}

	if _, err := Run(context.Background(), hashed{vocab: 50}, hashed{vocab: 51}, windows, nil); err == nil {
		t.Error("different vocabularies were compared")
	}
	broken := errors.New("broken")
	if _, err := Run(context.Background(), hashed{vocab: 50}, hashed{vocab: 50, fail: broken}, windows,
		nil); !errors.Is(err, broken) {
		t.Errorf("error %v, expected the model's", err)
	}
	if _, err := Run(context.Background(), hashed{vocab: 50}, hashed{vocab: 50, noise: float32(math.NaN())}, windows,
		nil); err == nil {
		t.Error("logits that are not numbers were compared")
	}
}
