package policy

import (
	"os"
	"slices"
	"strings"
	"testing"
	"unicode"

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

// The README lists the file types.
func TestReadme(t *testing.T) {
	b, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	words := strings.FieldsFunc(string(b), func(r rune) bool {
		return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r)
	})
	for _, f := range FileTypes() {
		if !slices.Contains(words, f.String()) {
			t.Errorf("README.md does not mention the file type %s", f)
		}
	}
}
