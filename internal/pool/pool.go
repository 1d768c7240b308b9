// Package pool runs jobs of many small tasks on threads that look for the next job for a while before they sleep:
// a token is hundreds of jobs, which are shorter than waking a thread takes. It knows nothing of what a job does;
// for work that takes longer, internal/work has simpler ways.
package pool

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/phi3conv/phi3conv/internal/mmap"
)

// Job is work that consists of independent tasks.
type Job interface {
	// Do does a task. Calls with the same thread, 0 to [Pool.Threads]-1, never overlap, so memory that a job keeps
	// for each thread needs no lock.
	Do(thread, task int)
}

// Pool is the threads. One without work looks for more for spinTime and sleeps after that. A thread takes the next
// task when it has done one, so that a slower thread does fewer.
type Pool struct {
	errs []error // of each thread in this round; thread 0 is the goroutine that calls Run

	job   Job
	tasks int64
	next  atomic.Int64  // the next task
	round atomic.Uint32 // counts jobs; a thread starts when it changes
	busy  atomic.Int32  // threads that have not finished this round
	quit  bool

	mu       sync.Mutex
	wake     sync.Cond
	sleeping atomic.Int32
	done     sync.WaitGroup
}

// spinTime is how long a thread looks for work before it sleeps: longer than the pause between two jobs of a
// token, and short enough that an idle program takes no CPU time to speak of.
const spinTime = 200 * time.Microsecond

// New starts threads-1 threads.
func New(threads int) *Pool {
	p := &Pool{errs: make([]error, threads)}
	p.wake.L = &p.mu
	for thread := 1; thread < threads; thread++ {
		p.done.Go(func() { p.serve(thread) })
	}
	return p
}

// Close ends the threads.
func (p *Pool) Close() {
	p.mu.Lock()
	p.quit = true
	p.round.Add(1)
	p.wake.Broadcast()
	p.mu.Unlock()
	p.done.Wait()
}

// Threads returns the number of threads.
func (p *Pool) Threads() int { return len(p.errs) }

// Run does every task of j and returns the error of the first thread that met a fault in mapped memory (see
// [mmap.Guard]). It allocates nothing. Calls must not overlap.
func (p *Pool) Run(j Job, tasks int) error {
	if tasks == 0 {
		return nil
	}
	p.job, p.tasks = j, int64(tasks)
	p.next.Store(0)
	if tasks > 1 && len(p.errs) > 1 {
		p.busy.Store(int32(len(p.errs) - 1))
		p.round.Add(1)
		if p.sleeping.Load() > 0 {
			p.mu.Lock()
			p.wake.Broadcast()
			p.mu.Unlock()
		}
	}
	p.work(0)
	for i := 0; p.busy.Load() > 0; i++ {
		if i&1023 == 1023 {
			runtime.Gosched()
		}
	}
	var err error
	for thread, e := range p.errs {
		if err == nil {
			err = e
		}
		p.errs[thread] = nil // else a later job that this thread has no part in would return it
	}
	return err
}

// work does tasks until none is left.
func (p *Pool) work(thread int) {
	p.errs[thread] = mmap.Guard(func() {
		for {
			i := p.next.Add(1) - 1
			if i >= p.tasks {
				return
			}
			p.job.Do(thread, int(i))
		}
	})
}

// serve does a thread's part of every job until [Pool.Close].
func (p *Pool) serve(thread int) {
	seen := uint32(0)
	for {
		p.await(seen)
		seen++
		if p.quit {
			return
		}
		p.work(thread)
		p.busy.Add(-1)
	}
}

// await returns when there is a job after round seen, or the pool is closed.
func (p *Pool) await(seen uint32) {
	start := time.Now()
	for i := 0; ; i++ {
		if p.round.Load() != seen {
			return
		}
		if i&1023 == 1023 {
			runtime.Gosched()
			if time.Since(start) > spinTime {
				break
			}
		}
	}
	p.mu.Lock()
	p.sleeping.Add(1)
	for p.round.Load() == seen {
		p.wake.Wait()
	}
	p.sleeping.Add(-1)
	p.mu.Unlock()
}
