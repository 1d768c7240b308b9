package machine

import (
	"os"

	"golang.org/x/sys/unix"
)

func cores() int {
	n, err := unix.SysctlUint32("hw.physicalcpu")
	if err != nil {
		return 0
	}
	return int(n)
}

func cpu() string {
	name, err := unix.Sysctl("machdep.cpu.brand_string")
	if err != nil {
		return ""
	}
	return name
}

// freeMemory counts the pages that hold nothing, that hold files, and that their owners can do without.
func freeMemory() uint64 {
	pages := uint64(0)
	for _, name := range []string{"vm.page_free_count", "vm.page_pageable_external_count", "vm.page_purgeable_count"} {
		n, err := unix.SysctlUint32(name)
		if err != nil {
			return 0
		}
		pages += uint64(n)
	}
	return pages * uint64(os.Getpagesize())
}
