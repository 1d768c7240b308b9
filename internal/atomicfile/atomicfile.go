// Package atomicfile writes files that appear under their final name only when
// they are complete: the data goes to a temporary file in the same directory,
// which is synced and then renamed. Whatever ends the program earlier, a kill or
// a full disk, leaves the final name as it was. Temporary files of programs that were
// killed are removed when the next file is written in their directory.
//
// A symbolic link stays, and what it names is written. A device or a pipe is not replaced:
// what is complete is copied into it, and so it is into a [Store].
package atomicfile

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// Stdout is the name of standard output, on every system.
const Stdout = "/dev/stdout"

// File is a file being written under a temporary name, ".<base>.tmp-<16 digits>"
// beside the final one.
type File struct {
	*os.File // the temporary file, open for reading and writing

	// Rescue puts data that cannot have the final name under another one: see [Elsewhere]. Without
	// it they are gone.
	Rescue bool

	path    string             // the final name, as it was given
	target  string             // what it names: path, or where its symbolic links lead
	stream  bool               // target is a device, a pipe or standard output
	keep    bool               // what was written outlives an Abort, see Resume
	done    bool               // committed or aborted
	spilled error              // why the data are not in the target's directory, see Write
	syncDir func(string) error // the function of that name, another one in tests
}

// Elsewhere is the error of data that are complete, in another file than was asked for.
type Elsewhere struct {
	Path  string // what was asked for
	Saved string // where the data are
	Err   error  // why
}

func (e *Elsewhere) Error() string {
	return fmt.Sprintf("write %s: %v; it was written to %s instead", e.Path, e.Err, e.Saved)
}

func (e *Elsewhere) Unwrap() error { return e.Err }

// Create starts a file that is to become path. The caller defers [File.Abort]
// and ends with [File.Commit]. A directory is refused.
func Create(path string) (*File, error) {
	target, stream, err := locate(path)
	if err != nil {
		return nil, writeError(path, err)
	}
	dir, base := filepath.Split(target)
	if stream {
		dir = os.TempDir()
	}
	removeStale(dir)
	f, err := createTemp(dir, base)
	if err != nil {
		return nil, writeError(path, err)
	}
	if stream {
		_ = os.Remove(f.Name()) // gone when the program ends; Windows does not allow it
	}
	return &File{File: f, path: path, target: target, stream: stream, syncDir: syncDir}, nil
}

// writeError names the file that was asked for in place of a temporary one.
func writeError(path string, err error) error {
	if err == nil || StoreOf(path) != nil { // which names the file
		return err
	}
	return fmt.Errorf("write %s: %w", path, bare(err))
}

// bare takes the temporary name out of an error.
func bare(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}

// locate finds what path names: behind symbolic links, of which the last may lead to nothing yet.
func locate(path string) (target string, stream bool, err error) {
	if path == Stdout || StoreOf(path) != nil {
		return path, true, nil
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return "", false, errors.New("not a regular file but a directory")
	case err == nil && (!info.Mode().IsRegular() || IsStdout(info)):
		return path, true, nil
	}
	target, err = Target(path)
	return target, false, err
}

// IsStdout reports whether it is standard output: a file that the shell has opened for this program, say.
func IsStdout(info fs.FileInfo) bool {
	out, err := os.Stdout.Stat()
	return err == nil && os.SameFile(info, out)
}

// IsStream reports whether what is written to path is copied into a device, a pipe, standard output or a store.
func IsStream(path string) bool {
	_, stream, err := locate(path)
	return err == nil && stream
}

// Target returns where the symbolic links of path lead, path itself if it is none. There may be nothing.
func Target(path string) (string, error) {
	for range 40 { // as many as Linux follows
		info, err := os.Lstat(path)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return path, nil
		}
		link, err := os.Readlink(path)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(link) {
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			if err != nil {
				return "", err
			}
			link = dir + string(filepath.Separator) + link
		}
		path = link
	}
	return "", errors.New("too many symbolic links")
}

