// Package atomicfile writes files that appear under their final name only when
// they are complete: the data goes to a temporary file in the same directory,
// which is synced and then renamed. Whatever ends the program earlier, a kill or
// a full disk, leaves the final name as it was. The temporary file of a program that was
// killed is removed when the same file is written again.
package atomicfile

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// File is a file being written under a temporary name, ".<base>.tmp-<random>"
// beside the final one.
type File struct {
	*os.File                    // the temporary file, open for reading and writing
	path     string             // the final name
	keep     bool               // what was written outlives an Abort, see Resume
	done     bool               // committed or aborted
	syncDir  func(string) error // the function of that name, another one in tests
}

// Create starts a file that is to become path. The caller defers [File.Abort]
// and ends with [File.Commit]. A path that exists and is not a regular file, such
// as a directory or a device, is refused.
func Create(path string) (*File, error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	removeStale(dir, "."+base+".tmp-")
	for try := 0; ; try++ {
		// Not os.CreateTemp: its files are readable by the owner alone.
		temp := filepath.Join(dir, fmt.Sprintf(".%s.tmp-%08x", base, rand.Uint32()))
		f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			lock(f)
			return &File{File: f, path: path, syncDir: syncDir}, nil
		}
		if !os.IsExist(err) || try == 100 {
			return nil, fmt.Errorf("write %s: %w", path, err)
		}
	}
}

// staleAfter is how long a file without a lock is left alone: much longer than Create takes
// from making it to locking it, and Commit from closing it to its rename.
const staleAfter = time.Minute

// removeStale removes the files of dir whose names are prefix and eight digits and that no process has open.
func removeStale(dir, prefix string) {
	entries, _ := os.ReadDir(cmp.Or(dir, "."))
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) || len(e.Name()) != len(prefix)+8 {
			continue
		}
		path := filepath.Join(dir, e.Name())
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() || time.Since(info.ModTime()) <= staleAfter {
			continue
		}
		if unused(path) {
			_ = os.Remove(path)
		}
	}
}

// Resume is Create for a file whose content id names, such as its hash: the temporary file is
// ".<base>.<id>.partial", [File.Abort] leaves it, and the next Resume finds what it holds. What
// that is the caller checks, or calls [File.Discard].
func Resume(path, id string) (*File, error) {
	if err := checkRegular(path); err != nil {
		return nil, err
	}
	dir, base := filepath.Split(path)
	f, err := os.OpenFile(filepath.Join(dir, fmt.Sprintf(".%s.%s.partial", base, id)), os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", path, err)
	}
	return &File{File: f, path: path, keep: true, syncDir: syncDir}, nil
}

func checkRegular(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("write %s: not a regular file", path)
	}
	return nil
}

// Path returns the final name.
func (f *File) Path() string { return f.path }

// Commit syncs the data to the disk, gives the file its final name, replacing what had it, and syncs the directory
// where the file system can do that. After an error nothing of the data is left, and the final name has what it had
// before; but if only the directory could not be synced, the file is there, complete: what it replaced is gone, and
// the error says that a power failure may bring that back.
func (f *File) Commit() error {
	if f.done {
		return fmt.Errorf("write %s: %w", f.path, fs.ErrClosed)
	}
	err := f.Sync()
	if e := f.Close(); err == nil {
		err = e
	}
	f.done = true
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("write %s: %w", f.path, err)
	}
	if err := f.syncDir(filepath.Dir(f.path)); err != nil && !cannotSync(err) {
		return fmt.Errorf("write %s: the file is complete, but its name may not outlive a power failure: %w",
			f.path, err)
	}
	return nil
}

// Abort closes and removes the temporary file, that of [Resume] excepted. After
// [File.Commit] or another Abort it does nothing.
func (f *File) Abort() {
	if f.done {
		return
	}
	f.done = true
	_ = f.Close()
	if !f.keep {
		_ = os.Remove(f.Name())
	}
}

// Discard is an Abort that removes the temporary file of [Resume] too.
func (f *File) Discard() {
	f.keep = false
	f.Abort()
}

// WriteFile makes data the content of the file path.
func WriteFile(path string, data []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Abort()
	if _, err := f.Write(data); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Commit()
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
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if e := d.Close(); err == nil {
		err = e
	}
	return err
}
