// Package machine says what the machine has: cores, memory, space on disks.
package machine

import (
	"math"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/phi3conv/phi3conv/internal/rss"
)

// Cores returns the number of physical cores, 0 if unknown.
func Cores() int { return cores() }

// CPU returns what the CPU calls itself, "" if unknown.
func CPU() string { return cpu() }

// FreeDisk returns the bytes that this user can still write in the file system of a directory.
func FreeDisk(dir string) (uint64, error) { return freeDisk(dir) }

// FreeMemory returns the bytes that can be allocated without swapping: the system's figure, or, if less is left, the
// limit of the control group without what this process has taken. It returns math.MaxUint64 if both are unknown.
func FreeMemory() uint64 {
	free := uint64(math.MaxUint64)
	if n := freeMemory(); n > 0 {
		free = n
	}
	if limit, err := memlimit.FromCgroup(); err == nil && limit > 0 {
		free = min(free, limit-min(limit, uint64(rss.Anonymous())))
	}
	return free
}
