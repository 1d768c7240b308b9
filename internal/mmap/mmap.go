// Package mmap maps files and memory outside the Go heap.
//
// Reading a mapped file that was truncated meanwhile faults. Goroutines that
// touch a mapping call [Guard] so that the fault becomes an error.
package mmap

import (
	"fmt"
	"io"
	"os"
	"runtime/debug"
)

// File maps the whole file for reading. Close may be called on f afterwards.
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
// them to give. Pages take memory once they are written.
func Memory(n int) ([]byte, error) {
	b, err := mapMemory(n)
	if err != nil {
		return nil, fmt.Errorf("allocating %d bytes: %w", n, err)
	}
	return b, nil
}

// Guard runs f and returns the error that a fault in it stands for: a mapped file
// that has become shorter, or whose medium fails.
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
