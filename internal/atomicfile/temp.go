package atomicfile

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
)

// Temporary files are called ".<base>.tmp-<8 digits><8 digits>". The first digits are random, the others a checksum of
// what comes before: no other program's file has such a name. A process holds a lock on its temporary files for as
// long as it writes them, and the system takes the lock back however the process ends. A temporary file without a lock
// is a leftover, whoever made it and whenever.

// tempName makes the name of a temporary file.
func tempName(base string, random uint32) string {
	if len(base) > 200 { // of at most 255 bytes in most file systems
		base = strings.ToValidUTF8(base[:200], "")
	}
	name := fmt.Sprintf(".%s.tmp-%08x", base, random)
	return fmt.Sprintf("%s%08x", name, crc32.ChecksumIEEE([]byte(name)))
}

// isTempName reports whether tempName made the name.
func isTempName(name string) bool {
	n := len(name) - 8
	return n > 0 && strings.HasPrefix(name, ".") && strings.Contains(name, ".tmp-") &&
		fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(name[:n]))) == name[n:]
}

// lockState is what [lock] found.
type lockState int

const (
	locked lockState = iota // or the file system has no locks
	busy                    // another process has the lock
	moved                   // the file has another name by now, or none
)

// createTemp makes and locks a temporary file. Between the two a process that looks for leftovers may take the lock:
// then it will remove the file.
func createTemp(dir, base string) (*os.File, error) {
	for try := 0; ; try++ {
		// Not os.CreateTemp: its files are readable by the owner alone.
		path := filepath.Join(dir, tempName(base, rand.Uint32()))
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if err == nil {
			if lock(f) == locked {
				return f, nil
			}
			_ = f.Close()
			err = errBusy
		} else if !os.IsExist(err) {
			return nil, err
		}
		if try == 100 {
			return nil, err
		}
	}
}

// removeStale removes temporary files in dir that no process has open.
func removeStale(dir string) { removeUnused(dir, isTempName) }

func removeUnused(dir string, leftover func(name string) bool) {
	entries, _ := os.ReadDir(cmp.Or(dir, "."))
	for _, e := range entries {
		if e.Type().IsRegular() && leftover(e.Name()) {
			_ = removeIfUnused(filepath.Join(dir, e.Name()))
		}
	}
}

// elsewhere makes a name like that of path, in dir.
func elsewhere(dir, path string) string {
	base := filepath.Base(path)
	ext := filepath.Ext(base)
	return filepath.Join(dir, fmt.Sprintf("%s-%08x%s", strings.TrimSuffix(base, ext), rand.Uint32(), ext))
}

// SameName reports whether two names in dir are one to its file system, which may not distinguish between upper and
// lower case, or between ways to write an accent.
func SameName(dir, a, b string) (bool, error) {
	if a == b {
		return true, nil
	}
	f, err := createTemp(dir, a)
	if err != nil {
		return false, err
	}
	defer func() {
		_ = f.Close()
		_ = os.Remove(f.Name())
	}()
	made := filepath.Base(f.Name())
	_, err = os.Lstat(filepath.Join(dir, "."+b+strings.TrimPrefix(made, "."+a)))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// lockName is the file of a directory of [MkdirTemp] that is locked as long as the directory is in use.
const lockName = ".lock"

// MkdirTemp makes a directory whose name begins with prefix, in that for temporary files, and removes those that killed
// programs left there. remove removes it with all that is in it.
func MkdirTemp(prefix string) (dir string, remove func(), err error) {
	left, _ := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	for _, dir := range left {
		if info, err := os.Lstat(dir); err == nil && info.IsDir() {
			if removeIfUnused(filepath.Join(dir, lockName)) == nil {
				_ = os.RemoveAll(dir)
			}
			_ = os.Remove(dir) // if it is empty: its process was killed before it made a lock
		}
	}
	for range 100 {
		if dir, err = os.MkdirTemp("", prefix); err != nil {
			return "", nil, err
		}
		f, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil && lock(f) == locked {
			return dir, func() { _ = f.Close(); _ = os.RemoveAll(dir) }, nil
		}
		if err == nil {
			_ = f.Close()
		} else if !errors.Is(err, fs.ErrNotExist) { // another process did not see the lock
			return "", nil, err
		}
	}
	return "", nil, errBusy
}

// TryLock locks a file for as long as it is open, and reports whether no other process has.
func TryLock(f *os.File) bool { return lock(f) != busy }

// Beside returns the name of a file of intermediate results beside the file path. Of a device or a pipe, it is in the
// directory for temporary files.
func Beside(path, suffix string) string {
	if IsStream(path) {
		return filepath.Join(os.TempDir(), "phi3conv-"+filepath.Base(path)+suffix)
	}
	return path + suffix
}

// Part returns how many bytes the temporary file of [Resume] has, 0 if there is none.
func Part(path, id string) int64 {
	target, err := Target(path)
	if err != nil {
		return 0
	}
	dir, base := filepath.Split(target)
	info, err := os.Stat(filepath.Join(dir, partName(base, id)))
	if err != nil {
		return 0
	}
	return info.Size()
}

// partName is the name of the temporary file of [Resume].
func partName(base, id string) string { return fmt.Sprintf(".%s.%s.partial", base, id) }
