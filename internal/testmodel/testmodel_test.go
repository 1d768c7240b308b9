package testmodel

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// Copies are those of testdata, whatever the directory, and can be changed.
func TestCopy(t *testing.T) {
	t.Chdir(t.TempDir())
	const name = "tiny-phi3"
	dir := Phi3(t)
	if filepath.Base(dir) != name {
		t.Errorf("%s, expected a directory named %s", dir, name)
	}
	files, err := os.ReadDir(filepath.Join(testdata, name))
	if err != nil || len(files) < 5 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		if !bytes.Equal(Read(t, filepath.Join(dir, f.Name())), Read(t, filepath.Join(testdata, name, f.Name()))) {
			t.Errorf("%s differs", f.Name())
		}
	}
	if got := Read(t, Write(t, filepath.Join(dir, "config.json"), []byte("{}"))); string(got) != "{}" {
		t.Errorf("got %q", got)
	}
}
