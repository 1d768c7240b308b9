//go:build !unix

package jinja

import "time"

var began = time.Now()

// processorTime is the time since the tests began, where there is none of the process.
func processorTime() time.Duration { return time.Since(began) }
