package verify

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
)

// Predictor is a model that is verified, or the one that it is measured against.
type Predictor interface {
	VocabSize() int
	// Logits evaluates the tokens of a window by themselves and calls emit with the logits
	// after each token i ≥ first, in order. emit does not keep them; its error ends the evaluation.
	Logits(ctx context.Context, tokens []int32, first int, emit func(i int, logits []float32) error) error
}

// Window is a part of a text that the models see by itself.
type Window struct {
	Text   int     // which text
	Start  int     // index of its first token in the text
	Tokens []int32 // what the models see
	First  int     // the predictions after token First and all later ones but the last are scored
}

// Windows cuts a text as the conventions say. bos replaces the first token of each window if
// c.BOS is set.
//
// llama-perplexity's convention takes windows of Context tokens, one after the other, leaves
// out an incomplete one at the end, and scores the second half of each. The strided one is that of
// transformers' documentation: a window begins every Stride tokens, and scores what no
// window before it has.
func Windows(text int, tokens []int32, c Conventions, bos int32) []Window {
	var all []Window
	if c.Name != Strided {
		for at := 0; at+c.Context <= len(tokens); at += c.Context {
			w := Window{text, at, tokens[at : at+c.Context], c.First}
			if c.BOS {
				w.Tokens = slices.Clone(w.Tokens)
				w.Tokens[0] = bos
			}
			all = append(all, w)
		}
		return all
	}
	scored := 1 // nothing predicts the first token
	for at := 0; scored < len(tokens); at += c.Stride {
		end := min(at+c.Context, len(tokens))
		all = append(all, Window{text, at, tokens[at:end], scored - at - 1})
		scored = end
	}
	return all
}

// Names of conventions.
const (
	LlamaPerplexity = "llama-perplexity"
	Strided         = "strided"
)

// Scored returns the number of predictions that are compared.
func (w *Window) Scored() int { return len(w.Tokens) - 1 - w.First }

// Scored returns the number of predictions of all windows.
func Scored(windows []Window) int {
	n := 0
	for i := range windows {
		n += windows[i].Scored()
	}
	return n
}

// PositionsOf reports whether the positions are of the first of the windows.
func PositionsOf(windows []Window, p []Position) bool {
	for _, w := range windows {
		for i := w.First + 1; i < len(w.Tokens) && len(p) > 0; i++ {
			if p[0].Text != w.Text || p[0].Index != w.Start+i || p[0].Context != i || p[0].Token != w.Tokens[i] {
				return false
			}
			p = p[1:]
		}
	}
	return len(p) == 0
}

// Run evaluates every window with both models and compares their predictions, in the order
// of the windows. progress, if not nil, is called with the number of windows done.
func Run(ctx context.Context, base, quant Predictor, windows []Window, progress func(done int)) ([]Position, error) {
	var all []Position
	done := 0
	err := RunAll(ctx, base, []Predictor{quant}, windows, func(p [][]Position) error {
		all = append(all, p[0]...)
		done++
		if progress != nil {
			progress(done)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// RunAll evaluates every window once with the base model and with each quantized one, and calls
// done for each window, in their order, with the positions of each quantized model. It
// keeps the base model's logits of one window in memory, and those of a few positions of another.
func RunAll(ctx context.Context, base Predictor, quants []Predictor, windows []Window,
	done func(p [][]Position) error) error {
	c := comparer{vocab: base.VocabSize()}
	for _, q := range quants {
		if n := q.VocabSize(); n != c.vocab {
			return fmt.Errorf("vocabularies differ: the base model has %d tokens, the quantized model %d", c.vocab, n)
		}
	}
	for i := range windows {
		w := &windows[i]
		if err := c.readBase(ctx, base, w); err != nil {
			return w.failed("base model", err)
		}
		all := make([][]Position, len(quants))
		for k, q := range quants {
			all[k] = make([]Position, w.Scored())
			if err := c.compare(ctx, q, w, all[k]); err != nil {
				return w.failed("quantized model", err)
			}
		}
		if err := done(all); err != nil {
			return err
		}
	}
	return nil
}

func (w *Window) failed(model string, err error) error {
	return fmt.Errorf("%s: tokens %d to %d of text %d: %w", model, w.Start, w.Start+len(w.Tokens)-1, w.Text, err)
}

// comparer holds the rows of a window.
type comparer struct {
	vocab int
	rows  []float32   // the base model's logits
	free  [][]float32 // rows for the other's
}

// row returns the base model's k-th row.
func (c *comparer) row(k int) []float32 { return c.rows[k*c.vocab : (k+1)*c.vocab] }

// readBase keeps the base model's rows of the window.
func (c *comparer) readBase(ctx context.Context, base Predictor, w *Window) error {
	if n := w.Scored() * c.vocab; cap(c.rows) < n {
		c.rows = make([]float32, n)
	}
	return base.Logits(ctx, w.Tokens, w.First, func(i int, logits []float32) error {
		if k := i - w.First; k < w.Scored() {
			copy(c.row(k), logits)
		}
		return nil
	})
}

// compare compares a quantized model's rows with the base model's. Other goroutines compare rows while the model
// computes the next ones.
func (c *comparer) compare(ctx context.Context, quant Predictor, w *Window, out []Position) error {
	for len(c.free) < 2*runtime.GOMAXPROCS(0) {
		c.free = append(c.free, make([]float32, c.vocab))
	}
	free := make(chan []float32, len(c.free))
	for _, r := range c.free {
		free <- r
	}
	errs := make([]error, len(out))
	var group sync.WaitGroup
	err := quant.Logits(ctx, w.Tokens, w.First, func(i int, logits []float32) error {
		k := i - w.First
		if k >= len(out) { // after the last token: nothing to compare with
			return nil
		}
		mine := <-free
		copy(mine, logits)
		group.Go(func() {
			out[k], errs[k] = Compare(c.row(k), mine, w.Tokens[i+1])
			out[k].Text, out[k].Index, out[k].Context = w.Text, w.Start+i+1, i+1
			free <- mine
		})
		return nil
	})
	group.Wait()
	if err != nil {
		return err
	}
	for k, err := range errs {
		if err != nil {
			return fmt.Errorf("prediction of token %d: %w", w.Start+w.First+k+1, err)
		}
	}
	return nil
}
