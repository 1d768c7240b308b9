package batch

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/atomicfile"
	"github.com/phi3conv/phi3conv/internal/claim"
	"github.com/phi3conv/phi3conv/internal/failure"
	"github.com/phi3conv/phi3conv/internal/machine"
	"github.com/phi3conv/phi3conv/internal/objects"
	"github.com/phi3conv/phi3conv/internal/work"
)

// Options say how a worker works.
type Options struct {
	Store objects.Store
	Exec  Exec
	// Copy puts a file under a name that [Spec.Publish] gives.
	Copy     func(ctx context.Context, file, to string) error
	Worker   string        // a name of its own
	Index    int           // workers of different indices begin at different steps
	Lease    time.Duration // after which a silent worker's step is taken over; at least a second
	Attempts int           // of a step that fails for reasons that may pass, or whose worker is lost
	Build    string        // the program's version
	Event    func(Event)   // may be nil; sets time and worker
	Retry    bool          // do steps again that failed
}

// Exec runs the program with arguments; what it prints goes to log. err is for what is no exit: the program was killed,
// or could not be started.
type Exec func(ctx context.Context, args []string, log io.Writer) (exit int, err error)

// logFile is an output of every step that is a command: what it printed.
const logFile = "log.txt"

// Event is something that happened to a step.
type Event struct {
	Time    time.Time `json:"time"`
	Worker  string    `json:"worker"`
	Event   string    `json:"event"` // "begun", "done", "failed", "given back", "done elsewhere" or "older version"
	Step    string    `json:"step"`
	Name    string    `json:"name"`
	Attempt int       `json:"attempt"`
	Seconds float64   `json:"seconds,omitempty"`
	Message string    `json:"message,omitempty"`
}

// Run does steps of a plan, with other workers that may be there, until there is nothing left that could be done.
func Run(ctx context.Context, p *Plan, opt Options) (*Status, error) {
	scratch, remove, err := atomicfile.MkdirTemp("phi3conv-batch-")
	if err != nil {
		return nil, err
	}
	defer remove()
	opt.Attempts = cmp.Or(opt.Attempts, 3)
	r := &runner{Options: opt, plan: p, scratch: scratch,
		looker: &looker{plan: p, store: opt.Store, results: map[string]*Result{}},
		worker: &claim.Worker{Store: opt.Store, Name: opt.Worker, Lease: opt.Lease}}
	if opt.Retry {
		if err := r.forget(ctx); err != nil {
			return nil, err
		}
	}
	for {
		status, err := r.looker.look(ctx)
		if err != nil || !status.open() {
			return status, err
		}
		did, err := r.any(ctx, status)
		if err != nil {
			return nil, err
		}
		if !did {
			select {
			case <-ctx.Done():
				return nil, work.Interrupted(ctx.Err(), ", what is done is kept")
			case <-time.After(opt.Lease / 8):
			}
		}
	}
}

type runner struct {
	Options
	plan    *Plan
	scratch string
	looker  *looker
	worker  *claim.Worker
}

// forget removes the results of steps that failed.
func (r *runner) forget(ctx context.Context) error {
	status, err := r.looker.look(ctx)
	if err != nil {
		return err
	}
	for _, s := range status.Steps {
		if s.State == Failed {
			if err := r.Store.Remove(ctx, claim.Result(s.ID)); err != nil {
				return err
			}
		}
	}
	clear(r.looker.results)
	return nil
}

// any does one of the steps that are ready, if no other worker has all of them.
func (r *runner) any(ctx context.Context, status *Status) (did bool, err error) {
	n := len(status.Steps)
	for k := range n {
		i := (k + r.Index) % n
		if s := status.Steps[i].State; s != Ready && s != Running { // that of a worker that died is Running
			continue
		}
		c, err := r.worker.Take(ctx, r.plan.Steps[i].ID)
		switch {
		case errors.Is(err, claim.ErrHeld):
			continue
		case errors.Is(err, claim.ErrDone):
			return true, nil
		case err != nil:
			return false, err
		}
		return true, r.do(ctx, r.plan.Steps[i], c)
	}
	return false, nil
}

// do does a step that was claimed.
func (r *runner) do(ctx context.Context, s *Step, c *claim.Claim) error {
	begun := time.Now()
	attempt, lost, err := attempts(ctx, c)
	var result *Result
	if err == nil && attempt <= r.Attempts {
		r.event(Event{Event: "begun", Step: s.ID, Name: s.Name, Attempt: c.Number})
		stop := r.beat(ctx, c)
		result, err = r.execute(ctx, s, c)
		stop()
	}
	// What a worker that is interrupted says still has to reach the store.
	last := context.WithoutCancel(ctx)
	event := Event{Step: s.ID, Name: s.Name, Attempt: c.Number, Seconds: time.Since(begun).Seconds()}
	switch {
	case ctx.Err() != nil:
		event.Event = "given back"
		r.event(event)
		return errors.Join(
			work.Interrupted(ctx.Err(), ", what is done is kept"), c.End(last, claim.Interrupted))
	case attempt > r.Attempts:
		result = &Result{Exit: failure.IO.Code(), Error: fmt.Sprintf("given up: of %d attempts %d ended with the "+
			"worker, which was killed or not heard of any more", attempt-1, lost)}
	case err != nil && attempt < r.Attempts:
		event.Event, event.Message = "given back", err.Error()
		r.event(event)
		return c.End(last, err.Error())
	case err != nil:
		result = &Result{Exit: failure.IO.Code(), Error: fmt.Sprintf("given up after attempt %d: %v", attempt, err)}
	}
	result.Name, result.Attempt, result.Worker, result.Build = s.Name, c.Number, r.Worker, r.Build
	result.CPU, result.Begun, result.Seconds = machine.CPU(), begun.UTC(), event.Seconds
	data, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	mine, err := c.Publish(last, data)
	if err != nil {
		return err
	}
	event.Event, event.Message = "done", result.Error
	switch {
	case !mine:
		event.Event = "done elsewhere"
		for _, f := range append(slices.Clone(s.Outputs), logFile) {
			err = errors.Join(err, r.Store.Remove(last, outputKey(s.ID, c.Number, f)))
		}
	case result.Exit != 0:
		event.Event = "failed"
	}
	r.event(event)
	return err
}

