// Package lint finds what makes a Phi model wrong: a GGUF file, or a checkpoint
// directory as published on the Hugging Face hub.
//
// A check is one function and one line of the table in checks.go. It sees the
// model as far as it could be read and reports findings; it never fails.
package lint

import (
	"cmp"
	"context"
	"fmt"
	"slices"
)

// Severity says what a finding means for the user.
type Severity string

const (
	Error   Severity = "error"   // runtimes refuse the model or give wrong output
	Warning Severity = "warning" // some runtimes go wrong, or something is lost
	Info    Severity = "info"    // worth knowing
)

// Severities lists them, the worst first.
func Severities() []Severity { return []Severity{Error, Warning, Info} }

// Check describes a check.
type Check struct {
	Code     string   `json:"code"` // never changes its meaning
	Severity Severity `json:"severity"`
	Title    string   `json:"title"`
	Why      string   `json:"why"` // why it matters
	Fix      string   `json:"fix"` // what to do
}

// Finding is something that a check found.
type Finding struct {
	Check
	Subject string `json:"subject"` // a key, a tensor or a file
	Message string `json:"message"` // what was found
}

// Options of [Run].
type Options struct {
	// Fast leaves out the checks that read tensor data.
	Fast bool
	// Threads is the number of tensors read at the same time; less than 1 is 1. It does not change the report.
	Threads int
	// Progress, if not nil, is told how many bytes of tensor data have been read,
	// of total. It may be called from several goroutines.
	Progress func(done, total int64)
}

// Report is the result of [Run].
type Report struct {
	Path     string    `json:"path"`
	Format   string    `json:"format"` // "GGUF" or "safetensors"
	Fast     bool      `json:"fast"`
	Checks   int       `json:"checks"` // number of checks that were run
	Findings []Finding `json:"findings"`

	ran []Check
}

// Count returns the number of findings of a severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Run checks the model at path. What is wrong with the model is in the report;
// an error means that there is no model at path, or that reading failed.
func Run(ctx context.Context, path string, opt Options) (*Report, error) {
	m, err := open(path)
	if err != nil {
		return nil, err
	}
	defer m.close()
	if !opt.Fast {
		if err := m.readValues(ctx, max(1, opt.Threads), opt.Progress); err != nil {
			return nil, err
		}
	}
	r := &Report{Path: path, Format: m.format(), Fast: opt.Fast, Findings: []Finding{}}
	for i := range checks {
		c := &checks[i]
		if !m.has(c.needs) {
			continue
		}
		r.Checks++
		r.ran = append(r.ran, c.Check)
		c.run(m, func(subject, format string, args ...any) {
			r.Findings = append(r.Findings, Finding{c.Check, subject, fmt.Sprintf(format, args...)})
		})
	}
	if m.err != nil { // a check could not read what it looks at
		return nil, m.err
	}
	order := Severities()
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(slices.Index(order, a.Severity), slices.Index(order, b.Severity)),
			cmp.Compare(a.Code, b.Code))
	})
	return r, nil
}

// Checks lists all checks in the order of their codes.
func Checks() []Check {
	all := make([]Check, len(checks))
	for i := range checks {
		all[i] = checks[i].Check
	}
	return all
}

// check is one row of the table.
type check struct {
	Check
	needs needs
	run   func(m *model, report reportFunc)
}

// reportFunc takes a finding.
type reportFunc func(subject, format string, args ...any)

// needs says for which models a check is run.
type needs uint

const (
	inGGUF       needs = 1 << iota // a GGUF file
	inCheckpoint                   // a checkpoint directory
	metadata                       // GGUF keys, of a checkpoint those that its conversion has
	config                         // a valid configuration
	tokens                         // a tokenizer
	tensors                        // the list of tensors
	values                         // statistics of the tensors' values
)
