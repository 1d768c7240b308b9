package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/internal/job/demo"
)

// Quantization by imatrix takes the place of gptq, which takes long. .ci/run runs the demo as it is.
func TestDemo(t *testing.T) {
	before := slices.Clone(demo.Stages)
	defer func() { demo.Stages = before }()
	for i, s := range before {
		demo.Stages[i].Line = strings.NewReplacer("--method gptq", "--method imatrix",
			"--bpw", "--method imatrix --bpw").Replace(s.Line)
	}
	dir := t.TempDir()
	stdout, stderr, code := phi3conv(t, "demo", "--dir", dir)
	if code != exitOK {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{
		"no problems found", "[399, 263, 262, 354, 272, 395, 467]", "Q4_K_M: 27 tensors", "attn_qkv",
		"3 models against",
		"budget.gguf: the same bytes", "Q4_K_M.pmap: whole; ", "weights  " + filepath.Join(dir, "unpacked"),
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "Q4_K_M.gguf")); err != nil {
		t.Error(err)
	}
}

// The demo runs every command but itself, those that need a registry, and what is no stage.
func TestDemoStages(t *testing.T) {
	without := map[string]bool{
		"demo": true, "completion": true, "tune": true, "serve": true, "batch": true, "push": true, "pull": true,
	}
	for _, s := range demo.Stages {
		name, _, _ := strings.Cut(s.Line, " ")
		without[name] = true
		if err := parseOnly(s.Line + " 'text'"); err != nil {
			t.Errorf("%s: %v", s.Line, err)
		}
	}
	for _, c := range commands() {
		if !without[c.Name] {
			t.Errorf("the demo does not run %s", c.Name)
		}
	}
}
