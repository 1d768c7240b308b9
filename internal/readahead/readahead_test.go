package readahead

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// source counts how often each byte is asked for.
type source struct {
	data []byte
	mu   sync.Mutex
	read []byte // times
}

func newSource(n int) *source {
	s := &source{data: make([]byte, n), read: make([]byte, n)}
	r := rand.NewChaCha8([32]byte{7})
	_, _ = r.Read(s.data)
	return s
}

func (s *source) fill(_ context.Context, b []byte, off int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(b, s.data[off:])
	for i := range b {
		s.read[off+int64(i)]++
	}
	return nil
}

// Threads that take pieces of a plan in its order get the right bytes, and each is asked for once.
func TestPlan(t *testing.T) {
	a, b := newSource(30<<20), newSource(5<<20)
	fa, fb := New(t.Context(), 30<<20, a.fill), New(t.Context(), 5<<20, b.fill)
	var ranges []Range
	for off := int64(20 << 20); off < 30<<20; off += 1 << 20 { // the second half first, and then a gap
		ranges = append(ranges, Range{fa, off, 1 << 20})
	}
	ranges = append(ranges, Range{fb, 100, 5000}, Range{bytes.NewReader(nil), 0, 10})
	for off := int64(0); off < 10<<20; off += 1<<20 + 3 {
		ranges = append(ranges, Range{fa, off, 1<<20 + 3})
	}
	p := Start(t.Context(), ranges)
	var next atomic.Int64
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(len(ranges)); i = next.Add(1) - 1 {
				r := ranges[i]
				f, ok := r.R.(*File)
				if !ok {
					continue
				}
				want := a.data
				if f == fb {
					want = b.data
				}
				got := make([]byte, r.Len)
				if n, err := f.ReadAt(got, r.Off); n < len(got) || !bytes.Equal(got, want[r.Off:r.Off+r.Len]) {
					t.Errorf("range %d: %d bytes, %v", i, n, err)
				}
			}
		})
	}
	wg.Wait()
	p.Stop()
	for i, n := range a.read {
		if wanted := i >= 20<<20 || i < 10*(1<<20+3); (n == 1) != wanted || n > 1 {
			t.Fatalf("byte %d was read %d times", i, n)
		}
	}
	got := make([]byte, 100)
	if _, err := fa.ReadAt(got, 15<<20); err != nil || !bytes.Equal(got, a.data[15<<20:15<<20+100]) {
		t.Error("outside of the plan", err)
	}
	if n, err := fa.ReadAt(got, 30<<20-50); n != 50 || err != io.EOF {
		t.Error("at the end:", n, err)
	}
}

// No more is asked for ahead than there is room for; a reader that comes from behind does not wait.
func TestAhead(t *testing.T) {
	s := newSource(100 << 20)
	f := New(t.Context(), 100<<20, s.fill)
	p := Start(t.Context(), []Range{{f, 0, 100 << 20}})
	got := make([]byte, 10)
	if _, err := f.ReadAt(got, 99<<20); err != nil || !bytes.Equal(got, s.data[99<<20:99<<20+10]) {
		t.Fatal(err)
	}
	p.mu.Lock()
	if p.held > ahead {
		t.Errorf("%d bytes are held", p.held)
	}
	p.mu.Unlock()
	p.Stop()
}

// An error of a request is that of all who read there.
func TestError(t *testing.T) {
	broken := errors.New("broken")
	f := New(t.Context(), 10<<20, func(context.Context, []byte, int64) error { return broken })
	p := Start(t.Context(), []Range{{f, 0, 10 << 20}})
	defer p.Stop()
	for _, off := range []int64{0, 5 << 20} {
		if _, err := f.ReadAt(make([]byte, 10), off); !errors.Is(err, broken) {
			t.Error(err)
		}
	}
}
