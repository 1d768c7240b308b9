package mmap

import (
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/windows"
)

func mapFile(f *os.File, size int) ([]byte, error) {
	h, err := windows.CreateFileMapping(windows.Handle(f.Fd()), nil, windows.PAGE_READONLY, 0, 0, nil)
	if err != nil {
		return nil, err
	}
	addr, err := windows.MapViewOfFile(h, windows.FILE_MAP_READ, 0, 0, 0)
	_ = windows.CloseHandle(h) // the view keeps the mapping
	if err != nil {
		return nil, err
	}
	files.Store(addr, true)
	return view(addr, size), nil
}

func mapMemory(n int) ([]byte, error) {
	addr, err := windows.VirtualAlloc(0, uintptr(n), windows.MEM_RESERVE|windows.MEM_COMMIT, windows.PAGE_READWRITE)
	if err != nil {
		return nil, err
	}
	return view(addr, n), nil
}

// Unmap releases what File or Memory returned.
func Unmap(b []byte) error {
	addr := uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	if _, ok := files.LoadAndDelete(addr); ok {
		return windows.UnmapViewOfFile(addr)
	}
	return windows.VirtualFree(addr, 0, windows.MEM_RELEASE)
}

// files holds the addresses of mapped files, which are released in another way than memory.
var files sync.Map

// view makes a slice of memory that the system, not Go, has allocated. vet refuses to convert addr itself to a
// pointer, so addr is read as one.
func view(addr uintptr, n int) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), n)
}
