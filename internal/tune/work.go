package tune

import (
	"time"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/linear"
)

// sampleBytes is about how much a sample of one token's products reads.
const sampleBytes = 4 << 20

// coldBytes is how much of a mapped file is read for its pages to be there.
const coldBytes = 128 << 20

// single is products of one token or few with a model's matrices of one format, as decoding does them.
type single struct {
	use     kern.Use
	tokens  int
	threads *linear.Threads
	parts   []*linear.Matrix
	next    int // part

	product linear.Product
	in      linear.Input
	x, out  linear.Rows
}

// newSingle cuts the matrices into parts; of cold ones, the first coldBytes.
func newSingle(threads *linear.Threads, matrices []*linear.Matrix, use kern.Use, cold bool) *single {
	s := &single{threads: threads, use: use, tokens: 1}
	if use == kern.Few {
		s.tokens = kern.FewTokens(matrices[0].Format())
	}
	cols, rows := 0, 0
	bytes := int64(0)
	for _, m := range matrices {
		if bytes += m.Bytes(); cold && len(s.parts) > 0 && bytes > coldBytes {
			break
		}
		step := max(1, int(sampleBytes*int64(m.Panels)/m.Bytes()))
		for p := 0; p < m.Panels; p += step {
			part := m.Part(p, min(step, m.Panels-p))
			s.parts = append(s.parts, part)
			cols, rows = max(cols, m.Cols), max(rows, part.Panels*kern.Rows)
		}
	}
	s.x, s.out = linear.NewRows(s.tokens, cols), linear.NewRows(s.tokens, rows)
	for i := range s.x.Data {
		s.x.Data[i] = float32(i%7) - 3
	}
	return s
}

// touch reads all parts once, while there is time, and reports whether there was.
func (s *single) touch(more func() bool) bool {
	const piece = 256 << 10
	for _, m := range s.parts {
		for b := m.Packed(); len(b) > 0; b = b[min(piece, len(b)):] {
			if !more() {
				return false
			}
			kern.Best().Read(b[:min(piece, len(b))&^255])
		}
	}
	return true
}

// sample multiplies with the next parts, in a form, and returns the seconds for a byte.
func (s *single) sample(format kern.Format, form *kern.Form) (float64, error) {
	kern.Choose(format, s.use, form)
	var took time.Duration
	var bytes int64
	for bytes < sampleBytes/2 {
		m := s.parts[s.next]
		s.next = (s.next + 1) % len(s.parts)
		s.in.Prepare(m, linear.Fast, s.tokens, s.x.Stride)
		for t := range s.tokens {
			s.in.Encode(t, s.x.Row(t))
		}
		start := time.Now()
		if err := s.product.Multiply(s.threads, m, &s.in, s.x, s.out); err != nil {
			return 0, err
		}
		took += time.Since(start)
		bytes += m.Bytes()
	}
	return took.Seconds() / float64(bytes), nil
}

// Sizes of the products of several tokens that are timed: weights stay in the first caches.
const (
	severalTokens = 32
	manyTokens    = 128
	severalCols   = 1024
	severalPanels = 4
	severalTime   = 100e-6 // seconds of a sample, about
)

// several is products of several or many tokens on one thread.
type several struct {
	call  kern.Product
	w, a  []byte
	out   []float32
	calls int // in a sample
}

func newSeveral(f kern.Format, use kern.Use) *several {
	tokens := int64(severalTokens)
	if use == kern.Many {
		tokens = manyTokens
	}
	size := kern.PanelBytes(f, severalCols)
	s := &several{calls: 1}
	s.w, s.out = make([]byte, severalPanels*size), make([]float32, tokens*severalPanels*kern.Rows)
	record, blocks := int64(4*severalCols), int64(severalCols)
	s.call = kern.Product{T: tokens, Panels: severalPanels, PanelBytes: int64(size), AStride: record}
	if cols := kern.Layouts[f].Cols; cols >= 32 {
		record, blocks = kern.A32Bytes, severalCols/32
		if cols == 256 {
			record, blocks = kern.A256Bytes, severalCols/256
		}
		s.call.Panels, s.call.AStride = 1, tokens*record
		record *= blocks
	}
	s.a = make([]byte, tokens*record)
	s.call.W, s.call.A, s.call.Out, s.call.Blocks = &s.w[0], &s.a[0], &s.out[0], blocks
	s.call.Table = new([16]uint8)
	s.call.OutStride, s.call.Scratch = 4*s.call.Panels*kern.Rows, kern.NewScratch()
	s.sample(kern.InUse(f, use)) // the first call is slow
	for took := s.sample(kern.InUse(f, use)); took*float64(s.calls) < severalTime; {
		s.calls *= 2
	}
	return s
}

// sample returns the seconds of a call.
func (s *several) sample(form *kern.Form) float64 {
	start := time.Now()
	for range s.calls {
		form.Multiply(&s.call)
	}
	return time.Since(start).Seconds() / float64(s.calls)
}

// macs returns the multiply-adds of a call.
func (s *several) macs() float64 { return float64(s.call.T * s.call.Panels * kern.Rows * severalCols) }
