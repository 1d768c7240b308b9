package mmap

import (
	"sync"
	"unsafe"
)

// files holds the addresses of mapped files: they are released otherwise than memory.
var files sync.Map

// view makes a slice of memory that the system, not Go, has allocated. The detour
// by way of a pointer to addr is what vet accepts for such addresses.
func view(addr uintptr, n int) []byte {
	return unsafe.Slice(*(**byte)(unsafe.Pointer(&addr)), n)
}
