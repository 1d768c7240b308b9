// Package claim lets workers on any machines share tasks through a store of objects. Each task's result is published
// exactly once, whatever crashes, stops for a while or comes back.
//
// A task TASK has these objects:
//
//	claims/TASK/0001        created by the first worker that takes it, 0002 by the next one, …
//	claims/TASK/0001.alive  put by that worker from time to time, with a number that grows
//	results/TASK            created at the end
//
// The claim of the greatest number counts. A worker may make the next one if that has ended, or if it has not changed
// for the time of the lease, by the clock of the one who looks: clocks of different machines are never compared. So two
// workers may do one task, if one of them was thought dead. Its result is right all the same, since a result does not
// depend on who makes it, and only one is published, since only one worker can create results/TASK. Leases save work;
// they do not decide what is right.
package claim

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/objects"
)

// Worker takes tasks. It is for one goroutine; what it takes may be used by others.
type Worker struct {
	Store objects.Store
	Name  string
	Lease time.Duration
	Now   func() time.Time // time.Now if nil

	seen map[string]sight // by task
}

// sight is what a worker saw of the claim of another.
type sight struct {
	state string // the claim's number and what its worker said last
	since time.Time
}

// alive is what the holder of a claim says.
type alive struct {
	Worker string `json:"worker"`
	Beats  int    `json:"beats"`
	Note   string `json:"note,omitempty"`  // how far the task is, for people
	Ended  string `json:"ended,omitempty"` // why the worker gave it back
}

// ErrHeld is the error of [Worker.Take] while another has the task; ErrDone that of a task with a result.
var (
	ErrHeld = errors.New("another worker has it")
	ErrDone = errors.New("it is done")
)

func claims(task string) string { return path.Join("claims", task) + "/" }

// Result is the key of a task's result.
func Result(task string) string { return path.Join("results", task) }

// Take takes a task.
func (w *Worker) Take(ctx context.Context, task string) (*Claim, error) {
	keys, err := w.Store.List(ctx, claims(task))
	if err != nil {
		return nil, err
	}
	number := last(keys)
	if number > 0 {
		free, err := w.isFree(ctx, task, number)
		if err != nil {
			return nil, err
		}
		if !free {
			return nil, ErrHeld
		}
	}
	c := &Claim{store: w.Store, Task: task, Number: number + 1, alive: alive{Worker: w.Name}}
	data, err := json.Marshal(c.alive)
	if err != nil {
		return nil, err
	}
	if err := w.Store.Create(ctx, c.key(), data); errors.Is(err, fs.ErrExist) {
		return nil, ErrHeld
	} else if err != nil {
		return nil, err
	}
	// The result is looked for after the claim is there: who published one before has none to lose.
	switch _, err := w.Store.Get(ctx, Result(task)); {
	case err == nil:
		return nil, errors.Join(ErrDone, c.End(ctx, "done before"))
	case !errors.Is(err, fs.ErrNotExist):
		return nil, errors.Join(err, c.End(ctx, err.Error()))
	}
	return c, nil
}

// last returns the greatest number of a claim, 0 of none.
func last(keys []string) (number int) {
	for _, key := range keys {
		if n, err := strconv.Atoi(path.Base(key)); err == nil {
			number = max(number, n)
		}
	}
	return number
}

// isFree reports whether the last claim has ended or its lease is over.
func (w *Worker) isFree(ctx context.Context, task string, number int) (bool, error) {
	a, err := read(ctx, w.Store, key(task, number))
	if err != nil {
		return false, err
	}
	if a.Ended != "" {
		return true, nil
	}
	now := time.Now
	if w.Now != nil {
		now = w.Now
	}
	state := fmt.Sprint(number, a.Beats)
	if w.seen == nil {
		w.seen = map[string]sight{}
	}
	if w.seen[task].state != state {
		w.seen[task] = sight{state, now()}
	}
	return now().Sub(w.seen[task].since) >= w.Lease, nil
}

// read returns what the holder of a claim said last.
func read(ctx context.Context, store objects.Store, key string) (a alive, err error) {
	data, err := store.Get(ctx, key+".alive")
	if errors.Is(err, fs.ErrNotExist) {
		data, err = store.Get(ctx, key)
	}
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(data, &a); err != nil {
		return a, fmt.Errorf("%s of %s: %w", key, store, err)
	}
	return a, nil
}

func key(task string, number int) string { return claims(task) + fmt.Sprintf("%04d", number) }

// Claim is a task that a worker has taken.
type Claim struct {
	Task   string
	Number int // of the worker that has it, from 1

	store objects.Store
	alive alive
}

func (c *Claim) key() string { return key(c.Task, c.Number) }

// Beat says that the worker lives, and how far it is. It must come more often than the lease.
func (c *Claim) Beat(ctx context.Context, note string) error {
	c.alive.Beats++
	c.alive.Note = note
	return c.say(ctx)
}

func (c *Claim) say(ctx context.Context) error {
	data, err := json.Marshal(c.alive)
	if err != nil {
		return err
	}
	return c.store.Put(ctx, c.key()+".alive", data)
}

// done is why a claim ended whose worker has a result.
const done = "done"

// Publish stores the task's result, and reports whether it was this worker's: another may have been faster.
func (c *Claim) Publish(ctx context.Context, result []byte) (bool, error) {
	err := c.store.Create(ctx, Result(c.Task), result)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return false, err
	}
	return err == nil, c.End(ctx, done)
}

// Interrupted is why a claim ended whose worker was told to end.
const Interrupted = "interrupted"

// Before returns why the claims before this one ended, since the task's last result, if that was removed. "" is for a
// worker that was lost.
func (c *Claim) Before(ctx context.Context) (ends []string, err error) {
	for n := c.Number - 1; n > 0; n-- {
		a, err := read(ctx, c.store, key(c.Task, n))
		if errors.Is(err, fs.ErrNotExist) { // a bucket may remove old objects
			break
		}
		if err != nil {
			return nil, err
		}
		if a.Ended == done {
			break
		}
		ends = append(ends, a.Ended)
	}
	return ends, nil
}

// End gives the task back.
func (c *Claim) End(ctx context.Context, why string) error {
	c.alive.Ended = cmp.Or(why, "given back")
	return c.say(ctx)
}

// State is how far a task without a result is.
type State struct {
	Attempts int
	Worker   string // the last one
	Note     string // what it said
	Ended    string // why it gave the task back, "" if it did not
}

// States returns the states of the tasks that somebody has taken, by task.
func States(ctx context.Context, store objects.Store) (map[string]State, error) {
	keys, err := store.List(ctx, "claims/")
	if err != nil {
		return nil, err
	}
	numbers := map[string][]string{}
	for _, k := range keys {
		task := path.Base(path.Dir(k))
		if !strings.HasSuffix(k, ".alive") {
			numbers[task] = append(numbers[task], k)
		}
	}
	states := map[string]State{}
	for task, keys := range numbers {
		n := last(keys)
		a, err := read(ctx, store, key(task, n))
		if err != nil {
			return nil, err
		}
		states[task] = State{n, a.Worker, a.Note, a.Ended}
	}
	return states, nil
}
