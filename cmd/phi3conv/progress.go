package main

import (
	"io"

	"github.com/phi3conv/phi3conv/internal/progress"
)

// monitor shows what a job does.
type monitor struct {
	progress.Monitor
	w io.Writer
}

// newMonitor is replaced by tests.
var newMonitor = func(w io.Writer) monitor { return monitor{progress.For(w), w} }

// notes prints what a user of an output should know.
func (m monitor) notes(list []string) {
	for _, note := range list {
		m.Note("%s", note)
	}
}
