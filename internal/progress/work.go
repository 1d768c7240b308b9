package progress

import (
	"sync"
	"time"
)

// Kind is one kind of work of a step. Its units, such as multiplications, are its own.
type Kind struct {
	Total float64 // units in all
	// Cost is the time that a unit is expected to take, as a multiple of that of the other kinds' units. It counts
	// until the time is measured.
	Cost float64
}

// Work reports the progress of a step whose work is of several kinds, as the share of its time. At first it trusts the
// kinds' costs; then it learns from the time that each kind takes on this machine. A kind is at work at a time. A nil
// Work ignores what it is told.
type Work struct {
	mu    sync.Mutex
	step  Step
	total int64 // of the step
	kinds []measured
	now   func() time.Time
	begin time.Time
	last  time.Time // of the last report
	set   int64     // the most that the step was told
}

type measured struct {
	Kind
	done float64       // units
	took time.Duration // for them
}

// NewWork begins to measure the work of a step that has just begun, of the size total.
func NewWork(step Step, total int64, kinds ...Kind) *Work {
	return newWork(step, total, time.Now, kinds)
}

func newWork(step Step, total int64, now func() time.Time, kinds []Kind) *Work {
	w := &Work{step: step, total: total, now: now}
	for _, k := range kinds {
		w.kinds = append(w.kinds, measured{Kind: k})
	}
	w.begin = now()
	w.last = w.begin
	return w
}

// Add adds units of a kind that are done, and the time since the last call to what the kind took. It may be called from
// several goroutines.
func (w *Work) Add(kind int, units float64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	k := &w.kinds[kind]
	k.done += units
	k.took += now.Sub(w.last)
	w.last = now
	took := now.Sub(w.begin).Seconds()
	left := w.left()
	if took+left <= 0 {
		return
	}
	if done := int64(float64(w.total) * took / (took + left)); done > w.set {
		w.set = done
		w.step.Set(done)
	}
}

// Skip says that units of a kind need not be done.
func (w *Work) Skip(kind int, units float64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.kinds[kind].Total -= units
}

// Cycles says that so many of all cycles of the same work are done. Each kind's total follows from what it was in them.
func (w *Work) Cycles(done, all float64) {
	if w == nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for i := range w.kinds {
		k := &w.kinds[i]
		k.Total = k.done * all / done
	}
}

// trust is how many seconds of measurement count as much as the expected cost.
const trust = 1.0

// left returns the seconds that what is left will take.
func (w *Work) left() (seconds float64) {
	took, cost := 0.0, 0.0
	for i := range w.kinds {
		k := &w.kinds[i]
		took, cost = took+k.took.Seconds(), cost+k.done*k.Cost
	}
	for i := range w.kinds {
		k := &w.kinds[i]
		if rest := k.Total - k.done; rest > 0 && cost > 0 {
			measured := 0.0 // seconds for a unit
			if k.done > 0 {
				measured = k.took.Seconds() / k.done
			}
			expected := k.Cost * took / cost
			share := k.took.Seconds() / (k.took.Seconds() + trust)
			seconds += rest * (share*measured + (1-share)*expected)
		}
	}
	return seconds
}
