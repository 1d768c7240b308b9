package work

import (
	"sync"
	"sync/atomic"
)

// Each calls do for tasks 0 to n-1, on at most so many threads, which take the next task as they become free.
func Each(threads, n int, do func(task int)) {
	if min(threads, n) <= 1 {
		for i := range n {
			do(i)
		}
		return
	}
	EachWith(threads, n, func() struct{} { return struct{}{} }, func(_ struct{}, task int) { do(task) })
}

// EachWith is [Each] with something that each thread makes for itself first, such as a buffer.
func EachWith[T any](threads, n int, own func() T, do func(own T, task int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(max(threads, 1), n) {
		wg.Go(func() {
			mine := own()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				do(mine, i)
			}
		})
	}
	wg.Wait()
}
