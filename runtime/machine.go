package runtime

import (
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/phi3conv/phi3conv/internal/rss"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/mem"
)

// physicalCores returns the machine's number of cores, 0 if unknown.
func physicalCores() int {
	n, err := cpu.Counts(false)
	if err != nil {
		return 0
	}
	return n
}

// availableMemory returns the bytes that can be allocated without swapping: the system's
// figure, or the limit of the control group less what this process has taken of it. Unknown
// is unlimited.
func availableMemory() uint64 {
	free := uint64(math.MaxUint64)
	if v, err := mem.VirtualMemory(); err == nil && v.Available > 0 {
		free = v.Available
	}
	if limit, err := memlimit.FromCgroup(); err == nil && limit > 0 {
		free = min(free, limit-min(limit, uint64(rss.Anonymous())))
	}
	return free
}