// Resume is Create for a file whose content id names, such as its hash: the temporary file is ".<base>.<id>.partial",
// [File.Abort] leaves it, and the next Resume finds what it holds. What that is the caller checks, or calls
// [File.Discard]. Parts of other content for the same name are removed.
func Resume(path, id string) (*File, error) {
	target, stream, err := locate(path)
	if err == nil && stream {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, writeError(path, err)
	}
	dir, base := filepath.Split(target)
	removeStale(dir)
	name := partName(base, id)
	removeUnused(dir, func(other string) bool {
		return len(other) == len(name) && other != name &&
			strings.HasPrefix(other, "."+base+".") && strings.HasSuffix(other, ".partial")
	})
	for range 100 {
		f, err := os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE, 0o666)
		if err != nil {
			return nil, writeError(path, err)
		}
		switch lock(f) {
		case locked:
			return &File{File: f, path: path, target: target, keep: true, syncDir: syncDir}, nil
		case busy:
			_ = f.Close()
			return nil, fmt.Errorf("write %s: %w", path, errBusy)
		}
		_ = f.Close() // another process has renamed or removed it
	}
	return nil, fmt.Errorf("write %s: %w", path, errBusy)
}

var errBusy = errors.New("another process is writing it")

// Path returns the final name.
func (f *File) Path() string { return f.path }

// RemoveOld removes what has the final name now, a file of an earlier run.
func (f *File) RemoveOld() error {
	if f.stream {
		return nil
	}
	if err := os.Remove(f.target); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// Write appends data. With Rescue, data that do not fit go to the directory for temporary files, with all that were
// written before, and so do all that follow: [File.Commit] says so.
func (f *File) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	if err == nil || !f.Rescue || f.spilled != nil {
		return n, err
	}
	size, e := f.Seek(0, io.SeekCurrent)
	if e != nil {
		return n, err
	}
	spill, e := copyTo(elsewhere(os.TempDir(), f.target), f.File, size)
	if e != nil {
		return n, err
	}
	m, e := spill.Write(b[n:])
	if e != nil {
		_ = spill.Close()
		_ = os.Remove(spill.Name())
		return n, err
	}
	f.removeTemp()
	f.File, f.spilled = spill, err
	return n + m, nil
}

// copyTo makes a file of the first size bytes of another one. It is left open at its end.
func copyTo(path string, from io.ReaderAt, size int64) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) // the directory may be everybody's
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(f, io.NewSectionReader(from, 0, size)); err != nil {
		_ = f.Close()
		_ = os.Remove(path)
		return nil, err
	}
	return f, nil
}

// removeTemp closes and removes the temporary file.
func (f *File) removeTemp() {
	name := f.Name()
	_ = f.Close()
	_ = os.Remove(name)
}

// Commit syncs the data to the disk, gives the file its final name, replacing what had it, and syncs the directory
// where the file system can do that. After an error the final name has what it had before, and nothing of the data is
// left, unless the error is an [*Elsewhere]; but if only the directory could not be synced, the file is there,
// complete: what it replaced is gone, and the error says that a power failure may bring that back.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("write %s: %w", f.path, fs.ErrClosed)
	}
	f.done = true
	err := f.finish()
	if err == nil {
		_ = f.Close() // everything is on the disk, or in the stream
		if f.stream {
			_ = os.Remove(f.Name()) // where Create could not
			return nil
		}
		if err := f.syncDir(filepath.Dir(f.target)); err != nil && !cannotSync(err) {
			return fmt.Errorf("write %s: the file is complete, but its name may not outlive a power failure: %w",
				f.path, err)
		}
		return nil
	}
	if f.Rescue {
		if saved := f.rescue(); saved != "" {
			return &Elsewhere{f.path, saved, bare(err)}
		}
	}
	if f.keep {
		_ = f.Close()
	} else {
		f.removeTemp()
	}
	return writeError(f.path, err)
}

