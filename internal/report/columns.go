package report

import (
	"fmt"
	"io"
	"strings"

	"github.com/phi3conv/phi3conv/internal/terminal"
)

// Columns prints lines of aligned cells. A column of numbers is aligned to the right.
type Columns struct {
	w      io.Writer
	header bool
	lines  [][]string
	text   []bool // columns with a cell that is no number, the header aside
}

// Decimal is a formatted number in a cell of [Columns].
type Decimal string

// NewColumns begins a list, with a header line if there is a header.
func NewColumns(w io.Writer, header ...string) *Columns {
	c := &Columns{w: w, text: make([]bool, len(header))}
	if len(header) > 0 {
		c.header, c.lines = true, append(c.lines, header)
	}
	return c
}

// Row adds a line. Integers and [Decimal] are numbers, all else is text.
func (c *Columns) Row(cells ...any) {
	line := make([]string, len(cells))
	for i, cell := range cells {
		line[i] = fmt.Sprint(cell)
		if i == len(c.text) {
			c.text = append(c.text, false)
		}
		switch cell.(type) {
		case int, int64, uint64, Decimal:
		default:
			c.text[i] = true
		}
	}
	c.lines = append(c.lines, line)
}

// Flush prints the lines.
func (c *Columns) Flush() error {
	for i, line := range c.lines {
		c.lines[i] = append(line, make([]string, len(c.text)-len(line))...)
	}
	var b strings.Builder
	l := layout{rows: c.lines, header: c.header, text: c.text, width: terminal.Width(c.w)}
	l.write(&b)
	_, err := io.WriteString(c.w, b.String())
	return err
}
