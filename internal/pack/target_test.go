package pack

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/phi3conv/phi3conv/internal/testmodel"
	"github.com/phi3conv/phi3conv/internal/usage"
)

func TestCollect(t *testing.T) {
	dir := testmodel.Phi3(t)
	hidden, seal := filepath.Join(dir, ".hidden"), filepath.Join(t.TempDir(), "base.bin")
	for _, path := range []string{hidden, seal} {
		if err := os.WriteFile(path, []byte("seal"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plain, err := Collect(dir, nil, filepath.Join(dir, "new.tar"))
	if err != nil || len(plain.Left) != 1 || plain.Left[0] != ".hidden" {
		t.Fatalf("%+v, %v", plain, err)
	}
	config := filepath.Join(dir, "config.json")
	in, err := Collect(dir, []File{{seal, Seal}, {config, Recipe}}, "")
	if err != nil || len(in.Files) != len(plain.Files)+1 || in.Bytes != plain.Bytes+4 {
		t.Errorf("%+v, %v, without the seal %+v", in, err, plain)
	}
	for _, f := range in.Files {
		if f.Path == config && f.Role != Recipe || f.Path == seal && f.Role != Seal {
			t.Errorf("%+v", f)
		}
	}
	var mistake *usage.Error
	if _, err := Collect(dir, nil, config); !errors.As(err, &mistake) {
		t.Errorf("%v, expected a usage mistake", err)
	}
	if _, err := Collect(dir, []File{{filepath.Join(dir, "none"), Seal}}, ""); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file that is not there: %v", err)
	}
}

func TestTarget(t *testing.T) {
	for name, registry := range map[string]bool{"oci://127.0.0.1:1/m:v1": true, "out": false, "out.TAR": false} {
		to, err := OpenTarget(name, RegistryOptions{})
		if err != nil || to.InRegistry() != registry || to.String() != name {
			t.Errorf("%s: %s, %t, %v", name, to, to.InRegistry(), err)
		}
	}
	if _, err := OpenTarget("oci://not a name", RegistryOptions{}); err == nil {
		t.Error("a bad name was taken")
	}
}
