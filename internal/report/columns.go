package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode/utf8"
)

// Columns prints lines of aligned cells. A column of numbers is aligned to the right.
type Columns struct {
	w     io.Writer
	lines [][]string
	text  []bool // columns with a cell that is no number, the header aside
}

// Decimal is a formatted number in a cell of [Columns].
type Decimal string

// NewColumns begins a list, with a header line if there is a header.
func NewColumns(w io.Writer, header ...string) *Columns {
	c := &Columns{w: w, text: make([]bool, len(header))}
	if len(header) > 0 {
		c.lines = append(c.lines, header)
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
	width := make([]int, len(c.text))
	for _, line := range c.lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	w := tabwriter.NewWriter(c.w, 0, 0, 2, ' ', 0)
	for _, line := range c.lines {
		for i, cell := range line {
			if !c.text[i] {
				line[i] = strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)) + cell
			}
		}
		if _, err := fmt.Fprintln(w, strings.Join(line, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}
