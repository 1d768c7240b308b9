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

// What is streamed appears when all of it is written, in whatever pieces; an error leaves what was there.
func TestStream(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write := func(pieces int, err error) error {
		return Stream(path, false, func(w io.Writer) error {
			for range pieces {
				if _, err := io.WriteString(w, "0123456789"); err != nil {
					return err
				}
			}
			return err
		})
	}
	if err := write(300_000, nil); err != nil || content(t, path) != strings.Repeat("0123456789", 300_000) {
		t.Fatal(err)
	}
	failed := errors.New("failed")
	if err := write(200_000, failed); err != failed || len(content(t, path)) != 3_000_000 {
		t.Errorf("%v, expected %v and the file as it was", err, failed)
	}
	if all := names(t, filepath.Dir(path)); all != "f" {
		t.Errorf("left: %s", all)
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

// What a killed program left goes with the next Create in its directory, whatever is written: not what is being
// written, and no other program's files.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Abort()
	living := filepath.Base(f.Name())
	old := time.Now().Add(-time.Hour) // Windows leaves new files alone
	for _, name := range []string{
		tempName("out", 1), tempName("other", 2), tempName(strings.Repeat("long", 60), 3),
		".out.tmp-00000001", ".out.tmp-1", ".out.tmp-0000000100000001", "out", living,
	} {
		path := filepath.Join(dir, name)
		if name != living {
			if err := os.WriteFile(path, []byte("x"), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := WriteFile(filepath.Join(dir, "new"), nil); err != nil {
		t.Fatal(err)
	}
	want := strings.Fields(".out.tmp-00000001 .out.tmp-1 .out.tmp-0000000100000001 new out " + living)
	slices.Sort(want)
	if got := names(t, dir); got != strings.Join(want, " ") {
		t.Errorf("files %s, want %s", got, want)
	}
}

// A Commit that cannot give the name leaves nothing, or with Rescue the data under another name.
func TestCommitFails(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp) // Windows'
	for _, rescue := range []bool{false, true} {
		dir := t.TempDir()
		path := filepath.Join(dir, "out.txt")
		f, err := Create(path)
		if err != nil {
			t.Fatal(err)
		}
		f.Rescue = rescue
		if _, err := f.WriteString("data"); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(path, "full"), 0o777); err != nil { // in the way of the rename
			t.Fatal(err)
		}
		err = f.Commit()
		if err == nil || !strings.HasPrefix(err.Error(), "write "+path+": ") {
			t.Errorf("error %v", err)
		}
		var saved *Elsewhere
		if errors.As(err, &saved) != rescue {
			t.Errorf("rescue %v: %v", rescue, err)
		} else if rescue && (content(t, saved.Saved) != "data" || filepath.Ext(saved.Saved) != ".txt") {
			t.Errorf("saved as %s", saved.Saved)
		}
		if list := names(t, dir); !rescue && list != "out.txt" {
			t.Errorf("files %s", list)
		}
	}

	path := filepath.Join(temp, "closed")
	f, err := Create(path)
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close() // so that the sync fails
	if err := f.Commit(); err == nil || names(t, temp) != "" {
		t.Errorf("error %v, files %s", err, names(t, temp))
	}
}

// Data whose directory vanishes are saved from the open file.
func TestDirectoryVanishes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows refuses to remove the directory of an open file")
	}
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	dir := filepath.Join(t.TempDir(), "dir")
	if err := os.Mkdir(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	f, err := Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	f.Rescue = true
	if _, err := f.WriteString("data"); err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	var saved *Elsewhere
	err = f.Commit()
	if !errors.As(err, &saved) || content(t, saved.Saved) != "data" || filepath.Dir(saved.Saved) != temp {
		t.Errorf("%v, files %s", err, names(t, temp))
	}
	err = Save(filepath.Join(dir, "out"), []byte("more"))
	if !errors.As(err, &saved) || content(t, saved.Saved) != "more" {
		t.Error(err)
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
	write("d").Abort()
	f, err := Resume(path, "no") // of other content
	if err != nil {
		t.Fatal(err)
	}
	if got := names(t, dir); got != ".out.no.partial out" && runtime.GOOS != "windows" {
		t.Errorf("files %s", got)
	}
	if _, err := Resume(path, "no"); err == nil && runtime.GOOS != "windows" {
		t.Error("two write one file")
	}
	f.Discard()
	if _, err := Resume(dir, "id"); err == nil {
		t.Error("a directory is resumed")
	}
}

// A symbolic link stays, and what it leads to is written, also where there is nothing yet.
func TestLinks(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	target, relative := filepath.Join(other, "target"), filepath.Join(other, "relative")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(target, link); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink("target", relative); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, relative} {
		for _, text := range []string{"first", "second"} {
			if err := WriteFile(path, []byte(text)); err != nil {
				t.Fatal(err)
			}
			if info, err := os.Lstat(path); err != nil || info.Mode()&fs.ModeSymlink == 0 {
				t.Errorf("%s is no link any more: %v", path, err)
			}
			here, there := names(t, dir), names(t, other)
			if got := content(t, target); got != text || here != "link" || there != "relative target" {
				t.Errorf("%q, files %s, %s", got, here, there)
			}
		}
		if err := os.Remove(target); err != nil {
			t.Fatal(err)
		}
	}
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink("loop", loop); err != nil {
		t.Fatal(err)
	}
	if f, err := Create(loop); err == nil {
		t.Errorf("a loop became %s", f.Name())
	}
}

// Two names differ where the file system says so.
func TestSameName(t *testing.T) {
	dir := t.TempDir()
	if err := WriteFile(filepath.Join(dir, "probe"), nil); err != nil {
		t.Fatal(err)
	}
	_, err := os.Stat(filepath.Join(dir, "PROBE"))
	folds := err == nil
	for names, want := range map[[2]string]bool{{"a", "a"}: true, {"a", "b"}: false, {"a.html", "A.HTML"}: folds} {
		if got, err := SameName(dir, names[0], names[1]); got != want || err != nil {
			t.Errorf("%q: %v, %v", names, got, err)
		}
	}
	if names(t, dir) != "probe" {
		t.Errorf("files %s", names(t, dir))
	}
}

// A directory for temporary files goes at the end, or when the next one is made after a kill.
func TestMkdirTemp(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	left := filepath.Join(temp, "test-1")
	if err := os.MkdirAll(left, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{lockName, "data"} {
		path := filepath.Join(left, name)
		if err := os.WriteFile(path, nil, 0o666); err != nil {
			t.Fatal(err)
		}
		old := time.Now().Add(-time.Hour)
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	one, removeOne, err := MkdirTemp("test-")
	if err != nil {
		t.Fatal(err)
	}
	two, removeTwo, err := MkdirTemp("test-")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{filepath.Base(one), filepath.Base(two)}
	slices.Sort(want)
	if got := names(t, temp); got != strings.Join(want, " ") {
		t.Errorf("files %s, expected %s", got, want)
	}
	removeOne()
	removeTwo()
	if got := names(t, temp); got != "" {
		t.Errorf("left %s", got)
	}
}
