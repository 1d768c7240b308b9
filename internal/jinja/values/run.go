package values

import (
	"fmt"
	"strings"
	"time"
)

// Limits bound what a template may take.
type Limits struct {
	// Steps counts expressions and statements, every 64 bytes that are searched or compared, and
	// every 8 bytes that are gone through character by character.
	Steps int
	// Bytes counts all memory that values and the output ever take; nothing is given back.
	Bytes int
}

// maxDepth bounds expressions and statements that are being evaluated within each other,
// and how deep a value that is printed or compared can hold others.
const maxDepth = 2500

// Error is a template's own fault: it is malformed, fails, or takes too much.
type Error struct {
	Template string // its name
	Line     int    // from 1
	Text     string

	// Met, unless 0, are the blocks of characters that the template has met: if it is run again, halves of characters
	// can stand in another; see [Run.Avoid].
	Met Blocks

	limit bool // it takes too much
}

func (e *Error) Error() string { return fmt.Sprintf("%s, line %d: %s", e.Template, e.Line, e.Text) }

// Run counts what one rendering of a template takes. Its methods throw an *Error.
type Run struct {
	template             string // its name
	now                  func() time.Time
	MethodsOf            func(Value) map[string]*Builtin // of a value's type; a nil one is refused
	limits               Limits
	stepsLeft, bytesLeft int
	depth                int
	Line                 int // of what was evaluated last
	Autoescape           bool
	halves               bool // there are halves of characters; see Character
	met                  Blocks
	standIn              rune
}

// NewRun returns the run of a template by its name. Package methods has the methods; strftime_now asks for the time.
func NewRun(template string, limits Limits, methodsOf func(Value) map[string]*Builtin, now func() time.Time) *Run {
	return &Run{template: template, MethodsOf: methodsOf, now: now, limits: limits, stepsLeft: limits.Steps,
		bytesLeft: limits.Bytes, Line: 1}
}

// maxQuote is how many bytes of a template's text an error repeats.
const maxQuote = 1000

// Brief returns the beginning of a text, for an error.
func Brief(s string) string {
	if len(s) > maxQuote {
		return strings.ToValidUTF8(s[:maxQuote], "") + "..."
	}
	return s
}

// Fail throws an *Error.
func (r *Run) Fail(format string, args ...any) {
	for i, arg := range args {
		if s, ok := arg.(string); ok {
			args[i] = Brief(s)
		}
	}
	panic(&Error{Template: r.template, Line: r.Line, Text: fmt.Sprintf(format, args...)})
}

// exceed throws an *Error of a limit, which [Run.Try] lets pass.
func (r *Run) exceed(format string, limit int) {
	panic(&Error{Template: r.template, Line: r.Line, Text: fmt.Sprintf(format, limit), limit: true})
}

// Try calls a function and says whether it came to its end. An *Error of a limit is thrown on.
func (r *Run) Try(f func()) (ok bool) {
	depth := r.depth
	defer func() {
		thrown := recover()
		if e, failed := thrown.(*Error); thrown != nil && (!failed || e.limit) {
			panic(thrown)
		}
		r.depth, ok = depth, thrown == nil
	}()
	f()
	return true
}

// Step counts n steps.
func (r *Run) Step(n int) {
	if r.stepsLeft -= n; r.stepsLeft < 0 {
		r.exceed("the template takes more than %d steps; it may have no end: use another one", r.limits.Steps)
	}
}

// Scan counts the steps of going through n bytes.
func (r *Run) Scan(n int) { r.Step(n / 64) }

// Walk counts the steps of going through n bytes character by character.
func (r *Run) Walk(n int) { r.Step(n / 8) }

// Take counts n×size bytes before they are allocated.
func (r *Run) Take(n, size int) {
	if n > 0 && size > r.bytesLeft/n {
		r.exceed("the template takes more than %d MiB of memory: use another one", r.limits.Bytes>>20)
	}
	r.bytesLeft -= max(0, n) * size
}

// Enter goes one level deeper; Leave comes back.
func (r *Run) Enter() {
	if r.depth++; r.depth > maxDepth {
		r.exceed("the template calls itself or nests values more than %d levels deep: use another one", maxDepth)
	}
}

// Leave comes back from a level.
func (r *Run) Leave() { r.depth-- }

// Output collects text, within the limit of memory.
type Output struct {
	run *Run
	b   strings.Builder
}

// Write adds text, and counts the memory that is allocated as the output grows.
func (o *Output) Write(s string) {
	if o.b.Cap()-o.b.Len() < len(s) {
		o.run.Take(2*o.b.Cap()+len(s), 1)
		o.b.Grow(len(s)) // which allocates as much
	}
	o.b.WriteString(s)
}

// NewOutput returns an empty output.
func NewOutput(r *Run) *Output { return &Output{run: r} }

// String returns all text.
func (o *Output) String() string { return o.b.String() }
