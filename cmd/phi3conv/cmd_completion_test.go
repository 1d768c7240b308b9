package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"

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

// bash gets values, and names of files only where they may be.
func TestCompletionInBash(t *testing.T) {
	t.Chdir(t.TempDir())
	testmodel.Write(t, "a.gguf", nil)
	script, _, _ := phi3conv(t, "completion", "bash")
	for line, want := range map[string]string{
		"convert a.gguf --type|Q4_K": "Q4_K_S Q4_K_M",
		"convert --type|=|iq4":       "IQ4_NL IQ4_XS",
		"quantize in out|Q6":         "Q6_K",
		"quantize --method|a":        "awq",
		"run --cache-type|":          "f16 f32 q8_0",
		"completion|z":               "zsh",
		"verify|me":                  "merge",
		"con":                        "convert",
		"convert|a":                  "(files)",
		"run a.gguf --file|":         "(files)",
		"run a.gguf --prompt|":       "",
		"run a.gguf -jf|":            "(files)",
		"run a.gguf --grammar-file|": "(files)",
		"run a.gguf --json-schema|":  "",
	} {
		words := strings.FieldsFunc(strings.ReplaceAll(line, " ", "|"), func(r rune) bool { return r == '|' })
		if strings.HasSuffix(line, "|") {
			words = append(words, "")
		}
		program := script + `
compopt() { default=; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) default="(files)"
_phi3conv
echo "${COMPREPLY[*]:-$default}"`
		cmd := exec.Command("bash", append([]string{"-c", program, "bash", os.Args[0]}, words...)...)
		cmd.Env = append(os.Environ(), asProgram+"=1")
		out, err := cmd.CombinedOutput()
		if got := strings.TrimSpace(string(out)); err != nil || got != want {
			t.Errorf("%s: %q, %v, expected %q", line, got, err, want)
		}
	}
}
