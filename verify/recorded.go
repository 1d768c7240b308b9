package verify

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
)

// Record evaluates every window with the base model and writes its logits, for
// [NewRecorded]: for each scored position a row of float32, little endian, without a header.
// progress, if not nil, is called with the number of windows done.
func Record(ctx context.Context, base Predictor, windows []Window, w io.Writer, progress func(done int)) error {
	buf := make([]byte, 4*base.VocabSize())
	for i := range windows {
		win := &windows[i]
		err := base.Logits(ctx, win.Tokens, win.First, func(k int, logits []float32) error {
			if k-win.First >= win.Scored() {
				return nil
			}
			for t, x := range logits {
				binary.LittleEndian.PutUint32(buf[4*t:], math.Float32bits(x))
			}
			_, err := w.Write(buf)
			return err
		})
		if err != nil {
			return win.failed("base model", err)
		}
		if progress != nil {
			progress(i + 1)
		}
	}
	return nil
}

// RecordedBytes is how much [Record] writes.
func RecordedBytes(windows []Window, vocab int) int64 {
	return 4 * int64(Scored(windows)) * int64(vocab)
}

// recorded is a model of which the logits were recorded.
type recorded struct {
	vocab int
	r     io.Reader
	row   []float32
	buf   []byte
}

// NewRecorded returns a Predictor that reads what [Record] wrote. It can be asked once, for
// the same windows in the same order.
func NewRecorded(vocab int, r io.Reader) Predictor {
	return &recorded{vocab, r, make([]float32, vocab), make([]byte, 4*vocab)}
}

func (m *recorded) VocabSize() int { return m.vocab }

func (m *recorded) Logits(ctx context.Context, tokens []int32, first int,
	emit func(i int, logits []float32) error) error {
	for i := first; i < len(tokens)-1; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := io.ReadFull(m.r, m.buf); err != nil {
			return fmt.Errorf("recorded logits: %w", err)
		}
		for t := range m.row {
			m.row[t] = math.Float32frombits(binary.LittleEndian.Uint32(m.buf[4*t:]))
		}
		if err := emit(i, m.row); err != nil {
			return err
		}
	}
	return nil
}
