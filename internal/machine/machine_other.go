//go:build !linux && !darwin && !windows

package machine

import "errors"

func cores() int { return 0 }

func cpu() string { return "" }

func freeMemory() uint64 { return 0 }

func freeDisk(string) (uint64, error) { return 0, errors.ErrUnsupported }