// finish gives the data their name, or copies them to where they belong.
func (f *File) finish() error {
	if f.spilled != nil {
		return f.spilled
	}
	if f.stream {
		return f.copyOut()
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.rename(f.target)
}

// copyOut copies the data into a device, a pipe or a store.
func (f *File) copyOut() error {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	if s := StoreOf(f.target); s != nil {
		return s.Send(f.target, f.File, size)
	}
	out := os.Stdout
	if info, err := os.Stat(f.target); f.target != Stdout && (err != nil || !IsStdout(info)) {
		if out, err = os.OpenFile(f.target, os.O_WRONLY, 0); err != nil {
			return err
		}
		defer func() { _ = out.Close() }() // the system has what was written
	}
	_, err = io.Copy(out, io.NewSectionReader(f.File, 0, size))
	return err
}

// rescue gives data that cannot have the final name another one beside it, or else in the directory for temporary
// files. It returns "" where that fails too.
func (f *File) rescue() string {
	if f.spilled != nil {
		if f.Sync() != nil || f.Close() != nil {
			return ""
		}
		return f.Name()
	}
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	if dir := filepath.Dir(f.target); !f.stream && f.Sync() == nil {
		if beside := elsewhere(dir, f.target); f.rename(beside) == nil {
			_ = f.Close()
			return beside
		}
	}
	g, err := copyTo(elsewhere(os.TempDir(), f.target), f.File, size)
	if err != nil {
		return ""
	}
	f.removeTemp()
	if g.Sync() != nil || g.Close() != nil {
		return ""
	}
	return g.Name()
}

// SaveElsewhere is for a result that could not be written to path, because of err: it lets write make it in the
// directory for temporary files. Where that works the error is an [*Elsewhere], otherwise err.
func SaveElsewhere(path string, err error, write func(path string) error) error {
	var saved *Elsewhere
	if err == nil || errors.As(err, &saved) {
		return err
	}
	other := elsewhere(os.TempDir(), path)
	if write(other) != nil {
		return err
	}
	if cause := errors.Unwrap(err); cause != nil && err.Error() == writeError(path, cause).Error() {
		err = cause // Elsewhere says the rest too
	}
	return &Elsewhere{path, other, err}
}

// Abort closes and removes the temporary file, that of [Resume] excepted. After
// [File.Commit] or another Abort it does nothing.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	if f.keep {
		_ = f.Close()
	} else {
		f.removeTemp()
	}
}

// Discard is an Abort that removes the temporary file of [Resume] too.
func (f *File) Discard() {
	f.keep = false
	f.Abort()
}

// WriteFile makes data the content of the file path.
func WriteFile(path string, data []byte) error { return writeFile(path, data, false) }

// Save is WriteFile for a result that somebody has waited for: see [Elsewhere].
func Save(path string, data []byte) error {
	return SaveElsewhere(path, writeFile(path, data, true), func(other string) error { return WriteFile(other, data) })
}

func writeFile(path string, data []byte, rescue bool) error {
	return Stream(path, rescue, func(w io.Writer) error {
		_, err := w.Write(data)
		return writeError(path, err)
	})
}

// Stream makes what write writes the content of the file path. What comes in small pieces is gathered. rescue is
// [File.Rescue].
func Stream(path string, rescue bool, write func(w io.Writer) error) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	f.Rescue = rescue
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return writeError(path, err)
	}
	return f.Commit()
}

// Check reports why [Create] or [File.Commit] cannot work for path, as far as that is known before. It removes what
// killed programs left there.
func Check(path string) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	f.Abort()
	if s := StoreOf(path); s != nil {
		_, err := s.Beginning(path, 1)
		return err
	}
	if info, err := os.Stat(path); err != nil || info.Mode()&(fs.ModeNamedPipe|fs.ModeSocket) != 0 || IsStdout(info) {
		return nil // new; or a reader of the pipe would see it end
	}
	g, err := os.OpenFile(path, os.O_WRONLY, 0) // a file that may not be written is not to be replaced
	if err != nil {
		return writeError(path, err)
	}
	return g.Close()
}

// cannotSync reports whether err says that this directory cannot be opened or
// synced at all, as on FUSE and SMB mounts, and not that the disk failed.
func cannotSync(err error) bool {
	return errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission)
}

// syncDir makes a rename in dir durable. Windows has no such call and orders
// the rename after the data by itself.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(cmp.Or(dir, "."))
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
