package policy

import (
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/quant"
)

func TestFileTypeNames(t *testing.T) {
	for _, f := range FileTypes() {
		if got, err := FileTypeByName(f.String()); err != nil || got != f {
			t.Errorf("FileTypeByName(%s) = %v, %v", f, got, err)
		}
		if got, ok := FileTypeByGGUF(uint64(f.GGUF())); !ok || got != f {
			t.Errorf("FileTypeByGGUF(%d) = %v", f.GGUF(), got)
		}
	}
	if got, err := FileTypeByName("q4_k"); err != nil || got != MostlyQ4_K_M {
		t.Errorf("q4_k = %v, %v", got, err)
	}
	if _, err := FileTypeByName("Q9"); err == nil {
		t.Error("Q9 is known")
	}
}

// Every type has a file type of its name or alias, whose matrices are of it.
func TestEveryTypeHasAFileType(t *testing.T) {
	for _, typ := range quant.Types() {
		f, err := FileTypeByName(typ.String())
		if typ == quant.IQ2_S { // that of its name is of IQ2_XS, as in llama.cpp
			f, err = MostlyIQ2_M, nil
		}
		if err != nil || f.Type() != typ {
			t.Errorf("%s: FileTypeByName = %v, %v: no line in the table of file types", typ, f, err)
		}
	}
	if _, err := FileTypeByName("IQ1_S"); err == nil || !strings.Contains(err.Error(), "only read") {
		t.Errorf("IQ1_S: %v", err)
	}
	seen := map[uint32]FileType{}
	for _, f := range FileTypes() {
		if other, ok := seen[f.GGUF()]; ok {
			t.Errorf("%s and %s have the number %d", other, f, f.GGUF())
		}
		seen[f.GGUF()] = f
		if fileTypes[f].base.IsQuantized() != fileTypes[f].output.IsQuantized() {
			t.Errorf("%s: matrices are %s, the output %s", f, fileTypes[f].base, fileTypes[f].output)
		}
	}
}

// The README lists the file types, in the order in which they are here.
func TestReadme(t *testing.T) {
	const readme, begin, end = "../../README.md", "each tensor: ", ";"
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok1 := strings.Cut(string(b), begin)
	list, after, ok2 := strings.Cut(rest, end)
	want := FileTypeNames()
	if ok1 && ok2 && strings.Join(strings.Fields(list), " ") == want {
		return
	}
	if !*update || !ok1 || !ok2 {
		t.Fatalf("%s: between %q and %q, -update writes\n%s", readme, begin, end, want)
	}
	paragraph, after, _ := strings.Cut(after, "\n\n")
	start := strings.LastIndex(before, "\n\n") + 2
	var text strings.Builder
	text.WriteString(before[:start])
	column := 0
	for i, word := range strings.Fields(before[start:] + begin + want + end + paragraph) {
		switch n := utf8.RuneCountInString(word); {
		case i == 0:
			column = n
		case column+1+n > 120:
			text.WriteByte('\n')
			column = n
		default:
			text.WriteByte(' ')
			column += 1 + n
		}
		text.WriteString(word)
	}
	if err := os.WriteFile(readme, []byte(text.String()+"\n\n"+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
