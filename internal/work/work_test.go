package work

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestHashFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "abc")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	sum, size, err := HashFile(t.Context(), path, nil)
	const want = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" // FIPS 180-2, B.1
	if sum != want || size != 3 || err != nil {
		t.Errorf("%s %d %v, expected %s 3 nil", sum, size, err, want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := HashFile(ctx, path, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, expected it to be cancelled", err)
	}
}

func TestResize(t *testing.T) {
	b := make([]int, 2, 5)
	if got := Resize(b, 4); len(got) != 4 || &got[0] != &b[0] {
		t.Error("did not use the memory that was there")
	}
	if got := Resize(b, 6); len(got) != 6 {
		t.Errorf("length %d, expected 6", len(got))
	}
}
