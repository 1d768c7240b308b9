package machine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// MultiplyPeak measures how many multiply-adds of a kind a second threads together do with the kernel set in use: the
// most that evaluating a prompt can reach. It takes a tenth of a second and returns 0 where the set has no loop for it.
func MultiplyPeak(kind kern.Multiplication, threads int) float64 {
	const (
		piece = 20 * time.Microsecond // about
		least = 100 * time.Millisecond
	)
	peak := kern.Best().Peaks[kind]
	if peak.Run == nil {
		return 0
	}
	turns := 1
	for took := time.Duration(0); took < piece; turns *= 2 {
		start := time.Now()
		peak.Run(turns)
		took = time.Since(start)
	}
	var done atomic.Int64
	took := together(threads, func() {
		for start := time.Now(); time.Since(start) < least; done.Add(1) {
			peak.Run(turns)
		}
	})
	return float64(done.Load()) * float64(turns) * float64(peak.MACs) / took.Seconds()
}

// together calls do on that many threads and returns the time until the last has returned.
func together(threads int, do func()) time.Duration {
	var all sync.WaitGroup
	start := time.Now()
	for range threads {
		all.Go(do)
	}
	all.Wait()
	return time.Since(start)
}
