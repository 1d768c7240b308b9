package atomicfile

import (
	"os"
	"time"
)

// Windows refuses to remove a file that a process has open: that is the lock.

func lock(*os.File) lockState { return locked }

// staleAfter is how long a file is left alone: much longer than rename takes from closing it.
const staleAfter = time.Minute

// removeIfUnused removes a file that no process has open, and that none is about to rename.
func removeIfUnused(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if time.Since(info.ModTime()) <= staleAfter {
		return errBusy
	}
	return os.Remove(path)
}

// rename gives the file another name. It is closed for that; where it fails, it is open again, for reading.
func (f *File) rename(path string) error {
	name := f.Name()
	now := time.Now()
	_ = os.Chtimes(name, now, now)
	_ = f.Close()
	err := os.Rename(name, path)
	if err != nil {
		if again, e := os.Open(name); e == nil {
			f.File = again
		}
	}
	return err
}
