package input

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/phi3conv/phi3conv/formats"
	"github.com/phi3conv/phi3conv/internal/usage"
)

func TestReadFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(path, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	if data, err := ReadFile(t.Context(), path); err != nil || string(data) != "a file" {
		t.Errorf("%q, %v", data, err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	stdin := os.Stdin
	os.Stdin = f
	defer func() { os.Stdin = stdin }()
	if data, err := ReadFile(t.Context(), Stdin); err != nil || string(data) != "a file" {
		t.Errorf("standard input: %q, %v", data, err)
	}
}

func TestReadAll(t *testing.T) {
	if data, err := readAll(t.Context(), strings.NewReader("1234"), 4); err != nil || string(data) != "1234" {
		t.Errorf("as much as is allowed: %q, %v", data, err)
	}
	var refused *formats.Error
	_, err := readAll(t.Context(), strings.NewReader("12345"), 4)
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "standard input") {
		t.Errorf("too much: %v", err)
	}
	_, err = Read(t.Context(), Stdin, io.MultiReader(strings.NewReader("1"), broken{}))
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an error: %v", err)
	}
	never, w := io.Pipe()
	defer func() { _ = w.Close() }()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Read(ctx, Stdin, never); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func TestOnce(t *testing.T) {
	if err := Once("-", "a", "", "./-"); err != nil {
		t.Error(err)
	}
	var mistake *usage.Error
	if err := Once("a", "-", "b", "-"); !errors.As(err, &mistake) {
		t.Errorf("twice: %v", err)
	}
}
