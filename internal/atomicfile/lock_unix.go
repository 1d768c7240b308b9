//go:build unix

package atomicfile

import (
	"os"
	"syscall"
)

// lock marks a temporary file as in use for as long as it is open. Where the file system
// has no locks it does nothing, and unused finds none unused.
func lock(f *os.File) { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) }

// unused reports whether no process holds the lock of the temporary file path.
func unused(path string) bool {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return false
	}
	defer func() { _ = f.Close() }()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
