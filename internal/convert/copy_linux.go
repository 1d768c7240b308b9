package convert

import (
	"os"

	"golang.org/x/sys/unix"
)

// copyFileRange copies size bytes between files inside the kernel. Where it
// returns false the caller copies everything itself.
func copyFileRange(dst *os.File, dstOff int64, src *os.File, srcOff, size int64) bool {
	for size > 0 {
		n, err := unix.CopyFileRange(int(src.Fd()), &srcOff, int(dst.Fd()), &dstOff, int(size), 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return false
		}
		size -= int64(n)
	}
	return true
}
