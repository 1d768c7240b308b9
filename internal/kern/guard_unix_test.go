//go:build unix

package kern

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// guardedMemory returns at least n bytes with a page on each side that faults
// when it is read or written.
func guardedMemory(t testing.TB, n int) []byte {
	page := os.Getpagesize()
	n = (n + page - 1) / page * page
	m, err := unix.Mmap(-1, 0, n+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	for _, guard := range [][]byte{m[:page], m[page+n:]} {
		if err := unix.Mprotect(guard, unix.PROT_NONE); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		if err := unix.Munmap(m); err != nil {
			t.Error(err)
		}
	})
	return m[page : page+n : page+n]
}
