package verify

import (
	"context"
	"fmt"
	"io"
	"runtime"
	"slices"
	"sync"

	"github.com/phi3conv/phi3conv/formats/seal"
)

// RunSeal evaluates every window with the base model and adds its predictions to the seal.
// progress, if not nil, is called with the number of windows done.
func RunSeal(ctx context.Context, base Predictor, windows []Window, s *seal.Writer, progress func(done int)) error {
	for n := range windows {
		w := &windows[n]
		err := base.Logits(ctx, w.Tokens, w.First, func(i int, logits []float32) error {
			if i-w.First >= w.Scored() {
				return nil // nothing comes after the last token
			}
			return s.Add(w.Text, w.Start+i+1, i+1, logits)
		})
		if err != nil {
			return err
		}
		if progress != nil {
			progress(n + 1)
		}
	}
	return nil
}

// maxEntryBytes bounds what RunSealed keeps, whatever a file says of its windows. A window whose
// entries take more is evaluated several times.
const maxEntryBytes = 32 << 20

// RunSealed evaluates the tokens of a seal with the quantized model and compares its predictions
// with the base model's, in their order. It keeps the entries of one window in memory and the
// logits of a few positions. progress, if not nil, is called with the number of positions done.
func RunSealed(ctx context.Context, s *seal.Reader, quant Predictor, progress func(done int)) ([]Bounded, error) {
	return runSealed(ctx, s, quant, maxEntryBytes, progress)
}

func runSealed(ctx context.Context, s *seal.Reader, quant Predictor, most int, progress func(done int)) ([]Bounded,
	error) {
	if n := quant.VocabSize(); n != s.Header.VocabSize {
		return nil, fmt.Errorf("vocabularies differ: the seal has %d tokens, the quantized model %d",
			s.Header.VocabSize, n)
	}
	all := make([]Bounded, 0, min(s.Header.Positions, 1<<16))
	var entries []*seal.Entry // of the window at hand
	size := 0                 // bytes of these
	flush := func() error {
		if len(entries) == 0 {
			return nil
		}
		from := len(all)
		all = append(all, make([]Bounded, len(entries))...)
		first, last := entries[0], entries[len(entries)-1]
		start := first.Index - first.Context
		if err := compareSealed(ctx, quant, windowTokens(s, first.Text, start, last.Index), entries,
			all[from:]); err != nil {
			return fmt.Errorf("tokens %d to %d of text %d: %w", start, last.Index, first.Text, err)
		}
		entries, size = entries[:0], 0
		if progress != nil {
			progress(len(all))
		}
		return nil
	}
	for {
		e, err := s.Next()
		if err == io.EOF {
			return all, flush()
		} else if err != nil {
			return nil, err
		}
		if len(entries) > 0 && (size > most || e.Text != entries[0].Text ||
			e.Index-e.Context != entries[0].Index-entries[0].Context) {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		mine := *e // the reader's is valid until the next
		mine.Top, mine.Full = slices.Clone(e.Top), slices.Clone(e.Full)
		entries = append(entries, &mine)
		size += 8*len(mine.Top) + len(mine.Full)
	}
}

// windowTokens returns what the models see from token start of a text up to token end, which
// they do not see.
func windowTokens(s *seal.Reader, text, start, end int) []int32 {
	tokens := s.Texts[text][start:end]
	if bos := s.Header.Conventions.BOS; bos >= 0 {
		tokens = slices.Clone(tokens)
		tokens[0] = bos
	}
	return tokens
}

// compareSealed compares the entries of one window. Other goroutines compare rows while the model computes the next
// ones.
func compareSealed(ctx context.Context, quant Predictor, tokens []int32, entries []*seal.Entry, out []Bounded) error {
	free := make(chan []float32, 2*runtime.GOMAXPROCS(0))
	for range cap(free) {
		free <- nil
	}
	errs := make([]error, len(out))
	var group sync.WaitGroup
	next := 0
	err := quant.Logits(ctx, tokens, entries[0].Context-1, func(i int, logits []float32) error {
		if next == len(entries) || entries[next].Context != i+1 {
			return nil
		}
		k := next
		next++
		row := append((<-free)[:0], logits...)
		group.Go(func() {
			out[k], errs[k] = LowerBound(entries[k], row)
			free <- row
		})
		return nil
	})
	group.Wait()
	if err != nil {
		return fmt.Errorf("quantized model: %w", err)
	}
	for k, err := range errs {
		if err != nil {
			return fmt.Errorf("prediction of token %d: %w", entries[k].Index, err)
		}
	}
	return nil
}
