package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/phi3conv/phi3conv/internal/terminal"
)

// Table is a table with a title. The first row is the header; all rows have as many cells.
type Table struct {
	Title string
	Left  int // columns that hold text, before those of numbers
	Rows  [][]string
}

// Text writes the table for a terminal of a width, 0 for any: columns of text to the left, those of numbers to the
// right.
func (t Table) Text(b *bytes.Buffer, width int) {
	l := layout{rows: t.Rows, header: true, text: make([]bool, len(t.Rows[0])), indent: 2, width: width}
	for i := range t.Left {
		l.text[i] = true
	}
	var text strings.Builder
	l.write(&text)
	fmt.Fprintf(b, "%s\n%s", t.Title, &text)
}

// Markdown writes the rows in GitHub's Markdown. What the cells hold is text there.
func (t Table) Markdown(b *bytes.Buffer) {
	for i, row := range t.Rows {
		for _, cell := range row {
			fmt.Fprintf(b, "| %s ", Escape(cell))
		}
		fmt.Fprint(b, "|\n")
		if i == 0 {
			fmt.Fprintf(b, "%s%s|\n", strings.Repeat("|---", t.Left), strings.Repeat("|--:", len(row)-t.Left))
		}
	}
	fmt.Fprintln(b)
}

// MarkdownFolded writes the table in Markdown, with the title to click on to see the rows.
func (t Table) MarkdownFolded(b *bytes.Buffer) {
	fmt.Fprintf(b, "<details><summary>%s</summary>\n\n", Escape(t.Title))
	t.Markdown(b)
	fmt.Fprint(b, "</details>\n\n")
}

// Escape returns text so that Markdown, HTML, links and mentions in it do nothing.
func Escape(s string) string {
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\`*_{}[]<>|~&#@\":/", r) {
			fmt.Fprintf(&b, "&#%d;", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// WriteText writes tables for a terminal, an empty line after each, and notes after them.
func WriteText(w io.Writer, tables []Table, notes []string) error {
	var b bytes.Buffer
	for _, t := range tables {
		t.Text(&b, terminal.Width(w))
		fmt.Fprintln(&b)
	}
	fmt.Fprintln(&b, strings.Join(notes, "\n"))
	_, err := w.Write(b.Bytes())
	return err
}
