//go:build unix

package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A device or a pipe gets the data and stays what it is.
func TestStreams(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := Check(pipe); err != nil { // must not open it: nobody reads yet
		t.Error(err)
	}
	read := make(chan string)
	go func() {
		f, err := os.Open(pipe)
		if err != nil {
			t.Error(err)
		}
		b, _ := io.ReadAll(f)
		_ = f.Close()
		read <- string(b)
	}()
	if err := WriteFile(pipe, []byte("data")); err != nil {
		t.Fatal(err)
	}
	if got := <-read; got != "data" {
		t.Errorf("read %q", got)
	}
	if info, err := os.Lstat(pipe); err != nil || info.Mode().Type() != os.ModeNamedPipe || names(t, dir) != "pipe" {
		t.Errorf("%v, %v, files %s", info, err, names(t, dir))
	}
	if !IsStream(pipe) || IsStream(filepath.Join(dir, "none")) {
		t.Error("what is a stream is not known")
	}
	for _, link := range []bool{false, true} {
		null := os.DevNull
		if link {
			null = filepath.Join(dir, "null")
			if err := os.Symlink(os.DevNull, null); err != nil {
				t.Fatal(err)
			}
		}
		if err := errors.Join(Check(null), WriteFile(null, []byte("data"))); err != nil {
			t.Error(err)
		}
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		t.Fatalf("%s is no device any more: %v, %v", os.DevNull, info, err)
	}
}

// What does not fit is saved: here into /dev/full, which is always full.
func TestFull(t *testing.T) {
	const full = "/dev/full"
	if _, err := os.Stat(full); err != nil {
		t.Skip(err)
	}
	t.Setenv("TMPDIR", t.TempDir())
	var saved *Elsewhere
	err := Save(full, []byte("data"))
	if !errors.As(err, &saved) || !errors.Is(err, syscall.ENOSPC) || content(t, saved.Saved) != "data" {
		t.Errorf("%v", err)
	}
	want := "write /dev/full: no space left on device; it was written to " + saved.Saved + " instead"
	if err.Error() != want {
		t.Errorf("%q, expected %q", err, want)
	}
	if err := WriteFile(full, []byte("data")); !errors.Is(err, syscall.ENOSPC) || errors.As(err, &saved) {
		t.Errorf("%v", err)
	}
}

// A Write that fails takes what was written before to another directory.
func TestSpill(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	f.Rescue = true
	if _, err := f.Write([]byte("one ")); err != nil {
		t.Fatal(err)
	}
	written := f.File
	if f.File, err = os.Open(written.Name()); err != nil { // for reading: as good as a full disk
		t.Fatal(err)
	}
	if _, err := f.Seek(0, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"two ", "three"} {
		if n, err := f.Write([]byte(text)); n != len(text) || err != nil {
			t.Fatal(n, err)
		}
	}
	_ = written.Close()
	var saved *Elsewhere
	if err := f.Commit(); !errors.As(err, &saved) || content(t, saved.Saved) != "one two three" {
		t.Errorf("%v", err)
	}
	if names(t, dir) != "" || !strings.HasPrefix(saved.Saved, temp) {
		t.Errorf("files %s", names(t, dir))
	}
}
