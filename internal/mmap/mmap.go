// Package mmap maps files and memory outside the Go heap.
//
// Reading a mapped file that was truncated meanwhile faults. Code that reads a mapping
// runs in [Guard], so that the fault becomes an error.
package mmap

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// File maps the whole file for reading. f may be closed afterwards. The caller unmaps the bytes with [Unmap].
func File(f *os.File) ([]byte, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	size := info.Size()
	if size == 0 || size != int64(int(size)) {
		return nil, fmt.Errorf("%s: cannot map %d bytes", f.Name(), size)
	}
	b, err := mapFile(f, int(size))
	if err != nil {
		return nil, &os.PathError{Op: "mmap", Path: f.Name(), Err: err}
	}
	return b, nil
}

// Memory returns n zeroed bytes, page-aligned, in huge pages where the system has
// them. A page takes memory once it is written. The caller releases them with [Unmap].
func Memory(n int) ([]byte, error) {
	b, err := mapMemory(n)
	if err != nil {
		return nil, fmt.Errorf("allocating %d bytes: %w", n, err)
	}
	return b, nil
}

// Guard runs f. If f faults, because a mapped file has become shorter or its medium fails, Guard returns an error
// that wraps io.ErrUnexpectedEOF.
func Guard(f func()) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if fault, ok := r.(interface{ Addr() uintptr }); ok {
			err = fmt.Errorf(
				"reading a mapped file faulted at address %#x: the file was truncated or its medium failed: %w",
				fault.Addr(), io.ErrUnexpectedEOF)
			return
		}
		panic(r)
	}()
	f()
	return nil
}
