package main

import (
	"bytes"
	"context"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
)

// The exit codes, as docs/exit-codes.md has them.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitBadInput    = 3
	exitIO          = 4
	exitInterrupted = 130
	exitTerminated  = 143
)

// phi3conv runs the program and returns what it printed and its exit code. JSON is checked by its schema.
func phi3conv(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, err bytes.Buffer
	code = run(context.Background(), append([]string{"phi3conv"}, args...), &out, &err)
	if printsJSON(args) {
		checkDocument(t, args, out.String(), code)
	}
	return out.String(), err.String(), code
}

// tinyGGUF converts the embedded model.
func tinyGGUF(t *testing.T, ft string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "tiny-phi3-"+ft+".gguf")
	if _, stderr, code := phi3conv(t, "convert", testmodel.Phi3(t), "-o", out, "--type", ft); code != exitOK {
		t.Fatal(stderr)
	}
	return out
}

// converted makes a GGUF of the model and returns its path.
func converted(t *testing.T, model, fileType string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), fileType+".gguf")
	if _, stderr, code := phi3conv(t, "convert", model, "-o", path, "--type", fileType); code != exitOK {
		t.Fatal(stderr)
	}
	return path
}

// tinyStats calibrates a model and returns the statistics' path.
func tinyStats(t *testing.T, model string, flags ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stats.gguf")
	args := []string{"calibrate", model, "--text", calibText, "--chunks", "3", "--ctx-size", "64", "-o", path}
	if _, stderr, code := phi3conv(t, append(args, flags...)...); code != exitOK {
		t.Fatal(stderr)
	}
	return path
}
