//go:build unix

package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lock marks a file as in use for as long as it is open. Where the file system
// has no locks it does nothing, and removeIfUnused removes nothing.
func lock(f *os.File) lockState {
	if err := flock(f); errors.Is(err, syscall.EWOULDBLOCK) {
		return busy
	}
	info, err1 := os.Lstat(f.Name())
	opened, err2 := f.Stat()
	if errors.Is(err1, fs.ErrNotExist) || err1 == nil && err2 == nil && !os.SameFile(info, opened) {
		return moved
	}
	return locked
}

func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}

// removeIfUnused removes a file that no process has locked. It holds the lock meanwhile, so that a
// process that has just made the file does not take it for its own.
func removeIfUnused(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if err := flock(f); err != nil {
		return err
	}
	return os.Remove(path)
}

// rename gives the file, which stays open and locked, another name.
func (f *File) rename(path string) error { return os.Rename(f.Name(), path) }
