package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDemo(t *testing.T) {
	dir := t.TempDir()
	stdout, stderr, code := phi3conv(t, "demo", "--dir", dir)
	if code != exitOK {
		t.Fatalf("exit %d\n%s%s", code, stdout, stderr)
	}
	for _, want := range []string{"no problems found", "Q4_K_M: 27 tensors", "attn_qkv"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("%q is missing in\n%s", want, stdout)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "tiny-phi3-Q4_K_M.gguf")); err != nil {
		t.Error(err)
	}
}
