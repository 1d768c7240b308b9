package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/phi3conv/phi3conv/internal/terminal"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// Every table fits a terminal of 80 columns, and is as it was where the output is no terminal.
func TestTablesFit(t *testing.T) {
	model, dir := testmodel.Phi3(t), t.TempDir()
	quant := converted(t, model, "Q4_K_M")
	tar := filepath.Join(dir, "model.tar")
	if _, stderr, code := phi3conv(t, "pack", quant, "-o", tar); code != exitOK {
		t.Fatal(stderr)
	}
	damaged := testmodel.Phi3(t)
	edit(t, filepath.Join(damaged, "config.json"), `"rms_norm_eps": `, `"rms_norm_eps": 1`)
	names := strings.NewReplacer("DAMAGED", damaged, "MODEL", model, "QUANT", quant, "TEXT", evalText,
		"TASK", choiceTask, "STATS", tinyStats(t, model), "DIR", dir, "TAR", tar)
	for _, line := range []string{
		"inspect MODEL", "inspect QUANT", "inspect STATS", "inspect --diff MODEL QUANT",
		"inspect QUANT --tensor output.weight",
		"verify QUANT QUANT --base MODEL --text TEXT -c 64 --chunks 2 --max-kld 0.0001",
		"eval QUANT --base MODEL --task TASK --shots 0 --limit 12 --max-acc-drop 0.1", "lint DAMAGED", "lint QUANT",
		"quantize MODEL DIR/q.gguf Q4_K_M --dry-run",
		"quantize MODEL DIR/q.gguf --bpw 4 --dry-run --stats STATS --method imatrix",
		"calibrate --show STATS", "tokenize MODEL -p hello", "logits MODEL -p hello", "unpack TAR -o DIR/out",
		"bench QUANT --n-prompt 4 -n 2 -r 1",
	} {
		args := append([]string{"phi3conv"}, strings.Fields(names.Replace(line))...)
		var narrow, stderr bytes.Buffer
		if code := run(t.Context(), args, terminal.Sized(&narrow, 80), &stderr); code > exitFailed {
			t.Errorf("%s: exit %d\n%s", line, code, &stderr)
		}
		for row := range strings.Lines(narrow.String()) {
			n := utf8.RuneCountInString(strings.TrimRight(row, "\n"))
			if isTable.MatchString(row) && n > 80 {
				t.Errorf("%s: %d columns: %s", line, n, row)
			}
		}
	}
	if plain, _, _ := phi3conv(t, "inspect", quant); !strings.Contains(plain, `"<0x00>", "<0x01>", "<0x02>", …]`) {
		t.Errorf("without a terminal:\n%s", plain)
	}
}

// isTable matches a line with columns.
var isTable = regexp.MustCompile(`\S {2,}\S|^\|`)

// edit replaces text in a file.
func edit(t *testing.T, path, old, replacement string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(data), old) {
		t.Fatal(err, old)
	}
	testmodel.Write(t, path, []byte(strings.Replace(string(data), old, replacement, 1)))
}
