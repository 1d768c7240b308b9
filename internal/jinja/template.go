// Package jinja renders chat templates as transformers does: Jinja2's sandbox with
// trim_blocks, lstrip_blocks, break and continue, the generation tag, and transformers'
// own tojson, raise_exception, strftime_now, dict and namespace.
//
// A template is a program that comes with a model, so it runs within limits: a number
// of steps, of bytes, and a depth. They are counted, not measured: a template ends or is
// refused in the same way on every machine. It runs in the caller's goroutine and leaves
// nothing running.
//
// What transformers refuses is refused by name: include, import, extends, methods that change lists and dicts, names
// with underscores at both ends, ranges of more than 100,000 items. So is what has another text each time: lipsum,
// random where there is a choice, sets, functions that are printed. docs/chat-templates.md has the whole list.
package jinja

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/phi3conv/phi3conv/internal/jinja/methods"
	"github.com/phi3conv/phi3conv/internal/jinja/values"
)

// What callers need of package values.
type (
	Limits = values.Limits
	Error  = values.Error
	Object = values.Object
	Member = values.Member
)

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
)

// Template is a parsed template. It can be rendered several times, also at the same time.
type Template struct {
	name   string
	source string
	body   []statement
	blocks map[string]*block // by name
	parsed *values.Run
}

// Parse parses a template. The name is for errors, which are *Error.
func Parse(name, source string) (t *Template, err error) {
	err = retry(func(met values.Blocks) error {
		t, err = parse(name, source, met)
		return err
	})
	return t, err
}

// retry calls f, and again where it has failed for the characters that stand for halves of characters: first for those
// that the template or its variables have, and once more for one that is computed.
func retry(f func(met values.Blocks) error) error {
	err := f(0)
	for range 2 {
		var e *Error
		if !errors.As(err, &e) || e.Met == 0 {
			break
		}
		err = f(e.Met)
	}
	return err
}

func parse(name, source string, met values.Blocks) (t *Template, err error) {
	defer recoverError(&err)
	if len(source) > MaxSource {
		text := fmt.Sprintf("the template has %d bytes, expected at most %d", len(source), MaxSource)
		return nil, &Error{Template: name, Line: 1, Text: text}
	}
	p := &parser{name: name, folder: newFolder(name)}
	p.folder.Avoid(met)
	p.folder.Seen(source)
	p.tokens = lex(p.folder.Run, name, source)
	body := p.template()
	return &Template{name, source, body, p.blocks, p.folder.Run}, nil
}

// Render renders a template. A variable is nil, a bool, int, float64 or string, a []any, a
// map[string]any (whose keys are sorted) or an [Object] of such values. Errors are *Error.
func (t *Template) Render(variables map[string]any, limits values.Limits) (text string, err error) {
	return t.render(variables, limits, time.Now)
}

func (t *Template) render(variables map[string]any, limits Limits, now func() time.Time) (text string, err error) {
	err = retry(func(met values.Blocks) error {
		again := t
		if met != 0 {
			if again, err = parse(t.name, t.source, met); err != nil {
				return err
			}
		}
		text, err = again.renderOnce(variables, limits, now)
		return err
	})
	return text, err
}

func (t *Template) renderOnce(variables map[string]any, limits Limits, now func() time.Time) (text string, err error) {
	defer recoverError(&err)
	r := &rendering{Run: values.NewRun(t.name, limits, methods.Of, now), template: t, globals: &scope{}}
	r.Inherit(t.parsed)
	r.globals.set("self", &blocks{r})
	for name, v := range variables {
		r.globals.set(name, r.FromGo(v))
	}
	r.out = values.NewOutput(r.Run)
	r.outer = &scope{parent: r.globals}
	r.exec(t.body, r.outer)
	rendered := r.out.String()
	if r.HasHalf(rendered) {
		r.Fail("the text has half of a character (such as \\ud800), which UTF-8 cannot write: use \\U and eight digits")
	}
	return rendered, nil
}

// recoverError turns an *Error that was thrown into a returned one.
func recoverError(err *error) {
	switch p := recover().(type) {
	case nil:
	case *values.Error:
		*err = p
	default:
		panic(p)
	}
}

// rendering is one rendering of a template.
type rendering struct {
	*values.Run
	template *Template
	globals  *scope
	outer    *scope // of the variables that the template sets outside of loops and other bodies
	out      *values.Output
}

// scope holds variables; those that it lacks are in its parent.
type scope struct {
	names  []string
	values []values.Value
	at     map[string]int // of names, where they are many
	parent *scope
}

// manyNames is how many names are faster found by a map.
const manyNames = 8

func (s *scope) index(name string) int {
	if s.at == nil {
		return slices.Index(s.names, name)
	}
	if i, ok := s.at[name]; ok {
		return i
	}
	return -1
}

func (s *scope) set(name string, v values.Value) {
	if i := s.index(name); i >= 0 {
		s.values[i] = v
		return
	}
	s.names = append(s.names, name)
	s.values = append(s.values, v)
	switch n := len(s.names); {
	case n == manyNames:
		s.at = map[string]int{}
		for i, name := range s.names {
			s.at[name] = i
		}
	case n > manyNames:
		s.at[name] = n - 1
	}
}

func (s *scope) get(name string) (values.Value, bool) {
	for ; s != nil; s = s.parent {
		if i := s.index(name); i >= 0 {
			return s.values[i], true
		}
	}
	return nil, false
}
