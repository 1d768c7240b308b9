package testdata_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/testdata"
)

// The models of the other architectures are embedded whole, and small, since the program carries them.
func TestFamily(t *testing.T) {
	models, err := testdata.Models.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range models {
		dir := filepath.Join(t.TempDir(), m.Name())
		if err := testdata.Write(m.Name(), dir); err != nil {
			t.Fatal(err)
		}
		files, err := os.ReadDir(m.Name())
		if err != nil {
			t.Fatal(err)
		}
		size := int64(0)
		for _, f := range files {
			info, err := os.Stat(filepath.Join(dir, f.Name()))
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		limit := int64(2_000_000)
		if m.Name() == "tiny-phi3" {
			limit = 6_000_000
		}
		if len(files) < 5 || size > limit {
			t.Errorf("%s has %d files of %d bytes, expected at least 5, of at most %d", m.Name(), len(files), size, limit)
		}
	}
	if err := testdata.Write("tiny-phi5", t.TempDir()); err == nil {
		t.Error("a model that is not there was written")
	}
}
