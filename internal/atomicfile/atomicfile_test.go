package atomicfile

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return strings.Join(list, " ")
}

func TestCommit(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.gguf")
	for _, text := range []string{"first", "second"} { // the second replaces the first
		before := names(t, dir)
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if f.Path() != path {
			t.Errorf("Path is %s", f.Path())
		}
		if _, err := f.WriteAt([]byte(text), 0); err != nil {
			t.Fatal(err)
		}
		temp := filepath.Base(f.Name())
		if !strings.HasPrefix(temp, ".out.gguf.tmp-") || names(t, dir) != strings.TrimSpace(temp+" "+before) {
			t.Errorf("while writing: %s", names(t, dir))
		}
		if err := f.Commit(); err != nil {
			t.Fatal(err)
		}
		f.Abort() // harmless now
		if got := content(t, path); got != text || names(t, dir) != "out.gguf" {
			t.Errorf("content %q, files %s", got, names(t, dir))
		}
		if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("second Commit: error %v", err)
		}
	}
}

func TestAbort(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	if err := WriteFile(path, []byte("old")); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	f.Abort()
	f.Abort()
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit after Abort: error %v", err)
	}
	if got := content(t, path); got != "old" || names(t, dir) != "out" {
		t.Errorf("content %q, files %s", got, names(t, dir))
	}
}

// What a killed program left goes with the next Create of the same file: not what is being
// written, what is new, or other files.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	old := time.Now().Add(-2 * staleAfter)
	for name, stale := range map[string]time.Time{
		".out.tmp-00000001": old, ".out.tmp-00000002": time.Now(), ".out.tmp-1": old,
		".other.tmp-00000003": old, "out": old,
		filepath.Base(f.Name()): old,
	} {
		path := filepath.Join(dir, name)
		if name != filepath.Base(f.Name()) {
			if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(path, stale, stale); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "out"), nil); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(".other.tmp-00000003 .out.tmp-00000002 .out.tmp-1 out " + filepath.Base(f.Name()))
	slices.Sort(want)
	if got := names(t, dir); got != strings.Join(want, " ") {
		t.Errorf("files %s, want %s", got, want)
	}
}

func TestCommitFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o777); err != nil { // in the way of the rename
		t.Fatal(err)
	}
	if err := f.Commit(); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	if names(t, dir) != "out" {
		t.Errorf("files %s", names(t, dir))
	}

	path = filepath.Join(dir, "closed")
	if f, err = Create(path); err != nil {
		t.Fatal(err)
	}
	_ = f.Close() // so that the sync fails
	if err := f.Commit(); err == nil || names(t, dir) != "out" {
		t.Errorf("error %v, files %s", err, names(t, dir))
	}
}

// TestSyncDir lets the sync of the directory, the last step, fail. The new file is there all the same: the old one is
// gone by then.
func TestSyncDir(t *testing.T) {
	for _, tt := range []struct {
		err error
		ok  bool // it is no failure of the disk
	}{
		{syscall.EINVAL, true},
		{syscall.ENOTSUP, true},
		{syscall.ENOSYS, true},
		{syscall.EACCES, true},
		{syscall.EPERM, true},
		{syscall.EIO, false},
		{syscall.ENOSPC, false},
	} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out")
		if err := WriteFile(path, []byte("old")); err != nil {
			t.Fatal(err)
		}
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString("new"); err != nil {
			t.Fatal(err)
		}
		f.syncDir = func(d string) error {
			if d != dir || names(t, dir) != "out" {
				t.Errorf("sync of %s, files %s", d, names(t, dir))
			}
			return &fs.PathError{Op: "sync", Path: d, Err: tt.err}
		}
		err = f.Commit()
		if tt.ok && err != nil || !tt.ok && !errors.Is(err, tt.err) {
			t.Errorf("%v: error %v", tt.err, err)
		}
		f.Abort()
		if names(t, dir) != "out" || content(t, path) != "new" {
			t.Errorf("%v: files %q", tt.err, names(t, dir))
		}
	}
}

func TestCreateRefuses(t *testing.T) {
	dir := t.TempDir()
	tests := map[string]string{
		"directory":           dir,
		"in no directory":     filepath.Join(dir, "none", "out"),
		"file as a directory": filepath.Join(dir, "file", "out"),
	}
	if runtime.GOOS != "windows" {
		tests["device"] = os.DevNull
	}
	if err := WriteFile(filepath.Join(dir, "file"), nil); err != nil {
		t.Fatal(err)
	}
	for name, path := range tests {
		if f, err := Create(path); err == nil || !strings.HasPrefix(err.Error(), "write "+path+": ") {
			t.Errorf("%s: %v, error %v", name, f, err)
		}
	}
	if names(t, dir) != "file" {
		t.Errorf("files %s", names(t, dir))
	}
}

func TestMode(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(filepath.Join(dir, "ours"), nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "plain"), nil, 0o666); err != nil {
		t.Fatal(err)
	}
	ours, err1 := os.Stat(filepath.Join(dir, "ours"))
	plain, err2 := os.Stat(filepath.Join(dir, "plain"))
	if err := errors.Join(err1, err2); err != nil || ours.Mode() != plain.Mode() {
		t.Errorf("mode %v, a plain file has %v, error %v", ours.Mode(), plain.Mode(), err)
	}
}

// TestRelative writes to a bare name, whose directory is the current one.
func TestRelative(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := WriteFile("out", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if content(t, "out") != "x" || names(t, ".") != "out" {
		t.Errorf("files %s", names(t, "."))
	}
}

// TestResume finds what an interrupted writer left, until it is committed or discarded.
func TestResume(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out")
	write := func(s string) *File {
		t.Helper()
		f, err := Resume(path, "id")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Seek(0, io.SeekEnd); err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteString(s); err != nil {
			t.Fatal(err)
		}
		return f
	}
	write("a").Abort()
	if names(t, dir) != ".out.id.partial" {
		t.Errorf("files %s", names(t, dir))
	}
	if err := write("b").Commit(); err != nil || content(t, path) != "ab" || names(t, dir) != "out" {
		t.Errorf("content %q, files %s, error %v", content(t, path), names(t, dir), err)
	}
	write("c").Discard()
	if names(t, dir) != "out" {
		t.Errorf("files %s", names(t, dir))
	}
	if _, err := Resume(dir, "id"); err == nil {
		t.Error("a directory is resumed")
	}
}
