package quant

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
)

// The documents' tables have a row for each type.
func TestDocuments(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile("../docs/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	types, pmap := read("quant-types.md"), read("format-pmap.md")
	for _, typ := range ReadTypes() {
		if g := typ.Geometry(); typ.IsQuantized() {
			block := fmt.Sprint(typ.BlockLen())
			if g.ScaleLo != g.ScaleHi { // groups have scales of their own
				block = fmt.Sprintf("%d × %d", typ.BlockLen()/g.Group, g.Group)
			}
			row := fmt.Sprintf("| %s | %s | %s |", typ, block, bitsPerWeight(typ))
			if !strings.Contains(types, "\n"+row) {
				t.Errorf("docs/quant-types.md: its table has no row that begins\n%s", row)
			}
		}
		if !kern.HasFormat(typ.GGML()) {
			continue
		}
		l := kern.Layouts[kern.FormatOf(typ.GGML())]
		row := fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d |",
			typ, typ.GGML(), l.Cols, l.BlockBytes(), l.Head, l.Quads, l.Tail)
		if !strings.Contains(pmap, "\n"+row+"\n") {
			t.Errorf("docs/format-pmap.md: its table has no row\n%s", row)
		}
	}
}

// bitsPerWeight returns the bits per weight with at least one digit after the point.
func bitsPerWeight(t Type) string {
	s := fmt.Sprint(t.BitsPerWeight())
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
