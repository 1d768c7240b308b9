package claim

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/objects"
)

// gated is a store whose every access waits for a turn: a schedule decides the order of all accesses of all workers.
type gated struct {
	objects.Store
	turn chan bool // false: the worker is killed here
	done chan struct{}
	now  *time.Time
	saw  string // what the worker knew when it began, saw since, and when: its state follows from that
}

func (s *gated) wait() error {
	s.done <- struct{}{}
	if !<-s.turn {
		return errCrash
	}
	return nil
}

func access[T any](s *gated, do func() (T, error)) (v T, err error) {
	if err := s.wait(); err != nil {
		return v, err
	}
	v, err = do()
	s.saw += fmt.Sprintf("%v %v %v;", s.now.Unix(), v, err)
	return v, err
}

func (s *gated) Create(ctx context.Context, key string, data []byte) error {
	_, err := access(s, func() (string, error) { return "", s.Store.Create(ctx, key, data) })
	return err
}

func (s *gated) Put(ctx context.Context, key string, data []byte) error {
	_, err := access(s, func() (string, error) { return "", s.Store.Put(ctx, key, data) })
	return err
}

func (s *gated) Get(ctx context.Context, key string) ([]byte, error) {
	return access(s, func() ([]byte, error) { return s.Store.Get(ctx, key) })
}

func (s *gated) List(ctx context.Context, prefix string) ([]string, error) {
	return access(s, func() ([]string, error) { return s.Store.List(ctx, prefix) })
}

// run is one execution: what each of the workers does with the task, once, as a schedule says.
type run struct {
	store   *counted
	now     time.Time
	gates   []*gated
	waiting []bool // at an access; the others have ended
	kills   int
	expired int
}

// moves are the choices at a state: worker i goes on, worker i is killed, the lease of all claims runs out.
type move struct {
	worker int // -1: the clock goes on by a lease
	kill   bool
}

func (r *run) moves() (list []move) {
	for i, w := range r.waiting {
		if w {
			list = append(list, move{i, false})
			if r.kills < 1 {
				list = append(list, move{i, true})
			}
		}
	}
	if len(list) > 0 && r.expired < 1 {
		list = append(list, move{-1, false})
	}
	return list
}

// begin starts workers that try to take and do the task up to twice.
func begin(ctx context.Context, workers int) *run {
	r := &run{store: &counted{Store: new(objects.Memory), published: map[string]int{}}, now: time.Unix(0, 0),
		gates: make([]*gated, workers), waiting: make([]bool, workers)}
	for i := range workers {
		g := &gated{Store: r.store, turn: make(chan bool), done: make(chan struct{}), now: &r.now}
		r.gates[i] = g
		w := worker(g, fmt.Sprint("w", i), &r.now)
		go func() {
			defer close(g.done)
			for i := range 2 {
				g.saw = fmt.Sprint(i, w.seen)
				c, err := w.Take(ctx, "t")
				if errors.Is(err, errCrash) {
					return
				}
				if err != nil {
					continue
				}
				if _, err := c.Publish(ctx, []byte(w.Name)); errors.Is(err, errCrash) {
					return
				}
			}
		}()
		_, r.waiting[i] = <-g.done
	}
	return r
}

func (r *run) do(m move) {
	if m.worker < 0 {
		r.expired++
		r.now = r.now.Add(time.Minute)
		return
	}
	g := r.gates[m.worker]
	if m.kill {
		r.kills++
	}
	g.turn <- !m.kill
	_, r.waiting[m.worker] = <-g.done
}

// state is all that decides how an execution goes on.
func (r *run) state(ctx context.Context) string {
	text := fmt.Sprint(r.kills, r.expired, r.waiting)
	for _, g := range r.gates {
		text += "|" + g.saw
	}
	keys, _ := r.store.List(ctx, "") // of Memory, which has no errors
	for _, k := range keys {
		data, _ := r.store.Get(ctx, k)
		text += fmt.Sprintf("|%s=%s", k, data)
	}
	return text
}

// TestAllOrders goes through all orders of the accesses of two workers that try twice, with a kill at every
// place, and with the end of all leases at every place: never is more than one result published, and one always is if
// nobody was killed.
func TestAllOrders(t *testing.T) {
	ctx := t.Context()
	seen := map[string]bool{}
	ends := 0
	for path := []int{}; path != nil; {
		r := begin(ctx, 2)
		var width []int // choices at each place of the path
		for depth := 0; ; depth++ {
			list := r.moves()
			if len(list) == 0 {
				ends++
				if n := r.store.published[Result("t")]; n > 1 || n == 0 && r.kills == 0 {
					t.Fatalf("published %d times by the order %v", n, path)
				}
				break
			}
			if depth == len(path) { // a state that was not reached before in this way
				if s := r.state(ctx); seen[s] {
					break
				} else {
					seen[s] = true
				}
				path = append(path, 0)
			}
			width = append(width, len(list))
			r.do(list[path[depth]])
		}
		r.kill()
		path = next(path[:len(width)], width)
	}
	t.Logf("%d states, %d ends", len(seen), ends)
	if len(seen) < 1000 {
		t.Error("too few to show anything")
	}
}

// kill ends the workers that wait.
func (r *run) kill() {
	for i, w := range r.waiting {
		if w {
			r.do(move{i, true})
		}
	}
}

// next is the next path in lexical order, nil after the last.
func next(path, width []int) []int {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i]+1 < width[i] {
			path[i]++
			return path[:i+1]
		}
	}
	return nil
}
