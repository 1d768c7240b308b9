package work

// Monitor is told what a long job does.
type Monitor interface {
	// Note takes a line for the user, without its line end.
	Note(format string, args ...any)
	// Begin begins a step of the job: what is done, the step's size, and its unit. A step ends before the
	// next one begins.
	Begin(what string, total int64, unit Unit) Step
}

// Step is the progress of a step.
type Step interface {
	// Set takes what is done so far. It may be called from several goroutines; less than the most so far is
	// ignored.
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
