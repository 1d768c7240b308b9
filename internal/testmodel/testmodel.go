// Package testmodel gives tests the tiny models and texts of testdata, and files. Only tests import it.
package testmodel

import (
	"os"
	"path/filepath"
	"testing"
)

// testdata is the directory of that name in the module's root, found at once since a test may change its directory.
// It is "" outside of the module, where a test's binary may run as the program.
var testdata = find()

func find() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for parent := filepath.Dir(dir); ; dir, parent = parent, filepath.Dir(parent) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "testdata")
		}
		if parent == dir {
			return ""
		}
	}
}

// Phi3 copies the tiny Phi-3 model to a temporary directory named tiny-phi3, and returns its path.
func Phi3(t testing.TB) string {
	t.Helper()
	return Copy(t, "tiny-phi3")
}

// Copy copies a model of testdata, such as tiny-phi3, to a temporary directory of the same name, and returns its path.
func Copy(t testing.TB, model string) string {
	t.Helper()
	if testdata == "" {
		t.Fatal("the test did not begin in a directory of the module")
	}
	dir := filepath.Join(t.TempDir(), model)
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(testdata, model))); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Read returns what is in a file.
func Read(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Write writes a file and returns its path.
func Write(t testing.TB, path string, data []byte) string {
	t.Helper()
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}
