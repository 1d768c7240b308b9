package mmap

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func TestMemory(t *testing.T) {
	b, err := Memory(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range b {
		if v != 0 {
			t.Fatal("not zero")
		}
	}
	b[len(b)-1] = 1
	if err := Unmap(b); err != nil {
		t.Fatal(err)
	}
}

func TestFileTruncated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	b, err := File(f)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = Unmap(b) }()
	sum := 0
	read := func() {
		for i := 0; i < len(b); i += 512 {
			sum += int(b[i])
		}
	}
	if err := Guard(read); err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		return // a mapped file cannot be truncated there
	}
	if err := os.Truncate(path, 4096); err != nil {
		t.Fatal(err)
	}
	if err := Guard(read); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Fatalf("error %v, expected an unexpected end of file", err)
	}
}