// attempts returns the number of the attempt that a claim is, and how many before it lost their workers. A step may be
// what a worker dies of, so these count; a worker that was told to end is no fault of the step.
func attempts(ctx context.Context, c *claim.Claim) (number, lost int, err error) {
	ends, err := c.Before(ctx)
	number = 1
	for _, end := range ends {
		if end != claim.Interrupted {
			number++
		}
		if end == "" {
			lost++
		}
	}
	return number, lost, err
}

func (r *runner) event(e Event) {
	if r.Event != nil {
		r.Event(e)
	}
}

// beat says from time to time that the worker lives, until stop is called.
func (r *runner) beat(ctx context.Context, c *claim.Claim) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	begun := time.Now()
	go func() {
		defer close(ended)
		tick := time.NewTicker(r.Lease / 4)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				// A beat that is lost costs nothing while others come.
				_ = c.Beat(ctx, fmt.Sprintf("since %s", time.Since(begun).Round(time.Second)))
			}
		}
	}()
	return func() {
		cancel()
		<-ended
	}
}

// execute runs the command. An error is one that may pass; the command may be tried again.
func (r *runner) execute(ctx context.Context, s *Step, c *claim.Claim) (*Result, error) {
	dir := filepath.Join(r.scratch, s.ID)
	local, inPlace := r.Store.(objects.Dir)
	if inPlace {
		dir = local.Path(filepath.ToSlash(filepath.Dir(outputKey(s.ID, c.Number, "x"))))
	} else {
		defer func() { _ = os.RemoveAll(dir) }()
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	if err := r.fetch(ctx, s); err != nil {
		return nil, err
	}
	args := s.Command(func(step *Step, output string) string {
		if step == s {
			return filepath.Join(dir, output)
		}
		return r.place(step, output)
	})
	if args[0] == copyCommand {
		return &Result{}, r.Copy(ctx, args[1], args[2])
	}
	exit, err := r.exec(ctx, args, filepath.Join(dir, logFile))
	if err != nil {
		return nil, err
	}
	result := &Result{Exit: exit}
	if exit != 0 {
		result.Error = cmp.Or(beyondLimits(dir, s, exit), lastLine(filepath.Join(dir, logFile)), "it said nothing")
	}
	switch exit {
	case 0, failure.Check.Code(): // a report says what did not pass
		err = r.keep(ctx, s, c, dir, result)
	case failure.Usage.Code(), failure.Input.Code():
	default:
		err = fmt.Errorf("exit code %d: %s", exit, result.Error)
	}
	return result, err
}

func (r *runner) exec(ctx context.Context, args []string, log string) (exit int, err error) {
	f, err := os.Create(log)
	if err != nil {
		return 0, err
	}
	exit, err = r.Exec(ctx, args, f)
	return exit, errors.Join(err, f.Close())
}

// place returns where an output of another step is on this machine.
func (r *runner) place(step *Step, output string) string {
	key := outputKey(step.ID, r.looker.results[step.ID].Attempt, output)
	if local, ok := r.Store.(objects.Dir); ok {
		return local.Path(key)
	}
	return filepath.Join(r.scratch, filepath.FromSlash(key))
}

// fetch brings the outputs of other steps that a step reads.
func (r *runner) fetch(ctx context.Context, s *Step) error {
	for _, a := range s.Args {
		if a.Step == nil {
			continue
		}
		file := r.place(a.Step, a.Output)
		if _, err := os.Stat(file); err == nil {
			continue
		}
		key := outputKey(a.Step.ID, r.looker.results[a.Step.ID].Attempt, a.Output)
		if err := r.Store.Download(ctx, key, file); err != nil {
			return err
		}
	}
	return nil
}

// keep stores the outputs. Those of a command that failed may be missing.
func (r *runner) keep(ctx context.Context, s *Step, c *claim.Claim, dir string, result *Result) error {
	for _, f := range append(slices.Clone(s.Outputs), logFile) {
		file := filepath.Join(dir, f)
		sum, size, err := work.HashFile(ctx, file, func(int64) {})
		if os.IsNotExist(err) && result.Exit != 0 {
			continue
		}
		if err != nil {
			return err
		}
		if err := r.Store.Upload(ctx, outputKey(s.ID, c.Number, f), file); err != nil {
			return err
		}
		result.Files = append(result.Files, File{f, size, sum})
	}
	return nil
}
