package mmap

import "golang.org/x/sys/unix"

// hugePages asks for pages of 2 MiB: fewer faults when the memory is filled and
// fewer TLB misses when it is read. It is a hint: failure changes nothing.
func hugePages(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
