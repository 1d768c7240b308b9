package machine

import (
	"encoding/binary"
	"strings"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"
)

var (
	kernel32                         = windows.NewLazySystemDLL("kernel32.dll")
	getLogicalProcessorInformationEx = kernel32.NewProc("GetLogicalProcessorInformationEx")
	globalMemoryStatusEx             = kernel32.NewProc("GlobalMemoryStatusEx")
)

func cores() int {
	const relationProcessorCore = 0
	size := uint32(0)
	_, _, _ = getLogicalProcessorInformationEx.Call(relationProcessorCore, 0, uintptr(unsafe.Pointer(&size)))
	if size == 0 {
		return 0
	}
	b := make([]byte, size)
	ok, _, _ := getLogicalProcessorInformationEx.Call(relationProcessorCore,
		uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)))
	if ok == 0 {
		return 0
	}
	// A record begins with its relation and its size, four bytes each; there is one for each core.
	n := 0
	for b = b[:size]; len(b) >= 8; n++ {
		length := binary.LittleEndian.Uint32(b[4:])
		if length < 8 || int(length) > len(b) {
			return 0
		}
		b = b[length:]
	}
	return n
}

func cpu() string {
	k, err := registry.OpenKey(registry.LOCAL_MACHINE, `HARDWARE\DESCRIPTION\System\CentralProcessor\0`, registry.READ)
	if err != nil {
		return ""
	}
	defer func() { _ = k.Close() }()
	name, _, err := k.GetStringValue("ProcessorNameString")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(name)
}

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	size, load               uint32
	totalPhysical, available uint64
	_, _, _, _, _            uint64 // of the page file and of addresses
}

func freeMemory() uint64 {
	m := memoryStatus{size: uint32(unsafe.Sizeof(memoryStatus{}))}
	ok, _, _ := globalMemoryStatusEx.Call(uintptr(unsafe.Pointer(&m)))
	if ok == 0 {
		return 0
	}
	return m.available
}

func freeDisk(dir string) (uint64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, err
	}
	var free, total, all uint64
	err = windows.GetDiskFreeSpaceEx(name, &free, &total, &all)
	return free, err
}
