package progress

import "sync"

// Monitor is told what a long job does.
type Monitor interface {
	// Note takes a line for the user, without its line end.
	Note(format string, args ...any)
	// Begin begins a step of the job: what is done, the step's size, and its unit. A size of 0 says that it is not
	// known. A step ends before the next one begins.
	Begin(what string, total int64, unit Unit) Step
}

// Step is the progress of a step.
type Step interface {
	// Set takes what is done so far, from 0 when the step begins to its size. It may be called from several
	// goroutines; less than the most so far is ignored.
	Set(done int64)
	// End ends the step, complete or not.
	End()
}

// Unit is what a step counts.
type Unit int

// Units.
const (
	Count Unit = iota
	Bytes
	Tokens
	Weights
)

// Quiet returns m, or a monitor that ignores everything if m is nil.
func Quiet(m Monitor) Monitor {
	if m == nil {
		return quiet{}
	}
	return m
}

type quiet struct{}

func (quiet) Note(string, ...any)            {}
func (quiet) Begin(string, int64, Unit) Step { return quiet{} }
func (quiet) Set(int64)                      {}
func (quiet) End()                           {}

// Report is a step that is reported to a function.
type Report func(done int64)

// Set calls the function, if there is one.
func (r Report) Set(done int64) {
	if r != nil {
		r(done)
	}
}

// End does nothing.
func (Report) End() {}

// Late begins a step at the first call of report, for what learns its size late. It is ended by end, also where it
// never began.
func Late(m Monitor, what string, unit Unit) (report func(done, total int64), end func()) {
	var start sync.Once
	var step Step = quiet{}
	report = func(done, total int64) {
		start.Do(func() { step = Quiet(m).Begin(what, total, unit) })
		step.Set(done)
	}
	return report, func() { step.End() }
}
