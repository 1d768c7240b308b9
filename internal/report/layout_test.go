package report

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/terminal"
)

// On a narrow terminal headers are wrapped, then texts, and then the table is cut.
func TestNarrowTables(t *testing.T) {
	for _, c := range []struct {
		width int
		want  string
	}{
		{54, `
name     tokens  KLD mean    ± SE  comment
a.gguf      100   0.00121  0.0005  good as it can be
bb.gguf       5     1.234       ?  bad
`[1:]},
		{49, `
                     KLD
name     tokens     mean   ± SE  comment
a.gguf      100  0.00121 0.0005  good as it can
                                 be
bb.gguf       5    1.234      ?  bad
`[1:]},
		{44, `
                     KLD
name     tokens     mean   ± SE
a.gguf      100  0.00121 0.0005
bb.gguf       5    1.234      ?

name     comment
a.gguf   good as it can
         be
bb.gguf  bad
`[1:]},
		{24, `
name     tokens
a.gguf      100
bb.gguf       5

             KLD
name        mean   ± SE
a.gguf   0.00121 0.0005
bb.gguf    1.234      ?

name     comment
a.gguf   good as it can
         be
bb.gguf  bad
`[1:]},
	} {
		var b bytes.Buffer
		list := NewColumns(terminal.Sized(&b, c.width), "name", "tokens", "KLD mean", "± SE", "comment")
		list.Row("a.gguf", 100, Decimal("0.00121"), Decimal("0.0005"), "good as it can be")
		list.Row("bb.gguf", 5, Decimal("1.234"), Decimal("?"), "bad")
		if err := list.Flush(); err != nil || b.String() != c.want {
			t.Errorf("%d columns: %v\n%s\nexpected\n%s", c.width, err, &b, c.want)
		}
	}
}

// Whatever the width, no line is longer if column 0 leaves room, and no letter of a cell is lost.
func TestNothingIsLost(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	word := func() string { return strings.Repeat(string(rune('a'+r.IntN(26))), 1+r.IntN(12)) }
	for range 500 {
		l := layout{header: true, indent: r.IntN(3), width: 40 + r.IntN(60)}
		cells := map[rune]int{}
		columns := 1 + r.IntN(9)
		for range columns {
			l.text = append(l.text, r.IntN(2) == 0)
		}
		for y := range 1 + r.IntN(4) {
			row := make([]string, columns)
			for i := range row {
				row[i] = word()
				for (l.text[i] || y == 0) && r.IntN(3) > 0 {
					row[i] += " " + word()
				}
				for _, letter := range row[i] {
					cells[letter]++
				}
			}
			l.rows = append(l.rows, row)
		}
		var b strings.Builder
		l.write(&b)
		longest := 0
		seen := map[rune]int{}
		parts := strings.Split(b.String(), "\n\n")
		for part, text := range parts {
			for line := range strings.Lines(text) {
				longest = max(longest, utf8.RuneCountInString(strings.TrimRight(line, "\n")))
				for _, letter := range line {
					seen[letter]++
				}
			}
			if part == 0 {
				continue
			}
			for _, row := range l.rows { // column 0 is in each
				for _, letter := range row[0] {
					seen[letter]--
				}
			}
		}
		delete(cells, ' ')
		for letter, n := range cells {
			if seen[letter] != n {
				t.Fatalf("%c: %d, expected %d\n%q\n%s", letter, seen[letter], n, l.rows, &b)
			}
		}
		if longest > l.width {
			t.Errorf("a line of %d characters, expected at most %d\n%s", longest, l.width, &b)
		}
	}
}

func TestWrapCell(t *testing.T) {
	for _, c := range []struct {
		cell  string
		width int
		want  []string
	}{
		{"", 3, []string{""}},
		{"one two three", 7, []string{"one two", "three"}},
		{"sha256:0123456789", 8, []string{"sha256:0", "12345678", "9"}},
		{"a 0123456789", 4, []string{"a", "0123", "4567", "89"}},
	} {
		if got := wrapCell(c.cell, c.width, false); !slices.Equal(got, c.want) {
			t.Errorf("%q in %d: %q, expected %q", c.cell, c.width, got, c.want)
		}
	}
}
