package claim

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/phi3conv/phi3conv/internal/objects"
)

func worker(s objects.Store, name string, now *time.Time) *Worker {
	return &Worker{Store: s, Name: name, Lease: time.Minute, Now: func() time.Time { return *now }}
}

func TestClaim(t *testing.T) {
	ctx := t.Context()
	for name, store := range map[string]objects.Store{
		"memory": new(objects.Memory), "directory": objects.Dir(t.TempDir()),
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(0, 0)
			a, b := worker(store, "a", &now), worker(store, "b", &now)
			first, err := a.Take(ctx, "t")
			if err != nil || first.Number != 1 {
				t.Fatal(first, err)
			}
			held := func(when string) {
				t.Helper()
				if _, err := b.Take(ctx, "t"); !errors.Is(err, ErrHeld) {
					t.Errorf("%s: %v, expected that it is held", when, err)
				}
			}
			held("at first")
			now = now.Add(50 * time.Second)
			if err := first.Beat(ctx, "half"); err != nil {
				t.Fatal(err)
			}
			held("after 50 s")
			now = now.Add(50 * time.Second)
			held("50 s after a beat")
			states, err := States(ctx, store)
			if want := (State{1, "a", "half", ""}); err != nil || states["t"] != want {
				t.Errorf("%+v, %v, expected %+v", states["t"], err, want)
			}
			now = now.Add(60 * time.Second)
			second, err := b.Take(ctx, "t")
			if err != nil || second.Number != 2 {
				t.Fatal("after the lease:", second, err)
			}
			// The first comes back.
			if mine, err := first.Publish(ctx, []byte("1")); !mine || err != nil {
				t.Errorf("first: %v, %v", mine, err)
			}
			if mine, err := second.Publish(ctx, []byte("2")); mine || err != nil {
				t.Errorf("second: %v, %v", mine, err)
			}
			if data, err := store.Get(ctx, Result("t")); string(data) != "1" || err != nil {
				t.Errorf("result %s, %v", data, err)
			}
			if _, err := b.Take(ctx, "t"); !errors.Is(err, ErrDone) {
				t.Errorf("after the result: %v", err)
			}
		})
	}
}

func TestEnd(t *testing.T) {
	ctx, now, store := t.Context(), time.Unix(0, 0), new(objects.Memory)
	c, err := worker(store, "a", &now).Take(ctx, "t")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.End(ctx, "interrupted"); err != nil {
		t.Fatal(err)
	}
	c, err = worker(store, "b", &now).Take(ctx, "t")
	if err != nil || c.Number != 2 {
		t.Errorf("after a claim was given back: %v, %v", c, err)
	}
}

// counted counts the results that are created, and ends a worker that crashes at its next access.
type counted struct {
	objects.Store
	published map[string]int
	results   int // published ones
}

// open returns a task without a result, at random.
func (s *counted) open(random *rand.Rand, tasks int) string {
	for {
		if task := fmt.Sprintf("t%03d", random.IntN(tasks)); s.published[Result(task)] == 0 {
			return task
		}
	}
}

func (s *counted) Create(ctx context.Context, key string, data []byte) error {
	err := s.Store.Create(ctx, key, data)
	if err == nil {
		if s.published[key]++; strings.HasPrefix(key, "results/") {
			s.results++
		}
	}
	return err
}

var errCrash = errors.New("crashed")

// crashing fails at random, before or after an access, as a program that is killed.
type crashing struct {
	objects.Store
	random *rand.Rand
	dead   *bool
}

func (s crashing) access(do func() error) error {
	before, after := s.random.IntN(30) == 0, s.random.IntN(30) == 0
	if *s.dead = *s.dead || before; *s.dead {
		return errCrash
	}
	err := do()
	if *s.dead = after; after {
		return errCrash
	}
	return err
}

func (s crashing) Create(ctx context.Context, key string, data []byte) error {
	return s.access(func() error { return s.Store.Create(ctx, key, data) })
}

func (s crashing) Put(ctx context.Context, key string, data []byte) error {
	return s.access(func() error { return s.Store.Put(ctx, key, data) })
}

func (s crashing) Get(ctx context.Context, key string) (data []byte, err error) {
	err = s.access(func() error { data, err = s.Store.Get(ctx, key); return err })
	return data, err
}

// TestCrashes lets 50 workers do 1,000 tasks and crash all the time: a worker that crashed comes back under another
// name. The clock is one of the test. Some beat too seldom and lose their tasks while they work.
func TestCrashes(t *testing.T) {
	const tasks, workers = 1000, 50
	ctx, now, random := t.Context(), time.Unix(0, 0), rand.New(rand.NewPCG(1, 2))
	store := &counted{Store: new(objects.Memory), published: map[string]int{}}
	type state struct {
		w     *Worker
		dead  bool
		claim *Claim
		left  int // steps of its task
	}
	all := make([]*state, workers)
	births, crashes, slow := 0, 0, 0
	born := func() *state {
		s := &state{}
		births++
		s.w = worker(crashing{store, random, &s.dead}, fmt.Sprint("w", births), &now)
		return s
	}
	for i := range all {
		all[i] = born()
	}
	step := func(s *state) error {
		if s.claim == nil {
			c, err := s.w.Take(ctx, store.open(random, tasks))
			if errors.Is(err, ErrHeld) || errors.Is(err, ErrDone) {
				err = nil
			}
			s.claim, s.left = c, random.IntN(5)
			return err
		}
		if s.left--; s.left > 0 {
			if random.IntN(10) == 0 { // stands still while the others go on
				slow++
				return nil
			}
			return s.claim.Beat(ctx, "")
		}
		_, err := s.claim.Publish(ctx, []byte(s.w.Name))
		s.claim = nil
		return err
	}
	steps := 0
	for ; store.results < tasks && steps < 200_000; steps++ {
		i := random.IntN(workers)
		err := step(all[i])
		if all[i].dead {
			crashes++
			all[i] = born()
		} else if err != nil && !errors.Is(err, errCrash) && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		now = now.Add(time.Duration(random.IntN(2000)) * time.Millisecond)
	}
	for i := range tasks {
		if n := store.published[Result(fmt.Sprintf("t%03d", i))]; n != 1 {
			t.Errorf("task %d was published %d times", i, n)
		}
	}
	if crashes < 400 || slow < 100 {
		t.Errorf("%d crashes, %d times slow: too few to show anything", crashes, slow)
	}
	t.Logf("%d steps, %d crashes", steps, crashes)
}
