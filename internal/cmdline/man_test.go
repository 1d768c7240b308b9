package cmdline

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// The manual has a page for the program and one for each command, with descriptions, examples line by line, flags and
// the commands of commands. No text is taken for man(7)'s language.
func TestManual(t *testing.T) {
	app := &cli.App{Name: "p", Usage: "do things", Version: "v1",
		Description: "First.\n.Second", Commands: []*cli.Command{
			{Name: "one", Usage: "do one", ArgsUsage: "FILE",
				Description: "It's one:\n\n   p one a-b\n   p one c\\d\n\nThe end.",
				Flags: []cli.Flag{&cli.StringFlag{Name: "out", Aliases: []string{"o"}, Value: "x",
					Usage: "write to `FILE`"}}},
			{Name: "two", Usage: "do two", Subcommands: []*cli.Command{{Name: "sub", Usage: "do less"}}},
			{Name: "three", Hidden: true},
		}}
	Prepare(app)
	dir := t.TempDir()
	if err := Run(t.Context(), app, []string{"p", manCommand, dir, "2026-01-02"}, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{
		"p.1": {`.TH P 1 "2026-01-02" "p v1"`, "First.\n\\&.Second\n", ".TP\n\\fBp\\-one\\fR(1)\ndo one\n"},
		"p-one.1": {".SH SYNOPSIS\n.B p one\n[\\fIFLAG\\fR]...\nFILE\n",
			"It's one:\n.RS 4\n.nf\np one a\\-b\np one c\\ed\n.fi\n.RE\n.PP\nThe end.\n",
			".TP\n.B \\-\\-out FILE, \\-o FILE\nwrite to FILE (default: x)\n"},
		"p-two.1": {".SS \"p two sub\"\n.B p two sub\n.PP\ndo less.\n"},
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != len(want) {
		t.Errorf("%d pages, %v, expected %d", len(entries), err, len(want))
	}
	for name, parts := range want {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Error(err)
		}
		for _, part := range parts {
			if !strings.Contains(string(data), part) {
				t.Errorf("%s has no %q:\n%s", name, part, data)
			}
		}
	}
}
