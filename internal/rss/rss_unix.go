//go:build unix && !linux

package rss

import (
	"runtime"

	"golang.org/x/sys/unix"
)

func peak() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	if runtime.GOOS == "darwin" {
		return int64(u.Maxrss)
	}
	return int64(u.Maxrss) << 10
}

func anonymous() int64 { return 0 }

func reset() bool { return false }
