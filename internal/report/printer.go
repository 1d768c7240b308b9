package report

import (
	"fmt"
	"io"
)

// Printer prints text. The first error sticks.
type Printer struct {
	W   io.Writer
	Err error
}

// Printf prints, unless there was an error.
func (p *Printer) Printf(format string, args ...any) {
	if p.Err == nil {
		_, p.Err = fmt.Fprintf(p.W, format, args...)
	}
}

// Columns prints an empty line and then the list.
func (p *Printer) Columns(c *Columns) {
	p.Printf("\n")
	if p.Err == nil {
		p.Err = c.Flush()
	}
}
