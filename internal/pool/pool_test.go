package pool

import (
	"sync/atomic"
	"testing"
	"time"
)

// sums is a job that adds the numbers of its tasks.
type sums struct{ total atomic.Int64 }

func (j *sums) Do(_, task int) { j.total.Add(int64(task)) }

// Every task is done once, whatever the number of threads, whether they are awake or sleep.
func TestPool(t *testing.T) {
	for _, threads := range []int{1, 2, 3, 64} {
		p := New(threads)
		for i := range 2000 {
			tasks := i % 97
			var j sums
			if err := p.Run(&j, tasks); err != nil || j.total.Load() != int64(tasks*(tasks-1)/2) {
				t.Fatalf("%d threads, %d tasks: error %v, sum %d", threads, tasks, err, j.total.Load())
			}
			if i%100 == 0 {
				time.Sleep(spinTime * time.Duration(i%300) / 100) // not at all, about as long, longer
			}
		}
		p.Close()
	}
}
