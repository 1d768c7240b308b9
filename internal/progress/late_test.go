package progress

import (
	"fmt"
	"slices"
	"testing"
)

// recorder writes down what a job reports.
type recorder struct{ calls *[]string }

func (r recorder) add(format string, args ...any) {
	*r.calls = append(*r.calls, fmt.Sprintf(format, args...))
}
func (r recorder) Note(format string, args ...any) { r.add(format, args...) }
func (r recorder) Set(done int64)                  { r.add("%d", done) }
func (r recorder) End()                            { r.add("end") }
func (r recorder) Begin(s string, n int64, _ Unit) Step {
	r.add("%s %d", s, n)
	return r
}

func TestLate(t *testing.T) {
	var calls []string
	report, end := Late(recorder{&calls}, "reading", Bytes)
	report(1, 10)
	report(5, 10)
	end()
	if want := []string{"reading 10", "1", "5", "end"}; !slices.Equal(calls, want) {
		t.Errorf("%q, expected %q", calls, want)
	}
	calls = nil
	_, end = Late(recorder{&calls}, "reading", Bytes)
	end()
	report, _ = Late(nil, "reading", Bytes)
	report(1, 10)
	if len(calls) > 0 {
		t.Errorf("%q, expected nothing", calls)
	}
}
