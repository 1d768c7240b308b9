package progress

import (
	"math"
	"testing"
	"time"
)

// fakeClock is a clock that stands still but for what a test does with it.
type fakeClock struct{ now time.Time }

func newClock() *fakeClock { return &fakeClock{time.Unix(1e9, 0)} }

func (c *fakeClock) Now() time.Time                                { return c.now }
func (c *fakeClock) Tick(time.Duration) (<-chan time.Time, func()) { return nil, func() {} }

// share keeps the most that was reported.
type share struct{ most int64 }

func (s *share) Set(done int64) { s.most = max(s.most, done) }
func (s *share) End()           {}

// part is work of a kind that a simulated run does at a time.
type part struct {
	kind  int
	units float64
}

// simulate does the parts one after the other on a machine on which a unit of each kind takes so many seconds. It
// returns the estimates of the whole time after each part, and the whole time.
func simulate(
	t *testing.T, kinds []Kind, seconds []float64, parts []part, cycles int,
) (estimates, at []float64, whole float64) {
	clock, s := newClock(), &share{}
	const total = 1e9
	w := newWork(s, total, clock.Now, kinds)
	begin, last := clock.now, int64(0)
	for i, p := range parts {
		for range 10 { // a report from inside
			clock.now = clock.now.Add(time.Duration(p.units / 10 * seconds[p.kind] * float64(time.Second)))
			w.Add(p.kind, p.units/10)
			if s.most < last || s.most > total {
				t.Fatalf("%d of %g reported after %d", s.most, total, last)
			}
			last = s.most
			elapsed := clock.now.Sub(begin).Seconds()
			estimates, at = append(estimates, elapsed*total/float64(s.most)), append(at, elapsed)
		}
		if each := len(parts) / max(1, cycles); cycles > 0 && (i+1)%each == 0 {
			w.Cycles(float64((i+1)/each), float64(cycles))
		}
	}
	if math.Abs(float64(last)/total-1) > 1e-6 {
		t.Errorf("%d of %g reported at the end", last, total)
	}
	return estimates, at, clock.now.Sub(begin).Seconds()
}

// The time of a run is known to 30 % after a tenth of it, also where a machine takes other times for some kinds of work
// than expected, and better and better later.
func TestEstimates(t *testing.T) {
	blocks := func(n int, each ...part) (all []part) {
		for range n {
			all = append(all, each...)
		}
		return all
	}
	for name, c := range map[string]struct {
		kinds   []Kind
		seconds []float64
		parts   []part
		cycles  int
	}{
		"one kind": {[]Kind{{1000, 1}}, []float64{0.3}, blocks(10, part{0, 100}), 0},
		"phases after each other, of known costs": {
			[]Kind{{1000, 1}, {50, 60}, {4000, 0.1}}, []float64{0.02, 1.1, 0.0022},
			append(append(blocks(10, part{0, 100}), blocks(10, part{1, 5})...), blocks(10, part{2, 400})...), 0,
		},
		"blocks of kinds whose costs are wrong": {
			[]Kind{{3200, 1}, {320, 1}, {32, 100}}, []float64{0.01, 0.5, 0.3},
			blocks(32, part{0, 100}, part{1, 10}, part{2, 1}), 0,
		},
		"blocks whose work was not known": {
			[]Kind{{500, 1}, {5000, 1}}, []float64{0.1, 0.7}, blocks(32, part{0, 100}, part{1, 10}), 32,
		},
	} {
		t.Run(name, func(t *testing.T) {
			estimates, at, whole := simulate(t, c.kinds, c.seconds, c.parts, c.cycles)
			for i, e := range estimates {
				allowed := math.Inf(1)
				switch passed := at[i] / whole; {
				case passed > 0.9:
					allowed = 0.05
				case passed >= 0.1:
					allowed = 0.3
				}
				if off := math.Abs(e/whole - 1); off > allowed {
					t.Errorf("%.1f s after %.1f s, expected %.1f s", e, at[i], whole)
				}
			}
		})
	}
}
