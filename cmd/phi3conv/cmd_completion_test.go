package main

import (
	"os"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/cmdline"
	"github.com/phi3conv/phi3conv/internal/testmodel"
)

func TestCompletion(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		stdout, stderr, code := phi3conv(t, "completion", shell)
		if code != exitOK || !strings.Contains(stdout, "phi3conv") {
			t.Errorf("%s: exit %d\n%s%s", shell, code, stdout, stderr)
		}
	}
	if _, _, code := phi3conv(t, "completion", "tcsh"); code != exitUsage {
		t.Errorf("tcsh: exit %d", code)
	}
}

// What a shell asks with the completion scripts: words come back, nothing runs.
func TestCompletionWords(t *testing.T) {
	t.Chdir(t.TempDir())
	model := testmodel.Phi3(t)
	defer func(args []string) { os.Args = args }(os.Args)
	for _, c := range []struct{ line, want string }{
		{"", "convert"},
		{"convert --ty", "--type"},
		{"convert " + model + " --pu", "--pure"},
		{"inspect --js", "--json"},
		{"convert " + model + " -o ", ""},
		{"completion", "zsh"},
	} {
		args := append(strings.Fields(c.line), cmdline.CompletionFlag)
		os.Args = append([]string{"phi3conv"}, args...) // the cli package looks there too
		stdout, stderr, code := phi3conv(t, args...)
		if code != exitOK || !strings.Contains(stdout, c.want) {
			t.Errorf("%q: exit %d\n%s%s", c.line, code, stdout, stderr)
		}
	}
	if left, _ := os.ReadDir("."); len(left) > 0 {
		t.Errorf("completion wrote %s", left[0].Name())
	}
}
