// Package jinja renders chat templates as transformers does: Jinja2's sandbox with
// trim_blocks, lstrip_blocks, break and continue, the generation tag, and transformers'
// own tojson, raise_exception, strftime_now, dict and namespace.
//
// A template is a program that comes with a model, so it runs within limits: a number
// of steps, of bytes, and a depth. They are counted, not measured: a template ends or is
// refused in the same way on every machine. It runs in the caller's goroutine and leaves
// nothing running.
//
// Refused by name, as transformers refuses them or because no chat template needs them:
// include, import, extends, autoescape true, methods that change lists and dicts, names
// with underscores at both ends, ranges of more than 100,000 items, integers of more than 64 bits,
// and the filters, tests and methods that are not in the tables of this package
// (among Jinja's own filters: filesizeformat, pprint, random, striptags, urlencode,
// urlize, wordwrap, xmlattr). Generators (map, select and others) are computed at once, not item by item.
package jinja

import (
	"fmt"
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

// LimitsFor returns what a template may take for variables of a size in bytes. In use they take
// some thousand steps and some times the memory of its output.
func LimitsFor(size int) Limits {
	return Limits{Steps: 1_000_000 + size, Bytes: 48<<20 + 16*size}
}

const (
	// MaxSource is the length in bytes that a template can have; the longest in use have 30 KB.
	MaxSource = 64 << 10
	// maxNesting bounds brackets and statements within each other in a template's text.
	maxNesting = 100
	// maxDepth bounds expressions and statements that are being evaluated within each other,
	// and how deep a value that is printed or compared can hold others.
	maxDepth = 2500
)

// Error is a template's own fault: it is malformed, fails, or takes too much.
type Error struct {
	Template string // its name
	Line     int    // from 1
	Text     string
}

func (e *Error) Error() string { return fmt.Sprintf("%s, line %d: %s", e.Template, e.Line, e.Text) }

// Template is a parsed template. It can be rendered several times, also at the same time.
type Template struct {
	name string
	body []statement
}

// Parse parses a template. The name is for errors, which are *Error.
func Parse(name, source string) (t *Template, err error) {
	defer recoverError(&err)
	if len(source) > MaxSource {
		text := fmt.Sprintf("the template has %d bytes, expected at most %d", len(source), MaxSource)
		return nil, &Error{name, 1, text}
	}
	p := &parser{name: name}
	p.tokens = lex(name, source)
	return &Template{name, p.template()}, nil
}

// Render renders a template. A variable is nil, a bool, int, float64 or string, a []any, a
// map[string]any (whose keys are sorted) or an [Object] of such values. Errors are *Error.
func (t *Template) Render(variables map[string]any, limits Limits) (text string, err error) {
	return t.render(variables, limits, time.Now)
}

func (t *Template) render(variables map[string]any, limits Limits, now func() time.Time) (text string, err error) {
	defer recoverError(&err)
	r := &run{template: t, now: now, limits: limits, stepsLeft: limits.Steps, bytesLeft: limits.Bytes, line: 1}
	r.globals = &scope{}
	for name, v := range variables {
		r.globals.set(name, r.value(v))
	}
	r.out = &output{run: r}
	r.exec(t.body, &scope{parent: r.globals})
	return r.out.String(), nil
}

// recoverError turns an *Error that was thrown into a returned one.
func recoverError(err *error) {
	switch p := recover().(type) {
	case nil:
	case *Error:
		*err = p
	default:
		panic(p)
	}
}

// run is one rendering of a template. Its methods throw an *Error.
type run struct {
	template             *Template
	now                  func() time.Time
	limits               Limits
	stepsLeft, bytesLeft int
	depth                int
	line                 int // of what was evaluated last
	globals              *scope
	out                  *output
}

func (r *run) fail(format string, args ...any) {
	panic(&Error{r.template.name, r.line, fmt.Sprintf(format, args...)})
}

// step counts n steps.
func (r *run) step(n int) {
	if r.stepsLeft -= n; r.stepsLeft < 0 {
		r.fail("the template takes more than %d steps; it may have no end: use another one", r.limits.Steps)
	}
}

// scan counts the steps of going through n bytes.
func (r *run) scan(n int) { r.step(n / 64) }

// walk counts the steps of going through n bytes character by character.
func (r *run) walk(n int) { r.step(n / 8) }

// take counts n×size bytes before they are allocated.
func (r *run) take(n, size int) {
	if n > 0 && size > r.bytesLeft/n {
		r.fail("the template takes more than %d MiB of memory: use another one", r.limits.Bytes>>20)
	}
	r.bytesLeft -= max(0, n) * size
}

// enter goes one level deeper; leave comes back.
func (r *run) enter() {
	if r.depth++; r.depth > maxDepth {
		r.fail("the template calls itself or nests values more than %d levels deep: use another one", maxDepth)
	}
}

func (r *run) leave() { r.depth-- }

// scope holds variables, the innermost last.
type scope struct {
	names  []string
	values []Value
	parent *scope
}

func (s *scope) set(name string, v Value) {
	for i, n := range s.names {
		if n == name {
			s.values[i] = v
			return
		}
	}
	s.names = append(s.names, name)
	s.values = append(s.values, v)
}

func (s *scope) get(name string) (Value, bool) {
	for ; s != nil; s = s.parent {
		for i, n := range s.names {
			if n == name {
				return s.values[i], true
			}
		}
	}
	return nil, false
}
