package machine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/mmap"
)

// ReadBandwidth measures how many bytes a second threads together read from memory:
// the most that decoding can reach. It takes about half a second and up to 512 MiB, and
// returns 0 if there is no memory to measure with.
func ReadBandwidth(threads int) float64 {
	const (
		most  = 512 << 20 // far more than caches hold
		piece = 1 << 20
		least = 400 * time.Millisecond
	)
	pieces := int(min(most, FreeMemory()/4) / piece)
	b, err := mmap.Memory(pieces * piece)
	if err != nil {
		return 0
	}
	defer func() { _ = mmap.Unmap(b) }()

	// pass calls do for every piece and returns the time taken.
	pass := func(do func(b []byte)) time.Duration {
		var next atomic.Int64
		var done sync.WaitGroup
		start := time.Now()
		for range threads {
			done.Go(func() {
				for i := int(next.Add(1)) - 1; i < pieces; i = int(next.Add(1)) - 1 {
					do(b[i*piece : (i+1)*piece])
				}
			})
		}
		done.Wait()
		return time.Since(start)
	}
	pass(func(b []byte) { // pages that were never written may all be the same page of zeros
		for i := range b {
			b[i] = byte(i)
		}
	})
	sets := kern.Sets()
	read := sets[len(sets)-1].Read
	// The mean over all passes, as decoding too takes a while: on a shared machine a single pass can be
	// twice as fast.
	var bytes, seconds float64
	for seconds < least.Seconds() {
		seconds += pass(func(b []byte) { read(b) }).Seconds()
		bytes += float64(len(b))
	}
	return bytes / seconds
}
