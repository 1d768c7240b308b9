package batch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/phi3conv/phi3conv/internal/claim"
	"github.com/phi3conv/phi3conv/internal/objects"
	"github.com/phi3conv/phi3conv/internal/report"
)

// State is how far a step is.
type State string

const (
	Done    State = "done"
	Failed  State = "failed"  // it was done, and did not succeed
	Running State = "running" // a worker has it
	Ready   State = "ready"
	Waiting State = "waiting" // for steps that it needs
	Blocked State = "blocked" // a step that it needs has failed
)

// Result is what is kept of a step that was done.
type Result struct {
	Name    string    `json:"name"`
	Exit    int       `json:"exit_code"`
	Error   string    `json:"error,omitempty"` // what the command said last, if it failed
	Attempt int       `json:"attempt"`         // whose outputs count
	Worker  string    `json:"worker"`
	Build   string    `json:"build"` // the program's version
	CPU     string    `json:"cpu"`
	Begun   time.Time `json:"begun"`
	Seconds float64   `json:"seconds"`
	Files   []File    `json:"files,omitempty"`
}

// File is an output.
type File struct {
	Name   string `json:"name"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// outputKey is where an output of an attempt is kept.
func outputKey(id string, attempt int, file string) string {
	return path.Join("outputs", id, fmt.Sprintf("%04d", attempt), file)
}

// StepStatus is a step and how far it is.
type StepStatus struct {
	ID       string   `json:"id"`
	Kind     string   `json:"kind"`
	Name     string   `json:"name"`
	State    State    `json:"state"`
	Command  []string `json:"command"`
	Memory   int64    `json:"memory_bytes"` // that it may take; 0 if it is not known
	Attempts int      `json:"attempts"`
	Worker   string   `json:"worker,omitempty"`
	Note     string   `json:"note,omitempty"` // what the worker said last
	Result   *Result  `json:"result,omitempty"`
}

// Status is how far a plan is.
type Status struct {
	Store string        `json:"store"`
	Count map[State]int `json:"count"`
	Steps []StepStatus  `json:"steps"`
}

// Undone is the status of a plan of which nothing is done. The store is not asked.
func (p *Plan) Undone() *Status {
	s := &Status{Store: p.Spec.Store, Count: map[State]int{}}
	for _, step := range p.Steps {
		s.add(step, nil, claim.State{})
	}
	return s
}

// Look reads from the store how far a plan is.
func Look(ctx context.Context, p *Plan, store objects.Store) (*Status, error) {
	return (&looker{plan: p, store: store, results: map[string]*Result{}}).look(ctx)
}

// looker keeps the results that it has read.
type looker struct {
	plan    *Plan
	store   objects.Store
	results map[string]*Result
}

func (l *looker) look(ctx context.Context) (*Status, error) {
	states, err := claim.States(ctx, l.store)
	if err != nil {
		return nil, err
	}
	keys, err := l.store.List(ctx, "results/")
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	for _, key := range keys {
		there[path.Base(key)] = true
	}
	s := &Status{Store: l.store.String(), Count: map[State]int{}}
	for _, step := range l.plan.Steps {
		var result *Result
		if there[step.ID] {
			if result, err = l.result(ctx, step.ID); err != nil {
				return nil, err
			}
		}
		s.add(step, result, states[step.ID])
	}
	return s, nil
}

// add takes a step, after those that it needs.
func (s *Status) add(step *Step, r *Result, c claim.State) {
	ss := StepStatus{
		ID: step.ID, Kind: step.Kind, Name: step.Name, State: s.state(step, r, c), Command: step.Command(nil),
		Memory: step.Memory, Attempts: c.Attempts, Worker: c.Worker, Note: c.Note, Result: r,
	}
	s.Count[ss.State]++
	s.Steps = append(s.Steps, ss)
}

func (l *looker) result(ctx context.Context, id string) (*Result, error) {
	if r := l.results[id]; r != nil {
		return r, nil
	}
	data, err := l.store.Get(ctx, claim.Result(id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil // removed meanwhile
	}
	if err != nil {
		return nil, err
	}
	r := &Result{}
	if err := json.Unmarshal(data, r); err != nil {
		return nil, fmt.Errorf("%s of %s: %w", claim.Result(id), l.store, err)
	}
	l.results[id] = r
	return r, nil
}

// state decides a step's state from those before it.
func (s *Status) state(step *Step, r *Result, c claim.State) State {
	switch {
	case r != nil && r.Exit == 0:
		return Done
	case r != nil:
		return Failed
	}
	state := Ready
	for _, i := range step.Needs {
		switch s.Steps[i].State {
		case Done:
		case Failed, Blocked:
			return Blocked
		default:
			state = Waiting
		}
	}
	if state == Ready && c.Attempts > 0 && c.Ended == "" {
		return Running
	}
	return state
}

// open reports whether there is something left to do.
func (s *Status) open() bool { return s.Count[Ready]+s.Count[Running]+s.Count[Waiting] > 0 }

// WriteText writes a table of the steps.
func (s *Status) WriteText(w io.Writer) error {
	p := &report.Printer{W: w}
	for _, st := range s.Steps {
		line := fmt.Sprintf("%s  %-8s %-9s %s", st.ID[:8], st.State, st.Kind, st.Name)
		switch {
		case st.Result != nil:
			line += fmt.Sprintf("  %.1f s", st.Result.Seconds)
			if st.Result.Error != "" {
				line += fmt.Sprintf("  exit %d: %s", st.Result.Exit, report.Printable(st.Result.Error))
			}
		case st.State == Running:
			line += fmt.Sprintf("  %s: %s", st.Worker, st.Note)
		}
		p.Printf("%s\n", line)
	}
	var counts []string
	for _, state := range []State{Done, Failed, Running, Ready, Waiting, Blocked} {
		if n := s.Count[state]; n > 0 {
			counts = append(counts, fmt.Sprintf("%d %s", n, state))
		}
	}
	p.Printf("%s: %s\n", report.Plural(len(s.Steps), "step"), strings.Join(counts, ", "))
	return p.Err
}
