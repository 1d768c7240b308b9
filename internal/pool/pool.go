package runtime

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/phi3conv/phi3conv/internal/kern"
	"github.com/phi3conv/phi3conv/internal/mmap"
)

// job is work that consists of independent tasks.
type job interface {
	// do does task i with worker w's scratch memory.
	do(w *worker, i int)
}

// worker is a thread of a pool, with memory of its own.
type worker struct {
	call   kern.Product // the call under way, here since kernels are called through pointers and it would be allocated otherwise
	mem    []byte       // scratch of product kernels, 64-byte aligned
	bytes  []byte       // a panel
	rows   []byte       // columns of a panel, row by row
	values []float32    // the same decoded
	panel  []float32    // the same as a panel of float32
	tile   [2][512]float32
	out    []float32 // a panel's results for every token of a batch
	attn   attnScratch
	whole  wholeScratch
	err    error
}

// scratch returns the memory that product kernels work in.
func (w *worker) scratch() []byte {
	if w.mem == nil {
		b := make([]byte, kern.ScratchBytes+63)
		w.mem = b[-uintptr(unsafe.Pointer(&b[0]))&63:][:kern.ScratchBytes]
	}
	return w.mem
}

// pool runs jobs on threads that stay hot between jobs: a thread without work
// looks for more for spinTime and sleeps after that. Tasks are handed out one by
// one, so a thread that is slowed down does less.
type pool struct {
	workers []*worker // the first belongs to the goroutine that calls run

	job   job
	tasks int64
	next  atomic.Int64  // the next task
	round atomic.Uint32 // counts jobs: a new one is there
	busy  atomic.Int32  // workers that have not finished this round
	quit  bool

	mu       sync.Mutex
	wake     sync.Cond
	sleeping atomic.Int32
	done     sync.WaitGroup
}

// spinTime is how long a thread looks for work before it sleeps: longer than what
// happens between two jobs of a token, shorter than a user would notice.
const spinTime = 200 * time.Microsecond

func newPool(threads int) *pool {
	p := &pool{}
	p.wake.L = &p.mu
	for i := range threads {
		w := &worker{}
		p.workers = append(p.workers, w)
		if i > 0 {
			p.done.Go(func() { p.serve(w) })
		}
	}
	return p
}

// close ends the threads.
func (p *pool) close() {
	p.mu.Lock()
	p.quit = true
	p.round.Add(1)
	p.wake.Broadcast()
	p.mu.Unlock()
	p.done.Wait()
}

// run does every task of j and returns the first worker's error. It allocates nothing.
func (p *pool) run(j job, tasks int) error {
	if tasks == 0 {
		return nil
	}
	p.job, p.tasks = j, int64(tasks)
	p.next.Store(0)
	if tasks > 1 && len(p.workers) > 1 {
		p.busy.Store(int32(len(p.workers) - 1))
		p.round.Add(1)
		if p.sleeping.Load() > 0 {
			p.mu.Lock()
			p.wake.Broadcast()
			p.mu.Unlock()
		}
	}
	p.work(p.workers[0])
	for i := 0; p.busy.Load() > 0; i++ {
		if i&1023 == 1023 {
			runtime.Gosched()
		}
	}
	var err error
	for _, w := range p.workers {
		if err == nil {
			err = w.err
		}
		w.err = nil // a job that not all take part in must not find it
	}
	return err
}

// work does tasks until none is left.
func (p *pool) work(w *worker) {
	w.err = mmap.Guard(func() {
		for {
			i := p.next.Add(1) - 1
			if i >= p.tasks {
				return
			}
			p.job.do(w, int(i))
		}
	})
}

// serve is the life of a worker beyond the first.
func (p *pool) serve(w *worker) {
	seen := uint32(0)
	for {
		p.await(seen)
		seen++
		if p.quit {
			return
		}
		p.work(w)
		p.busy.Add(-1)
	}
}

// await returns when there is a round after seen.
func (p *pool) await(seen uint32) {
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
