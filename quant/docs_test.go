package quant

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/kern"
)

var update = flag.Bool("update", false, "write the table of docs/format-pmap.md")

// The documents have a row for each type. The rest of a row of docs/quant-types.md is prose.
func TestDocuments(t *testing.T) {
	const quantTypes, pmap = "../docs/quant-types.md", "../docs/format-pmap.md"
	types := read(t, quantTypes)
	layouts := "| type | ggml's number | weights in a block | B | head | quads | tail |\n" +
		"|---|---|---|---|---|---|---|\n"
	head := len(layouts)
	for _, typ := range ReadTypes() {
		if g := typ.Geometry(); typ.IsQuantized() {
			block := fmt.Sprint(typ.BlockLen())
			if g.ScaleLo != g.ScaleHi { // groups have scales of their own
				block = fmt.Sprintf("%d × %d", typ.BlockLen()/g.Group, g.Group)
			}
			row := fmt.Sprintf("| %s | %s | %s |", typ, block, bitsPerWeight(typ))
			if !strings.Contains(types, "\n"+row) {
				t.Errorf("%s: its table has no row that begins\n%s", quantTypes, row)
			}
		}
		if kern.HasFormat(typ.GGML()) {
			l := kern.Layouts[kern.FormatOf(typ.GGML())]
			layouts += fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %d |\n",
				typ, typ.GGML(), l.Cols, l.BlockBytes(), l.Head, l.Quads, l.Tail)
		}
	}
	text := read(t, pmap)
	if strings.Contains(text, "\n"+layouts+"\n") {
		return
	}
	before, after, ok := strings.Cut(text, layouts[:head])
	_, after, ok2 := strings.Cut(after, "\n\n")
	if !*update || !ok || !ok2 {
		t.Fatalf("%s: its table of layouts is not as -update writes it:\n%s", pmap, layouts)
	}
	if err := os.WriteFile(pmap, []byte(before+layouts+"\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// bitsPerWeight returns the bits per weight with at least one digit after the point.
func bitsPerWeight(t Type) string {
	s := fmt.Sprint(t.BitsPerWeight())
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
