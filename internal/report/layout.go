package report

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// layout is a table for people. The first row is the header, if there is one; all rows have as many cells.
type layout struct {
	rows   [][]string
	header bool
	text   []bool // columns to the left; those of numbers are to the right
	indent int
	width  int // of the terminal, 0 for any
}

// narrowest is how far a column of text is narrowed before the table is cut.
const narrowest = 16

// write writes the table. If it is wider than the terminal, headers are wrapped, then texts; then it is cut into tables
// below each other, with the first column in each. Nothing is left out.
func (l *layout) write(b *strings.Builder) {
	widths := l.widths(false)
	if l.width == 0 || l.total(widths, false) <= l.width {
		l.writeRows(b, widths, false)
		return
	}
	widths = l.widths(true)
	l.narrow(widths)
	first := 1 // of the columns of a part, besides column 0
	for part := 0; first < len(widths) || part == 0; part++ {
		last := l.fitting(widths, first)
		columns := []int{0}
		for i := first; i < last; i++ {
			columns = append(columns, i)
		}
		if part > 0 {
			b.WriteByte('\n')
		}
		l.part(columns).writeRows(b, pick(widths, columns), true)
		first = last
	}
}

// part is the table of some columns.
func (l *layout) part(columns []int) *layout {
	p := &layout{header: l.header, text: pick(l.text, columns), indent: l.indent, width: l.width}
	for _, row := range l.rows {
		p.rows = append(p.rows, pick(row, columns))
	}
	return p
}

func pick[T any](all []T, columns []int) []T {
	some := make([]T, len(columns))
	for i, c := range columns {
		some[i] = all[c]
	}
	return some
}

// widths are those of the columns, where headers are wrapped at every space or not.
func (l *layout) widths(wrapped bool) []int {
	widths := make([]int, len(l.text))
	for r, row := range l.rows {
		for i, cell := range row {
			if r == 0 && l.header && wrapped {
				for _, word := range headerWords(cell) {
					widths[i] = max(widths[i], utf8.RuneCountInString(word))
				}
			} else {
				widths[i] = max(widths[i], utf8.RuneCountInString(cell))
			}
		}
	}
	return widths
}

// joint is a space in a header that stays.
const joint = "\ue000"

// headerWords are the parts of a header that stay together, with a [joint] in place of a space.
func headerWords(header string) []string {
	return strings.Fields(strings.NewReplacer("± ", "±"+joint, " %", joint+"%", "/", "/ ").Replace(header))
}

// gap is the space before a column.
func (l *layout) gap(i int, tight bool) int {
	switch {
	case i == 0:
		return l.indent
	case tight && l.header && strings.HasPrefix(l.rows[0][i], "±"):
		return 1 // belongs to the column before
	}
	return 2
}

func (l *layout) total(widths []int, tight bool) (n int) {
	for i, width := range widths {
		n += l.gap(i, tight) + width
	}
	return n
}

// narrow makes columns of text narrower, the widest first, as far as it helps. Names in column 0 keep half of the line.
func (l *layout) narrow(widths []int) {
	for over := l.total(widths, true) - l.width; over > 0; over-- {
		widest := 0
		for i, width := range widths {
			if i > 0 && l.text[i] && width > narrowest && (widest == 0 || width > widths[widest]) {
				widest = i
			}
		}
		if widest == 0 && widths[0] <= max(narrowest, l.width/2) {
			return
		}
		widths[widest]--
	}
}

// fitting returns where the columns end that fit in a line with column 0, from first on.
func (l *layout) fitting(widths []int, first int) int {
	n := l.gap(0, true) + widths[0]
	last := first
	for last < len(widths) {
		n += l.gap(last, true) + widths[last]
		if n > l.width && last > first {
			for last > first+1 && l.gap(last, true) == 1 {
				last-- // an error stays with its value
			}
			break
		}
		last++
	}
	return last
}

// writeRows writes the rows in columns of the widths. Cells that are wider are wrapped.
func (l *layout) writeRows(b *strings.Builder, widths []int, tight bool) {
	for r, row := range l.rows {
		cells := make([][]string, len(row))
		height := 1
		for i, cell := range row {
			cells[i] = wrapCell(cell, widths[i], r == 0 && l.header)
			height = max(height, len(cells[i]))
		}
		for y := range height {
			var line strings.Builder
			for i, lines := range cells {
				text := ""
				if skip := height - len(lines); r == 0 && l.header { // headers stand on the line below
					if y >= skip {
						text = lines[y-skip]
					}
				} else if y < len(lines) {
					text = lines[y]
				}
				pad := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(text)))
				line.WriteString(strings.Repeat(" ", l.gap(i, tight)))
				if l.text[i] {
					line.WriteString(text + pad)
				} else {
					line.WriteString(pad + text)
				}
			}
			b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
		}
	}
}

// wrapCell breaks a cell into lines, between words where it can.
func wrapCell(cell string, width int, header bool) []string {
	if utf8.RuneCountInString(cell) <= width {
		return []string{cell}
	}
	words := strings.SplitAfter(cell, " ")
	if header {
		words = nil
		for _, word := range headerWords(cell) {
			words = append(words, word+" ")
		}
	}
	lines := []string{""}
	for _, word := range words {
		for _, piece := range pieces(word, width) {
			last := len(lines) - 1
			if utf8.RuneCountInString(strings.TrimRight(lines[last]+piece, " ")) <= width {
				lines[last] += piece
			} else {
				lines = append(lines, piece)
			}
		}
	}
	for i := range lines {
		lines[i] = strings.TrimRight(strings.ReplaceAll(lines[i], joint, " "), " ")
	}
	return slices.DeleteFunc(lines, func(s string) bool { return s == "" })
}

// pieces cuts a word that is wider than a column.
func pieces(word string, width int) (list []string) {
	runes := []rune(word)
	for len(runes) > width && strings.TrimRight(string(runes), " ") != string(runes[:width]) {
		list, runes = append(list, string(runes[:width])), runes[width:]
	}
	return append(list, string(runes))
}
