package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"
	"unicode/utf8"
)

// printJSON writes v as indented JSON.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// number is a float that JSON has no form for when it is NaN or infinite: null then.
type number float64

func (n number) MarshalJSON() ([]byte, error) {
	if f := float64(n); math.IsNaN(f) || math.IsInf(f, 0) {
		return []byte("null"), nil
	}
	return json.Marshal(float64(n))
}

// printer prints text. The first error sticks.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// table prints aligned columns. A column of numbers is aligned to the right.
type table struct {
	w     io.Writer
	lines [][]string
	text  []bool // columns with a cell that is no number, the header aside
}

// newTable begins a table, with a header line if there is a header.
func newTable(w io.Writer, header ...string) *table {
	t := &table{w: w, text: make([]bool, len(header))}
	if len(header) > 0 {
		t.lines = append(t.lines, header)
	}
	return t
}

// row adds a line.
func (t *table) row(cells ...any) {
	line := make([]string, len(cells))
	for i, c := range cells {
		line[i] = fmt.Sprint(c)
		if i == len(t.text) {
			t.text = append(t.text, false)
		}
		switch c.(type) {
		case int, int64, uint64, decimal:
		default:
			t.text[i] = true
		}
	}
	t.lines = append(t.lines, line)
}

// decimal is a formatted number.
type decimal string

// flush prints the table.
func (t *table) flush() error {
	width := make([]int, len(t.text))
	for _, line := range t.lines {
		for i, cell := range line {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	w := tabwriter.NewWriter(t.w, 0, 0, 2, ' ', 0)
	for _, line := range t.lines {
		for i, cell := range line {
			if !t.text[i] {
				line[i] = strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)) + cell
			}
		}
		if _, err := fmt.Fprintln(w, strings.Join(line, "\t")); err != nil {
			return err
		}
	}
	return w.Flush()
}

// printable returns text from a file in a form that cannot disturb a terminal.
func printable(s string) string {
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

// plural writes a count and a word, such as "2 errors".
func plural(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
