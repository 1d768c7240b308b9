package work

import "sync"

// Progress begins a step at the first call of report, for what learns its size late. It is ended by end,
// also where it never began.
func Progress(m Monitor, what string, unit Unit) (report func(done, total int64), end func()) {
	var start sync.Once
	var step Step = quiet{}
	report = func(done, total int64) {
		start.Do(func() { step = Quiet(m).Begin(what, total, unit) })
		step.Set(done)
	}
	return report, func() { step.End() }
}
